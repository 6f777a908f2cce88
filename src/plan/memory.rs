//! Buffers whose lifetimes do not meet share the arena: each takes the smallest free gap that holds it in the phase in
//! which it is first written, and gives it back after the phase in which it is last read. Within a phase shares run at
//! their own pace, so nothing is reused there.

use super::{Plan, Storage};
use crate::kernel::{BufferId, Call, LINE};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes by which neighbours of a whole number of pages are moved apart.
const STAGGER: usize = 3 * LINE;

const PAGE: usize = 4096;

pub(super) fn lay_out(plan: &mut Plan) {
    let phases = plan.phases.len();
    let mut born: Vec<Vec<BufferId>> = vec![Vec::new(); phases + 1];
    let mut dies: Vec<Vec<BufferId>> = vec![Vec::new(); phases + 1];
    for (buffer, life) in lifetimes(plan).into_iter().enumerate() {
        if let Some((first, last)) = life {
            born[first].push(buffer);
            dies[last].push(buffer);
        }
    }
    let mut gaps = Gaps::default();
    let (mut live, mut most) = (0, 0);
    for (born, dies) in born.iter_mut().zip(&dies) {
        // The largest first: small ones fit into what is left between them.
        born.sort_by_key(|&buffer| std::cmp::Reverse(size_of(plan, buffer)));
        for &buffer in born.iter() {
            let offset = gaps.take(size_of(plan, buffer));
            plan.buffers[buffer].storage = Storage::Arena(offset);
            live += size_of(plan, buffer);
        }
        most = most.max(live);
        for &buffer in dies {
            if let Storage::Arena(offset) = plan.buffers[buffer].storage {
                gaps.give_back(offset, size_of(plan, buffer));
                live -= size_of(plan, buffer);
            }
        }
    }
    plan.arena_bytes = gaps.end;
    plan.least_arena_bytes = most;
    plan.scratch_bytes = plan.steps.iter().map(|step| step.call.scratch().next_multiple_of(LINE)).max().unwrap_or(0);
}

fn size_of(plan: &Plan, buffer: BufferId) -> usize {
    let bytes = plan.buffers[buffer].bytes().next_multiple_of(LINE);
    if bytes > 0 && bytes.is_multiple_of(PAGE) { bytes + STAGGER } else { bytes }
}

/// For each arena buffer, the first phase that touches it and the last; outputs live to the end.
fn lifetimes(plan: &Plan) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    let mut touch = |buffer: BufferId, at: usize| {
        if matches!(plan.buffers[buffer].storage, Storage::Arena(_)) {
            let life = lives[buffer].get_or_insert((at, at));
            life.1 = life.1.max(at);
        }
    };
    for (at, phase) in plan.phases.iter().enumerate() {
        for step in &plan.steps[phase.steps.clone()] {
            step.call.touches().iter().for_each(|touched| touch(touched.buffer, at));
        }
    }
    for &(_, buffer) in &plan.outputs {
        touch(buffer, plan.phases.len());
    }
    lives
}

/// Free stretches of the arena, found by size and joined by place.
#[derive(Default)]
struct Gaps {
    by_offset: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
    end: usize,
}

impl Gaps {
    fn take(&mut self, size: usize) -> usize {
        if size == 0 {
            return 0;
        }
        match self.by_size.range((size, 0)..).next().copied() {
            Some((gap, offset)) => {
                self.remove(offset, gap);
                if gap > size {
                    self.insert(offset + size, gap - size);
                }
                offset
            }
            None => {
                // A gap at the very end can grow.
                let last = self.by_offset.last_key_value().map(|(&offset, &gap)| (offset, gap));
                let offset = match last {
                    Some((offset, gap)) if offset + gap == self.end => {
                        self.remove(offset, gap);
                        offset
                    }
                    _ => self.end,
                };
                self.end = offset + size;
                offset
            }
        }
    }

    fn give_back(&mut self, mut offset: usize, mut size: usize) {
        if size == 0 {
            return;
        }
        if let Some((&before, &gap)) = self.by_offset.range(..offset).next_back()
            && before + gap == offset
        {
            self.remove(before, gap);
            (offset, size) = (before, gap + size);
        }
        if let Some(&gap) = self.by_offset.get(&(offset + size)) {
            self.remove(offset + size, gap);
            size += gap;
        }
        self.insert(offset, size);
    }

    fn insert(&mut self, offset: usize, size: usize) {
        self.by_offset.insert(offset, size);
        self.by_size.insert((size, offset));
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_offset.remove(&offset);
        self.by_size.remove(&(size, offset));
    }
}
