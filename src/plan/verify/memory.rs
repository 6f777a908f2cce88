//! The checks that follow a plan through its memory: whose value each byte holds, from the first step to the last.

use super::touched::touched_by;
use super::{APART, IN_PLACE, LINE, ONCE, Report, STATES, VALUES};
use crate::kernel::{BufferId, Effect, Kernel, Touch};
use crate::plan::{Plan, Storage};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// A block of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Space {
    Arena,
    Constant(usize),
    Feed(usize),
    State(usize),
}

/// Whose value a stretch of memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// That of a buffer.
    Value(BufferId),
    /// That of a buffer, where other steps have yet to write over it, or may not need to.
    Fill(BufferId),
    /// The next value of a state, which a copy of this buffer has brought.
    Next(BufferId),
}

pub(super) fn check(report: &mut Report<'_>) {
    let plan = report.plan;
    let mut contents = Contents::new(plan);
    for (index, phase) in plan.phases.iter().enumerate() {
        if index == plan.commit_phase {
            outputs(report, &contents, LINE);
        }
        apart(report, index);
        for at in phase.steps.clone() {
            contents.step(report, at, phase.shares);
        }
    }
    outputs(report, &contents, if plan.commit_phase == plan.phases.len() { LINE } else { VALUES });
    states(report, &contents);
}

/// Every output is all there.
fn outputs(report: &mut Report<'_>, contents: &Contents, check: super::PlanCheck) {
    for (port, buffer) in &report.plan.outputs {
        let whole = 0..report.plan.buffers[*buffer].len;
        if !contents.holds(report.plan, *buffer, &whole) {
            report.fault(check, format!("output `{}`", port.name));
        }
    }
}

fn states(report: &mut Report<'_>, contents: &Contents) {
    let plan = report.plan;
    let next: HashMap<usize, BufferId> = plan.updates.iter().copied().collect();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let Storage::State(state) = buffer.storage else { continue };
        let whole = 0..buffer.bytes();
        let mut held = contents.of(Space::State(state), &whole);
        let expected = next.get(&state);
        let is_right = held.all(|holds| match (holds, expected) {
            (Some(Holds::Value(value)), Some(next)) => value == *next,
            (Some(Holds::Next(from)), Some(next)) => from == *next,
            (Some(Holds::Value(value)), None) => value == id,
            _ => false,
        });
        // In-place results have buffers of their own over the memory of the state.
        let is_own = plan.updates.iter().all(|&(_, next)| next != id);
        if is_own && !is_right {
            report.fault(STATES, format!("`{}`", plan.states[state].name));
        }
    }
}

/// What a share writes in a phase, no other one touches.
fn apart(report: &mut Report<'_>, index: usize) {
    let plan = report.plan;
    let phase = &plan.phases[index];
    // Per space, (bytes, share).
    let mut writes: HashMap<Space, Vec<(Range<usize>, usize)>> = HashMap::new();
    let mut reads: HashMap<Space, Vec<(Range<usize>, usize)>> = HashMap::new();
    for at in phase.steps.clone() {
        for share in 0..phase.shares {
            for (touch, ranges) in touched_by(&plan.steps[at], share, phase.shares) {
                let (space, ranges) = bytes(plan, touch.buffer, &ranges);
                let to = if touch.writes() { &mut writes } else { &mut reads };
                to.entry(space).or_default().extend(ranges.map(|range| (range, share)));
            }
        }
    }
    for (space, mut written) in writes {
        written.sort_unstable_by_key(|(range, _)| range.start);
        // Stretches of one share each; where two shares meet, that is the fault.
        let mut merged: Vec<(Range<usize>, usize)> = Vec::new();
        for (range, share) in written {
            match merged.last_mut() {
                Some((last, owner)) if range.start < last.end && *owner != share => {
                    let what =
                        format!("phase {index}: shares {owner} and {share} write {space:?} from {}", range.start);
                    return report.fault(APART, what);
                }
                Some((last, owner)) if range.start <= last.end && *owner == share => last.end = last.end.max(range.end),
                _ => merged.push((range, share)),
            }
        }
        for (range, share) in reads.remove(&space).unwrap_or_default() {
            let first = merged.partition_point(|(written, _)| written.end <= range.start);
            let meets = merged[first..].iter().take_while(|(written, _)| written.start < range.end);
            if let Some((_, owner)) = meets.into_iter().find(|(_, owner)| *owner != share) {
                let what =
                    format!("phase {index}: share {share} reads {space:?} at {range:?}, which share {owner} writes");
                return report.fault(APART, what);
            }
        }
    }
}

