//! What depends on weights alone is computed once: in f64, and rounded once to its type.
//!
//! The folds are written as nodes over the weights, so that they can be proved as algebra. Here these nodes become
//! numbers: each value that depends on no data and is read by something that does becomes a weight of its own, named
//! after the layer and operand that read it (`dense/kernel`). The nodes themselves are kept as the [recipe](Weighted::recipe):
//! a graph from the weights as trained to the weights as folded.

use crate::ir::{Bindings, Builder, Diagnostics, Graph, NodeId, Rebuild, Role, Value, Weights};
use crate::op::Op;
use crate::reference::{Array, EvalError};
use crate::rewrite::{Evaluator, trimmed, weights_of};
use indexmap::IndexMap;
use std::collections::HashSet;
use std::sync::Arc;

/// A graph whose weights are all inputs, with their values.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Data, and parameters with the names of `weights`.
    pub graph: Graph,
    /// A value for each parameter of `graph`.
    pub weights: Weights,
    /// From the weights as they were to those as they are: inputs have the old names, outputs the new ones.
    pub recipe: Graph,
}

/// Why the weights could not be folded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsMismatch {
    /// A parameter or state has no value.
    #[error("there is no value for `{name}` ({ty}); give one for each parameter and state of the graph")]
    Missing {
        /// Its name.
        name: String,
        /// Its type.
        ty: String,
    },
    /// A value has another type than its input.
    #[error("`{name}` is {expected}, but its value is {found}; give a tensor of that element type and shape")]
    Type {
        /// Its name.
        name: String,
        /// The type in the graph.
        expected: String,
        /// The type of the value.
        found: String,
    },
    /// A state changes from run to run.
    #[error("the graph updates `{name}`, so its weights are not fixed; freeze it first")]
    Updated {
        /// The state's name.
        name: String,
    },
    /// The weights are too large to compute with.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// The graph could not be rebuilt.
    #[error(transparent)]
    Graph(#[from] Box<Diagnostics>),
}

impl From<Diagnostics> for WeightsMismatch {
    fn from(errors: Diagnostics) -> WeightsMismatch {
        WeightsMismatch::Graph(Box::new(errors))
    }
}

