//! One run: every worker goes through the phases and runs the shares that it takes.

mod products;

use super::worker::{Span, Worker, Workers};
use crate::ir::DType;
use crate::kernel::copy::{Walk, copy};
use crate::kernel::map::{self, MapMemory, Stretches};
use crate::kernel::norm::{self, Window};
use crate::kernel::{Level, Real, index, reduce};
use crate::plan::{BATCH_NORM_SCRATCH, BufferId, Gemm, MapCode, Plan, Split, Step, StepKind};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What the workers of a run share.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    /// One pointer a buffer, set for this run.
    pub pointers: &'a [*mut u8],
    pub workers: &'a Workers,
    pub level: Level,
    /// A scalar that must be finite before state changes.
    pub guard: Option<BufferId>,
    /// Set when it was not.
    pub stopped: AtomicBool,
    pub record: bool,
}

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
        for (at, phase) in run.plan.phases.iter().enumerate() {
            if at == run.plan.commit_phase && !run.may_commit() {
                return;
            }
            run.workers.phase(at, phase, number, |share| {
                for step in phase.steps.clone() {
                    run.step(step, share, phase.shares, number, own);
                }
            });
        }
        if run.plan.commit_phase == run.plan.phases.len() {
            run.may_commit();
        }
    }

    fn may_commit(&self) -> bool {
        let finite = self.guard.is_none_or(|buffer| self.scalar(buffer).is_finite());
        if !finite {
            self.stopped.store(true, Ordering::Relaxed);
        }
        finite
    }

    /// The single element of a buffer.
    pub fn scalar(&self, buffer: BufferId) -> f64 {
        let start = self.pointers[buffer];
        // SAFETY: the buffer was written by this run, and has the element type that the plan says.
        unsafe {
            match self.plan.buffers[buffer].dtype {
                DType::F32 => f64::from(start.cast::<f32>().read()),
                DType::F64 => start.cast::<f64>().read(),
                DType::I32 => f64::from(start.cast::<i32>().read()),
                DType::Bool => f64::from(start.read()),
            }
        }
    }

    fn step(&self, at: usize, share: usize, shares: usize, number: usize, own: &mut Worker) {
        let Step { kind, split, .. } = &self.plan.steps[at];
        let part = match split {
            Some(split) => Part { split: Some(*split), range: split.range(share, shares) },
            None => Part { split: None, range: 0..usize::from(share == 0) },
        };
        if part.range.is_empty() {
            return;
        }
        let from = self.record.then(Instant::now);
        // SAFETY: `run` has checked every fed tensor against the plan and set its pointer; earlier phases and earlier
        // steps of this share have written the operands; and the plan gives each share results that no other touches.
        unsafe { self.kernel(kind, &part, own) };
        if let Some(from) = from {
            own.spans.push(Span { step: at, worker: number, from, to: Instant::now() });
        }
    }

    /// # Safety
    /// The part's operands hold values of the planned types, and no one else touches its results.
    unsafe fn kernel(&self, kind: &StepKind, part: &Part, own: &mut Worker) {
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
                StepKind::GemmMap(fused) if fused.gemm.dtype == DType::F32 => self.gemm_map::<f32>(fused, part, own),
                StepKind::GemmMap(fused) => self.gemm_map::<f64>(fused, part, own),
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
                        || self.batch_norm::<f32>(kind, part, scratch.cast()),
                        || self.batch_norm::<f64>(kind, part, scratch.cast()),
                    );
                }
            }
        }
    }

    /// A stretch of a buffer: `range` of blocks of `block` elements.
    ///
    /// # Safety
    /// The buffer holds elements of type `E` there, and no one writes them while the borrow lasts.
    unsafe fn part<E>(&self, buffer: BufferId, range: Range<usize>, block: usize) -> &[E] {
        let start: *const E = self.pointers[buffer].cast();
        // SAFETY: the caller's; ranges lie within the extents that the plan has.
        unsafe { std::slice::from_raw_parts(start.add(range.start * block), range.len() * block) }
    }

    /// As [`Run::part`], to be written.
    ///
    /// # Safety
    /// As [`Run::part`], and no one else touches these elements while the borrow lasts.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part_mut<E>(&self, buffer: BufferId, range: Range<usize>, block: usize) -> &mut [E] {
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
    fn ends<'w>(&self, code: &MapCode, own: &'w mut Worker) -> (&'w mut Vec<*const u8>, &'w [*mut u8]) {
        let Worker { inputs, outputs, .. } = own;
        inputs.clear();
        outputs.clear();
        inputs.extend(code.inputs.iter().map(|input| {
            let start: *const u8 = self.pointers[input.buffer];
            start.wrapping_add(input.offset * input.dtype.size())
        }));
        outputs.extend(code.outputs.iter().map(|output| self.pointers[output.buffer]));
        (inputs, outputs)
    }

    /// # Safety
    /// As [`Run::kernel`].
    unsafe fn copy<E: Copy>(&self, walk: Walk<'_>, rows: Range<usize>, from: (BufferId, usize), to: (BufferId, usize)) {
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
    unsafe fn reduce<T: Real>(&self, kind: &StepKind, part: &Part) {
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
    unsafe fn indexed<T: Real>(&self, kind: &StepKind, part: &Part) {
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

    /// # Safety
    /// As [`Run::kernel`]; `scratch` holds what the plan asked for.
    unsafe fn batch_norm<T: Real>(&self, kind: &StepKind, part: &Part, scratch: *mut T) {
        let (StepKind::BatchNormTrain { extent, .. } | StepKind::BatchNormGrad { extent, .. }) = kind else { return };
        let [outer, channels, inner] = *extent;
        let range = if part.split.is_some() { part.range.clone() } else { 0..channels };
        let window = Window { outer, channels, inner, from: range.start, to: range.end };
        let vector = |buffer: BufferId| {
            // SAFETY: the caller's.
            unsafe { self.part::<T>(buffer, range.clone(), 1) }
        };
        let whole = |buffer: BufferId| -> *mut T { self.pointers[buffer].cast() };
        // SAFETY: the caller's.
        unsafe {
            match *kind {
                StepKind::BatchNormTrain { operands: [x, gamma, beta], results: [y, mean, var], eps, relu, .. } => {
                    let operands = norm::TrainOperands { x: whole(x), gamma: vector(gamma), beta: vector(beta) };
                    let results = norm::TrainResults {
                        y: whole(y),
                        mean: self.part_mut(mean, range.clone(), 1),
                        var: self.part_mut(var, range.clone(), 1),
                    };
                    let scratch = std::slice::from_raw_parts_mut(scratch, BATCH_NORM_SCRATCH * range.len());
                    norm::batch_norm_train(self.level, operands, results, scratch, window, eps, relu);
                }
                StepKind::BatchNormGrad { operands, gate, results: [dx, dgamma, dbeta], eps, .. } => {
                    let [x, gamma, mean, var, dy, dmean, dvar] = operands;
                    let operands = norm::GradOperands {
                        x: whole(x),
                        gamma: vector(gamma),
                        mean: vector(mean),
                        var: vector(var),
                        dy: whole(dy),
                        gate: gate.map_or(std::ptr::null(), |gate| whole(gate).cast_const()),
                        dmean: vector(dmean),
                        dvar: vector(dvar),
                    };
                    let results = norm::GradResults {
                        dx: whole(dx),
                        dgamma: self.part_mut(dgamma, range.clone(), 1),
                        dbeta: self.part_mut(dbeta, range.clone(), 1),
                    };
                    let scratch = std::slice::from_raw_parts_mut(scratch, BATCH_NORM_SCRATCH * range.len());
                    norm::batch_norm_grad(self.level, operands, results, scratch, window, eps);
                }
                _ => {}
            }
        }
    }
}

/// A share of a step: a range of the positions of its split, or all of it.
struct Part {
    split: Option<Split>,
    range: Range<usize>,
}

impl Part {
    /// The part as a range of blocks, for a step that is split by its outermost axis.
    fn outer(&self, blocks: usize) -> Range<usize> {
        if self.split.is_some() { self.range.clone() } else { 0..blocks }
    }

    /// The part of a product as ranges of rows and columns.
    fn window(&self, gemm: &Gemm) -> [Range<usize>; 2] {
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
