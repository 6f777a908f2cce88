//! One run: every worker goes through the phases and runs the shares that it takes.

mod norms;
mod products;

use super::commit::Line;
use super::executable::range_of;
use super::notes::Notes;
use super::range::Range;
use super::worker::{Span, Worker, Workers};
use crate::ir::DType;
use crate::kernel::copy::{Walk, copy};
use crate::kernel::map::{self, MapMemory, Origin, Stretches};
use crate::kernel::measure::measure;
use crate::kernel::{Level, Real, index, reduce};
use crate::plan::{BufferId, Gemm, MapCode, Plan, Split, Step, StepKind, Storage};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// What the workers of a run share.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    /// One pointer a buffer, set for this run.
    pub pointers: &'a [*mut u8],
    pub workers: &'a Workers,
    pub notes: &'a Notes,
    pub level: Level,
    pub part: Part,
    /// Outputs all of whose elements must be finite before state changes.
    pub guards: &'a [usize],
    /// What is known of the states, if what is written over them must be finite.
    pub states: Option<&'a [Range]>,
    /// For each feed, what its magnitudes are not above, where that is known.
    pub vouched: &'a [Option<f64>],
    /// The [`Outcome`] at the line; every worker finds the same.
    pub outcome: AtomicU8,
    pub record: bool,
    /// Called with each step, share and worker, so that tests can make one panic.
    #[cfg(test)]
    pub trip: Option<Trip>,
}

/// Which phases of a plan are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All, as far as the line allows.
    Whole,
    /// Those behind the line, when the others have run: whatever comes out, and products are looked at.
    Commit,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Outcome {
    /// To its end.
    Passed,
    /// To the line, where something was NaN or infinite.
    NotFinite,
    /// To the line, since it was not proved that what is behind it is finite.
    Unproved,
}
#[cfg(test)]
pub(super) type Trip = fn(usize, usize, usize);

// SAFETY: the pointers lead to memory that the executable owns or has borrowed for the run. The plan gives the shares of
// a phase results apart from each other's operands and results.
unsafe impl Sync for Run<'_> {}

