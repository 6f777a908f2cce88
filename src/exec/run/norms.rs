//! Batch norm in a run: its windows of channels, and what it notes of what it makes.

use super::{Run, Share};
use crate::kernel::Real;
use crate::kernel::map::Stretches;
use crate::kernel::measure::measure;
use crate::kernel::norm::{self, Window};
use crate::plan::{BATCH_NORM_SCRATCH, BufferId, NoteSlots, StepKind};

impl Run<'_> {
    /// # Safety
    /// As [`Run::kernel`]; `scratch` holds what the plan asked for.
    pub(super) unsafe fn batch_norm<T: Real>(&self, kind: &StepKind, part: &Share, number: usize, scratch: *mut T) {
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
                StepKind::BatchNormTrain {
                    operands: [x, gamma, beta],
                    results: [y, mean, var],
                    eps,
                    relu,
                    notes,
                    ..
                } => {
                    let operands = norm::TrainOperands { x: whole(x), gamma: vector(gamma), beta: vector(beta) };
                    let results = norm::TrainResults {
                        y: whole(y),
                        mean: self.part_mut(mean, range.clone(), 1),
                        var: self.part_mut(var, range.clone(), 1),
                    };
                    let scratch = std::slice::from_raw_parts_mut(scratch, BATCH_NORM_SCRATCH * range.len());
                    let most = norm::batch_norm_train(self.level, operands, results, scratch, window, eps, relu);
                    self.note(number, notes, most, [vector(mean), vector(var)]);
                }
                StepKind::BatchNormGrad { operands, gate, results: [dx, dgamma, dbeta], eps, notes, .. } => {
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
                    let most = norm::batch_norm_grad(self.level, operands, results, scratch, window, eps);
                    self.note(number, notes, most, [vector(dgamma), vector(dbeta)]);
                }
                _ => {}
            }
        }
    }

    /// Notes what no magnitude of a kernel's first result is above, and the largest of its other two, as far as it is wanted.
    fn note<T: Real>(&self, worker: usize, notes: NoteSlots, most: T, others: [&[T]; 2]) {
        let [first, rest @ ..] = notes;
        if let Some(slot) = first {
            self.notes.note(worker, slot, most.to_f64());
        }
        for (slot, values) in rest.into_iter().zip(others) {
            if let Some(slot) = slot {
                let whole = Stretches { first: 0, len: values.len(), stride: 0, count: 1 };
                // SAFETY: the stretch is the slice.
                let largest = unsafe { measure(self.level, values.as_ptr(), whole) };
                self.notes.note(worker, slot, largest.to_f64());
            }
        }
    }
}
