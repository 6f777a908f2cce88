//! Orders steps into *phases*. Within a phase every share runs its part of each step without waiting for the others;
//! between phases all shares wait for each other.
//!
//! A step enters the present phase if it has a split in which each share needs only what the same share has made in this
//! phase, and if that is cheaper than to wait. So the steps around a product that is split by columns (batch norm, an
//! activation) follow it at no cost, and the next product, which needs whole rows, opens a phase.

use crate::kernel::{BufferId, Call, Costs, Kernel, Own, Split, Touch};
use crate::plan::{Buffer, Plan, Step, Storage};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// Steps that run without waiting, in so many shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub steps: Range<usize>,
    pub shares: usize,
}

pub(in crate::plan) fn schedule(plan: &mut Plan, costs: &Costs, threads: usize) {
    (plan.threads, plan.costs) = (threads, *costs);
    let mut steps: Vec<Option<Step>> = std::mem::take(&mut plan.steps).into_iter().map(Some).collect();
    let keys = keys(plan);
    let depends = Dependencies::of(&steps, &keys);
    let wishes = wishes(&steps);
    let mut scheduler =
        Scheduler { costs, threads, keys: &keys, wishes: &wishes, done: Vec::new(), phases: Vec::new() };
    let commit = plan.commit;
    scheduler.half(&mut steps, 0..commit, &depends);
    plan.commit = scheduler.done.len();
    plan.commit_phase = scheduler.phases.len();
    let len = steps.len();
    scheduler.half(&mut steps, commit..len, &depends);
    let Scheduler { done, mut phases, .. } = scheduler;
    plan.steps = done;
    for phase in &mut phases {
        phase.shares = shares(&plan.steps[phase.steps.clone()], threads);
    }
    plan.phases = phases;
}

/// What tells two buffers' memory apart before the arena is laid out: a state and the value written over it are one.
fn keys(plan: &Plan) -> Vec<usize> {
    let states = plan.states.len();
    let key = |(id, buffer): (BufferId, &Buffer)| match buffer.storage {
        Storage::State(index) => index,
        _ => states + id,
    };
    plan.buffers.iter().enumerate().map(key).collect()
}

/// How the steps behind one that can be split in several ways would like it split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Columns,
    Rows,
}

impl Wish {
    fn of(split: Split) -> Wish {
        if split.inner == 1 { Wish::Columns } else { Wish::Rows }
    }
}

/// For each step that has a choice, what its readers wish, looking through those that take any split.
fn wishes(steps: &[Option<Step>]) -> Vec<Option<Wish>> {
    let mut by_buffer: HashMap<BufferId, Wish> = HashMap::new();
    let mut found = vec![None; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        let Some(Step { call, .. }) = step else { continue };
        let (splits, touches) = (call.splits(), call.touches());
        let of_results = touches.iter().filter(|touch| touch.writes()).find_map(|touch| by_buffer.get(&touch.buffer));
        let of_results = of_results.copied();
        if splits.own.len() > 1 {
            found[at] = of_results;
        }
        let own = splits.own.first().map(|suited| suited.split);
        for touch in touches.iter().filter(|touch| !touch.writes()) {
            let wish = match touch.own(own) {
                Own::Positions(split) if touch.is_wished => Some(Wish::of(split)),
                _ => of_results.filter(|_| splits.any_of.is_some()),
            };
            by_buffer.extend(wish.map(|wish| (touch.buffer, wish)));
        }
    }
    found
}

/// Which steps wait for which.
struct Dependencies {
    // For each step, how many earlier steps it waits for, and which later ones wait for it.
    before: Vec<usize>,
    after: Vec<Vec<usize>>,
}

impl Dependencies {
    fn of(steps: &[Option<Step>], keys: &[usize]) -> Dependencies {
        let mut writer: HashMap<usize, usize> = HashMap::new();
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut found = Dependencies { before: vec![0; steps.len()], after: vec![Vec::new(); steps.len()] };
        for (at, step) in steps.iter().enumerate() {
            let Some(step) = step else { continue };
            let mut before: Vec<usize> = Vec::new();
            let (writes, reads): (Vec<Touch>, Vec<Touch>) = step.call.touches().into_iter().partition(Touch::writes);
            for key in reads.iter().map(|touch| keys[touch.buffer]) {
                before.extend(writer.get(&key));
                readers.entry(key).or_default().push(at);
            }
            for key in writes.iter().map(|touch| keys[touch.buffer]) {
                before.extend(writer.insert(key, at));
                before.extend(readers.remove(&key).unwrap_or_default().into_iter().filter(|&r| r != at));
            }
            before.sort_unstable();
            before.dedup();
            before.retain(|&earlier| earlier != at);
            found.before[at] = before.len();
            for earlier in before {
                found.after[earlier].push(at);
            }
        }
        found
    }
}

struct Scheduler<'a> {
    costs: &'a Costs,
    threads: usize,
    keys: &'a [usize],
    wishes: &'a [Option<Wish>],
    done: Vec<Step>,
    phases: Vec<Phase>,
}

/// What the steps of the present phase touch.
#[derive(Default)]
struct Touched(HashMap<usize, Vec<(Own, bool)>>);

