//! Joins a product with the bias and ReLU behind it: they are applied to each tile while it is in registers.

use crate::kernel::{BufferId, Finish, GemmCall, Kernel, MapCall, MapOp, Pattern, Slot};
use crate::ops::{Binary, Unary};
use crate::plan::{Plan, Storage};

pub(in crate::plan) fn finish_products(plan: &mut Plan) {
    let readers = plan.readers();
    let outputs: Vec<BufferId> = plan.outputs.iter().map(|&(_, buffer)| buffer).collect();
    let mut gone = vec![false; plan.steps.len()];
    for at in 0..plan.steps.len() {
        let Kernel::Gemm(gemm) = &plan.steps[at].call else { continue };
        let Some(&[reader]) = readers.get(&gemm.c).map(Vec::as_slice) else { continue };
        let Kernel::Map(map) = &plan.steps[reader].call else { continue };
        let one_half = (at < plan.commit) == (reader < plan.commit);
        let Some((finish, result)) = finish_of(plan, gemm, map).filter(|_| one_half && !outputs.contains(&gemm.c))
        else {
            continue;
        };
        gone[reader] = true;
        plan.steps[at].joined = Some(plan.steps[reader].node);
        if let Kernel::Gemm(gemm) = &mut plan.steps[at].call {
            (gemm.finish, gemm.c) = (finish, result);
        }
    }
    plan.remove(&gone);
}

/// The map as a finish of the product, and the buffer of its result.
fn finish_of(plan: &Plan, gemm: &GemmCall, map: &MapCall) -> Option<(Finish, BufferId)> {
    let [output] = map.outputs.as_slice() else { return None };
    let in_arena = matches!(plan.buffers[output.buffer].storage, Storage::Arena(_));
    if gemm.batch != 1 || map.len != gemm.m * gemm.n || !in_arena || output.dtype != gemm.dtype {
        return None;
    }
    let is_product = |slot: Slot| {
        matches!(slot, Slot::Input(input) if map.inputs[input].buffer == gemm.c
            && map.inputs[input].pattern == Pattern::Full && map.inputs[input].offset == 0)
    };
    // A bias must be there before the product runs, as what no step computes is.
    let bias = |slot: Slot| match slot {
        Slot::Input(input) => {
            let from = &map.inputs[input];
            let by_column = from.pattern == Pattern::Middle { period: gemm.n, repeat: 1 }
                || (gemm.m == 1 && from.pattern == Pattern::Full);
            let is_given = matches!(plan.buffers[from.buffer].storage, Storage::State(_) | Storage::Constant(_));
            (by_column && is_given && from.offset == 0).then_some(from.buffer)
        }
        _ => None,
    };
    let mut finish = Finish::default();
    let mut value = None;
    for instruction in &map.code {
        let [a, b, ..] = instruction.operands;
        let is_value = |slot: Slot| value.map_or_else(|| is_product(slot), |value| value == slot);
        match instruction.op {
            MapOp::Binary(Binary::Add) if value.is_none() && is_value(a) => finish.bias = Some(bias(b)?),
            MapOp::Binary(Binary::Add) if value.is_none() && is_value(b) => finish.bias = Some(bias(a)?),
            MapOp::Unary(Unary::Relu) if !finish.relu && is_value(a) => finish.relu = true,
            _ => return None,
        }
        value = Some(instruction.result);
    }
    Some((finish, output.buffer))
}
