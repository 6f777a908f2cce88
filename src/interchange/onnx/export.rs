//! A graph in ONNX: its inputs, its nodes one after another, its outputs. What a node becomes is its op's own answer,
//! [`OpDef::onnx`](crate::op::OpDef::onnx).

use super::OnnxError;
use super::emit::{Emitter, element_of};
use super::error::Unsupported;
use super::proto::{Dimension, Extent, GraphProto, ShapeProto, TensorTypeProto, TypeProto, ValueInfo};
use crate::ir::{Bindings, Dim, Graph, NodeId, TensorType, Value, Weights};
use crate::op::Role;
use crate::op::onnx::{Held, Onnx, Refusal};
use std::collections::{HashMap, HashSet};

/// A graph in ONNX, but for its weights.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) graph: GraphProto,
    /// The parameters and states that the outputs need, in the order of their declaration.
    pub(super) weights: Vec<String>,
}

/// The graph's nodes, inputs and outputs; the weights give symbols of parameters their sizes, nothing else.
pub(super) fn export(graph: &Graph, weights: &Weights) -> Result<Export, OnnxError> {
    let live = graph.reaching(graph.outputs().map(|(_, value)| value.node));
    let (stored, bindings) = check_weights(graph, &live, weights)?;
    let mut emitter = Emitter::new(bindings);
    reserve_names(graph, &live, &mut emitter)?;
    for (name, id) in graph.inputs().filter(|&(_, id)| role(graph, id) == Some(Role::Data)) {
        let ty = emitter.resolved(&graph.node(id).types()[0]);
        for (axis, &dim) in ty.shape.iter().enumerate() {
            if let Dim::Symbol(symbol) = dim {
                emitter.symbols.entry(symbol).or_insert_with(|| (name.to_owned(), axis));
            }
        }
        emitter.graph.input.push(value_info(name, &ty));
    }
    let (values, mut unsupported) = export_nodes(graph, &live, &mut emitter);
    unsupported.extend(graph.updates().map(|(state, _)| {
        let Refusal { why, help } = Refusal::training("it has a next value, and ONNX has no state");
        Unsupported { op: "update", node: graph.describe(state), why, help }
    }));
    emitter.scope.clear();
    let mut outputs = Vec::new();
    for (name, value) in graph.outputs() {
        match emitter.whole(&values[value.node.index()][value.output as usize]) {
            Ok(whole) => outputs.push((name, whole)),
            Err(refusal) => unsupported.push(unsupported_at(graph, value.node, refusal)),
        }
        let ty = emitter.resolved(graph.ty(value));
        emitter.graph.output.push(value_info(name, &ty));
    }
    if !unsupported.is_empty() {
        return Err(OnnxError::Unsupported(unsupported));
    }
    name_outputs(&mut emitter, outputs);
    Ok(Export { graph: emitter.graph, weights: stored })
}

fn role(graph: &Graph, id: NodeId) -> Option<Role> {
    graph.as_input(id).map(|(_, role)| role)
}

/// The names of the weights that are needed, and the sizes that they give to symbols.
fn check_weights(graph: &Graph, live: &[bool], weights: &Weights) -> Result<(Vec<String>, Bindings), OnnxError> {
    let (mut stored, mut bindings, mut problems) = (Vec::new(), Bindings::new(), Vec::new());
    for (name, id) in graph.inputs().filter(|(_, id)| live[id.index()]) {
        if role(graph, id) == Some(Role::Data) {
            continue;
        }
        let ty = &graph.node(id).types()[0];
        let Some(weight) = weights.get(name) else {
            problems.push(format!("`{name}` ({ty}) is missing; give its value under that name"));
            continue;
        };
        let fits = weight.dtype() == ty.dtype
            && weight.shape().len() == ty.rank()
            && ty.shape.iter().zip(weight.shape()).all(|(dim, &size)| match *dim {
                Dim::Known(known) => known == size,
                Dim::Symbol(symbol) => *bindings.or_insert(symbol, size) == size,
            });
        if fits {
            stored.push(name.to_owned());
        } else {
            problems.push(format!(
                "`{name}` is {ty} in the graph, but {} was given; give a value of its type",
                weight.ty()
            ));
        }
    }
    if problems.is_empty() { Ok((stored, bindings)) } else { Err(OnnxError::Weights(problems)) }
}