/// What a share touches of a buffer, run by run.
type TouchedRuns = (Touch, Vec<Range<usize>>);

/// Whether a kernel writes over an operand that it does not read element for element.
fn overwrites_operands(plan: &Plan, touched: &[TouchedRuns]) -> bool {
    let span = |(touch, ranges): &TouchedRuns| {
        let (space, ranges) = bytes(plan, touch.buffer, ranges);
        ranges.map(|range| (space, range)).collect::<Vec<_>>()
    };
    let mut written: Vec<_> = touched.iter().filter(|(touch, _)| touch.writes()).flat_map(span).collect();
    written.sort_unstable_by_key(|(space, range)| (*space, range.start));
    let meets = |(space, range): (Space, Range<usize>)| {
        // Results of a kernel are apart, so the ends are in the order of the starts.
        let first = written.partition_point(|(of, with)| (*of, with.end) <= (space, range.start));
        written.get(first).is_some_and(|(of, with)| *of == space && with.start < range.end)
    };
    let operands = touched.iter().filter(|(touch, _)| !touch.writes() && !touch.is_in_place);
    operands.flat_map(span).any(meets)
}

/// Where elements of a buffer lie, in bytes.
fn bytes(plan: &Plan, buffer: BufferId, ranges: &[Range<usize>]) -> (Space, impl Iterator<Item = Range<usize>>) {
    let buffer = &plan.buffers[buffer];
    let (space, offset) = place(buffer.storage);
    let size = buffer.dtype.size();
    let ranges = ranges.iter().filter(|range| !range.is_empty());
    let ranges: Vec<_> = ranges.map(move |range| offset + range.start * size..offset + range.end * size).collect();
    (space, ranges.into_iter())
}

fn place(storage: Storage) -> (Space, usize) {
    match storage {
        Storage::Arena(offset) => (Space::Arena, offset),
        Storage::Constant(index) => (Space::Constant(index), 0),
        Storage::Feed(index) => (Space::Feed(index), 0),
        Storage::State(index) => (Space::State(index), 0),
    }
}

struct Contents {
    // By space and start: the end of a stretch and what it holds.
    spaces: HashMap<Space, BTreeMap<usize, (usize, Holds)>>,
    // For each buffer, the last step that writes it.
    last_write: HashMap<BufferId, usize>,
}

impl Contents {
    fn new(plan: &Plan) -> Contents {
        let mut contents = Contents { spaces: HashMap::new(), last_write: HashMap::new() };
        let by_maps: HashSet<BufferId> = (plan.steps.iter())
            .filter(|step| matches!(step.call, Kernel::Map(_) | Kernel::GemmMap(_)))
            .flat_map(|step| step.call.writes())
            .collect();
        for (id, buffer) in plan.buffers.iter().enumerate() {
            let (space, _) = place(buffer.storage);
            // A map that writes over a state does so through a buffer of its own.
            if space != Space::Arena && !(matches!(space, Space::State(_)) && by_maps.contains(&id)) {
                contents.write(space, 0..buffer.bytes(), Holds::Value(id));
            }
        }
        for (at, step) in plan.steps.iter().enumerate() {
            contents.last_write.extend(step.call.writes().into_iter().map(|buffer| (buffer, at)));
        }
        contents
    }

