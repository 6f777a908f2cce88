//! Executables that no call uses, kept for later calls.

use super::PLANS;
use crate::exec::Executable;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By rows and threads.
type Key = [usize; 2];

#[derive(Debug)]
pub(super) struct Idle(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    entries: Vec<Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    // The clock when it was last asked for.
    used: u64,
    runs: Vec<Executable>,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle(Mutex::new(Entries { entries: Vec::with_capacity(PLANS + 1), clock: 0 }))
    }
}

impl Idle {
    /// Calls `body` with an executable that is there, or a new one, and keeps it.
    pub fn with<R, E>(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<Executable, E>,
        body: impl FnOnce(&mut Executable) -> R,
    ) -> Result<R, E> {
        let idle = self.lock().take(key);
        let mut run = idle.map_or_else(make, Ok)?;
        let result = body(&mut run);
        let dropped = self.lock().put(key, run);
        // Memory is given back to the system after the lock is.
        drop(dropped);
        Ok(result)
    }

    /// Sees to it that `count` executables are there.
    pub fn prepare<E>(&self, key: Key, count: usize, make: impl Fn() -> Result<Executable, E>) -> Result<(), E> {
        let have = self.lock().count(key);
        for _ in have..count {
            let run = make()?;
            let dropped = self.lock().put(key, run);
            drop(dropped);
        }
        Ok(())
    }

    /// Those that there are executables for, the one that was asked for longest ago first.
    pub fn sizes(&self) -> Vec<Key> {
        let mut sizes: Vec<(u64, Key)> = self.lock().entries.iter().map(|plan| (plan.used, plan.key)).collect();
        sizes.sort_unstable();
        sizes.into_iter().map(|(_, key)| key).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn take(&mut self, key: Key) -> Option<Executable> {
        self.clock += 1;
        let plan = self.entries.iter_mut().find(|plan| plan.key == key)?;
        plan.used = self.clock;
        plan.runs.pop()
    }

    fn count(&mut self, key: Key) -> usize {
        self.clock += 1;
        let plan = self.entries.iter_mut().find(|plan| plan.key == key);
        plan.map_or(0, |plan| {
            plan.used = self.clock;
            plan.runs.len()
        })
    }

    /// Keeps an executable for later; gives the plan that had to go for it.
    fn put(&mut self, key: Key, run: Executable) -> Option<Entry> {
        if let Some(plan) = self.entries.iter_mut().find(|plan| plan.key == key) {
            plan.runs.push(run);
            return None;
        }
        self.entries.push(Entry { key, used: self.clock, runs: vec![run] });
        let oldest = (0..self.entries.len()).min_by_key(|&index| self.entries[index].used)?;
        (self.entries.len() > PLANS).then(|| self.entries.swap_remove(oldest))
    }
}
