//! What each op becomes: one decision for every op, in ONNX's own ops, in its expansion, or a reason why not.

mod arithmetic;
mod contraction;
mod elementwise;
mod indexing;
mod layout;

use super::OnnxError;
use super::emit::{Emitter, Held, Lowered, Refusal, element_of};
use super::error::Unsupported;
use super::proto::{Dimension, Extent, GraphProto, ShapeProto, TensorTypeProto, TypeProto, ValueInfo};
use crate::ir::{Bindings, Builder, DType, Dim, Graph, NodeId, Role, Shape, TensorType, Value, Weights};
use crate::op::Op;
use std::collections::{HashMap, HashSet};

/// A graph in ONNX, but for its weights.
#[derive(Debug)]
pub(super) struct Lowering {
    pub(super) graph: GraphProto,
    /// The parameters and states that the outputs need, in the order of their declaration.
    pub(super) weights: Vec<String>,
}

const TRAINING: &str = "export the inference graph: `model.graph(Mode::Inference, DType::F32)`";

/// The graph's nodes, inputs and outputs; the weights give symbols of parameters their sizes, nothing else.
pub(super) fn lower(graph: &Graph, weights: &Weights) -> Result<Lowering, OnnxError> {
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
    let (values, mut unsupported) = lower_nodes(graph, &live, &mut emitter);
    unsupported.extend(graph.updates().map(|(state, _)| Unsupported {
        op: "update",
        node: graph.describe(state),
        why: "it has a next value, and ONNX has no state".to_owned(),
        help: TRAINING,
    }));
    emitter.scope.clear();
    let mut outputs = Vec::new();
    for (name, value) in graph.outputs() {
        match emitter.whole(&values[value.node.index()][value.output as usize]) {
            Ok(whole) => outputs.push((name, whole)),
            Err(refusal) => unsupported.push(refusal.at(graph, value.node)),
        }
        let ty = emitter.resolved(graph.ty(value));
        emitter.graph.output.push(value_info(name, &ty));
    }
    if !unsupported.is_empty() {
        return Err(OnnxError::Unsupported(unsupported));
    }
    name_outputs(&mut emitter, outputs);
    Ok(Lowering { graph: emitter.graph, weights: stored })
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
fn lower_nodes(graph: &Graph, live: &[bool], emitter: &mut Emitter) -> (Vec<Vec<Held>>, Vec<Unsupported>) {
    let mut values: Vec<Vec<Held>> = vec![Vec::new(); graph.len()];
    let mut unsupported = Vec::new();
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        let types: Vec<TensorType> = node.types().iter().map(|ty| emitter.resolved(ty)).collect();
        let stand_in = |name: &str| -> Vec<Held> {
            let held = |ty: &TensorType| Held {
                name: name.to_owned(),
                dtype: ty.dtype,
                shape: ty.shape.clone(),
                held: ty.shape.clone(),
            };
            types.iter().map(held).collect()
        };
        if let Some((name, _)) = graph.as_input(id) {
            values[id.index()] = stand_in(name);
            continue;
        }
        let operand = |operand: &Value| values[operand.node.index()][operand.output as usize].clone();
        let operands: Vec<Held> = node.operands().iter().map(operand).collect();
        emitter.scope = graph.scope(id).unwrap_or_default().to_owned();
        values[id.index()] = match lower_op(emitter, node.op(), &operands, &types[0]) {
            Ok(held) => vec![held],
            Err(refusal) => {
                // Going on, as if there were a value, finds everything that is to be refused.
                unsupported.push(refusal.at(graph, id));
                stand_in("")
            }
        };
    }
    (values, unsupported)
}

impl Refusal {
    fn at(self, graph: &Graph, id: NodeId) -> Unsupported {
        let Refusal { why, help } = self;
        Unsupported { op: graph.node(id).op().name(), node: graph.describe(id), why, help }
    }
}

fn training(why: &str) -> Lowered<Held> {
    Err(Refusal { why: why.to_owned(), help: TRAINING })
}

