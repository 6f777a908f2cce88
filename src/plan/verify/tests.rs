//! The verifier accepts what the planner makes, and sees each mistake that is planted in it.

use super::*;
use crate::ir::{Bindings, Builder, DType, Dim, Symbol};
use crate::nn::{Activation, BatchNormalization, Dense, Sequential};
use crate::plan::step::{Slot, StepKind};
use crate::plan::{Costs, Pattern, Split, Storage};
use crate::train::{Loss, Sgd, Trainer};

/// Waiting costs nothing, so that small work is shared out.
fn costs() -> Costs {
    Costs { barrier: 0.0, call: 0.0, ..Costs::default() }
}

/// A training step whose parameters are held in blocks, and whose products are joined with their updates.
fn training(threads: usize) -> Plan {
    let net = Sequential::new([160])
        .add(Dense::new(128).without_bias())
        .add(BatchNormalization::new())
        .add(Activation::Relu)
        .add(Dense::new(112).activation(Activation::Tanh))
        .add(Dense::new(10).activation(Activation::Softmax));
    let optimizer = Sgd::new(0.1).momentum(0.9).nesterov();
    let trainer = Trainer::new(net.build().unwrap(), optimizer, Loss::SparseCategoricalCrossentropy).compile().unwrap();
    let batch = Bindings::from([(Symbol::new("batch"), 96)]);
    Plan::shared(trainer.training_graph(), &batch, threads, &costs(), true).unwrap()
}

/// One of each kernel, and states that are overwritten, copied and swapped.
fn mixed() -> Plan {
    let g = Builder::new();
    let n = Dim::symbol("n");
    let x = g.input("x", DType::F32, [n, 90usize.into()]);
    let index = g.input("index", DType::I32, [n]);
    let key = g.state("key", DType::I32, [2]);
    let state = |name: &str| g.state(name, DType::F32, [90usize]);
    let (a, b, c) = (state("a"), state("b"), state("c"));
    let padded = x.pad(1, 3, 2, 1, g.scalar(DType::F32, 0.5));
    let joined = g.concat(&[x, x.sin()], 1);
    let picked = x.take_along_axis(index.reshape([n, 1usize.into()]), 1);
    let hot = index.one_hot(90, DType::F32);
    let dropped = hot.dropout(key, 0.5);
    g.output("padded", padded);
    g.output("joined", joined);
    g.output("picked", picked.cos());
    g.output("best", (x + dropped).arg_max(1));
    g.output("sums", x.exp().sum(&[1]));
    g.output("by column", (x.exp() * 2.0).sum(&[0]));
    g.output("turned", x.transpose(&[1, 0]).exp());
    g.update(a, a * 0.5 + x.sum(&[0]));
    g.update(b, c);
    g.update(c, b);
    Plan::shared(&g.finish().unwrap(), &Bindings::from([(Symbol::new("n"), 70)]), 3, &costs(), false).unwrap()
}

#[test]
fn what_the_planner_makes_is_accepted() {
    for threads in [1, 2, 3, 8] {
        assert_eq!(training(threads).verify(), Ok(()));
    }
    assert_eq!(mixed().verify(), Ok(()));
}

fn find(plan: &Plan, is: impl Fn(&StepKind) -> bool) -> usize {
    plan.steps.iter().position(|step| is(&step.kind)).expect("there is such a step")
}

