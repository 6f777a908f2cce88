//! What each worker of a run has for itself, and what they share: which shares are taken, and how many are done.

use super::arena::Arena;
use super::commit::Bounds;
use super::team::Bell;
use crate::kernel::{LINE, Workspace};
use crate::plan::{Phase, Plan};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Scratch and notes that only one worker uses.
#[derive(Debug)]
pub(super) struct Worker {
    // Owns the scratch of the workspace.
    _scratch: Arena,
    pub workspace: Workspace,
    /// To bound what a commit will write.
    pub bounds: Bounds,
    /// What this worker did, if that is recorded.
    pub spans: Vec<Span>,
}

/// One share of one step, run by one worker.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The step, by its place in the plan.
    pub step: usize,
    /// The worker; 0 is the thread that called.
    pub worker: usize,
    /// When it began.
    pub from: Instant,
    /// When it was done.
    pub to: Instant,
}

impl Worker {
    fn new(plan: &Plan, worker: usize, bounds: &Bounds) -> Option<Worker> {
        let mut scratch = Arena::new(plan.scratch_bytes.next_multiple_of(LINE))?;
        let workspace = Workspace { worker, scratch: scratch.start(), overflowed: false };
        Some(Worker { _scratch: scratch, workspace, bounds: bounds.clone(), spans: Vec::new() })
    }
}

/// The workers of an executable, and how far their run is.
#[derive(Debug)]
pub(super) struct Workers {
    each: Vec<UnsafeCell<Worker>>,
    // For each share, the phase in which it was taken last, counting from 1.
    taken: Vec<OwnLine>,
    // Shares done since the run began, and whether one of them has failed.
    done: OwnLine,
    // For each phase, the shares done when it ends.
    ends: Vec<usize>,
}

/// A counter on a cache line of its own, so that writing it disturbs no other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicUsize);

// SAFETY: a worker's own part is used by one thread at a time, which `own` asks its caller for; the rest is atomic.
unsafe impl Sync for Workers {}
// SAFETY: a worker's scratch is its own, and is only followed during a run.
unsafe impl Send for Workers {}

/// The bit of `done` that says that a share has panicked: more than any number of shares, so whoever waits goes on.
const FAILED: usize = 1 << (usize::BITS - 1);

/// How long a worker looks out for the others at the end of a phase.
const BETWEEN_PHASES: Duration = Duration::from_micros(30);

/// Rung when a phase ends; shared by all runs, since sleepers look again.
static PHASE_ENDED: Bell = Bell::new();

impl Workers {
    /// `None` where the system has no such memory.
    pub fn new(plan: &Plan) -> Option<Workers> {
        let bounds = Bounds::new(plan);
        let each: Option<Vec<_>> =
            (0..plan.threads).map(|worker| Worker::new(plan, worker, &bounds).map(UnsafeCell::new)).collect();
        let most = plan.phases.iter().map(|phase| phase.shares).max().unwrap_or(0);
        let mut total = 0;
        let ends = plan.phases.iter().map(|phase| {
            total += phase.shares;
            total
        });
        let ends = ends.collect();
        Some(Workers {
            each: each?,
            taken: (0..most).map(|_| OwnLine::default()).collect(),
            done: OwnLine::default(),
            ends,
        })
    }

    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Every worker, while no run is on its way.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.each.iter_mut().map(UnsafeCell::get_mut)
    }

    /// The calling thread's own part, while no run is on its way.
    pub fn first(&mut self) -> &mut Worker {
        self.each[0].get_mut()
    }

    /// Before a run, while no worker is in one.
    pub fn reset(&mut self) {
        self.taken.iter_mut().for_each(|taken| *taken.0.get_mut() = 0);
        *self.done.0.get_mut() = 0;
    }

    /// A worker's own part.
    ///
    /// # Safety
    /// No one else uses that number while the borrow lasts.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn own(&self, number: usize) -> &mut Worker {
        // SAFETY: the caller's.
        unsafe { &mut *self.each[number].get() }
    }

    /// Runs the shares of a phase that no one else has taken, this worker's own first, and waits for the rest. Gives
    /// whether the run goes on: where a share panics, what others made of this phase is not whole.
    #[must_use]
    pub fn phase(&self, index: usize, phase: &Phase, number: usize, mut run: impl FnMut(usize)) -> bool {
        let first = phase.shares * number / self.each.len();
        for offset in 0..phase.shares {
            let share = (first + offset) % phase.shares;
            if self.take(share, index + 1) {
                let taken = Taken(self);
                run(share);
                std::mem::forget(taken);
                if self.done.0.fetch_add(1, Ordering::AcqRel) + 1 == self.ends[index] {
                    PHASE_ENDED.ring();
                }
            }
        }
        PHASE_ENDED.wait(BETWEEN_PHASES, || self.done.0.load(Ordering::Acquire) >= self.ends[index]);
        self.done.0.load(Ordering::Relaxed) & FAILED == 0
    }

    fn take(&self, share: usize, phase: usize) -> bool {
        let taken = &self.taken[share].0;
        let before = taken.load(Ordering::Relaxed);
        before < phase && taken.compare_exchange(before, phase, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// A share that was taken: dropped before it is done, it has failed, and nobody is to wait for it.
struct Taken<'w>(&'w Workers);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.done.0.fetch_or(FAILED, Ordering::AcqRel);
        PHASE_ENDED.ring();
    }
}
