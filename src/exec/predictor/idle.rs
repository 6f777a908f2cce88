//! Executables that no call uses, kept for later calls.

use super::PLANS;
use crate::exec::Executable;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By rows and threads.
type Key = [usize; 2];

#[derive(Debug)]
pub(super) struct Idle(Mutex<Plans>);

#[derive(Debug)]
struct Plans {
    plans: Vec<Plan>,
    clock: u64,
}

#[derive(Debug)]
struct Plan {
    key: Key,
    // The clock when it was last asked for.
    used: u64,
    runs: Vec<Executable>,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle(Mutex::new(Plans { plans: Vec::with_capacity(PLANS + 1), clock: 0 }))
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
        let mut sizes: Vec<(u64, Key)> = self.lock().plans.iter().map(|plan| (plan.used, plan.key)).collect();
        sizes.sort_unstable();
        sizes.into_iter().map(|(_, key)| key).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Plans> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plans {
    fn take(&mut self, key: Key) -> Option<Executable> {
        self.clock += 1;
        let plan = self.plans.iter_mut().find(|plan| plan.key == key)?;
        plan.used = self.clock;
        plan.runs.pop()
    }

    fn count(&mut self, key: Key) -> usize {
        self.clock += 1;
        let plan = self.plans.iter_mut().find(|plan| plan.key == key);
        plan.map_or(0, |plan| {
            plan.used = self.clock;
            plan.runs.len()
        })
    }

    /// Keeps an executable for later; gives the plan that had to go for it.
    fn put(&mut self, key: Key, run: Executable) -> Option<Plan> {
        if let Some(plan) = self.plans.iter_mut().find(|plan| plan.key == key) {
            plan.runs.push(run);
            return None;
        }
        self.plans.push(Plan { key, used: self.clock, runs: vec![run] });
        let oldest = (0..self.plans.len()).min_by_key(|&index| self.plans[index].used)?;
        (self.plans.len() > PLANS).then(|| self.plans.swap_remove(oldest))
    }
}