    /// A step by all of its shares: what it reads is there, and then what it writes.
    fn step(&mut self, report: &mut Report<'_>, at: usize, shares: usize) {
        let plan = report.plan;
        let step = &plan.steps[at];
        let touched: Vec<TouchedRuns> = (0..shares).flat_map(|share| touched_by(step, share, shares)).collect();
        for (touch, ranges) in touched.iter().filter(|(touch, _)| !touch.writes()) {
            let is_state = matches!(plan.buffers[touch.buffer].storage, Storage::State(_));
            let is_early = self.last_write.get(&touch.buffer).is_some_and(|&last| last >= at) && !is_state;
            if is_early {
                report.fault(ONCE, format!("{} reads buffer {} before it is complete", report.step(at), touch.buffer));
            }
            for range in ranges {
                if !self.holds(plan, touch.buffer, range) {
                    let what = format!("{} reads elements {range:?} of buffer {}", report.step(at), touch.buffer);
                    report.fault(VALUES, what);
                    break;
                }
            }
        }
        if overwrites_operands(plan, &touched) {
            report.fault(IN_PLACE, format!("{} overwrites what it reads", report.step(at)));
        }
        for (touch, ranges) in touched.iter().filter(|(touch, _)| touch.writes()) {
            let (space, ranges) = bytes(plan, touch.buffer, ranges);
            if matches!(space, Space::Constant(_) | Space::Feed(_)) {
                report.fault(LINE, format!("{} writes what is only read", report.step(at)));
            }
            if matches!(space, Space::State(_)) && at < plan.commit {
                report.fault(LINE, format!("{} writes a state before the line", report.step(at)));
            }
            let holds = match &step.call {
                _ if touch.effect == Effect::Fill => Holds::Fill(touch.buffer),
                Kernel::Copy(copy) if matches!(space, Space::State(_)) => Holds::Next(copy.from.buffer),
                _ => Holds::Value(touch.buffer),
            };
            let again = |held: Option<Holds>| match held {
                Some(Holds::Next(_)) => true,
                Some(Holds::Value(value)) => holds == Holds::Value(value) || holds == Holds::Fill(value),
                held => held == Some(holds),
            };
            for range in ranges {
                if self.of(space, &range).any(again) {
                    report.fault(ONCE, format!("{} writes buffer {} again", report.step(at), touch.buffer));
                }
                self.write(space, range, holds);
            }
        }
    }

    /// Whether memory holds these elements of a buffer.
    fn holds(&self, plan: &Plan, buffer: BufferId, elements: &Range<usize>) -> bool {
        let (space, offset) = place(plan.buffers[buffer].storage);
        let size = plan.buffers[buffer].dtype.size();
        let range = offset + elements.start * size..offset + elements.end * size;
        elements.is_empty()
            || plan.buffers[buffer].len == 0
            || self.of(space, &range).all(|held| matches!(held, Some(Holds::Value(b) | Holds::Fill(b)) if b == buffer))
    }

    /// What a stretch of memory holds, piece by piece; `None` for what nothing has written.
    fn of(&self, space: Space, range: &Range<usize>) -> impl Iterator<Item = Option<Holds>> {
        let mut found = Vec::new();
        let mut at = range.start;
        if let Some(pieces) = self.spaces.get(&space) {
            let before = pieces.range(..=range.start).next_back();
            let inside = pieces.range(range.start + 1..range.end.max(range.start + 1));
            for (&start, &(end, holds)) in before.into_iter().chain(inside) {
                if end <= at {
                    continue;
                }
                if start > at {
                    found.push(None);
                }
                found.push(Some(holds));
                at = end;
            }
        }
        if at < range.end {
            found.push(None);
        }
        found.into_iter()
    }

    fn write(&mut self, space: Space, range: Range<usize>, holds: Holds) {
        if range.is_empty() {
            return;
        }
        let pieces = self.spaces.entry(space).or_default();
        // Whatever overlaps is cut off at both ends.
        let before = pieces.range(..range.start).next_back().map(|(&start, &piece)| (start, piece));
        if let Some((start, (end, held))) = before.filter(|(_, (end, _))| *end > range.start) {
            pieces.insert(start, (range.start, held));
            if end > range.end {
                pieces.insert(range.end, (end, held));
            }
        }
        let inside: Vec<(usize, (usize, Holds))> =
            pieces.range(range.clone()).map(|(&start, &piece)| (start, piece)).collect();
        for (start, (end, held)) in inside {
            pieces.remove(&start);
            if end > range.end {
                pieces.insert(range.end, (end, held));
            }
        }
        // Neighbours that hold the same become one.
        let mut range = range;
        let joins = pieces.range(..range.start).next_back().map(|(&start, &piece)| (start, piece));
        if let Some((start, _)) = joins.filter(|(_, (end, held))| *end == range.start && *held == holds) {
            pieces.remove(&start);
            range.start = start;
        }
        if let Some(&(end, _)) = pieces.get(&range.end).filter(|(_, held)| *held == holds) {
            pieces.remove(&range.end);
            range.end = end;
        }
        pieces.insert(range.start, (range.end, holds));
    }
}
