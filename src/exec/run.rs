//! One run: every worker goes through the phases and runs the shares that it takes.

use super::commit::{AtLine, Verdict};
use super::range::{Range, range_of};
use super::worker::{Span, Worker, Workers};
use crate::kernel::{BufferId, Call, Memory, Share};
use crate::plan::{Buffer, Plan, Step};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// What the workers of a run share.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    /// Where each buffer is in this run, and what kernels look at beside it.
    pub memory: Memory<'a>,
    pub workers: &'a Workers,
    pub portion: Portion,
    /// Outputs all of whose elements must be finite before state changes.
    pub guards: &'a [usize],
    /// What is known of the states, if what is written over them must be finite.
    pub states: Option<&'a [Range]>,
    /// The [`Verdict`] at the line; every worker finds the same.
    pub verdict: AtomicU8,
    pub record: bool,
    /// Called with each step, share and worker, so that tests can make one panic.
    #[cfg(test)]
    pub trip: Option<Trip>,
}

/// Which phases of a plan are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// All, as far as the line allows.
    Whole,
    /// Those behind the line, when the others have run: whatever comes out, and products are looked at.
    Commit,
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
        let checks = run.portion == Portion::Whole;
        let first = if checks { 0 } else { run.plan.commit_phase };
        for (at, phase) in run.plan.phases.iter().enumerate().skip(first) {
            if at == run.plan.commit_phase && checks && !run.may_commit(own) {
                return;
            }
            let goes_on = run.workers.phase(at, phase, number, |share| {
                for step in phase.steps.clone() {
                    // SAFETY: the caller's; earlier phases and earlier steps of this share are done.
                    unsafe { run.step(step, share, phase.shares, own) };
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
    pub fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Passed,
            1 => Verdict::NotFinite,
            _ => Verdict::Unproved,
        }
    }

    fn may_commit(&self, own: &mut Worker) -> bool {
        let is_finite = |&index: &usize| {
            let buffer = self.plan.outputs[index].1;
            // SAFETY: outputs are written before the line.
            unsafe { self.range(buffer) }.if_finite().is_some()
        };
        let verdict = match self.states {
            _ if !self.guards.iter().all(is_finite) => Verdict::NotFinite,
            Some(states) => {
                let line = AtLine { plan: self.plan, notes: self.memory.notes, states };
                // SAFETY: what is watched is written before the line.
                own.bounds.prove(&line, |buffer| unsafe { self.range(buffer) })
            }
            None => Verdict::Passed,
        };
        // What the others read of the run lies on the same cache line, so it is left alone as a rule.
        if verdict != Verdict::Passed {
            self.verdict.store(verdict as u8, Ordering::Relaxed);
        }
        verdict == Verdict::Passed
    }

    /// Between which numbers the elements of a buffer are.
    ///
    /// # Safety
    /// The buffer was written by this run, and no one writes it now.
    unsafe fn range(&self, buffer: BufferId) -> Range {
        let Buffer { dtype, len, .. } = self.plan.buffers[buffer];
        // SAFETY: the caller's.
        unsafe { range_of(self.memory.level, dtype, len, self.memory.at(buffer)) }
    }

    /// # Safety
    /// The run's pointers follow its plan, what comes before this step is done, and no one else has this share.
    unsafe fn step(&self, at: usize, share: usize, shares: usize, own: &mut Worker) {
        let Step { call, split, notes, .. } = &self.plan.steps[at];
        let positions = match split {
            Some(split) => split.range(share, shares),
            None => 0..usize::from(share == 0),
        };
        if positions.is_empty() {
            return;
        }
        #[cfg(test)]
        if let Some(trip) = self.trip {
            trip(at, share, own.workspace.worker);
        }
        let from = self.record.then(Instant::now);
        let share = Share { split: *split, positions, notes };
        // SAFETY: the caller's: the operands are written; and the plan gives each share results that no other touches.
        unsafe { call.run(&self.memory, &share, &mut own.workspace) };
        if let Some(from) = from {
            own.spans.push(Span { step: at, worker: own.workspace.worker, from, to: Instant::now() });
        }
    }
}
