//! Orders steps into *phases*. Within a phase every share runs its part of each step without waiting for the others;
//! between phases all shares wait for each other.
//!
//! A step enters the present phase if it has a split in which each share needs only what the same share has made in this
//! phase, and if that is cheaper than to wait. So the steps around a product that is split by columns (batch norm, an
//! activation) follow it at no cost, and the next product, which needs whole rows, opens a phase.

use super::access::{Access, Accesses, Part, accesses, inherited, splits};
use super::{BufferId, Costs, Plan, Split, Step, StepKind, Storage};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// Steps that run without waiting, in so many shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub steps: Range<usize>,
    pub shares: usize,
}

pub(super) fn schedule(plan: &mut Plan, costs: &Costs, threads: usize) {
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
    let key = |(id, buffer): (BufferId, &super::Buffer)| match buffer.storage {
        Storage::State(index) => index,
        _ => states + id,
    };
    plan.buffers.iter().enumerate().map(key).collect()
}

/// How the steps behind a product would like it split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Columns,
    Rows,
}

/// For each step that computes a product, what its readers wish, looking through maps.
fn wishes(steps: &[Option<Step>]) -> Vec<Option<Wish>> {
    let mut by_buffer: HashMap<BufferId, Wish> = HashMap::new();
    let mut found = vec![None; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        let Some(Step { kind, .. }) = step else { continue };
        let (reads, wish): (Vec<BufferId>, _) = match kind {
            StepKind::BatchNormTrain { operands, .. } => (vec![operands[0]], Some(Wish::Columns)),
            StepKind::BatchNormGrad { operands, .. } => (vec![operands[4]], Some(Wish::Columns)),
            StepKind::Reduce { x, inner: 1, .. } => (vec![*x], Some(Wish::Rows)),
            StepKind::Map(map) => {
                let of_outputs = map.outputs.iter().filter_map(|output| by_buffer.get(&output.buffer));
                (map.inputs.iter().map(|input| input.buffer).collect(), of_outputs.copied().next())
            }
            StepKind::Gemm(gemm) => {
                found[at] = by_buffer.get(&gemm.c).copied();
                continue;
            }
            _ => continue,
        };
        if let Some(wish) = wish {
            reads.into_iter().for_each(|buffer| {
                by_buffer.insert(buffer, wish);
            });
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
            for buffer in step.kind.reads() {
                before.extend(writer.get(&keys[buffer]));
                readers.entry(keys[buffer]).or_default().push(at);
            }
            for buffer in step.kind.writes() {
                before.extend(writer.insert(keys[buffer], at));
                before.extend(readers.remove(&keys[buffer]).unwrap_or_default().into_iter().filter(|&r| r != at));
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
struct Touched(HashMap<usize, Vec<(Part, bool)>>);

impl Touched {
    fn allows(&self, access: &Access, keys: &[usize]) -> bool {
        self.0.get(&keys[access.buffer]).is_none_or(|earlier| {
            earlier.iter().all(|&(part, wrote)| !(wrote || access.writes) || part.is_apart(access.part))
        })
    }

    fn add(&mut self, accesses: &Accesses, keys: &[usize]) {
        for access in accesses {
            let parts = self.0.entry(keys[access.buffer]).or_default();
            if !parts.contains(&(access.part, access.writes)) {
                parts.push((access.part, access.writes));
            }
        }
    }

    /// The split by which the buffer was written in this phase.
    fn written(&self, buffer: BufferId, keys: &[usize]) -> Option<Split> {
        self.0.get(&keys[buffer])?.iter().find_map(|&(part, wrote)| match part {
            Part::Own(split) if wrote => Some(split),
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
                let choice = self.choose(&step.kind, self.wishes[at], &touched);
                let Some((split, accesses)) = choice else {
                    steps[at] = Some(step);
                    deferred.insert(at);
                    continue;
                };
                step.split = split;
                touched.add(&accesses, self.keys);
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

    /// The cheapest split, and what the step touches then; `None` if it is cheaper to wait for the present phase to end.
    fn choose(&self, kind: &StepKind, wish: Option<Wish>, touched: &Touched) -> Option<(Option<Split>, Accesses)> {
        let mut best: Option<(f64, bool, Option<Split>, Accesses)> = None;
        let mut candidates: Vec<Option<Split>> = vec![None];
        if self.threads > 1 {
            if let StepKind::Map(map) = kind {
                let inputs = map
                    .inputs
                    .iter()
                    .filter_map(|input| inherited(map, input.buffer, touched.written(input.buffer, self.keys)?));
                candidates.extend(inputs.map(Some));
            }
            if let StepKind::Measure { x, .. } = kind {
                candidates.extend(touched.written(*x, self.keys).map(Some));
            }
            candidates.extend(splits(kind).into_iter().filter(|split| split.units() > 1).map(Some));
        }
        for split in candidates {
            let accesses = accesses(kind, split);
            let fits = accesses.iter().all(|access| touched.allows(access, self.keys));
            let meets = split.zip(wish).is_none_or(|(split, wish)| (split.inner == 1) == (wish == Wish::Columns));
            // One wait for what came before, and one for what comes behind.
            let waits = usize::from(!fits) + usize::from(!meets);
            let cost = self.costs.step(kind, split, self.threads) + waits as f64 * self.costs.barrier;
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, fits, split, accesses));
            }
        }
        best.filter(|(_, fits, ..)| *fits).map(|(_, _, split, accesses)| (split, accesses))
    }
}

/// Bytes that the shares of a product should work on at a time.
const WORKING_SET: usize = 192 << 10;

/// The number of shares of a phase: one a thread, or several where a smaller share stays in cache.
fn shares(steps: &[Step], threads: usize) -> usize {
    let mut most = 1;
    let mut pieces = 1;
    for Step { kind, split, .. } in steps {
        let Some(split) = split else { continue };
        pieces = pieces.max(split.units());
        let StepKind::Gemm(gemm) = kind else { continue };
        if gemm.batch > 1 {
            continue;
        }
        let is_columns = *split == Split::columns(gemm.n);
        let (width, least) = if is_columns { (gemm.m, 48) } else { (gemm.k.max(gemm.n), 64) };
        let share = split.extent.div_ceil(threads);
        let wanted = (share * width * gemm.dtype.size()).div_ceil(WORKING_SET).min(share / least).max(1);
        most = most.max(wanted);
    }
    if pieces == 1 { 1 } else { threads * most }
}
