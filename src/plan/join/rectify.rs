//! Joins batch norm with the ReLU behind it, and its backward with that of the ReLU: one visit of each block of columns.

use crate::kernel::{BatchNormGradCall, BatchNormTrainCall, BufferId, Kernel, MapCall, MapOp, Pattern, Slot};
use crate::ops::{Compare, Unary};
use crate::plan::{Plan, Step, Storage};
use std::collections::HashMap;

pub(in crate::plan) fn rectify_norms(plan: &mut Plan) {
    let around = Around::new(plan);
    let joins: Vec<Join> = (plan.steps.iter().enumerate())
        .filter_map(|(at, step)| match &step.call {
            Kernel::BatchNormTrain(norm) => around.relu_behind(at, norm),
            Kernel::BatchNormGrad(norm) => around.gate_before(at, norm),
            _ => None,
        })
        .collect();
    let mut gone = vec![false; plan.steps.len()];
    for Join { norm, map, with } in joins {
        gone[map] = true;
        plan.steps[norm].joined = Some(plan.steps[map].node);
        match (&mut plan.steps[norm].call, with) {
            (Kernel::BatchNormTrain(norm), With::Relu(result)) => (norm.results[0], norm.relu) = (result, true),
            (Kernel::BatchNormGrad(norm), With::Gate { gate, dy }) => (norm.operands[DY], norm.gate) = (dy, Some(gate)),
            _ => {}
        }
    }
    plan.remove(&gone);
}

/// The cotangent among the operands of batch norm's backward.
const DY: usize = 4;

/// A batch norm and a map, by their steps, that become one.
struct Join {
    norm: usize,
    map: usize,
    with: With,
}

enum With {
    /// The buffer of the ReLU's result.
    Relu(BufferId),
    /// The cotangent, which counts where the gate is above 0.
    Gate { gate: BufferId, dy: BufferId },
}

/// What stands around each step.
struct Around<'p> {
    plan: &'p Plan,
    readers: HashMap<BufferId, Vec<usize>>,
    makers: HashMap<BufferId, usize>,
}

impl Around<'_> {
    fn new(plan: &Plan) -> Around<'_> {
        let made = |(at, step): (usize, &Step)| step.call.writes().into_iter().map(move |buffer| (buffer, at));
        let makers = plan.steps.iter().enumerate().flat_map(made).collect();
        Around { plan, readers: plan.readers(), makers }
    }

    /// The map that alone reads what batch norm makes, if it is its ReLU.
    fn relu_behind(&self, norm: usize, call: &BatchNormTrainCall) -> Option<Join> {
        let y = call.results[0];
        let &[map] = self.read_by(y)? else { return None };
        let result = relu_of(self.map(norm, map)?, y).filter(|&result| self.is_in_arena(result))?;
        Some(Join { norm, map, with: With::Relu(result) })
    }

    /// The map that makes the cotangent, if that is a ReLU's and no one else reads it.
    fn gate_before(&self, norm: usize, call: &BatchNormGradCall) -> Option<Join> {
        let dy = call.operands[DY];
        let &map = self.makers.get(&dy).filter(|_| self.read_by(dy) == Some(&[norm]))?;
        let [gate, dy] = gate_of(self.plan, self.map(norm, map)?)?;
        (self.is_in_arena(gate) && self.is_in_arena(dy)).then_some(Join { norm, map, with: With::Gate { gate, dy } })
    }

    /// The map of a step on the same side of the line.
    fn map(&self, norm: usize, at: usize) -> Option<&MapCall> {
        let is_one_half = (norm < self.plan.commit) == (at < self.plan.commit);
        match &self.plan.steps[at].call {
            Kernel::Map(map) if is_one_half => Some(map),
            _ => None,
        }
    }

    /// The steps that read a buffer which no one outside of the plan does.
    fn read_by(&self, buffer: BufferId) -> Option<&[usize]> {
        let is_output = self.plan.outputs.iter().any(|&(_, output)| output == buffer);
        self.readers.get(&buffer).map(Vec::as_slice).filter(|_| !is_output)
    }

    /// Whether it is written once, and so the same at any step behind.
    fn is_in_arena(&self, buffer: BufferId) -> bool {
        matches!(self.plan.buffers[buffer].storage, Storage::Arena(_))
    }
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
