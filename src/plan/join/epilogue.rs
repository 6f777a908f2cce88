//! Joins a product with the map that alone reads it, window by window: `dW` with the optimiser's update. The product is
//! then never stored.

use crate::kernel::{BufferId, Call, Finish, GemmCall, GemmMapCall, Kernel, MapCall, Own, Pattern, Split};
use crate::plan::{Plan, Step, Storage};
use std::collections::HashMap;

pub(in crate::plan) fn join_epilogues(plan: &mut Plan) {
    let pairs = pairs(plan);
    let mut steps: Vec<Option<Step>> = std::mem::take(&mut plan.steps).into_iter().map(Some).collect();
    for (reader, Pair { product: at, input }) in pairs {
        let (product, map) = (steps[at].take(), steps[reader].take());
        steps[reader] = match (product, map) {
            (
                Some(Step { node: product, call: Kernel::Gemm(gemm), .. }),
                Some(Step { node, call: Kernel::Map(map), .. }),
            ) => {
                let window = GemmMapCall::window(&gemm);
                let call = GemmMapCall { gemm, map, input, window, blocks: None };
                Some(Step { joined: Some(product), ..Step::new(node, Kernel::GemmMap(call)) })
            }
            _ => unreachable!("a pair is a product and a map"),
        };
    }
    plan.put(steps);
}

/// A product that a map reads.
struct Pair {
    product: usize,
    /// Which input of the map it is.
    input: usize,
}

/// The maps that take up a product, and which.
fn pairs(plan: &Plan) -> HashMap<usize, Pair> {
    let readers = plan.readers();
    let mut pairs: HashMap<usize, Pair> = HashMap::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let Kernel::Gemm(gemm) = &step.call else { continue };
        let Some(&[reader]) = readers.get(&gemm.c).map(Vec::as_slice) else { continue };
        let Kernel::Map(map) = &plan.steps[reader].call else { continue };
        let is_free = gemm.finish == Finish::default()
            && !pairs.contains_key(&reader)
            && !plan.outputs.iter().any(|&(_, buffer)| buffer == gemm.c);
        // A parameter is better read in blocks of columns than once for each window of rows; and one that this step
        // reads could be overwritten before the map's turn.
        let reads_state = [gemm.a.buffer, gemm.b.buffer].iter().any(|&buffer| is_state(plan, buffer));
        let by_column = map.outputs.iter().any(|output| {
            let later = readers.get(&output.buffer).into_iter().flatten();
            later.into_iter().any(|&later| wants_columns(&plan.steps[later].call, output.buffer))
        });
        if let Some(input) = sole_input(gemm, map)
            && is_free
            && !reads_state
            && !by_column
        {
            pairs.insert(reader, Pair { product: at, input });
        }
    }
    pairs
}

fn is_state(plan: &Plan, buffer: BufferId) -> bool {
    matches!(plan.buffers[buffer].storage, Storage::State(_))
}

/// Whether a call gains if the buffer is made column by column.
fn wants_columns(call: &Kernel, buffer: BufferId) -> bool {
    let split = call.splits().own.first().map(|suited| suited.split);
    let is_by_column = |own: Own| matches!(own, Own::Positions(Split { inner: 1, .. }));
    let touches = call.touches();
    touches.iter().any(|touch| touch.buffer == buffer && touch.is_wished && is_by_column(touch.own(split)))
}

/// The input of the map that is the product, element for element, if it is read in no other way and worth joining.
fn sole_input(gemm: &GemmCall, map: &MapCall) -> Option<usize> {
    let mut inputs = map.inputs.iter().enumerate().filter(|(_, input)| input.buffer == gemm.c);
    let (index, input) = inputs.next().filter(|_| inputs.next().is_none())?;
    let is_whole = map.len == gemm.m * gemm.n && input.pattern == Pattern::Full && input.offset == 0;
    (is_whole && GemmMapCall::is_worthwhile(gemm)).then_some(index)
}
