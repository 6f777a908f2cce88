//! Chooses the memory layout of parameters that an executable holds itself: blocks of columns, each contiguous.
//!
//! A layer that is split by columns then reads and updates its own blocks only, so that no cache line moves between
//! cores, and the tiles of a product stream through memory. A block is a piece of a split by columns.

use super::split::pieces;
use super::step::{GemmMap, MapCode, Method};
use super::{BufferId, Pattern, Plan, Split, StepKind, Storage};
use std::collections::HashMap;
use std::ops::Range;

/// A matrix stored as blocks of columns, one after another, each of them row-major. The last takes up what would be a
/// narrow one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub rows: usize,
    pub columns: usize,
    pub width: usize,
}

impl Blocks {
    /// The columns of the block that holds one.
    pub(crate) fn around(self, column: usize) -> Range<usize> {
        let last = pieces(self.columns, self.width).saturating_sub(1);
        let at = (column / self.width).min(last);
        at * self.width..if at == last { self.columns } else { (at + 1) * self.width }
    }

    /// The blocks that columns are in, those at the ends cut off.
    pub(crate) fn within(self, columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut from = columns.start;
        std::iter::from_fn(move || {
            let part = (from < columns.end).then(|| from..self.around(from).end.min(columns.end))?;
            from = part.end;
            Some(part)
        })
    }

    /// Where an element is.
    pub(crate) fn at(self, row: usize, column: usize) -> usize {
        let block = self.around(column);
        block.start * self.rows + row * block.len() + column - block.start
    }

    /// Columns of the widest block.
    pub(crate) fn widest(self) -> usize {
        self.around(self.columns.saturating_sub(1)).len().max(self.width.min(self.columns))
    }
}

/// Columns from which a matrix is worth the trouble: below, it is not shared out.
const FEWEST_COLUMNS: usize = 96;

/// Rows of a window over a block: a few tiles, so that the update of one runs while the next is multiplied.
const WINDOW_ROWS: usize = 24;

/// Gives blocks to every state that is only multiplied from the right, or updated behind a product of its shape, if the
/// plan is for held state. Otherwise products with these states are still computed as if they had blocks: a result has
/// the same bits whether state is held or not.
pub(super) fn choose(plan: &mut Plan, held: bool) {
    let mut candidates: Vec<Option<Blocks>> = plan.states.iter().map(|port| blocks_of(&port.shape)).collect();
    candidates.iter_mut().zip(&plan.states).filter(|(_, port)| !port.dtype.is_float()).for_each(|(c, _)| *c = None);
    let mut multiplied = vec![false; plan.states.len()];
    let states: HashMap<BufferId, usize> = (plan.buffers.iter().enumerate())
        .filter_map(|(id, buffer)| match buffer.storage {
            Storage::State(index) => Some((id, index)),
            _ => None,
        })
        .collect();
    // Uses that need the state as it is rule it out; a joined update needs all of its states in one layout or none.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for step in &plan.steps {
        let (mut fine, mut group) = (Vec::new(), Vec::new());
        match &step.kind {
            StepKind::Gemm(gemm) if gemm.batch == 1 => {
                if let Some(&state) = states.get(&gemm.b.buffer)
                    && let Some(blocks) = candidates[state]
                    && gemm.a.buffer != gemm.b.buffer
                {
                    let (rows, columns) = ((gemm.b.row_stride, gemm.k), (gemm.b.column_stride, gemm.n));
                    let plain = ((blocks.columns, blocks.rows), (1, blocks.columns));
                    if (rows, columns) == plain || (columns, rows) == plain {
                        multiplied[state] |= (rows, columns) == plain;
                        fine.push(state);
                    }
                }
            }
            StepKind::GemmMap(fused) => {
                if let Some(members) = updated(fused, &states, &candidates) {
                    fine.clone_from(&members);
                    group = members;
                }
            }
            _ => {}
        }
        for buffer in step.kind.reads().into_iter().chain(step.kind.writes()) {
            if let Some(&state) = states.get(&buffer)
                && !fine.contains(&state)
            {
                candidates[state] = None;
            }
        }
        groups.push(group);
    }
    // A slot is not multiplied itself; it goes with the parameter that it is updated with.
    for group in &groups {
        let any = group.iter().any(|&state| multiplied[state]);
        group.iter().for_each(|&state| multiplied[state] |= any);
    }
    candidates.iter_mut().zip(&multiplied).filter(|(_, multiplied)| !**multiplied).for_each(|(c, _)| *c = None);
    loop {
        let broken = groups.iter().find(|group| {
            group.iter().any(|&state| candidates[state].is_none()) && group.iter().any(|&s| candidates[s].is_some())
        });
        let Some(broken) = broken else { break };
        broken.iter().for_each(|&state| candidates[state] = None);
    }
    if !held {
        for step in &mut plan.steps {
            // Tiles over panels are what a product over blocks is made of; faer sums in another order.
            if let StepKind::Gemm(gemm) = &mut step.kind
                && gemm.method == Method::Faer
                && states.get(&gemm.b.buffer).is_some_and(|&state| candidates[state].is_some())
            {
                gemm.method = Method::Packed;
            }
        }
        return;
    }
    for (step, group) in plan.steps.iter_mut().zip(&groups) {
        match &mut step.kind {
            StepKind::Gemm(gemm) => gemm.blocks = states.get(&gemm.b.buffer).and_then(|&state| candidates[state]),
            StepKind::GemmMap(fused) => {
                fused.blocks = group.first().and_then(|&state| candidates[state]);
                if let Some(blocks) = fused.blocks {
                    fused.window = [WINDOW_ROWS, blocks.widest()];
                }
            }
            _ => {}
        }
    }
    plan.layouts = candidates;
}

fn blocks_of(shape: &[usize]) -> Option<Blocks> {
    let &[rows, columns] = shape else { return None };
    let width = Split::columns(columns).unit();
    (columns >= FEWEST_COLUMNS && rows > 0).then_some(Blocks { rows, columns, width })
}

/// The states that a joined update reads and writes element for element, if that is all it touches.
fn updated(fused: &GemmMap, states: &HashMap<BufferId, usize>, candidates: &[Option<Blocks>]) -> Option<Vec<usize>> {
    let GemmMap { gemm, map: MapCode { inputs, outputs, .. }, input, .. } = fused;
    let full = inputs.iter().enumerate().filter(|&(index, from)| index != *input && from.pattern != Pattern::Scalar);
    let mut members = Vec::new();
    for buffer in full.map(|(_, from)| from.buffer).chain(outputs.iter().map(|output| output.buffer)) {
        let &state = states.get(&buffer)?;
        candidates[state].filter(|blocks| (blocks.rows, blocks.columns) == (gemm.m, gemm.n))?;
        members.push(state);
    }
    let whole = inputs.iter().all(|from| from.offset == 0 && matches!(from.pattern, Pattern::Full | Pattern::Scalar));
    let apart = [gemm.a.buffer, gemm.b.buffer].iter().all(|buffer| !states.contains_key(buffer));
    (whole && apart).then_some(members)
}
