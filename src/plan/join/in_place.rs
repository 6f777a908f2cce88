//! Lets a fused map write a parameter's next value straight over the present one.
//!
//! The order of a plan is: first everything that leaves state alone, then the *commit*, which overwrites it. A run can
//! so be stopped at the line between the two, before anything is lost. Whatever an output needs is computed before that
//! line, also where it reads a next value: a guard may look at any output. Behind the line are maps that write state in
//! place, maps that read what these write, and copies of next values that were computed before.

use crate::kernel::{BufferId, CopyCall, Kernel, MapCall, MapOutput, Pattern, Slot};
use crate::plan::{Plan, Step};
use std::collections::{HashMap, HashSet};

/// Elements below which a next value is computed before the line and copied behind it: that costs nothing, and what it
/// is can be looked at.
const FEWEST_ELEMENTS: usize = 65;

struct Candidate {
    step: usize,
    output: usize,
    state: BufferId,
    // The copy that the candidate makes needless.
    copy: usize,
}

pub(in crate::plan) fn commit_state(plan: &mut Plan) {
    let mut candidates = candidates(plan);
    let late = settle(plan, &mut candidates);
    for candidate in &candidates {
        let storage = plan.buffers[candidate.state].storage;
        let Kernel::Map(map) = &mut plan.steps[candidate.step].call else { continue };
        let MapOutput { buffer, .. } = map.outputs[candidate.output];
        if is_read_after_write(map, candidate.state, candidate.output) {
            write_at_end_of_chunk(map, candidate.output);
        }
        plan.buffers[buffer].storage = storage;
    }
    let needless: HashSet<usize> = candidates.iter().map(|candidate| candidate.copy).collect();
    let (mut early, mut commit): (Vec<Step>, Vec<Step>) = (Vec::new(), Vec::new());
    for (index, step) in plan.steps.drain(..).enumerate() {
        match late.get(index) {
            Some(false) => early.push(step),
            Some(true) => commit.push(step),
            None if needless.contains(&index) => {}
            None => commit.push(step),
        }
    }
    plan.commit = early.len();
    early.extend(commit);
    plan.steps = early;
}

/// Keeps the candidates that may write in place, and gives which steps before the copies come late then.
fn settle(plan: &Plan, candidates: &mut Vec<Candidate>) -> Vec<bool> {
    let body = plan.commit;
    let is_early = early_steps(plan, body);
    candidates.retain(|candidate| !is_early[candidate.step]);
    let mut readers: HashMap<BufferId, Vec<usize>> =
        candidates.iter().map(|candidate| (candidate.state, Vec::new())).collect();
    for (index, step) in plan.steps[..body].iter().enumerate() {
        for buffer in step.call.reads() {
            if let Some(readers) = readers.get_mut(&buffer) {
                readers.push(index);
            }
        }
    }
    // Rejecting a candidate can only shrink the set of late steps, so this ends.
    loop {
        let late = late_steps(plan, candidates, body);
        let fits = |candidate: &Candidate| {
            readers[&candidate.state].iter().all(|&reader| reader <= candidate.step || !late[reader])
        };
        let before = candidates.len();
        candidates.retain(fits);
        if candidates.len() == before {
            return late;
        }
    }
}

/// Map outputs that are wholly the next value of one state, in maps that read that state only element for element.
fn candidates(plan: &Plan) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut taken: HashSet<BufferId> = plan.outputs.iter().map(|&(_, buffer)| buffer).collect();
    let mut producer = vec![None; plan.buffers.len()];
    for (step, Step { call, .. }) in plan.steps[..plan.commit].iter().enumerate() {
        if let Kernel::Map(map) = call {
            for (output, MapOutput { buffer, .. }) in map.outputs.iter().enumerate() {
                producer[*buffer] = Some((step, output));
            }
        }
    }
    for (copy, Step { call, .. }) in plan.steps.iter().enumerate().skip(plan.commit) {
        let Kernel::Copy(CopyCall { from, to }) = call else { continue };
        let Some((step, output)) = producer[from.buffer] else { continue };
        let Kernel::Map(map) = &plan.steps[step].call else { continue };
        let element_for_element = map
            .inputs
            .iter()
            .all(|input| input.buffer != to.buffer || (input.pattern == Pattern::Full && input.offset == 0));
        // An output stays in the arena, and one value can overwrite only one state.
        if element_for_element && map.len >= FEWEST_ELEMENTS && taken.insert(from.buffer) {
            found.push(Candidate { step, output, state: to.buffer, copy });
        }
    }
    found
}

/// Steps that have to stay before the line: what makes an output, everything but maps, and what these read.
///
/// Only a map is a whole value in one step, so only a map can move without passing another write to its buffer.
fn early_steps(plan: &Plan, body: usize) -> Vec<bool> {
    let mut is_needed = vec![false; plan.buffers.len()];
    plan.outputs.iter().for_each(|&(_, buffer)| is_needed[buffer] = true);
    let mut early = vec![false; body];
    for (Step { call, .. }, early) in plan.steps[..body].iter().zip(&mut early).rev() {
        *early = !matches!(call, Kernel::Map(_)) || call.writes().iter().any(|&buffer| is_needed[buffer]);
        if *early {
            call.reads().into_iter().for_each(|buffer| is_needed[buffer] = true);
        }
    }
    early
}

/// Maps that write state in place, and those that read what they write.
fn late_steps(plan: &Plan, candidates: &[Candidate], body: usize) -> Vec<bool> {
    let mut late = vec![false; body];
    let mut late_buffer = vec![false; plan.buffers.len()];
    for candidate in candidates {
        late[candidate.step] = true;
    }
    for (Step { call, .. }, late) in plan.steps.iter().zip(&mut late) {
        *late |= call.reads().iter().any(|&buffer| late_buffer[buffer]);
        if *late {
            for buffer in call.writes() {
                late_buffer[buffer] = true;
            }
        }
    }
    late
}

/// Whether an instruction behind the one that makes the output reads the state that it overwrites, or that one itself
/// does in a loop that takes its operands to be apart from its result.
fn is_read_after_write(map: &MapCall, state: BufferId, output: usize) -> bool {
    let made = map.code.iter().position(|instruction| instruction.result == Slot::Output(output));
    let reads = |slot: &Slot| matches!(*slot, Slot::Input(input) if map.inputs[input].buffer == state);
    made.is_none_or(|made| {
        let from = if map.code[made].op.works_in_place() { made + 1 } else { made };
        map.code[from..].iter().any(|instruction| instruction.operands.iter().any(reads))
    })
}

/// The new value waits in scratch until the chunk is done.
fn write_at_end_of_chunk(map: &mut MapCall, output: usize) {
    let scratch = Slot::Scratch(map.scratch);
    map.scratch += 1;
    for instruction in &mut map.code {
        for slot in instruction.operands.iter_mut().chain([&mut instruction.result]) {
            if *slot == Slot::Output(output) {
                *slot = scratch;
            }
        }
    }
    map.outputs[output].from = scratch;
}
