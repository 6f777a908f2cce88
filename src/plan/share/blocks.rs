//! Chooses the memory layout of parameters that an executable holds itself: [`Blocks`] of columns, each contiguous.

use crate::kernel::{Blocks, BufferId, GemmCall, GemmMapCall, Kernel, MapCall, Method, Pattern};
use crate::plan::{Plan, Step, Storage};
use std::collections::HashMap;

/// Gives blocks to every state that is only multiplied from the right, or updated behind a product of its shape, if the
/// plan is for held state. Otherwise products with these states are still computed as if they had blocks: a result has
/// the same bits whether state is held or not.
pub(in crate::plan) fn choose_layouts(plan: &mut Plan, held: bool) {
    let mut choice = Choice::new(plan);
    let groups: Vec<Vec<usize>> = plan.steps.iter().map(|step| choice.rule_out(step)).collect();
    choice.keep_multiplied(&groups);
    choice.keep_whole(&groups);
    if held {
        choice.lay_out(plan, &groups);
        plan.layouts = choice.layouts;
    } else {
        choice.compute_as_if(plan);
        plan.layouts = vec![None; plan.states.len()];
    }
}

struct Choice {
    // The states, by the buffers that stand for them.
    states: HashMap<BufferId, usize>,
    // The layout that each state may have.
    layouts: Vec<Option<Blocks>>,
    // The states that are right operands of a product.
    is_multiplied: Vec<bool>,
}

impl Choice {
    /// Every matrix of floats that is worth it.
    fn new(plan: &Plan) -> Choice {
        let states = plan.buffers.iter().enumerate().filter_map(|(id, buffer)| match buffer.storage {
            Storage::State(index) => Some((id, index)),
            _ => None,
        });
        let layout = |port: &crate::plan::Port| Blocks::worthwhile(&port.shape).filter(|_| port.dtype.is_float());
        Choice {
            states: states.collect(),
            layouts: plan.states.iter().map(layout).collect(),
            is_multiplied: vec![false; plan.states.len()],
        }
    }

    /// Rules out the states that a step needs as they are. Gives those that it updates together.
    fn rule_out(&mut self, step: &Step) -> Vec<usize> {
        let (fits, group) = match &step.call {
            Kernel::Gemm(gemm) => (self.multiplied(gemm).into_iter().collect(), Vec::new()),
            Kernel::GemmMap(fused) => {
                let updated = self.updated(fused).unwrap_or_default();
                (updated.clone(), updated)
            }
            _ => (Vec::new(), Vec::new()),
        };
        for buffer in step.call.reads().into_iter().chain(step.call.writes()) {
            if let Some(&state) = self.states.get(&buffer)
                && !fits.contains(&state)
            {
                self.layouts[state] = None;
            }
        }
        group
    }

    /// The state that is the whole right operand of a product, as it is or transposed.
    fn multiplied(&mut self, gemm: &GemmCall) -> Option<usize> {
        let &state = self.states.get(&gemm.b.buffer).filter(|_| gemm.batch == 1 && gemm.a.buffer != gemm.b.buffer)?;
        let blocks = self.layouts[state]?;
        let (rows, columns) = ((gemm.b.row_stride, gemm.k), (gemm.b.column_stride, gemm.n));
        let plain = ((blocks.columns, blocks.rows), (1, blocks.columns));
        self.is_multiplied[state] |= (rows, columns) == plain;
        ((rows, columns) == plain || (columns, rows) == plain).then_some(state)
    }

    /// The states that a joined update reads and writes element for element, if that is all it touches.
    fn updated(&self, fused: &GemmMapCall) -> Option<Vec<usize>> {
        let GemmMapCall { gemm, map: MapCall { inputs, outputs, .. }, input, .. } = fused;
        let full =
            inputs.iter().enumerate().filter(|&(index, from)| index != *input && from.pattern != Pattern::Scalar);
        let mut members = Vec::new();
        for buffer in full.map(|(_, from)| from.buffer).chain(outputs.iter().map(|output| output.buffer)) {
            let &state = self.states.get(&buffer)?;
            self.layouts[state].filter(|blocks| (blocks.rows, blocks.columns) == (gemm.m, gemm.n))?;
            members.push(state);
        }
        let is_simple = |pattern| matches!(pattern, Pattern::Full | Pattern::Scalar);
        let whole = inputs.iter().all(|from| from.offset == 0 && is_simple(from.pattern));
        let apart = [gemm.a.buffer, gemm.b.buffer].iter().all(|buffer| !self.states.contains_key(buffer));
        (whole && apart).then_some(members)
    }

    /// A slot is not multiplied itself; it goes with the parameter that it is updated with.
    fn keep_multiplied(&mut self, groups: &[Vec<usize>]) {
        for group in groups {
            let any = group.iter().any(|&state| self.is_multiplied[state]);
            group.iter().for_each(|&state| self.is_multiplied[state] |= any);
        }
        let layouts = self.layouts.iter_mut().zip(&self.is_multiplied);
        layouts.filter(|(_, is_multiplied)| !**is_multiplied).for_each(|(layout, _)| *layout = None);
    }

    /// A joined update needs all of its states in one layout or none.
    fn keep_whole(&mut self, groups: &[Vec<usize>]) {
        let is_broken = |layouts: &[Option<Blocks>], group: &Vec<usize>| {
            group.iter().any(|&state| layouts[state].is_none()) && group.iter().any(|&state| layouts[state].is_some())
        };
        while let Some(broken) = groups.iter().find(|group| is_broken(&self.layouts, group)) {
            broken.iter().for_each(|&state| self.layouts[state] = None);
        }
    }

    /// Tells the steps of the layouts.
    fn lay_out(&self, plan: &mut Plan, groups: &[Vec<usize>]) {
        for (step, group) in plan.steps.iter_mut().zip(groups) {
            match &mut step.call {
                Kernel::Gemm(gemm) => gemm.blocks = self.layout(gemm.b.buffer),
                Kernel::GemmMap(fused) => {
                    if let Some(blocks) = group.first().and_then(|&state| self.layouts[state]) {
                        fused.lay_out(blocks);
                    }
                }
                _ => {}
            }
        }
    }

    /// Tiles over panels are what a product over blocks is made of; faer sums in another order.
    fn compute_as_if(&self, plan: &mut Plan) {
        for step in &mut plan.steps {
            if let Kernel::Gemm(gemm) = &mut step.call
                && gemm.method == Method::Faer
                && self.layout(gemm.b.buffer).is_some()
            {
                gemm.method = Method::Packed;
            }
        }
    }

    fn layout(&self, buffer: BufferId) -> Option<Blocks> {
        self.states.get(&buffer).and_then(|&state| self.layouts[state])
    }
}