impl Touched {
    /// Whether a share that touches this has all that it needs, and takes nothing from another.
    fn allows(&self, touch: &Touch, own: Own, keys: &[usize]) -> bool {
        self.0.get(&keys[touch.buffer]).is_none_or(|earlier| {
            earlier.iter().all(|&(before, wrote)| !(wrote || touch.writes()) || before.is_apart(own))
        })
    }

    fn add(&mut self, touches: &[Touch], split: Option<Split>, keys: &[usize]) {
        for touch in touches {
            let owned = self.0.entry(keys[touch.buffer]).or_default();
            let own = (touch.own(split), touch.writes());
            if !owned.contains(&own) {
                owned.push(own);
            }
        }
    }

    /// The split by which the buffer was written in this phase.
    fn written(&self, buffer: BufferId, keys: &[usize]) -> Option<Split> {
        self.0.get(&keys[buffer])?.iter().find_map(|&(own, wrote)| match own {
            Own::Positions(split) if wrote => Some(split),
            _ => None,
        })
    }
}

/// How far ahead of the first waiting step others are taken in: further would keep more values alive.
const WINDOW: usize = 256;

impl Scheduler<'_> {
    /// Schedules the steps of a range that nothing outside it, other than what is scheduled already, waits for.
    fn half(&mut self, steps: &mut [Option<Step>], range: Range<usize>, depends: &Dependencies) {
        let mut before: HashMap<usize, usize> = HashMap::new();
        for at in range.clone() {
            for &later in depends.after[at].iter().filter(|later| range.contains(later)) {
                *before.entry(later).or_default() += 1;
            }
        }
        let mut ready: BTreeSet<usize> = range.clone().filter(|at| !before.contains_key(at)).collect();
        while !ready.is_empty() {
            let (start, mut touched) = (self.done.len(), Touched::default());
            let mut deferred: BTreeSet<usize> = BTreeSet::new();
            while let Some(&at) = ready.first() {
                if deferred.first().is_some_and(|&first| at > first + WINDOW) {
                    break;
                }
                ready.pop_first();
                let Some(mut step) = steps[at].take() else { continue };
                let touches = step.call.touches();
                let Some(split) = self.choose(&step.call, &touches, self.wishes[at], &touched) else {
                    steps[at] = Some(step);
                    deferred.insert(at);
                    continue;
                };
                step.split = split;
                touched.add(&touches, split, self.keys);
                self.done.push(step);
                for later in &depends.after[at] {
                    if let Some(count) = before.get_mut(later) {
                        *count -= 1;
                        if *count == 0 {
                            ready.insert(*later);
                        }
                    }
                }
            }
            self.phases.push(Phase { steps: start..self.done.len(), shares: 1 });
            ready.extend(deferred);
        }
    }

    /// The cheapest split; none if it is cheaper to wait for the present phase to end.
    fn choose(&self, call: &Kernel, touches: &[Touch], wish: Option<Wish>, touched: &Touched) -> Option<Option<Split>> {
        let mut best: Option<(f64, bool, Option<Split>)> = None;
        for split in self.candidates(call, touches, touched) {
            let fits = touches.iter().all(|touch| touched.allows(touch, touch.own(split), self.keys));
            let meets = split.zip(wish).is_none_or(|(split, wish)| Wish::of(split) == wish);
            // One wait for what came before, and one for what comes behind.
            let waits = usize::from(!fits) + usize::from(!meets);
            let time = self.costs.call + call.time(self.costs, split, self.threads);
            let cost = time + waits as f64 * self.costs.barrier;
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, fits, split));
            }
        }
        best.filter(|&(_, fits, _)| fits).map(|(_, _, split)| split)
    }

    /// No split, those of operands that were made in this phase, and those that suit the call.
    fn candidates(&self, call: &Kernel, touches: &[Touch], touched: &Touched) -> Vec<Option<Split>> {
        let mut candidates = vec![None];
        if self.threads > 1 {
            let splits = call.splits();
            if let Some(len) = splits.any_of.filter(|&len| len > 0) {
                let made = |touch: &Touch| touch.following(touched.written(touch.buffer, self.keys)?);
                let made = touches.iter().filter(|touch| !touch.writes()).filter_map(made);
                candidates.extend(made.filter(|s| len.is_multiple_of(s.inner * s.extent)).map(Some));
            }
            let own = splits.own.iter().map(|suited| suited.split);
            candidates.extend(own.filter(|split| split.units() > 1).map(Some));
        }
        candidates
    }
}

/// The number of shares of a phase: one a thread, or several where a smaller share stays in cache.
fn shares(steps: &[Step], threads: usize) -> usize {
    let (mut most, mut pieces) = (1, 1);
    for Step { call, split, .. } in steps {
        let Some(split) = *split else { continue };
        pieces = pieces.max(split.units());
        let splits = call.splits();
        let footprint = splits.own.iter().find(|suited| suited.split == split).and_then(|suited| suited.footprint);
        let wanted = footprint.map_or(1, |footprint| footprint.pieces(split.extent.div_ceil(threads)));
        most = most.max(wanted);
    }
    if pieces == 1 { 1 } else { threads * most }
}