impl Run<'_> {
    /// Does a worker's part. Takes a pointer so that a [team](super::team) can call it.
    ///
    /// # Safety
    /// `run` points to a `Run` whose pointers follow its plan, and no one else has this number.
    pub unsafe fn work(run: *const (), number: usize) {
        // SAFETY: the caller's.
        let run = unsafe { &*run.cast::<Run<'_>>() };
        // SAFETY: the caller's.
        let own = unsafe { run.workers.own(number) };
        let checks = run.part == Part::Whole;
        let first = if checks { 0 } else { run.plan.commit_phase };
        for (at, phase) in run.plan.phases.iter().enumerate().skip(first) {
            if at == run.plan.commit_phase && checks && !run.may_commit(own) {
                return;
            }
            let goes_on = run.workers.phase(at, phase, number, |share| {
                for step in phase.steps.clone() {
                    // SAFETY: the caller's; earlier phases and earlier steps of this share are done.
                    unsafe { run.step(step, share, phase.shares, number, own) };
                }
            });
            if !goes_on {
                return;
            }
        }
        if run.plan.commit_phase == run.plan.phases.len() && checks {
            run.may_commit(own);
        }
    }

    /// How far the run has come, when all workers have left it.
    pub fn outcome(&self) -> Outcome {
        match self.outcome.load(Ordering::Relaxed) {
            0 => Outcome::Passed,
            1 => Outcome::NotFinite,
            _ => Outcome::Unproved,
        }
    }

    fn may_commit(&self, own: &mut Worker) -> bool {
        let is_finite = |&index: &usize| {
            let buffer = self.plan.outputs[index].1;
            // SAFETY: outputs are written before the line.
            unsafe { self.range(buffer) }.if_finite().is_some()
        };
        let outcome = match self.states {
            _ if !self.guards.iter().all(is_finite) => Outcome::NotFinite,
            Some(states) => {
                let line = Line { plan: self.plan, notes: self.notes, states };
                // SAFETY: what is watched is written before the line.
                own.bounds.prove(&line, |buffer| unsafe { self.range(buffer) })
            }
            None => Outcome::Passed,
        };
        // What the others read of the run lies on the same cache line, so it is left alone as a rule.
        if outcome != Outcome::Passed {
            self.outcome.store(outcome as u8, Ordering::Relaxed);
        }
        outcome == Outcome::Passed
    }

    /// What the magnitudes of a fed buffer are not above, if the caller knows.
    fn vouched(&self, buffer: BufferId) -> Option<f64> {
        match self.plan.buffers[buffer].storage {
            Storage::Feed(feed) => self.vouched.get(feed).copied().flatten(),
            _ => None,
        }
    }

    /// Between which numbers the elements of a buffer are.
    ///
    /// # Safety
    /// The buffer was written by this run, and no one writes it now.
    unsafe fn range(&self, buffer: BufferId) -> Range {
        // SAFETY: the caller's.
        unsafe { range_of(self.level, &self.plan.buffers[buffer], self.pointers[buffer]) }
    }

    /// # Safety
    /// The run's pointers follow its plan, what comes before this step is done, and no one else has this share.
    unsafe fn step(&self, at: usize, share: usize, shares: usize, number: usize, own: &mut Worker) {
        let Step { kind, split, .. } = &self.plan.steps[at];
        let part = match split {
            Some(split) => Share { split: Some(*split), range: split.range(share, shares) },
            None => Share { split: None, range: 0..usize::from(share == 0) },
        };
        if part.range.is_empty() {
            return;
        }
        #[cfg(test)]
        if let Some(trip) = self.trip {
            trip(at, share, number);
        }
        let from = self.record.then(Instant::now);
        // SAFETY: the caller's: the operands are written; and the plan gives each share results that no other touches.
        unsafe { self.kernel(kind, &part, number, own) };
        if let Some(from) = from {
            own.spans.push(Span { step: at, worker: number, from, to: Instant::now() });
        }
    }

    /// # Safety
    /// The part's operands hold values of the planned types, and no one else touches its results.
    unsafe fn kernel(&self, kind: &StepKind, part: &Share, number: usize, own: &mut Worker) {
        // SAFETY: the caller's.
        unsafe {
            match kind {
                StepKind::Map(code) => {
                    let scratch = own.scratch();
                    self.map(code, own, scratch, part.stretches(code.len));
                }
                StepKind::Gemm(gemm) => {
                    let scratch = own.scratch();
                    by_type(
                        gemm.dtype,
                        || self.gemm::<f32>(gemm, part, scratch),
                        || self.gemm::<f64>(gemm, part, scratch),
                    );
                }
                StepKind::GemmMap(fused) => {
                    let is_finite = match fused.gemm.dtype {
                        DType::F32 => self.gemm_map::<f32>(fused, part, own),
                        _ => self.gemm_map::<f64>(fused, part, own),
                    };
                    own.overflowed |= !is_finite;
                }
                StepKind::Copy { from, to } => {
                    let walk = Walk { shape: &from.shape, from: &from.strides, to: &to.strides };
                    let rows = part.outer(from.shape.first().copied().unwrap_or(1));
                    let (source, target) = ((from.buffer, from.offset), (to.buffer, to.offset));
                    match from.dtype.size() {
                        1 => self.copy::<u8>(walk, rows, source, target),
                        4 => self.copy::<u32>(walk, rows, source, target),
                        _ => self.copy::<u64>(walk, rows, source, target),
                    }
                }
                StepKind::Fill { value, offset, to, dtype } => match dtype.size() {
                    1 => self.whole_mut::<u8>(*to).fill(self.whole(*value)[*offset]),
                    4 => self.whole_mut::<u32>(*to).fill(self.whole(*value)[*offset]),
                    _ => self.whole_mut::<u64>(*to).fill(self.whole(*value)[*offset]),
                },
                StepKind::Random { key, y, dtype, site, len } => {
                    let key = self.whole::<i32>(*key);
                    let (key, range) = ([key[0], key[1]], part.outer(*len));
                    match dtype {
                        DType::F32 => index::random(key, *site, range.start, self.part_mut::<f32>(*y, range, 1)),
                        _ => index::random(key, *site, range.start, self.part_mut::<f64>(*y, range, 1)),
                    }
                }
                // What is measured is noted for the worker, not in a buffer.
                StepKind::Measure { x, dtype, len, slot } => {
                    if let Some(magnitude) = self.vouched(*x) {
                        return self.notes.note(number, *slot, magnitude);
                    }
                    let stretches = part.stretches(*len);
                    let found = match dtype {
                        DType::F32 => measure::<f32>(self.level, self.pointers[*x].cast(), stretches).into(),
                        _ => measure::<f64>(self.level, self.pointers[*x].cast(), stretches),
                    };
                    self.notes.note(number, *slot, found);
                }
                StepKind::Reduce { dtype, .. } => {
                    by_type(*dtype, || self.reduce::<f32>(kind, part), || self.reduce::<f64>(kind, part));
                }
                StepKind::ArgMax { dtype, .. }
                | StepKind::OneHot { dtype, .. }
                | StepKind::Take { dtype, .. }
                | StepKind::Scatter { dtype, .. } => {
                    by_type(*dtype, || self.indexed::<f32>(kind, part), || self.indexed::<f64>(kind, part));
                }
                StepKind::BatchNormTrain { dtype, .. } | StepKind::BatchNormGrad { dtype, .. } => {
                    let scratch = own.scratch();
                    by_type(
                        *dtype,
                        || self.batch_norm::<f32>(kind, part, number, scratch.cast()),
                        || self.batch_norm::<f64>(kind, part, number, scratch.cast()),
                    );
                }
            }
        }
    }

    /// A stretch of a buffer: `range` of blocks of `block` elements.
    ///
    /// # Safety
    /// The buffer holds elements of type `E` there, and no one writes them while the borrow lasts.
    unsafe fn part<E>(&self, buffer: BufferId, range: std::ops::Range<usize>, block: usize) -> &[E] {
        let start: *const E = self.pointers[buffer].cast();
        // SAFETY: the caller's; ranges lie within the extents that the plan has.
        unsafe { std::slice::from_raw_parts(start.add(range.start * block), range.len() * block) }
    }

    /// As [`Run::part`], to be written.
    ///
    /// # Safety
    /// As [`Run::part`], and no one else touches these elements while the borrow lasts.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part_mut<E>(&self, buffer: BufferId, range: std::ops::Range<usize>, block: usize) -> &mut [E] {
        let start: *mut E = self.pointers[buffer].cast();
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(start.add(range.start * block), range.len() * block) }
    }

    /// # Safety
    /// As [`Run::part`], for the whole buffer.
    unsafe fn whole<E>(&self, buffer: BufferId) -> &[E] {
        // SAFETY: the caller's.
        unsafe { self.part(buffer, 0..self.plan.buffers[buffer].len, 1) }
    }

    /// # Safety
    /// As [`Run::part_mut`], for the whole buffer.
    #[allow(clippy::mut_from_ref)]
    unsafe fn whole_mut<E>(&self, buffer: BufferId) -> &mut [E] {
        // SAFETY: the caller's.
        unsafe { self.part_mut(buffer, 0..self.plan.buffers[buffer].len, 1) }
    }

    /// # Safety
    /// As [`Run::kernel`]; `scratch` holds the map's chunks.
    unsafe fn map(&self, code: &MapCode, own: &mut Worker, scratch: *mut u8, stretches: Stretches) {
        let (inputs, outputs) = self.ends(code, own);
        // SAFETY: the caller's; offsets lie within their buffers.
        unsafe {
            map::run(self.level, code, &MapMemory { inputs, outputs, scratch }, stretches);
        }
    }

    /// Where the inputs and outputs of a map begin.
    fn ends<'w>(&self, code: &MapCode, own: &'w mut Worker) -> (&'w mut Vec<Origin>, &'w [*mut u8]) {
        let Worker { inputs, outputs, .. } = own;
        inputs.clear();
        outputs.clear();
        inputs.extend(code.inputs.iter().map(|input| {
            let start: *const u8 = self.pointers[input.buffer];
            Origin { start: start.wrapping_add(input.offset * input.dtype.size()), first: 0 }
        }));
        outputs.extend(code.outputs.iter().map(|output| self.pointers[output.buffer]));
        (inputs, outputs)
    }

    /// # Safety
    /// As [`Run::kernel`].
    unsafe fn copy<E: Copy>(
        &self,
        walk: Walk<'_>,
        rows: std::ops::Range<usize>,
        from: (BufferId, usize),
        to: (BufferId, usize),
    ) {
        let Some([read, written]) = walk.reach(rows.len()) else { return };
        let at = |strides: &[usize]| strides.first().map_or(0, |stride| rows.start * stride);
        // SAFETY: the caller's; the walk reaches no further than this.
        unsafe {
            let source = self.pointers[from.0].cast::<E>().add(from.1 + at(walk.from));
            let target = self.pointers[to.0].cast::<E>().add(to.1 + at(walk.to));
            let source = std::slice::from_raw_parts(source, read);
            copy(walk, rows.len(), source, std::slice::from_raw_parts_mut(target, written));
        }
    }

    /// # Safety
    /// As [`Run::kernel`].
    unsafe fn reduce<T: Real>(&self, kind: &StepKind, part: &Share) {
        let StepKind::Reduce { reduction, x, y, outer, reduced, inner, .. } = *kind else { return };
        let x: *const T = self.pointers[x].cast();
        let whole = reduce::Extent { outer, reduced, inner, stride: inner };
        // SAFETY: the caller's.
        unsafe {
            if outer > 1 || part.split.is_none() {
                let range = part.outer(outer);
                let (x, y) = (x.add(range.start * reduced * inner), self.part_mut(y, range.clone(), inner));
                reduce::reduce(self.level, reduction, x, y, reduce::Extent { outer: range.len(), ..whole });
            } else {
                let range = part.range.clone();
                let (x, y) = (x.add(range.start), self.part_mut(y, range.clone(), 1));
                reduce::reduce(self.level, reduction, x, y, reduce::Extent { inner: range.len(), ..whole });
            }
        }
    }

    /// # Safety
    /// As [`Run::kernel`].
    unsafe fn indexed<T: Real>(&self, kind: &StepKind, part: &Share) {
        // SAFETY: the caller's.
        unsafe {
            match *kind {
                StepKind::ArgMax { x, y, extent: [outer, size, inner], .. } => {
                    let range = part.outer(outer);
                    let x = self.part::<T>(x, range.clone(), size * inner);
                    index::arg_max(x, self.part_mut(y, range.clone(), inner), [range.len(), size, inner]);
                }
                StepKind::OneHot { index, y, depth, rows, .. } => {
                    let range = part.outer(rows);
                    index::one_hot(self.part(index, range.clone(), 1), self.part_mut::<T>(y, range, depth), depth);
                }
                StepKind::Take { x, index, y, extent: [outer, size, inner], taken, .. } => {
                    let range = part.outer(outer);
                    let (x, index) = (
                        self.part::<T>(x, range.clone(), size * inner),
                        self.part(index, range.clone(), taken * inner),
                    );
                    let y = self.part_mut(y, range.clone(), taken * inner);
                    index::take(x, index, y, [range.len(), size, inner], taken);
                }
                StepKind::Scatter { updates, index, y, extent, taken, .. } => {
                    index::scatter::<T>(self.whole(updates), self.whole(index), self.whole_mut(y), extent, taken);
                }
                _ => {}
            }
        }
    }
}

