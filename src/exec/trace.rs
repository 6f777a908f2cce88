//! Finds the node that first made a NaN or an infinity, by running the graph again through the reference interpreter.

use super::Cause;
use crate::ir::{Graph, NodeId, OrderedMap, Tensor};
use crate::plan::Plan;
use crate::reference::{Array, Number, interpret_all};

/// The first node whose operands are all finite and whose result is not, as a person would name it.
pub(super) fn first_not_finite(graph: &Graph, plan: &Plan, feeds: &[&Tensor], states: &[Tensor]) -> Option<Cause> {
    let names = plan.feeds().iter().chain(plan.states()).map(|port| port.name.as_str());
    let tensors: Vec<(&str, &Tensor)> = names.zip(feeds.iter().copied().chain(states)).collect();
    for (name, tensor) in &tensors {
        let not_finite = |(_, value): &(usize, f64)| !value.is_finite();
        if let Some((element, value)) = tensor.to_f64().into_iter().enumerate().find(not_finite) {
            return Some(Cause::Given { name: (*name).to_owned(), element, value });
        }
    }
    // Overflow depends on the precision: f32 graphs are traced in f32.
    let single = graph.nodes().any(|(_, node)| node.types().iter().any(|ty| ty.dtype == crate::ir::DType::F32));
    if single { trace::<f32>(graph, &tensors) } else { trace::<f64>(graph, &tensors) }.map(Cause::Made)
}

fn trace<S: Number>(graph: &Graph, tensors: &[(&str, &Tensor)]) -> Option<String> {
    let feeds: OrderedMap<String, Array<S>> =
        tensors.iter().map(|(name, tensor)| ((*name).to_owned(), Array::from_tensor(tensor))).collect();
    let values = interpret_all(graph, &feeds).ok()?;
    let bad = |results: &[Array<S>]| results.iter().any(|result| not_finite(result).is_some());
    let live = graph.live();
    // An infinity in a constant (the identity of a maximum, say) is meant.
    let first = graph.nodes().find(|(id, node)| {
        live[id.index()]
            && !node.operands().is_empty()
            && bad(&values[id.index()])
            && !node.operands().iter().any(|operand| bad(&values[operand.node.index()]))
    })?;
    Some(describe(graph, first.0, &values))
}

fn describe<S: Number>(graph: &Graph, id: NodeId, values: &[Vec<Array<S>>]) -> String {
    let value = values[id.index()].iter().find_map(not_finite).unwrap_or(f64::NAN);
    let ranges: Vec<String> = graph
        .node(id)
        .operands()
        .iter()
        .filter_map(|operand| match &values[operand.node.index()][operand.output as usize] {
            Array::Real(array) => {
                let all = || array.data.iter().map(|v| v.to_f64());
                let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
                Some(format!("{operand} in [{low:.3e}, {high:.3e}]"))
            }
            _ => None,
        })
        .collect();
    format!("the first value that is not finite is {value}, made by {} from {}", graph.describe(id), ranges.join(", "))
}

fn not_finite<S: Number>(array: &Array<S>) -> Option<f64> {
    match array {
        Array::Real(array) => array.data.iter().map(|v| v.to_f64()).find(|v| !v.is_finite()),
        _ => None,
    }
}
