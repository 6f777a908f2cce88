//! Joins batch norm with the ReLU behind it, and its backward with that of the ReLU: one visit of each block of columns.

use crate::kernel::{BufferId, Kernel, MapCall, MapOp, Pattern, Slot};
use crate::ops::{Compare, Unary};
use crate::plan::{Plan, Storage};
use std::collections::HashMap;

pub(in crate::plan) fn rectify_norms(plan: &mut Plan) {
    let readers = plan.readers();
    let mut makers: HashMap<BufferId, usize> = HashMap::new();
    for (at, step) in plan.steps.iter().enumerate() {
        makers.extend(step.call.writes().into_iter().map(|buffer| (buffer, at)));
    }
    // Written once, and so the same at any step behind.
    let in_arena = |buffer: BufferId| matches!(plan.buffers[buffer].storage, Storage::Arena(_));
    let read_by = |buffer: BufferId| {
        let is_output = plan.outputs.iter().any(|&(_, output)| output == buffer);
        readers.get(&buffer).map(Vec::as_slice).filter(|_| !is_output)
    };
    let one_half = |a: usize, b: usize| (a < plan.commit) == (b < plan.commit);
    let map_at = |at: usize| match &plan.steps[at].call {
        Kernel::Map(map) => Some(map),
        _ => None,
    };
    let mut gone = vec![false; plan.steps.len()];
    let mut joined: Vec<(usize, usize, Joined)> = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        match &step.call {
            Kernel::BatchNormTrain(norm) => {
                let y = &norm.results[0];
                let Some(&[reader]) = read_by(*y) else { continue };
                let rectified = map_at(reader).filter(|_| one_half(at, reader)).and_then(|map| relu_of(map, *y));
                let Some(rectified) = rectified.filter(|&result| in_arena(result)) else { continue };
                gone[reader] = true;
                joined.push((at, reader, Joined::Relu(rectified)));
            }
            Kernel::BatchNormGrad(norm) => {
                let dy = norm.operands[4];
                let Some(&maker) = makers.get(&dy).filter(|_| read_by(dy) == Some(&[at])) else { continue };
                let gated = map_at(maker).filter(|_| one_half(at, maker)).and_then(|map| gate_of(plan, map));
                let Some([gate, dy]) = gated.filter(|from| from.iter().all(|&buffer| in_arena(buffer))) else {
                    continue;
                };
                gone[maker] = true;
                joined.push((at, maker, Joined::Gate { gate, dy }));
            }
            _ => {}
        }
    }
    for (at, map, with) in joined {
        plan.steps[at].joined = Some(plan.steps[map].node);
        match (&mut plan.steps[at].call, with) {
            (Kernel::BatchNormTrain(norm), Joined::Relu(result)) => (norm.results[0], norm.relu) = (result, true),
            (Kernel::BatchNormGrad(norm), Joined::Gate { gate, dy }) => {
                (norm.operands[4], norm.gate) = (dy, Some(gate));
            }
            _ => {}
        }
    }
    plan.remove(&gone);
}

enum Joined {
    /// The buffer of the ReLU's result.
    Relu(BufferId),
    /// The cotangent, which counts where the gate is above 0.
    Gate { gate: BufferId, dy: BufferId },
}

/// The result of a map that is nothing but the ReLU of `y`.
fn relu_of(map: &MapCall, y: BufferId) -> Option<BufferId> {
    let ([only], [output]) = (map.code.as_slice(), map.outputs.as_slice()) else { return None };
    let is_relu = only.op == MapOp::Unary(Unary::Relu) && whole(map, only.operands[0]) == Some(y);
    is_relu.then_some(output.buffer)
}

/// The gate and the cotangent of a map that is nothing but `gate > 0 ? dy : 0`.
fn gate_of(plan: &Plan, map: &MapCall) -> Option<[BufferId; 2]> {
    let ([only], [_]) = (map.code.as_slice(), map.outputs.as_slice()) else { return None };
    let [gate, zero, dy, other] = only.operands;
    let is_zero = |slot: Slot| match slot {
        Slot::Input(input) => {
            let from = &map.inputs[input];
            match (from.pattern, plan.buffers[from.buffer].storage) {
                (Pattern::Scalar, Storage::Constant(index)) => plan.constants[index].item() == Some(0.0),
                _ => false,
            }
        }
        _ => false,
    };
    let is_gate = only.op == MapOp::SelectBy(Compare::Greater) && is_zero(zero) && is_zero(other);
    Some([whole(map, gate)?, whole(map, dy)?]).filter(|_| is_gate)
}

/// The buffer that a slot holds, element for element.
fn whole(map: &MapCall, slot: Slot) -> Option<BufferId> {
    match slot {
        Slot::Input(input) => {
            let from = &map.inputs[input];
            (from.pattern == Pattern::Full && from.offset == 0).then_some(from.buffer)
        }
        _ => None,
    }
}
