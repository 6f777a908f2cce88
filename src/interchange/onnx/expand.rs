//! A composite as its definition: the graph of it, exported node by node over the values of its operands.

use crate::ir::{Builder, Value};
use crate::op::onnx::{Definition, Exported, Held, Onnx};

/// The first result of a definition over these operands.
pub(super) fn expand(e: &mut dyn Onnx, definition: &Definition<'_>, operands: &[Held]) -> Exported<Held> {
    let builder = Builder::new();
    let declare = |(slot, held): (usize, &Held)| builder.input(&slot.to_string(), held.dtype, held.shape.clone());
    let inputs: Vec<_> = operands.iter().enumerate().map(declare).collect();
    let result: Option<Value> = definition(&inputs).and_then(|results| results.first().map(|result| result.value()));
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
            values[id.index()] = Some(node.op().onnx(e, &operands, &node.types()[0])?);
        }
    }
    match values.swap_remove(result.node.index()) {
        Some(held) => Ok(held),
        None => unreachable!("the result is live"),
    }
}