/// A share of a step: a range of the positions of its split, or all of it.
struct Share {
    split: Option<Split>,
    range: std::ops::Range<usize>,
}

impl Share {
    /// The part as a range of blocks, for a step that is split by its outermost axis.
    fn outer(&self, blocks: usize) -> std::ops::Range<usize> {
        if self.split.is_some() { self.range.clone() } else { 0..blocks }
    }

    /// The part of a product as ranges of rows and columns.
    fn window(&self, gemm: &Gemm) -> [std::ops::Range<usize>; 2] {
        let (rows, columns) = (0..gemm.m, 0..gemm.n);
        match self.split.filter(|_| gemm.batch == 1) {
            Some(split) if split == Split::columns(gemm.n) => [rows, self.range.clone()],
            Some(_) => [self.range.clone(), columns],
            None => [rows, columns],
        }
    }

    /// The part as stretches of `len` elements.
    fn stretches(&self, len: usize) -> Stretches {
        match self.split {
            None => Stretches { first: 0, len, stride: 0, count: 1 },
            Some(Split { inner, extent }) => Stretches {
                first: self.range.start * inner,
                len: self.range.len() * inner,
                stride: inner * extent,
                count: len / (inner * extent),
            },
        }
    }
}

fn by_type(dtype: DType, f32: impl FnOnce(), f64: impl FnOnce()) {
    // Type rules admit only floats to these kernels.
    if dtype == DType::F32 { f32() } else { f64() }
}
