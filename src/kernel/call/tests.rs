//! Each kernel keeps to what it says that it touches.
//!
//! Every share of every step of many plans is run twice, on memory in which all that the share does not say it reads is
//! poisoned, in two ways. What it says that it writes must come out alike, so it was written, and from nothing but what
//! it says that it reads; everything else must be as it was, the scratch behind what it asks for included.

use super::{BufferId, Call, Costs, Memory, Notes, Share, Touch, Workspace};
use crate::ir::{Bindings, Builder, DType, Expr};
use crate::kernel::{Blocks, Kernel, LINE, Level};
use crate::op::Op;
use crate::plan::examples::{mixed, training};
use crate::plan::{Plan, Step, Storage};
use crate::random::Stream;
use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes before and behind a buffer, for kernels that go too far.
const GUARD: usize = 64 * LINE;

/// A buffer with something before and behind it.
#[derive(Clone)]
struct Guarded {
    // Whole lines, so that the buffer is aligned.
    lines: Vec<[u64; LINE / 8]>,
    len: usize,
}

impl Guarded {
    fn new(len: usize) -> Guarded {
        Guarded { lines: vec![[0; LINE / 8]; (len + 2 * GUARD).div_ceil(LINE)], len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = self.lines.len() * LINE;
        // SAFETY: integers are bytes.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }

    fn inside(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.bytes()[GUARD..GUARD + len]
    }

    fn start(&mut self) -> *mut u8 {
        self.bytes()[GUARD..].as_mut_ptr()
    }
}

/// A run of a plan in which each buffer has memory of its own, but for those over one state.
struct Trial<'p> {
    plan: &'p Plan,
    // For each buffer, which memory is its.
    places: Vec<usize>,
    memory: Vec<Guarded>,
}

impl<'p> Trial<'p> {
    fn new(plan: &'p Plan, random: &mut Stream) -> Trial<'p> {
        let states = plan.states.len();
        let place = |(id, storage)| if let Storage::State(state) = storage { state } else { states + id };
        let places: Vec<usize> = plan.buffers.iter().map(|buffer| buffer.storage).enumerate().map(place).collect();
        let mut trial = Trial { plan, places, memory: vec![Guarded::new(0); states + plan.buffers.len()] };
        for (id, buffer) in plan.buffers.iter().enumerate() {
            let guarded = &mut trial.memory[trial.places[id]];
            *guarded = Guarded::new(buffer.bytes());
            let constant = match buffer.storage {
                Storage::Constant(index) => Some(plan.constants[index].to_f64()),
                _ => None,
            };
            for (at, element) in guarded.inside().chunks_exact_mut(buffer.dtype.size()).enumerate() {
                let number = constant.as_ref().map_or_else(|| random.uniform() * 4.0 - 1.0, |data| data[at]);
                match buffer.dtype {
                    DType::F32 => element.copy_from_slice(&(number as f32).to_le_bytes()),
                    DType::F64 => element.copy_from_slice(&number.to_le_bytes()),
                    DType::I32 => element.copy_from_slice(&(number as i32).to_le_bytes()),
                    DType::Bool => element[0] = u8::from(number > 0.5),
                }
            }
        }
        trial
    }

    /// The bytes of elements of a buffer where they are stored.
    fn bytes(&self, touch: &Touch, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        let size = touch.dtype.size();
        let stored = |element: usize| match touch.layout {
            Some(Blocks { columns, .. }) => {
                touch.layout.map_or(element, |blocks| blocks.at(element / columns, element % columns))
            }
            None => element,
        };
        let of_range = |range: &Range<usize>| {
            // Elements that lie side by side are one range.
            let runs = if touch.layout.is_none() { 1 } else { range.len() };
            let len = range.len() / runs.max(1);
            let run = |run: usize| GUARD + stored(range.start + run * len) * size;
            (0..runs).map(|at| run(at)..run(at) + len * size).collect::<Vec<_>>()
        };
        ranges.iter().flat_map(of_range).collect()
    }

    /// Runs a share of a step twice, and keeps what it wrote.
    fn step(&mut self, step: &Step, positions: Range<usize>, level: Level) -> Result<(), String> {
        let touched: Vec<(BufferId, bool, Vec<Range<usize>>)> = (step.call.touches().iter())
            .map(|touch| {
                let ranges = touch.ranges(step.split, &positions);
                (touch.buffer, touch.writes(), self.bytes(touch, &ranges))
            })
            .collect();
        let share = Share { split: step.split, positions, notes: &step.notes };
        let [first, second] = [0x5B, 0xA6].map(|poison| self.run(step, &share, &touched, poison, level));
        let (first, second) = (first?, second?);
        for (buffer, _, ranges) in touched.iter().filter(|(_, writes, _)| *writes) {
            let place = self.places[*buffer];
            for range in ranges {
                let [mut a, mut b] = [first[place].clone(), second[place].clone()];
                if a.bytes()[range.clone()] != b.bytes()[range.clone()] {
                    return Err(format!("buffer {buffer}, bytes {range:?}: not written, or from what is not read"));
                }
                self.memory[place].bytes()[range.clone()].copy_from_slice(&a.bytes()[range.clone()]);
            }
        }
        Ok(())
    }

    /// Runs a share where everything that it does not read is poisoned; gives the memory behind it.
    fn run(
        &self,
        step: &Step,
        share: &Share<'_>,
        touched: &[(BufferId, bool, Vec<Range<usize>>)],
        poison: u8,
        level: Level,
    ) -> Result<Vec<Guarded>, String> {
        let mut memory: Vec<Guarded> = self.memory.clone();
        memory.iter_mut().for_each(|guarded| guarded.bytes().fill(poison));
        for (buffer, _, ranges) in touched.iter().filter(|(_, writes, _)| !writes) {
            let place = self.places[*buffer];
            let mut from = self.memory[place].clone();
            for range in ranges {
                memory[place].bytes()[range.clone()].copy_from_slice(&from.bytes()[range.clone()]);
            }
        }
        let before = memory.clone();
        let mut scratch = Guarded::new(step.call.scratch());
        scratch.bytes().fill(poison);
        let buffers: Vec<*mut u8> = self.places.iter().map(|&place| memory[place].start()).collect();
        let notes = Notes::new(self.plan.watch.measured.len(), 1);
        let of_run = Memory { buffers: &buffers, level, notes: &notes, vouched: &[], watches_products: true };
        let mut own = Workspace { worker: 0, scratch: scratch.start(), overflowed: false };
        // SAFETY: memory is as the touches say, which is what is tested.
        unsafe { step.call.run(&of_run, share, &mut own) };
        let len = scratch.len;
        if scratch.bytes()[GUARD + len..].iter().any(|&byte| byte != poison) {
            return Err("scratch behind what it asks for is written".to_owned());
        }
        for (place, (mut after, mut before)) in memory.iter().cloned().zip(before).enumerate() {
            let written = touched.iter().filter(|(buffer, writes, _)| *writes && self.places[*buffer] == place);
            for range in written.flat_map(|(_, _, ranges)| ranges) {
                let new = after.bytes()[range.clone()].to_vec();
                before.bytes()[range.clone()].copy_from_slice(&new);
            }
            if after.bytes() != before.bytes() {
                let at = after.bytes().iter().zip(before.bytes().iter()).position(|(a, b)| a != b);
                return Err(format!("memory {place}, byte {}: written, though it does not say so", at.unwrap_or(0)));
            }
        }
        Ok(memory)
    }
}

/// Runs every share of a plan; notes the kernels that were seen, and whether they were split.
fn check(plan: &Plan, level: Level, seen: &mut BTreeSet<(&'static str, bool)>) {
    let mut trial = Trial::new(plan, &mut Stream::new(3, "touches"));
    for phase in &plan.phases {
        for share in 0..phase.shares {
            for step in &plan.steps[phase.steps.clone()] {
                let positions = match step.split {
                    Some(split) => split.range(share, phase.shares),
                    None => 0..usize::from(share == 0),
                };
                if positions.is_empty() {
                    continue;
                }
                seen.insert((step.call.name(), step.split.is_some()));
                if let Err(fault) = trial.step(step, positions, level) {
                    panic!("{}: {fault}\n{:?}\n{plan}", step.call.describe().detail, step.call.touches());
                }
            }
        }
    }
}

fn levels() -> impl Iterator<Item = Level> {
    [Some(Level::widest()), Level::avx2(), Some(Level::baseline())].into_iter().flatten()
}

fn eager() -> Costs {
    Costs { barrier: 0.0, call: 0.0, ..Costs::default() }
}

#[test]
fn kernels_touch_what_they_say() {
    let mut seen = BTreeSet::new();
    for (threads, held) in [(1, false), (3, true), (3, false), (8, true)] {
        let plan = training(threads, held);
        levels().for_each(|level| check(&plan, level, &mut seen));
    }
    levels().for_each(|level| check(&mixed(), level, &mut seen));
    // Every op, as it is sampled for the laws and on axes that are turned round.
    for case in Op::cases() {
        for is_turned in [false, true] {
            let g = Builder::new();
            let operand = |(slot, sample): (usize, &crate::op::Sample)| -> Expr<'_> {
                let ty = &sample.ty;
                let turned: Vec<usize> = (0..ty.rank()).rev().collect();
                let mut shape = ty.shape.clone();
                if is_turned {
                    shape = turned.iter().map(|&axis| ty.shape[axis]).collect();
                }
                let x = g.input(&slot.to_string(), ty.dtype, shape);
                if is_turned { x.transpose(&turned) } else { x }
            };
            let operands: Vec<Expr<'_>> = case.operands.iter().enumerate().map(operand).collect();
            for (at, result) in g.push_all(case.op.clone(), &operands).into_iter().enumerate() {
                g.output(&at.to_string(), result);
            }
            let Ok(graph) = g.finish() else { continue };
            for threads in [1, 3] {
                let plan = Plan::shared(&graph, &Bindings::new(), threads, &eager(), false).unwrap();
                check(&plan, Level::widest(), &mut seen);
            }
        }
    }
    let is_missing = |name: &&str| !seen.iter().any(|(have, _)| have == name);
    let missing: Vec<&str> = Kernel::NAMES.iter().copied().filter(is_missing).collect();
    assert!(missing.is_empty(), "no plan has {missing:?}");
    let whole: Vec<&str> = Kernel::NAMES.iter().copied().filter(|&kernel| !seen.contains(&(kernel, true))).collect();
    assert_eq!(whole, ["Fill", "Scatter"], "kernels that no plan has split");
}
