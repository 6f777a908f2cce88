//! The verifier accepts what the planner makes, and sees each mistake that is planted in it.

use super::*;
use crate::ir::DType;
use crate::kernel::{CopyCall, Kernel, Pattern, Slot, Split};
use crate::plan::Storage;
use crate::plan::examples::{mixed, training};

#[test]
fn what_the_planner_makes_is_accepted() {
    for threads in [1, 2, 3, 8] {
        assert_eq!(training(threads, true).verify(), Ok(()));
    }
    assert_eq!(mixed().verify(), Ok(()));
}

fn find(plan: &Plan, is: impl Fn(&Kernel) -> bool) -> usize {
    plan.steps.iter().position(|step| is(&step.call)).expect("there is such a step")
}

/// An arena buffer that a step of one phase writes and one of a later phase reads, before the line.
fn waited_for(plan: &Plan) -> (usize, usize) {
    for (index, phase) in plan.phases[..plan.commit_phase].iter().enumerate().skip(1) {
        let (before, here) = (&plan.phases[index - 1], &plan.steps[phase.steps.clone()]);
        let written: Vec<usize> = plan.steps[before.steps.clone()].iter().flat_map(|step| step.call.writes()).collect();
        if here.iter().any(|step| step.split.is_some() && step.call.reads().iter().any(|b| written.contains(b))) {
            return (index - 1, index);
        }
    }
    unreachable!("some phase waits for the one before it")
}

type Break = fn(&mut Plan);