/// An arena buffer that a step of one phase writes and one of a later phase reads, before the line.
fn waited_for(plan: &Plan) -> (usize, usize) {
    for (index, phase) in plan.phases[..plan.commit_phase].iter().enumerate().skip(1) {
        let (before, here) = (&plan.phases[index - 1], &plan.steps[phase.steps.clone()]);
        let written: Vec<usize> = plan.steps[before.steps.clone()].iter().flat_map(|step| step.kind.writes()).collect();
        if here.iter().any(|step| step.split.is_some() && step.kind.reads().iter().any(|b| written.contains(b))) {
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
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormGrad { .. }));
        let StepKind::BatchNormGrad { operands: [x, ..], results: [dx, ..], .. } = plan.steps[at].kind else { return };
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
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormGrad { .. }));
        let other = plan.steps[at].kind.writes()[0];
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
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormTrain { .. }));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.kind, StepKind::Gemm(_))).unwrap();
        let StepKind::Gemm(gemm) = &plan.steps[product].kind else { return };
        plan.steps[product].split = Some(Split::rows(gemm.m, gemm.n));
    }),
    ("one share does what all read", &["P3"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormTrain { .. }));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.kind, StepKind::Gemm(_))).unwrap();
        plan.steps[product].split = None;
    }),
    ("a split over less than there is", &["P4", "P5", "P6"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormTrain { .. }));
        let StepKind::BatchNormTrain { extent, .. } = &plan.steps[at].kind else { return };
        plan.steps[at].split = Some(Split { inner: extent[2], extent: extent[1] - 16 });
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
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormTrain { .. }));
        let product = plan.steps[..at].iter().rposition(|step| matches!(step.kind, StepKind::Gemm(_))).unwrap();
        plan.steps.swap(at, product);
    }),
    ("a product over one too many", &["P2"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Gemm(_)));
        if let StepKind::Gemm(gemm) = &mut plan.steps[at].kind {
            gemm.k += 1;
        }
    }),
    ("an operand read the wrong way round", &["P2"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::GemmMap(_)));
        if let StepKind::GemmMap(fused) = &mut plan.steps[at].kind {
            let a = &mut fused.gemm.a;
            (a.row_stride, a.column_stride) = (a.column_stride, a.row_stride);
        }
    }),
    ("an update is forgotten", &["P7"], |plan| {
        let state = plan.updates[0].0;
        let writes = |kind: &StepKind| kind.writes().iter().any(|&b| plan.buffers[b].storage == Storage::State(state));
        let at = find(plan, writes);
        match &mut plan.steps[at].kind {
            StepKind::Copy { to, from } => *to = from.clone(),
            StepKind::Map(map) => map.len = 0,
            StepKind::GemmMap(fused) => fused.gemm.m = 0,
            _ => {}
        }
    }),
    ("a parameter's block layout is forgotten by a reader", &["P11"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Gemm(gemm) if gemm.blocks.is_some()));
        if let StepKind::Gemm(gemm) = &mut plan.steps[at].kind {
            gemm.blocks = None;
        }
    }),
    ("a layout that no step knows", &["P11"], |plan| {
        let states = plan.layouts.iter().position(Option::is_none).unwrap();
        plan.layouts[states] = plan.layouts.iter().flatten().copied().next();
    }),
    ("a map over a state that it repeats", &["P12", "P2"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::GemmMap(_)));
        let StepKind::GemmMap(fused) = &mut plan.steps[at].kind else { return };
        let product = fused.input;
        let inputs = fused.map.inputs.iter_mut().enumerate();
        let state = inputs.filter(|(index, input)| *index != product && input.pattern == Pattern::Full).last();
        if let Some((_, input)) = state {
            input.pattern = Pattern::Middle { period: 7, repeat: 1 };
        }
    }),
    ("an operand of the commit is not measured", &["P13"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Measure { .. }));
        if let StepKind::Measure { len, .. } = &mut plan.steps[at].kind {
            *len -= 1;
        }
    }),
    ("a small operand of the commit is not looked at", &["P13"], |plan| {
        assert!(!plan.watch.glanced.is_empty());
        plan.watch.glanced.clear();
    }),
    ("a buffer of another type", &["P1"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::BatchNormTrain { .. }));
        let buffer = plan.steps[at].kind.writes()[1];
        plan.buffers[buffer].dtype = DType::I32;
    }),
];

