//! Buffers whose lifetimes do not meet share the arena: each takes the smallest free gap that holds it in the phase in
//! which it is first written, and gives it back after the phase in which it is last read. Within a phase shares run at
//! their own pace, so nothing is reused there.

use super::{BufferId, Gemm, GemmMap, MapCode, Method, Plan, StepKind, Storage};
use std::collections::{BTreeMap, BTreeSet};

/// Arena offsets are multiples of a cache line.
pub(crate) const ALIGNMENT: usize = 64;

/// Elements that a fused map works on at a time: the operands of a chunk fit the first-level cache many times.
pub(crate) const CHUNK: usize = 512;

/// Bytes from one chunk of scratch to the next: room for the widest element type, and some more, since a core takes a load
/// for one that depends on a store whose address ends in the same 12 bits.
pub(crate) const CHUNK_BYTES: usize = CHUNK * 8 + STAGGER;

/// Bytes by which neighbours of a whole number of pages are moved apart.
const STAGGER: usize = 3 * ALIGNMENT;

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
    plan.scratch_bytes =
        plan.steps.iter().map(|step| scratch(&step.kind).next_multiple_of(ALIGNMENT)).max().unwrap_or(0);
}

/// Scratch that one worker needs for a step.
fn scratch(kind: &StepKind) -> usize {
    let of_map = |map: &MapCode| (map.inputs.len() + map.scratch) * CHUNK_BYTES;
    let of_gemm = |gemm: &Gemm| {
        if gemm.method == Method::Packed || gemm.blocks.is_some() { GEMM_SCRATCH * gemm.dtype.size() } else { 0 }
    };
    match kind {
        StepKind::Map(map) => of_map(map),
        StepKind::Gemm(gemm) => of_gemm(gemm),
        StepKind::GemmMap(GemmMap { gemm, map, window, .. }) => {
            let packing = GEMM_SCRATCH * gemm.dtype.size();
            of_map(map) + window[0] * window[1] * gemm.dtype.size() + packing + 2 * ALIGNMENT
        }
        StepKind::BatchNormTrain { dtype, extent, .. } | StepKind::BatchNormGrad { dtype, extent, .. } => {
            BATCH_NORM_SCRATCH * extent[1] * dtype.size()
        }
        _ => 0,
    }
}

fn size_of(plan: &Plan, buffer: BufferId) -> usize {
    let bytes = plan.buffers[buffer].bytes().next_multiple_of(ALIGNMENT);
    if bytes > 0 && bytes.is_multiple_of(PAGE) { bytes + STAGGER } else { bytes }
}

/// Elements of scratch that a product needs to pack its right operand: 1,024 rows of 3 vectors.
pub(crate) const GEMM_SCRATCH: usize = 1024 * 3 * 16;

/// Vectors of channels that batch norm and its backward need as scratch.
pub(crate) const BATCH_NORM_SCRATCH: usize = 3;

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
            for buffer in step.kind.writes().into_iter().chain(step.kind.reads()) {
                touch(buffer, at);
            }
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
