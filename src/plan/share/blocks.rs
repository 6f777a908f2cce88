//! Chooses the memory layout of parameters that an executable holds itself: [`Blocks`] of columns, each contiguous.

use crate::kernel::{Blocks, BufferId, GemmMapCall, Kernel, MapCall, Method, Pattern};
use crate::plan::{Plan, Storage};
use std::collections::HashMap;

/// Gives blocks to every state that is only multiplied from the right, or updated behind a product of its shape, if the
/// plan is for held state. Otherwise products with these states are still computed as if they had blocks: a result has
/// the same bits whether state is held or not.
pub(in crate::plan) fn choose_layouts(plan: &mut Plan, held: bool) {
    let mut candidates: Vec<Option<Blocks>> = plan.states.iter().map(|port| Blocks::worthwhile(&port.shape)).collect();
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
        match &step.call {
            Kernel::Gemm(gemm) if gemm.batch == 1 => {
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
            Kernel::GemmMap(fused) => {
                if let Some(members) = updated(fused, &states, &candidates) {
                    fine.clone_from(&members);
                    group = members;
                }
            }
            _ => {}
        }
        for buffer in step.call.reads().into_iter().chain(step.call.writes()) {
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
        plan.layouts = vec![None; plan.states.len()];
        for step in &mut plan.steps {
            // Tiles over panels are what a product over blocks is made of; faer sums in another order.
            if let Kernel::Gemm(gemm) = &mut step.call
                && gemm.method == Method::Faer
                && states.get(&gemm.b.buffer).is_some_and(|&state| candidates[state].is_some())
            {
                gemm.method = Method::Packed;
            }
        }
        return;
    }
    for (step, group) in plan.steps.iter_mut().zip(&groups) {
        match &mut step.call {
            Kernel::Gemm(gemm) => gemm.blocks = states.get(&gemm.b.buffer).and_then(|&state| candidates[state]),
            Kernel::GemmMap(fused) => {
                if let Some(blocks) = group.first().and_then(|&state| candidates[state]) {
                    fused.lay_out(blocks);
                }
            }
            _ => {}
        }
    }
    plan.layouts = candidates;
}

/// The states that a joined update reads and writes element for element, if that is all it touches.
fn updated(
    fused: &GemmMapCall,
    states: &HashMap<BufferId, usize>,
    candidates: &[Option<Blocks>],
) -> Option<Vec<usize>> {
    let GemmMapCall { gemm, map: MapCall { inputs, outputs, .. }, input, .. } = fused;
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