/// One op over values that are there already. Every op is decided here.
fn lower_op(e: &mut Emitter, op: &Op, operands: &[Held], ty: &TensorType) -> Lowered<Held> {
    // Attributes of ONNX are single precision: a slope or an ε of a float64 graph would lose digits.
    let single = ty.dtype == DType::F32;
    match (op, operands) {
        (Op::Input(_), _) => unreachable!("inputs have names, and are no nodes of ONNX"),
        (Op::Constant(constant), _) => {
            let name = e.constant(constant.tensor());
            Ok(Held { name, dtype: ty.dtype, shape: ty.shape.clone(), held: ty.shape.clone() })
        }
        (Op::RandomUniform(_), _) => training("ONNX has no random numbers that are a function of a key"),
        (Op::Dropout(_), _) => training("dropout draws random numbers, and belongs to training"),
        (Op::BatchNormTrain(_), _) => training("batch norm over the batch's own statistics belongs to training"),
        (Op::BatchNormGrad(_), _) => training("a gradient belongs to training"),
        (Op::StopGradient(_), [x]) => Ok(x.clone()),

        (Op::Unary(unary), [x]) => Ok(elementwise::unary(e, *unary, x)),
        (Op::Binary(binary), [a, b]) => elementwise::binary(e, *binary, a, b),
        (Op::Compare(compare), [a, b]) => Ok(elementwise::compare(e, *compare, a, b)),
        (Op::Select(_), [mask, a, b]) => Ok(elementwise::select(e, mask, a, b)),
        (Op::Clamp(_), [x, low, high]) => Ok(elementwise::clamp(e, x, low, high)),
        (Op::Cast(_), [x]) => Ok(elementwise::cast(e, x, ty.dtype)),
        (Op::LeakyRelu(leaky), [x]) if single => Ok(elementwise::sloped(e, "LeakyRelu", leaky.alpha.0, x)),
        (Op::Elu(elu), [x]) if single => Ok(elementwise::sloped(e, "Elu", elu.alpha.0, x)),
        (Op::Selu(_), [x]) if single => Ok(elementwise::map(e, "Selu", &[x], ty.dtype)),
        (Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_), _) => expand(e, op, operands),
        // ONNX defines `Softplus` by a formula that overflows, and some runtimes compute just that.
        (Op::Softplus(_), _) => expand(e, op, operands),
        // ONNX has GELU from opset 20 on; runtimes recognise this form of it.
        (Op::Gelu(_) | Op::Silu(_), _) => expand(e, op, operands),

        (Op::Size(size), _) => layout::size(e, size, ty),
        (Op::Iota(iota), _) => layout::iota(e, iota, ty),
        (Op::Broadcast(broadcast), [x]) => Ok(layout::broadcast(e, broadcast, x, ty)),
        (Op::Reshape(_), [x]) => layout::reshape(e, x, ty),
        (Op::Transpose(transpose), [x]) => layout::transpose(e, transpose, x, ty),
        (Op::Slice(slice), [x]) => layout::slice(e, slice, x, ty),
        (Op::Pad(pad), [x, value]) => layout::pad(e, pad, x, value, ty),
        (Op::Concat(concat), parts) => layout::concat(e, concat, parts, ty),

        (Op::Dot(dot), [a, b]) => contraction::dot(e, dot, a, b, ty),
        (Op::Dense(_), [x, kernel, bias]) => contraction::dense(e, x, kernel, bias, ty),
        (Op::Reduce(reduce), [x]) => arithmetic::reduce(e, reduce, x, ty),
        (Op::Mean(mean), [x]) => arithmetic::mean(e, mean, x, ty),
        (Op::Softmax(softmax), [x]) => arithmetic::along(e, "Softmax", softmax.axis, x),
        (Op::LogSoftmax(softmax), [x]) => arithmetic::along(e, "LogSoftmax", softmax.axis, x),
        (Op::BatchNormInfer(norm), [x, vectors @ ..]) if single && norm.axis == 1 => {
            arithmetic::batch_norm(e, norm, x, vectors)
        }
        (Op::BatchNormInfer(_) | Op::SoftmaxCrossEntropy(_), _) => expand(e, op, operands),

        (Op::ArgMax(arg_max), [x]) => indexing::arg_max(e, arg_max, x, ty),
        (Op::OneHot(_), [index]) => Ok(indexing::one_hot(e, index, ty)),
        (Op::TakeAlongAxis(take), [x, index]) => indexing::take(e, take.axis, x, index, ty),
        (Op::ScatterAlongAxis(scatter), [x, index]) => indexing::scatter(e, scatter.axis, x, index, ty),

        // The type rules count operands; the ops are named so that a new one must be decided on.
        (
            Op::StopGradient(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select(_)
            | Op::Clamp(_)
            | Op::Cast(_)
            | Op::Broadcast(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Dot(_)
            | Op::Dense(_)
            | Op::Reduce(_)
            | Op::Mean(_)
            | Op::Softmax(_)
            | Op::LogSoftmax(_)
            | Op::ArgMax(_)
            | Op::OneHot(_)
            | Op::TakeAlongAxis(_)
            | Op::ScatterAlongAxis(_),
            _,
        ) => unreachable!("a node has as many operands as its op takes: V3"),
    }
}

/// A composite by its definition in smaller ops.
fn expand(e: &mut Emitter, op: &Op, operands: &[Held]) -> Lowered<Held> {
    let builder = Builder::new();
    let declare = |(slot, held): (usize, &Held)| builder.input(&slot.to_string(), held.dtype, held.shape.clone());
    let inputs: Vec<_> = operands.iter().enumerate().map(declare).collect();
    let result: Option<Value> = op.expand(&inputs).and_then(|results| results.first().map(|result| result.value()));
    let (Some(result), Ok(graph)) = (result, builder.finish()) else {
        unreachable!("a composite expands wherever its type rule holds: law L1")
    };
    let live = graph.reaching([result.node]);
    let mut values: Vec<Option<Held>> = vec![None; graph.len()];
    for (slot, (_, id)) in graph.inputs().enumerate() {
        values[id.index()] = Some(operands[slot].clone());
    }
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        if values[id.index()].is_none() {
            let operands: Vec<Held> =
                node.operands().iter().filter_map(|operand| values[operand.node.index()].clone()).collect();
            values[id.index()] = Some(lower_op(e, node.op(), &operands, &node.types()[0])?);
        }
    }
    match values.swap_remove(result.node.index()) {
        Some(held) => Ok(held),
        None => unreachable!("the result is live"),
    }
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

/// The axes of a shape, each as a product of dimensions.
fn axes_of(shape: &Shape) -> Vec<Vec<Dim>> {
    shape.iter().map(|&dim| vec![dim]).collect()
}