/// Mistakes in lowering, scheduling and memory, and the checks that may see them first.
const TRAINING: &[(&str, &[&str], Break)] = &[
    ("all buffers at one place", &["P3", "P4", "P5", "P12"], |plan| {
        for buffer in &mut plan.buffers {
            if let Storage::Arena(offset) = &mut buffer.storage {
                *offset = 0;
            }
        }
    }),
    ("a buffer given away while it is read", &["P3", "P4", "P12"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormGrad(_)));
        let Kernel::BatchNormGrad(norm) = &plan.steps[at].call else { return };
        let (x, dx) = (norm.operands[0], norm.results[0]);
        plan.buffers[dx].storage = plan.buffers[x].storage;
    }),
    ("the arena is too small", &["P1"], |plan| {
        let offset = |buffer: &crate::plan::Buffer| match buffer.storage {
            Storage::Arena(offset) if offset != usize::MAX => offset,
            _ => 0,
        };
        plan.arena_bytes = plan.buffers.iter().map(offset).max().unwrap_or(0);
    }),
    ("an offset between two lines", &["P1"], |plan| {
        let buffer = plan.outputs[0].1;
        let Storage::Arena(offset) = &mut plan.buffers[buffer].storage else { return };
        *offset += 4;
    }),
    ("scratch for one chunk less", &["P10"], |plan| plan.scratch_bytes -= 4096),
    ("an output that dies early", &["P4", "P6"], |plan| {
        let loss = plan.outputs[0].1;
        let at = find(plan, |call| matches!(call, Kernel::BatchNormGrad(_)));
        let other = plan.steps[at].call.writes()[0];
        plan.buffers[loss].storage = plan.buffers[other].storage;
    }),
    ("a wait that is left out", &["P3"], |plan| {
        let (first, second) = waited_for(plan);
        let steps = plan.phases[second].steps.end;
        plan.phases[first].steps.end = steps;
        plan.phases[first].shares = plan.phases[first].shares.max(plan.phases[second].shares);
        plan.phases.remove(second);
        plan.commit_phase -= 1;
    }),
    ("rows instead of columns in the middle of a phase", &["P3"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormTrain(_)));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.call, Kernel::Gemm(_))).unwrap();
        let Kernel::Gemm(gemm) = &plan.steps[product].call else { return };
        plan.steps[product].split = Some(Split::rows(gemm.m, gemm.n));
    }),
    ("one share does what all read", &["P3"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormTrain(_)));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.call, Kernel::Gemm(_))).unwrap();
        plan.steps[product].split = None;
    }),
    ("a split over less than there is", &["P4", "P5", "P6"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormTrain(_)));
        let Kernel::BatchNormTrain(norm) = &plan.steps[at].call else { return };
        plan.steps[at].split = Some(Split { inner: norm.extent[2], extent: norm.extent[1] - 16 });
    }),
    ("the last step is in no phase", &["P8"], |plan| {
        if let Some(phase) = plan.phases.last_mut() {
            phase.steps.end -= 1;
        }
    }),
    ("a phase of no shares", &["P8"], |plan| plan.phases[0].shares = 0),
    ("the line one phase early", &["P6", "P13"], |plan| {
        plan.commit_phase -= 1;
        plan.commit = plan.phases[plan.commit_phase].steps.start;
    }),
    ("the line one phase late", &["P6"], |plan| {
        plan.commit = plan.phases[plan.commit_phase].steps.end;
        plan.commit_phase += 1;
    }),
    ("two steps that depend on each other change places", &["P3", "P4", "P5"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormTrain(_)));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.call, Kernel::Gemm(_))).unwrap();
        plan.steps.swap(at, product);
    }),
    ("a product over one too many", &["P2"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Gemm(_)));
        if let Kernel::Gemm(gemm) = &mut plan.steps[at].call {
            gemm.k += 1;
        }
    }),
    ("an operand read the wrong way round", &["P2"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::GemmMap(_)));
        if let Kernel::GemmMap(fused) = &mut plan.steps[at].call {
            let a = &mut fused.gemm.a;
            (a.row_stride, a.column_stride) = (a.column_stride, a.row_stride);
        }
    }),
    ("an update is forgotten", &["P7"], |plan| {
        let state = plan.updates[0].0;
        let writes = |call: &Kernel| call.writes().iter().any(|&b| plan.buffers[b].storage == Storage::State(state));
        let at = find(plan, writes);
        match &mut plan.steps[at].call {
            Kernel::Copy(CopyCall { to, from }) => *to = from.clone(),
            Kernel::Map(map) => map.len = 0,
            Kernel::GemmMap(fused) => fused.map.len = 0,
            _ => {}
        }
    }),
    ("a parameter's block layout is forgotten by a reader", &["P11"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Gemm(gemm) if gemm.blocks.is_some()));
        if let Kernel::Gemm(gemm) = &mut plan.steps[at].call {
            gemm.blocks = None;
        }
    }),
    ("a layout that no step knows", &["P11"], |plan| {
        let states = plan.layouts.iter().position(Option::is_none).unwrap();
        plan.layouts[states] = plan.layouts.iter().flatten().copied().next();
    }),
    ("a map over a state that it repeats", &["P12", "P2"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::GemmMap(_)));
        let Kernel::GemmMap(fused) = &mut plan.steps[at].call else { return };
        let product = fused.input;
        let inputs = fused.map.inputs.iter_mut().enumerate();
        let state = inputs.filter(|(index, input)| *index != product && input.pattern == Pattern::Full).last();
        if let Some((_, input)) = state {
            input.pattern = Pattern::Middle { period: 7, repeat: 1 };
        }
    }),
    ("an operand of the commit is not measured", &["P13"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Measure(_)));
        if let Kernel::Measure(measure) = &mut plan.steps[at].call {
            measure.len -= 1;
        }
    }),
    ("a small operand of the commit is not looked at", &["P13"], |plan| {
        assert!(!plan.watch.glanced.is_empty());
        plan.watch.glanced.clear();
    }),
    ("a buffer of another type", &["P1"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::BatchNormTrain(_)));
        let buffer = plan.steps[at].call.writes()[1];
        plan.buffers[buffer].dtype = DType::I32;
    }),
];

