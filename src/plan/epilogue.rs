//! Joins a product with the map that alone reads it, window by window: `dW` with the optimiser's update. The product is
//! then never stored.

use super::step::{Gemm, GemmMap, MapCode, Method};
use super::{BufferId, Finish, Pattern, Plan, Step, StepKind, Storage};
use crate::ir::NodeId;
use std::collections::HashMap;

/// Rows from which a product is worth splitting by rows, which a joined one is.
const FEWEST_ROWS: usize = 64;

/// Elements below which storing the product costs nothing that counts.
const FEWEST_ELEMENTS: usize = 1 << 14;

/// Bytes of a right operand that may be read again for each window of rows.
const SMALL_OPERAND: usize = 256 << 10;

/// Bytes of a window of whole rows: it stays in the first-level cache.
const WINDOW_BYTES: usize = 32 << 10;

/// Rows and bytes of a row of a window over few columns: it stays in the second-level cache.
const TALL_WINDOW: (usize, usize) = (512, 192);

pub(super) fn join_epilogues(plan: &mut Plan) {
    let readers = plan.readers();
    let mut pairs: HashMap<usize, (usize, usize)> = HashMap::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let StepKind::Gemm(gemm) = &step.kind else { continue };
        let Some(&[reader]) = readers.get(&gemm.c).map(Vec::as_slice) else { continue };
        let StepKind::Map(map) = &plan.steps[reader].kind else { continue };
        let is_free = gemm.finish == Finish::default()
            && !pairs.contains_key(&reader)
            && !plan.outputs.iter().any(|&(_, buffer)| buffer == gemm.c);
        // A parameter is better read in blocks of columns than once for each window of rows; and one that this step
        // reads could be overwritten before the map's turn.
        let reads_state = [gemm.a.buffer, gemm.b.buffer].iter().any(|&buffer| is_state(plan, buffer));
        let by_column = (map.outputs.iter().flat_map(|output| readers.get(&output.buffer)).flatten())
            .any(|&later| wants_columns(&plan.steps[later].kind));
        if let Some(input) = sole_input(gemm, map)
            && is_free
            && !reads_state
            && !by_column
        {
            pairs.insert(reader, (at, input));
        }
    }
    if pairs.is_empty() {
        return;
    }
    let mut products: HashMap<usize, (NodeId, Gemm)> = HashMap::new();
    let taken: HashMap<usize, usize> = pairs.iter().map(|(&reader, &(at, _))| (at, reader)).collect();
    let commit = plan.commit;
    let mut kept = Vec::with_capacity(plan.steps.len());
    for (at, Step { node, mut joined, kind, split }) in plan.steps.drain(..).enumerate() {
        if at == commit {
            plan.commit = kept.len();
        }
        let kind = match kind {
            StepKind::Gemm(gemm) if taken.contains_key(&at) => {
                products.insert(taken[&at], (node, gemm));
                continue;
            }
            StepKind::Map(map) => match (products.remove(&at), pairs.get(&at)) {
                (Some((product, gemm)), Some(&(_, input))) => {
                    joined = Some(product);
                    let window = window(&gemm);
                    StepKind::GemmMap(GemmMap { gemm, map, input, window, blocks: None })
                }
                _ => StepKind::Map(map),
            },
            other => other,
        };
        kept.push(Step { node, joined, kind, split });
    }
    if commit == pairs.len() + kept.len() {
        plan.commit = kept.len();
    }
    plan.steps = kept;
}

fn is_state(plan: &Plan, buffer: BufferId) -> bool {
    matches!(plan.buffers[buffer].storage, Storage::State(_))
}

fn wants_columns(kind: &StepKind) -> bool {
    matches!(kind, StepKind::BatchNormTrain { .. } | StepKind::BatchNormGrad { .. } | StepKind::Reduce { outer: 1, .. })
}

/// The input of the map that is the product, element for element, if it is read in no other way and worth joining.
fn sole_input(gemm: &Gemm, map: &MapCode) -> Option<usize> {
    let len = gemm.m * gemm.n;
    let is_large = gemm.batch == 1 && gemm.m >= FEWEST_ROWS && len >= FEWEST_ELEMENTS && gemm.method != Method::Faer;
    let mut inputs = map.inputs.iter().enumerate().filter(|(_, input)| input.buffer == gemm.c);
    let (index, input) = inputs.next().filter(|_| inputs.next().is_none())?;
    (is_large && map.len == len && input.pattern == Pattern::Full && input.offset == 0).then_some(index)
}

fn window(gemm: &Gemm) -> [usize; 2] {
    let size = gemm.dtype.size();
    if gemm.method == Method::Tile && gemm.k * gemm.n * size <= SMALL_OPERAND {
        let rows = WINDOW_BYTES / (gemm.n * size).max(1) / 8 * 8;
        return [rows.max(8), gemm.n];
    }
    let (rows, bytes) = TALL_WINDOW;
    [rows, bytes / size]
}