const MIXED: &[(&str, &[&str], Break)] = &[
    ("a fill behind the copy that it should precede", &["P5"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Fill { .. }));
        let to = plan.steps[at].kind.writes()[0];
        let copy = find(plan, |kind| matches!(kind, StepKind::Copy { to: view, .. } if view.buffer == to));
        plan.steps.swap(at, copy);
    }),
    ("a piece of a join that lands one too far", &["P2", "P4", "P5", "P6"], |plan| {
        let joined = plan.outputs[1].1;
        let at = find(plan, |kind| matches!(kind, StepKind::Copy { to, .. } if to.buffer == joined));
        if let StepKind::Copy { to, .. } = &mut plan.steps[at].kind {
            to.offset += 1;
        }
    }),
    ("a piece of a join that is left out", &["P4", "P5", "P6"], |plan| {
        let joined = plan.outputs[1].1;
        let at = find(plan, |kind| matches!(kind, StepKind::Copy { to, .. } if to.buffer == joined));
        if let StepKind::Copy { to, from } = &mut plan.steps[at].kind {
            *to = from.clone();
        }
    }),
    ("two states get each other's next value", &["P7"], |plan| {
        let copies: Vec<usize> = (plan.commit..plan.steps.len())
            .filter(|&at| matches!(plan.steps[at].kind, StepKind::Copy { .. }))
            .collect();
        let to = |plan: &Plan, at: usize| match &plan.steps[at].kind {
            StepKind::Copy { to, .. } => to.clone(),
            _ => unreachable!(),
        };
        let (first, second) = (to(plan, copies[0]), to(plan, copies[1]));
        for (at, view) in [(copies[0], second), (copies[1], first)] {
            if let StepKind::Copy { to, .. } = &mut plan.steps[at].kind {
                *to = view;
            }
        }
    }),
    ("a swap without a copy in between", &["P4", "P7"], |plan| {
        let at = (plan.commit..plan.steps.len()).rfind(|&at| matches!(plan.steps[at].kind, StepKind::Copy { .. }));
        let state = |name: &str| plan.states.iter().position(|port| port.name == name).unwrap();
        let of = |state| plan.buffers.iter().position(|b| b.storage == Storage::State(state)).unwrap();
        let (b, c) = (of(state("b")), of(state("c")));
        if let Some(StepKind::Copy { from, to }) = at.map(|at| &mut plan.steps[at].kind) {
            from.buffer = if to.buffer == b { c } else { b };
        }
    }),
    ("a state is read after it was overwritten", &["P4"], |plan| {
        let state = plan.states.iter().position(|port| port.name == "a").unwrap();
        let old = plan.buffers.iter().position(|b| b.storage == Storage::State(state)).unwrap();
        let at = (plan.commit..plan.steps.len()).rfind(|&at| matches!(plan.steps[at].kind, StepKind::Copy { .. }));
        if let Some(StepKind::Copy { from, .. }) = at.map(|at| &mut plan.steps[at].kind) {
            from.buffer = old;
        }
    }),
    ("a result is written into what is fed", &["P1", "P6", "P12"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Map(_)));
        let buffer = plan.steps[at].kind.writes()[0];
        plan.buffers[buffer].storage = Storage::Feed(0);
    }),
    ("an index that is taken for a float", &["P1"], |plan| {
        let at = find(plan, |kind| matches!(kind, StepKind::Take { .. }));
        if let StepKind::Take { x, index, .. } = &mut plan.steps[at].kind {
            *index = *x;
        }
    }),
    ("a map reads what it has overwritten", &["P12"], |plan| {
        let state = |b: usize, plan: &Plan| matches!(plan.buffers[b].storage, Storage::State(_));
        let at = plan.steps.iter().rposition(|step| {
            matches!(step.kind, StepKind::Map(_)) && step.kind.writes().iter().any(|&b| state(b, plan))
        });
        let Some(at) = at else { unreachable!("one state is overwritten in place") };
        let StepKind::Map(map) = &mut plan.steps[at].kind else { return };
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
            let mut plan = if of_training { training(3) } else { mixed() };
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