const MIXED: &[(&str, &[&str], Break)] = &[
    ("a fill behind the copy that it should precede", &["P5"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Fill(_)));
        let to = plan.steps[at].call.writes()[0];
        let copy = find(plan, |call| matches!(call, Kernel::Copy(copy) if copy.to.buffer == to));
        plan.steps.swap(at, copy);
    }),
    ("a piece of a join that lands one too far", &["P2", "P4", "P5", "P6"], |plan| {
        let joined = plan.outputs[1].1;
        let at = find(plan, |call| matches!(call, Kernel::Copy(copy) if copy.to.buffer == joined));
        if let Kernel::Copy(CopyCall { to, .. }) = &mut plan.steps[at].call {
            to.offset += 1;
        }
    }),
    ("a piece of a join that is left out", &["P4", "P5", "P6"], |plan| {
        let joined = plan.outputs[1].1;
        let at = find(plan, |call| matches!(call, Kernel::Copy(copy) if copy.to.buffer == joined));
        if let Kernel::Copy(CopyCall { to, from }) = &mut plan.steps[at].call {
            *to = from.clone();
        }
    }),
    ("two states get each other's next value", &["P7"], |plan| {
        let copies: Vec<usize> =
            (plan.commit..plan.steps.len()).filter(|&at| matches!(plan.steps[at].call, Kernel::Copy(_))).collect();
        let to = |plan: &Plan, at: usize| match &plan.steps[at].call {
            Kernel::Copy(copy) => copy.to.clone(),
            _ => unreachable!(),
        };
        let (first, second) = (to(plan, copies[0]), to(plan, copies[1]));
        for (at, view) in [(copies[0], second), (copies[1], first)] {
            if let Kernel::Copy(CopyCall { to, .. }) = &mut plan.steps[at].call {
                *to = view;
            }
        }
    }),
    ("a swap without a copy in between", &["P4", "P7"], |plan| {
        let at = (plan.commit..plan.steps.len()).rfind(|&at| matches!(plan.steps[at].call, Kernel::Copy(_)));
        let state = |name: &str| plan.states.iter().position(|port| port.name == name).unwrap();
        let of = |state| plan.buffers.iter().position(|b| b.storage == Storage::State(state)).unwrap();
        let (b, c) = (of(state("b")), of(state("c")));
        if let Some(Kernel::Copy(CopyCall { from, to })) = at.map(|at| &mut plan.steps[at].call) {
            from.buffer = if to.buffer == b { c } else { b };
        }
    }),
    ("a state is read after it was overwritten", &["P4"], |plan| {
        let state = plan.states.iter().position(|port| port.name == "a").unwrap();
        let old = plan.buffers.iter().position(|b| b.storage == Storage::State(state)).unwrap();
        let at = (plan.commit..plan.steps.len()).rfind(|&at| matches!(plan.steps[at].call, Kernel::Copy(_)));
        if let Some(Kernel::Copy(CopyCall { from, .. })) = at.map(|at| &mut plan.steps[at].call) {
            from.buffer = old;
        }
    }),
    ("a result is written into what is fed", &["P1", "P6", "P12"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Map(_)));
        let buffer = plan.steps[at].call.writes()[0];
        plan.buffers[buffer].storage = Storage::Feed(0);
    }),
    ("an index that is taken for a float", &["P1"], |plan| {
        let at = find(plan, |call| matches!(call, Kernel::Take(_)));
        if let Kernel::Take(take) = &mut plan.steps[at].call {
            take.index = take.x;
        }
    }),
    ("a map reads what it has overwritten", &["P12"], |plan| {
        let state = |b: usize, plan: &Plan| matches!(plan.buffers[b].storage, Storage::State(_));
        let at = plan.steps.iter().rposition(|step| {
            matches!(step.call, Kernel::Map(_)) && step.call.writes().iter().any(|&b| state(b, plan))
        });
        let Some(at) = at else { unreachable!("one state is overwritten in place") };
        let Kernel::Map(map) = &mut plan.steps[at].call else { return };
        let old = map.inputs.iter().position(|input| matches!(plan.buffers[input.buffer].storage, Storage::State(_)));
        let mut again = map.code[0].clone();
        again.operands[0] = Slot::Input(old.unwrap());
        again.result = Slot::Scratch(0);
        map.scratch = map.scratch.max(1);
        map.code.push(again);
    }),
];

#[test]
fn planted_mistakes_are_seen() {
    assert!(TRAINING.len() + MIXED.len() >= 30);
    let mut missed = Vec::new();
    for (mistakes, of_training) in [(TRAINING, true), (MIXED, false)] {
        for (name, labels, plant) in mistakes {
            let mut plan = if of_training { training(3, true) } else { mixed() };
            plant(&mut plan);
            let found = plan.verify().err().map_or(Vec::new(), |faults| faults.0);
            if !found.iter().any(|fault| labels.contains(&fault.label)) {
                missed.push(format!("{name}: {found:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_check_has_teeth() {
    let planted = TRAINING.iter().chain(MIXED).flat_map(|(_, labels, _)| labels.iter());
    let planted: std::collections::BTreeSet<&str> = planted.copied().collect();
    // A share's positions are made from a split by one function, and cannot be planted without changing it.
    let missing: Vec<&str> = PLAN_CHECKS
        .iter()
        .map(|check| check.label)
        .filter(|label| !planted.contains(label) && *label != "P9")
        .collect();
    assert!(missing.is_empty(), "no mistake is planted for {missing:?}");
}