/// Whether there is a value of the right type for each parameter and state, none of which the graph updates.
pub(super) fn check_weights(graph: &Graph, weights: &Weights) -> Result<(), WeightsMismatch> {
    if let Some((state, _)) = graph.updates().next() {
        let name = graph.as_input(state).map(|(name, _)| name.to_owned()).unwrap_or_default();
        return Err(WeightsMismatch::Updated { name });
    }
    for (name, id) in graph.inputs().filter(|&(_, id)| graph.as_input(id).is_some_and(|(_, role)| role != Role::Data)) {
        let ty = &graph.node(id).types()[0];
        match weights.get(name) {
            None => return Err(WeightsMismatch::Missing { name: name.to_owned(), ty: ty.to_string() }),
            Some(value) if value.ty() != *ty => {
                let (expected, found) = (ty.to_string(), value.ty().to_string());
                return Err(WeightsMismatch::Type { name: name.to_owned(), expected, found });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Computes what depends on weights alone.
///
/// # Errors
/// A weight that is missing or of another type; a graph that updates its weights.
pub fn fold_weights(graph: &Graph, weights: &Weights) -> Result<Weighted, WeightsMismatch> {
    check_weights(graph, weights)?;
    let graph = trimmed(graph)?;
    let (live, weight) = (graph.live(), weights_of(&graph));
    let kept = Kept::of(&graph, &live, &weight);
    let recipe = kept.recipe(&graph, &weight)?;
    let folded = evaluated(&recipe, weights)?;
    Ok(Weighted { graph: kept.apply(&graph, &live, &weight)?, weights: folded, recipe })
}

impl Weighted {
    /// The folded graph over the weights as they were: the recipe, then the graph. It equals the graph before folding.
    ///
    /// # Errors
    /// None for what [`fold_weights`] made; the builder's mistakes, were the two graphs not to fit.
    pub fn composed(&self) -> Result<Graph, Diagnostics> {
        let mut recipe = Rebuild::without_inputs(&self.recipe);
        self.recipe.ids().for_each(|id| recipe.copy(id));
        let outputs: IndexMap<&str, Value> =
            self.recipe.outputs().map(|(name, value)| (name, recipe.get(value).value())).collect();
        let mut graph = Rebuild::onto(&self.graph, recipe.into_builder());
        for id in self.graph.ids() {
            match self.graph.as_input(id) {
                Some((name, Role::Parameter | Role::State)) => graph.replace(id, &[outputs[name]]),
                _ => graph.copy(id),
            }
        }
        for (name, value) in self.graph.outputs() {
            graph.builder().output(name, graph.get(value));
        }
        graph.finish_as_built()
    }
}

/// The values of the recipe's outputs.
fn evaluated(recipe: &Graph, weights: &Weights) -> Result<Weights, EvalError> {
    let mut evaluator = fed(recipe, weights);
    let roots: Vec<Value> = recipe.outputs().map(|(_, value)| value).collect();
    let numbered = evaluator.run(recipe, &roots)?;
    let mut values = Weights::new();
    for (name, value) in recipe.outputs() {
        let Some(number) = numbered.get(value) else { continue };
        let tensor = evaluator.array(number).to_tensor(recipe.ty(value).dtype);
        let tensor = tensor.unwrap_or_else(|error| unreachable!("an evaluated array fills its shape: {error}"));
        values.insert(name.to_owned(), tensor);
    }
    Ok(values)
}

/// One float output of a recipe, in f64, not rounded; empty where there is none.
pub(crate) fn evaluate_recipe(recipe: &Graph, output: &str, weights: &Weights) -> Result<Vec<f64>, EvalError> {
    let mut evaluator = fed(recipe, weights);
    let Some(value) = recipe.output(output) else { return Ok(Vec::new()) };
    let number = evaluator.run(recipe, &[value])?.get(value);
    Ok(match number.map(|number| evaluator.array(number)) {
        Some(Array::Real(array)) => array.data.clone(),
        _ => Vec::new(),
    })
}

fn fed(recipe: &Graph, weights: &Weights) -> Evaluator<f64> {
    let mut evaluator = Evaluator::new(Bindings::new());
    for (name, tensor) in weights.iter().filter(|(name, _)| recipe.input(name).is_some()) {
        evaluator.feed(name, Arc::new(Array::from_tensor(tensor)));
    }
    evaluator
}

/// The weight values that the rest of the graph reads, under the names that they get.
struct Kept(IndexMap<Value, String>);

impl Kept {
    fn of(graph: &Graph, live: &[bool], weight: &[bool]) -> Kept {
        // Each weight that is read, with the name that it would like.
        let mut read: IndexMap<Value, String> = IndexMap::new();
        let mut keep = |value: Value, name: &dyn Fn() -> String| {
            // Views of a weight, and single numbers, cost nothing where they are.
            let value = behind_views(graph, value);
            if !is_number(graph, value) {
                read.entry(value).or_insert_with(name);
            }
        };
        for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()] && !weight[id.index()]) {
            for (slot, &operand) in node.operands().iter().enumerate().filter(|(_, v)| weight[v.node.index()]) {
                keep(operand, &|| name_of(graph, operand, Some((id, slot))));
            }
        }
        for (name, value) in graph.outputs().filter(|(_, value)| weight[value.node.index()]) {
            keep(value, &|| format!("{name}/value"));
        }
        // What stays as it was keeps its name; what is made of it takes another.
        let own = |value: &Value| graph.as_input(value.node).map(|(name, _)| name.to_owned());
        let data = data_inputs(graph).map(|(name, _)| name.to_owned());
        let mut taken: HashSet<String> = data.chain(read.keys().filter_map(own)).collect();
        let named = |(value, name)| (value, own(&value).unwrap_or_else(|| unique(name, &mut taken)));
        Kept(read.into_iter().map(named).collect())
    }

    /// The kept values as outputs of a graph over the weights.
    fn recipe(&self, graph: &Graph, weight: &[bool]) -> Result<Graph, Diagnostics> {
        let needed = graph.reaching(self.0.keys().map(|value| value.node));
        let mut rebuild = Rebuild::without_inputs(graph);
        graph.ids().filter(|id| needed[id.index()] && weight[id.index()]).for_each(|id| rebuild.copy(id));
        for (&value, name) in &self.0 {
            rebuild.builder().output(name, rebuild.get(value));
        }
        rebuild.finish_as_built()
    }

    /// The graph with the kept values as parameters.
    fn apply(&self, graph: &Graph, live: &[bool], weight: &[bool]) -> Result<Graph, Diagnostics> {
        let mut rebuild = Rebuild::without_inputs(graph);
        data_inputs(graph).for_each(|(_, id)| rebuild.copy(id));
        let mut parameters: IndexMap<NodeId, Vec<Value>> = IndexMap::new();
        for (&value, name) in &self.0 {
            let declare = |builder: &Builder| builder.declare(name, Role::Parameter, graph.ty(value).clone()).value();
            let parameter = rebuild.attributed("fold_weights", value.node, || declare(rebuild.builder()));
            let results = graph.node(value.node).types().len();
            // Other results of the node are read by no one.
            parameters.entry(value.node).or_insert_with(|| vec![parameter; results])[value.output as usize] = parameter;
        }
        // A kept node is not copied, so what only it needs is not needed any more.
        let needed = self.still_needed(graph, weight);
        for id in graph.ids().filter(|id| live[id.index()] && needed[id.index()]) {
            match parameters.get(&id) {
                Some(values) => rebuild.replace(id, values),
                None => rebuild.copy(id),
            }
        }
        for (name, value) in graph.outputs() {
            rebuild.builder().output(name, rebuild.get(value));
        }
        rebuild.finish_as_built()
    }

    fn still_needed(&self, graph: &Graph, weight: &[bool]) -> Vec<bool> {
        let kept: HashSet<NodeId> = self.0.keys().map(|value| value.node).collect();
        let mut needed = vec![false; graph.len()];
        graph.outputs().for_each(|(_, value)| needed[value.node.index()] = true);
        for id in graph.ids().rev() {
            let inside = weight[id.index()] && kept.contains(&id);
            if needed[id.index()] && !inside {
                graph.node(id).operands().iter().for_each(|operand| needed[operand.node.index()] = true);
            }
        }
        needed
    }
}

fn data_inputs(graph: &Graph) -> impl Iterator<Item = (&str, NodeId)> {
    graph.inputs().filter(|&(_, id)| graph.as_input(id).is_some_and(|(_, role)| role == Role::Data))
}

/// The value that views of it read.
fn behind_views(graph: &Graph, value: Value) -> Value {
    let mut value = value;
    while let Op::Broadcast(_) = graph.node(value.node).op() {
        value = graph.node(value.node).operands()[0];
    }
    value
}

fn is_number(graph: &Graph, value: Value) -> bool {
    graph.ty(value).rank() == 0 && matches!(graph.node(value.node).op(), Op::Constant(_))
}

/// What a weight is called: as it was, or after the layer and operand that read it.
fn name_of(graph: &Graph, value: Value, reader: Option<(NodeId, usize)>) -> String {
    let value = behind_views(graph, value);
    if let Some((name, _)) = graph.as_input(value.node) {
        return name.to_owned();
    }
    let Some((reader, slot)) = reader else { return "weight".to_owned() };
    let names = graph.node(reader).op().operand_names();
    let operand = match graph.node(reader).op() {
        Op::Dot(_) => "kernel",
        _ => names.get(slot).or(names.last()).map_or("weight", |name| name.trim_end_matches('.')),
    };
    match graph.scope(reader) {
        Some(layer) => format!("{layer}/{operand}"),
        None => operand.to_owned(),
    }
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut count = 1;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{count}");
        count += 1;
    }
    candidate
}
