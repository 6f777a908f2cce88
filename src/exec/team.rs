//! The helpers: threads that wait for a run, join in, and sleep when there is none.
//!
//! A run never waits for a helper that has not come: whoever is there takes the shares, so a helper that the system does not
//! let run costs its help and no more. A helper *enters* a run, which keeps the run's memory alive until it leaves.
//!
//! A helper that panics leaves like any other and lives on; the caller, once all have left, panics with what it had to say.

use super::MOST_THREADS;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What a run asks the helpers to do.
#[derive(Clone, Copy)]
struct Job {
    data: *const (),
    work: unsafe fn(*const (), usize),
    /// Workers that the run has shares for, the caller among them.
    workers: usize,
}

// SAFETY: the data is shared with helpers only between `open` and `close`, while the caller keeps it alive; `work` asks for
// data that may be shared.
unsafe impl Send for Job {}

/// Waits in two steps: spinning first, which is quick, then sleeping, which leaves the core to others.
pub(super) struct Bell {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    pub(super) const fn new() -> Bell {
        Bell { sleepers: AtomicUsize::new(0), lock: Mutex::new(()), rung: Condvar::new() }
    }

    /// Wakes whoever sleeps; call it after making their condition true.
    pub(super) fn ring(&self) {
        // Pairs with the fence of a sleeper: one of the two sees what the other has done.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            drop(lock(&self.lock));
            self.rung.notify_all();
        }
    }

    /// Returns once `condition` holds, after `spin` of looking at it at most asleep.
    pub(super) fn wait(&self, spin: Duration, condition: impl Fn() -> bool) {
        const LOOKS: usize = 64;
        let mut since = None;
        loop {
            for _ in 0..LOOKS {
                if condition() {
                    return;
                }
                std::hint::spin_loop();
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= spin {
                break;
            }
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        let mut guard = lock(&self.lock);
        while !condition() {
            guard = self.rung.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        // A caller panicked in a run of its own; the helpers are as they were.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// How long a helper looks out for the next run: longer than a training loop takes to load a batch.
const BETWEEN_RUNS: Duration = Duration::from_micros(200);

/// What a panic says.
type Panic = Box<dyn Any + Send>;

struct Team {
    // HeldStates by the run that the helpers belong to; the number of helpers there are.
    helpers: Mutex<usize>,
    job: Mutex<Option<Job>>,
    // Number of the open run, or of the last: a helper enters each once. Odd while a run is open.
    opened: AtomicUsize,
    entered: AtomicUsize,
    // What a helper of the open run has panicked with.
    panicked: Mutex<Option<Panic>>,
    call: Bell,
    left: Bell,
    // Runs of all executables that are on their way.
    running: AtomicUsize,
}

static TEAM: Team = Team {
    helpers: Mutex::new(0),
    job: Mutex::new(None),
    opened: AtomicUsize::new(0),
    entered: AtomicUsize::new(0),
    panicked: Mutex::new(None),
    call: Bell::new(),
    left: Bell::new(),
    running: AtomicUsize::new(0),
};

/// Calls `work(data, 0)` here and `work(data, 1)`, … in helpers, as far as they come; returns when all have left.
///
/// Helpers that belong to another run are not waited for: the work is then done by the caller alone. A call that panics
/// must let the others end: this then panics likewise, when all have left.
///
/// # Safety
/// `work` may be called with `data` by several threads at once, each with its own number below `workers`, until this
/// returns or panics.
pub(super) unsafe fn together(data: *const (), work: unsafe fn(*const (), usize), workers: usize) {
    let (_running, alone) = Running::begin();
    let workers = workers.min(MOST_THREADS);
    let helpers = if workers > 1 && !alone { try_lock(&TEAM.helpers) } else { None };
    let Some(mut helpers) = helpers else {
        // SAFETY: the caller's.
        return unsafe { work(data, 0) };
    };
    *helpers = start_missing(*helpers, workers - 1);
    let open = Open::new(Job { data, work, workers });
    // SAFETY: the caller's.
    unsafe { work(data, 0) };
    let panicked = open.close();
    drop(helpers);
    if let Some(panic) = panicked {
        resume_unwind(panic);
    }
}

/// A run that is on its way, until dropped.
struct Running;

impl Running {
    /// Also whether there is another one.
    fn begin() -> (Running, bool) {
        (Running, TEAM.running.fetch_add(1, Ordering::Relaxed) > 0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        TEAM.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls `body` here and in helpers, as far as they come, `workers` times at most; returns when all calls have.
pub(crate) fn on_workers<F: Fn() + Sync>(workers: usize, body: F) {
    /// # Safety
    /// `body` points to an `F`.
    unsafe fn call<F: Fn()>(body: *const (), _: usize) {
        // SAFETY: the caller's.
        unsafe { (*body.cast::<F>())() };
    }
    // SAFETY: `body` may be called by several threads at once, and outlives these calls.
    unsafe { together((&raw const body).cast(), call::<F>, workers) };
}

fn start_missing(have: usize, wanted: usize) -> usize {
    let mut started = have;
    while started < wanted {
        let number = started + 1;
        let builder = std::thread::Builder::new().name(format!("foldgrad-{number}"));
        // A system that has no more threads gets less help.
        if builder.spawn(move || help(number)).is_err() {
            break;
        }
        started += 1;
    }
    started
}

/// A run that helpers may enter. Whichever way the caller leaves it, none is left behind in it.
struct Open;

impl Open {
    fn new(job: Job) -> Open {
        *lock(&TEAM.job) = Some(job);
        TEAM.opened.fetch_add(1, Ordering::SeqCst);
        TEAM.call.ring();
        Open
    }

    /// Returns when all helpers have left: with the panic of one of them, if there was any.
    fn close(self) -> Option<Panic> {
        let panicked = Open::shut();
        std::mem::forget(self);
        panicked
    }

    fn shut() -> Option<Panic> {
        // No helper enters from here on, since the number is even.
        {
            let mut job = lock(&TEAM.job);
            *job = None;
            TEAM.opened.fetch_add(1, Ordering::SeqCst);
        }
        TEAM.left.wait(Duration::from_micros(50), || TEAM.entered.load(Ordering::SeqCst) == 0);
        lock(&TEAM.panicked).take()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The caller panics itself, which is what its own caller hears of.
        drop(Open::shut());
    }
}

fn help(number: usize) {
    let mut seen = 0;
    loop {
        TEAM.call.wait(BETWEEN_RUNS, || {
            let opened = TEAM.opened.load(Ordering::SeqCst);
            opened % 2 == 1 && opened != seen
        });
        let job = {
            let job = lock(&TEAM.job);
            seen = TEAM.opened.load(Ordering::SeqCst);
            if job.is_some() {
                TEAM.entered.fetch_add(1, Ordering::SeqCst);
            }
            *job
        };
        if let Some(job) = job {
            if number < job.workers {
                // SAFETY: the run waits until this helper has left, and no other has its number.
                let work = AssertUnwindSafe(|| unsafe { (job.work)(job.data, number) });
                if let Err(panic) = catch_unwind(work) {
                    *lock(&TEAM.panicked) = Some(panic);
                }
            }
            if TEAM.entered.fetch_sub(1, Ordering::SeqCst) == 1 {
                TEAM.left.ring();
            }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::without_hanging;
