//! From a training graph to an inference graph: batch norms use their running statistics, dropout and loss are gone.
//!
//! Which state is the running mean of which batch norm is read from its update: a state whose next value mixes the state
//! itself with the batch mean, `S ← μ·S + (1 − μ)·(m + b)`, follows `m + b`; the batch norm's own `m` is therefore `S − b`
//! at rest. The shift `b` is there when a bias before the batch norm was dropped.

use crate::ir::{Diagnostics, Expr, Graph, NodeId, Rebuild, Role, Value};
use crate::op::Op;
use crate::ops::{BatchNormTrain, Binary};

/// A training graph could not be frozen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// The graph has no such output.
    #[error("the graph has no output `{name}`; it has {known}")]
    NoOutput {
        /// The name.
        name: String,
        /// The outputs that exist.
        known: String,
    },
    /// A batch norm has no running statistics.
    #[error(
        "no state follows the batch {what} of {node}; update one with `state * m + batch * (1.0 - m)`, so that the batch \
         norm can be used one example at a time"
    )]
    NoStatistics {
        /// `mean` or `variance`.
        what: &'static str,
        /// The batch norm, as a person would name it.
        node: String,
    },
    /// The frozen graph could not be built.
    #[error(transparent)]
    Graph(#[from] Box<Diagnostics>),
}

impl From<Diagnostics> for FreezeError {
    fn from(errors: Diagnostics) -> FreezeError {
        FreezeError::Graph(Box::new(errors))
    }
}

/// The part of a training graph that computes these outputs, as it is used after training. Nothing is updated any more.
///
/// # Errors
/// An output that does not exist; a batch norm without running statistics.
pub fn freeze(graph: &Graph, outputs: &[&str]) -> Result<Graph, FreezeError> {
    let mut wanted = Vec::new();
    for &name in outputs {
        let known = || graph.outputs().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let missing = || FreezeError::NoOutput { name: name.to_owned(), known: known() };
        wanted.push((name, graph.output(name).ok_or_else(missing)?));
    }
    let needed = graph.reaching(wanted.iter().map(|(_, value)| value.node));
    let mut rebuild = Rebuild::new(graph);
    for id in graph.ids().filter(|id| needed[id.index()]) {
        match graph.node(id).op() {
            Op::BatchNormTrain(op) => {
                let results = at_rest(graph, &mut rebuild, id, *op)?;
                rebuild.replace(id, &results);
            }
            Op::Dropout(_) => {
                let x = rebuild.get(graph.node(id).operands()[0]).value();
                rebuild.replace(id, &[x]);
            }
            _ => rebuild.copy(id),
        }
    }
    for (name, value) in wanted {
        rebuild.builder().output(name, rebuild.get(value));
    }
    let frozen = rebuild.finish_as_built()?;
    Ok(without_unused_inputs(&frozen)?)
}

/// Inputs that only training needs go too: targets, optimiser states, seeds.
fn without_unused_inputs(graph: &Graph) -> Result<Graph, Diagnostics> {
    let live = graph.live();
    let mut rebuild = Rebuild::without_inputs(graph);
    graph.ids().filter(|id| live[id.index()]).for_each(|id| rebuild.copy(id));
    for (name, value) in graph.outputs() {
        rebuild.builder().output(name, rebuild.get(value));
    }
    rebuild.finish_as_built()
}

/// The results of a batch norm with running statistics in place of the batch's.
fn at_rest(
    graph: &Graph,
    rebuild: &mut Rebuild<'_>,
    id: NodeId,
    op: BatchNormTrain,
) -> Result<Vec<Value>, FreezeError> {
    let followed = |output: u32, what: &'static str| {
        let batch = Value { node: id, output };
        let found = graph.updates().find_map(|(state, next)| Some((state, follows(graph, state, next, batch)?)));
        found.ok_or_else(|| FreezeError::NoStatistics { what, node: graph.describe(id) })
    };
    let statistics = [followed(1, "mean")?, followed(2, "variance")?];
    // A shift may be computed by nodes that no output needs, or that come later: they depend on parameters alone.
    for shift in statistics.iter().filter_map(|&(_, shift)| shift) {
        let cone = graph.reaching([shift.node]);
        graph.ids().filter(|id| cone[id.index()]).for_each(|id| rebuild.copy(id));
    }
    let [mean, var] = statistics.map(|(state, shift)| {
        let running = rebuild.get(Value::first(state));
        shift.map_or(running, |shift| running - rebuild.get(shift))
    });
    let operands = graph.node(id).operands();
    let [x, gamma, beta] = [0, 1, 2].map(|slot| rebuild.get(operands[slot]));
    let y = rebuild.attributed("freeze", id, || x.batch_norm_infer([gamma, beta, mean, var], op.axis, op.eps.0));
    Ok([y, mean, var].map(Expr::value).to_vec())
}

/// If `next` mixes `state` with `batch + shift`: that shift, or none.
fn follows(graph: &Graph, state: NodeId, next: Value, batch: Value) -> Option<Option<Value>> {
    let operands = |value: Value| graph.node(value.node).operands();
    let is = |value: Value, op: Binary| matches!(graph.node(value.node).op(), Op::Binary(found) if *found == op);
    // A factor of either side of the mixture, with its constant read through.
    let factor = |value: Value| -> Option<Value> {
        let sides = operands(value);
        (is(value, Binary::Mul)).then(|| sides.iter().copied().find(|&side| !is_constant(graph, side)))?
    };
    let sum = |value: Value| is(value, Binary::Add).then(|| [operands(value)[0], operands(value)[1]]);
    let [a, b] = sum(next)?;
    // A weight of 1, where nothing of the state is kept, may have been tidied away.
    let new = if factor(a) == Some(Value::first(state)) {
        factor(b).unwrap_or(b)
    } else if factor(b) == Some(Value::first(state)) {
        factor(a).unwrap_or(a)
    } else {
        return None;
    };
    if new == batch {
        return Some(None);
    }
    match sum(new)? {
        [a, shift] if a == batch && is_parameters_alone(graph, shift) => Some(Some(shift)),
        [shift, b] if b == batch && is_parameters_alone(graph, shift) => Some(Some(shift)),
        _ => None,
    }
}

fn is_parameters_alone(graph: &Graph, value: Value) -> bool {
    let cone = graph.reaching([value.node]);
    let is_data = |id: &NodeId| graph.as_input(*id).is_some_and(|(_, role)| role == Role::Data);
    !graph.ids().filter(|id| cone[id.index()]).any(|id| is_data(&id))
}

fn is_constant(graph: &Graph, value: Value) -> bool {
    let mut value = value;
    while let Op::Broadcast(_) = graph.node(value.node).op() {
        value = graph.node(value.node).operands()[0];
    }
    matches!(graph.node(value.node).op(), Op::Constant(_))
}