fn reserve_names(graph: &Graph, live: &[bool], emitter: &mut Emitter) -> Result<(), OnnxError> {
    let refuse = |what, name: &str, why| Err(OnnxError::Name { what, name: name.into(), why });
    const UNNAMED: &str = "has no name, which ONNX reads as left out; give it one";
    for (name, _) in graph.inputs().filter(|&(_, id)| live[id.index()] || role(graph, id) == Some(Role::Data)) {
        if name.is_empty() {
            return refuse("input", name, UNNAMED);
        }
        emitter.reserve(name);
    }
    for (name, _) in graph.outputs() {
        if name.is_empty() {
            return refuse("output", name, UNNAMED);
        }
        if !emitter.reserve(name) {
            return refuse("output", name, "has an input's name, and ONNX would take them for one value; rename it");
        }
    }
    Ok(())
}

/// The results of each live node, by id, and everything that was refused.
fn export_nodes(graph: &Graph, live: &[bool], emitter: &mut Emitter) -> (Vec<Vec<Held>>, Vec<Unsupported>) {
    let mut values: Vec<Vec<Held>> = vec![Vec::new(); graph.len()];
    let mut unsupported = Vec::new();
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        let types: Vec<TensorType> = node.types().iter().map(|ty| emitter.resolved(ty)).collect();
        let stand_in = |name: &str| -> Vec<Held> { types.iter().map(|ty| Held::of(name.to_owned(), ty)).collect() };
        if let Some((name, _)) = graph.as_input(id) {
            values[id.index()] = stand_in(name);
            continue;
        }
        let operand = |operand: &Value| values[operand.node.index()][operand.output as usize].clone();
        let operands: Vec<Held> = node.operands().iter().map(operand).collect();
        emitter.scope = graph.scope(id).unwrap_or_default().to_owned();
        values[id.index()] = match node.op().onnx(emitter, &operands, &types[0]) {
            Ok(held) => vec![held],
            Err(refusal) => {
                // Going on, as if there were a value, finds everything that is to be refused.
                unsupported.push(unsupported_at(graph, id, refusal));
                stand_in("")
            }
        };
    }
    (values, unsupported)
}

fn unsupported_at(graph: &Graph, id: NodeId, refusal: Refusal) -> Unsupported {
    let Refusal { why, help } = refusal;
    Unsupported { op: graph.node(id).op().name(), node: graph.describe(id), why, help }
}

impl Emitter {
    /// The type with the symbols that parameters fix replaced by their sizes.
    fn resolved(&self, ty: &TensorType) -> TensorType {
        TensorType { dtype: ty.dtype, shape: self.resolve(&ty.shape) }
    }
}

fn value_info(name: &str, ty: &TensorType) -> ValueInfo {
    let dimension = |dim: &Dim| Dimension {
        extent: Some(match dim {
            Dim::Known(size) => Extent::Known(*size as i64),
            Dim::Symbol(symbol) => Extent::Symbol(symbol.name().to_owned()),
        }),
    };
    let shape = ShapeProto { dim: ty.shape.iter().map(dimension).collect() };
    let tensor = TensorTypeProto { elem_type: element_of(ty.dtype), shape: Some(shape) };
    ValueInfo { name: name.to_owned(), ty: Some(TypeProto { tensor: Some(tensor) }) }
}

/// Gives the values that are outputs the outputs' names; what has a name of its own, or two, is passed through.
fn name_outputs(e: &mut Emitter, outputs: Vec<(&str, String)>) {
    let made: HashSet<String> = e.graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    let mut renamed: HashMap<String, &str> = HashMap::new();
    let mut passed: Vec<(String, &str)> = Vec::new();
    for (name, value) in outputs {
        if made.contains(&value) && !renamed.contains_key(&value) {
            renamed.insert(value, name);
        } else {
            passed.push((value, name));
        }
    }
    for (value, name) in passed {
        e.node("Identity", &[&value], &[]);
        if let Some(output) = e.graph.node.last_mut().and_then(|node| node.output.first_mut()) {
            *output = name.to_owned();
        }
    }
    for node in &mut e.graph.node {
        for value in node.input.iter_mut().chain(&mut node.output) {
            if let Some(name) = renamed.get(value) {
                *value = (*name).to_owned();
            }
        }
    }
}
