//! The checks that look at steps and buffers one by one.

use super::touches::touches;
use super::{IN_PLACE, INSIDE, LAYOUTS, LINE, PHASES, Report, SCRATCH, SHARES, STORAGE, WATCHED};
use crate::ir::DType;
use crate::plan::memory::{ALIGNMENT, CHUNK_BYTES, GEMM_SCRATCH};
use crate::plan::step::{Gemm, MapCode, Method, Slot};
use crate::plan::{BATCH_NORM_SCRATCH, Buffer, BufferId, Pattern, Step, StepKind, Storage};
use std::collections::HashSet;

pub(super) fn check(report: &mut Report<'_>) {
    let plan = report.plan;
    storage(report);
    phases(report);
    let mut shares_of = vec![1; plan.steps.len()];
    for phase in &plan.phases {
        shares_of.iter_mut().take(phase.steps.end).skip(phase.steps.start).for_each(|shares| *shares = phase.shares);
    }
    for (at, step) in plan.steps.iter().enumerate() {
        types(report, at, step);
        shares(report, at, step, shares_of[at]);
        inside(report, at, step, shares_of[at]);
        layouts(report, at, step);
        if let StepKind::Map(map) = &step.kind {
            in_place(report, at, map, None);
        }
        if let StepKind::GemmMap(fused) = &step.kind {
            in_place(report, at, &fused.map, Some(fused.input));
        }
        if scratch(&step.kind) > plan.scratch_bytes {
            let what = format!("{} needs {} bytes of {}", report.step(at), scratch(&step.kind), plan.scratch_bytes);
            report.fault(SCRATCH, what);
        }
        let is_late = matches!(step.kind, StepKind::Map(_) | StepKind::GemmMap(_) | StepKind::Copy { .. });
        if at >= plan.commit && !is_late {
            report.fault(LINE, format!("{} is behind the line", report.step(at)));
        }
    }
    watched(report);
}

fn storage(report: &mut Report<'_>) {
    let plan = report.plan;
    let used: HashSet<BufferId> =
        plan.steps.iter().flat_map(|step| step.kind.reads().into_iter().chain(step.kind.writes())).collect();
    for (id, &Buffer { storage, dtype, len }) in plan.buffers.iter().enumerate() {
        let of_port = |port: Option<&crate::plan::Port>| {
            port.is_some_and(|port| port.dtype == dtype && port.shape.iter().product::<usize>() == len)
        };
        let bytes = len.checked_mul(dtype.size());
        let is_fine = match storage {
            // What other buffers have taken the place of has no place of its own.
            Storage::Arena(offset) if len == 0 || (offset == usize::MAX && !used.contains(&id)) => true,
            Storage::Arena(offset) => {
                offset.is_multiple_of(ALIGNMENT)
                    && bytes.and_then(|bytes| bytes.checked_add(offset)).is_some_and(|end| end <= plan.arena_bytes)
            }
            Storage::Constant(index) => {
                plan.constants.get(index).is_some_and(|tensor| tensor.dtype() == dtype && tensor.len() == len)
            }
            Storage::Feed(index) => of_port(plan.feeds.get(index)),
            Storage::State(index) => of_port(plan.states.get(index)),
        };
        if !is_fine {
            report.fault(STORAGE, format!("buffer {id}, {dtype}[{len}] at {storage:?}"));
        }
    }
    for (port, buffer) in &plan.outputs {
        let Buffer { dtype, len, storage } = plan.buffers[*buffer];
        let in_arena = matches!(storage, Storage::Arena(_));
        if port.dtype != dtype || port.shape.iter().product::<usize>() != len || !in_arena {
            report.fault(STORAGE, format!("output `{}` in buffer {buffer}, {dtype}[{len}] at {storage:?}", port.name));
        }
    }
}

fn phases(report: &mut Report<'_>) {
    let plan = report.plan;
    let mut next = 0;
    for (index, phase) in plan.phases.iter().enumerate() {
        if phase.steps.start != next || phase.steps.end < next || phase.shares == 0 {
            report.fault(PHASES, format!("phase {index} holds steps {:?} in {} shares", phase.steps, phase.shares));
        }
        next = phase.steps.end;
    }
    let at_line = plan.phases[..plan.commit_phase.min(plan.phases.len())].last().map_or(0, |phase| phase.steps.end);
    if next != plan.steps.len() || at_line != plan.commit || plan.commit_phase > plan.phases.len() {
        report
            .fault(PHASES, format!("{next} of {} steps; the line at {at_line}, not {}", plan.steps.len(), plan.commit));
    }
}

/// The element types of a step are those of its buffers.
fn types(report: &mut Report<'_>, at: usize, step: &Step) {
    let plan = report.plan;
    let mut is = |buffer: BufferId, dtype: DType| {
        if plan.buffers.get(buffer).is_none_or(|buffer| buffer.dtype != dtype) {
            report.fault(STORAGE, format!("{} takes buffer {buffer} for {dtype}", report.step(at)));
        }
    };
    let map = |map: &MapCode, without: Option<usize>, is: &mut dyn FnMut(BufferId, DType)| {
        let inputs = map.inputs.iter().enumerate().filter(|&(index, _)| Some(index) != without);
        inputs.for_each(|(_, input)| is(input.buffer, input.dtype));
        map.outputs.iter().for_each(|output| is(output.buffer, output.dtype));
    };
    let product = |gemm: &Gemm, is: &mut dyn FnMut(BufferId, DType)| {
        [gemm.a.buffer, gemm.b.buffer].into_iter().chain(gemm.finish.bias).for_each(|b| is(b, gemm.dtype));
    };
    match &step.kind {
        StepKind::Map(code) => map(code, None, &mut is),
        StepKind::Gemm(gemm) => {
            product(gemm, &mut is);
            is(gemm.c, gemm.dtype);
        }
        StepKind::GemmMap(fused) => {
            product(&fused.gemm, &mut is);
            map(&fused.map, Some(fused.input), &mut is);
        }
        StepKind::Reduce { x, y, dtype, .. } => [*x, *y].into_iter().for_each(|b| is(b, *dtype)),
        StepKind::Copy { from, to } => {
            is(from.buffer, from.dtype);
            is(to.buffer, from.dtype);
        }
        StepKind::Fill { value, to, dtype, .. } => [*value, *to].into_iter().for_each(|b| is(b, *dtype)),
        StepKind::BatchNormTrain { operands, results, dtype, .. } => {
            operands.iter().chain(results).for_each(|&b| is(b, *dtype));
        }
        StepKind::BatchNormGrad { operands, gate, results, dtype, .. } => {
            operands.iter().chain(gate).chain(results).for_each(|&b| is(b, *dtype));
        }
        StepKind::ArgMax { x, y, dtype, .. } => {
            is(*x, *dtype);
            is(*y, DType::I32);
        }
        StepKind::OneHot { index, y, dtype, .. } => {
            is(*index, DType::I32);
            is(*y, *dtype);
        }
        StepKind::Take { x, index, y, dtype, .. } | StepKind::Scatter { updates: x, index, y, dtype, .. } => {
            is(*x, *dtype);
            is(*index, DType::I32);
            is(*y, *dtype);
        }
        StepKind::Measure { x, dtype, .. } => is(*x, *dtype),
        StepKind::Random { key, y, dtype, .. } => {
            is(*key, DType::I32);
            is(*y, *dtype);
        }
    }
}

fn shares(report: &mut Report<'_>, at: usize, step: &Step, shares: usize) {
    let Some(split) = step.split else { return };
    let mut next = 0;
    for share in 0..shares {
        let range = split.range(share, shares);
        if range.start != next || range.end < next {
            report.fault(SHARES, format!("{}: share {share} of {shares} has positions {range:?}", report.step(at)));
        }
        next = range.end;
    }
    if next != split.extent {
        report.fault(SHARES, format!("{}: {shares} shares have {next} of {} positions", report.step(at), split.extent));
    }
}

fn inside(report: &mut Report<'_>, at: usize, step: &Step, shares: usize) {
    let plan = report.plan;
    let is_fill = matches!(step.kind, StepKind::Fill { .. });
    for touch in (0..shares).flat_map(|share| touches(step, share, shares)) {
        let len = plan.buffers.get(touch.buffer).map_or(0, |buffer| buffer.len);
        let end = touch.ranges.iter().map(|range| range.end).max().unwrap_or(0);
        if end > len && !(is_fill && touch.writes) {
            let what = format!("{} touches element {} of {len} of buffer {}", report.step(at), end - 1, touch.buffer);
            return report.fault(INSIDE, what);
        }
    }
}

/// Scratch that the kernels use, as they use it.
fn scratch(kind: &StepKind) -> usize {
    let of_map = |map: &MapCode| {
        let slots = map.code.iter().flat_map(|code| code.operands.into_iter().chain([code.result]));
        let slots = slots.chain(map.outputs.iter().map(|output| output.from));
        let in_scratch = |slot| if let Slot::Scratch(slot) = slot { Some(slot + 1) } else { None };
        let used = slots.filter_map(in_scratch).max().unwrap_or(0);
        (map.inputs.len() + used) * CHUNK_BYTES
    };
    match kind {
        StepKind::Map(map) => of_map(map),
        StepKind::Gemm(gemm) if gemm.method == Method::Packed || gemm.blocks.is_some() => {
            GEMM_SCRATCH * gemm.dtype.size()
        }
        StepKind::GemmMap(fused) => {
            let size = fused.gemm.dtype.size();
            let columns = fused.blocks.map_or(fused.window[1], |blocks| blocks.widest());
            let window = fused.window[0].min(fused.gemm.m) * columns.min(fused.gemm.n) * size;
            of_map(&fused.map) + window + GEMM_SCRATCH * size
        }
        StepKind::BatchNormTrain { dtype, extent, .. } | StepKind::BatchNormGrad { dtype, extent, .. } => {
            BATCH_NORM_SCRATCH * extent[1] * dtype.size()
        }
        _ => 0,
    }
}

fn layouts(report: &mut Report<'_>, at: usize, step: &Step) {
    let plan = report.plan;
    let layout = |buffer: BufferId| match plan.buffers[buffer].storage {
        Storage::State(state) => plan.layouts.get(state).copied().flatten(),
        _ => None,
    };
    let mut wrong: Vec<BufferId> = Vec::new();
    let mut as_blocks: Vec<BufferId> = Vec::new();
    match &step.kind {
        StepKind::Gemm(gemm) => {
            as_blocks.push(gemm.b.buffer);
            if layout(gemm.b.buffer) != gemm.blocks || (gemm.blocks.is_some() && gemm.a.buffer == gemm.b.buffer) {
                wrong.push(gemm.b.buffer);
            }
        }
        StepKind::GemmMap(fused) => {
            let inputs = fused.map.inputs.iter().enumerate().filter(|&(index, _)| index != fused.input);
            let full = inputs.filter(|(_, input)| input.pattern == Pattern::Full).map(|(_, input)| input.buffer);
            for buffer in full.chain(fused.map.outputs.iter().map(|output| output.buffer)) {
                as_blocks.push(buffer);
                if layout(buffer) != fused.blocks {
                    wrong.push(buffer);
                }
            }
            if fused.gemm.blocks != layout(fused.gemm.b.buffer) {
                wrong.push(fused.gemm.b.buffer);
            }
        }
        _ => {}
    }
    let others = step.kind.reads().into_iter().chain(step.kind.writes()).filter(|buffer| !as_blocks.contains(buffer));
    wrong.extend(others.filter(|&buffer| layout(buffer).is_some()));
    for buffer in wrong {
        report.fault(LAYOUTS, format!("{} and buffer {buffer}", report.step(at)));
    }
}

fn in_place(report: &mut Report<'_>, at: usize, map: &MapCode, product: Option<usize>) {
    let plan = report.plan;
    for (index, output) in map.outputs.iter().enumerate() {
        let Buffer { storage: place, len, .. } = plan.buffers[output.buffer];
        if len == 0 {
            continue;
        }
        let over = |input: usize| Some(input) != product && plan.buffers[map.inputs[input].buffer].storage == place;
        let overwritten: HashSet<usize> = (0..map.inputs.len()).filter(|&input| over(input)).collect();
        let partly = |&input: &usize| map.inputs[input].pattern != Pattern::Full || map.inputs[input].offset != 0;
        let twice = map.outputs[..index].iter().any(|other| plan.buffers[other.buffer].storage == place);
        let made = map.code.iter().position(|instruction| instruction.result == Slot::Output(index));
        let reads = |slot: &Slot| matches!(slot, Slot::Input(input) if overwritten.contains(input));
        let read_later = made.is_some_and(|made| {
            let from = if map.code[made].op.works_in_place() { made + 1 } else { made };
            map.code[from..].iter().any(|instruction| instruction.operands.iter().any(reads))
        });
        if overwritten.iter().any(partly) || (read_later && map.native.is_none()) || twice {
            report.fault(IN_PLACE, format!("{}: result {index}", report.step(at)));
        }
    }
}

fn watched(report: &mut Report<'_>) {
    let plan = report.plan;
    let measured: HashSet<BufferId> = (plan.steps[..plan.commit].iter())
        .flat_map(|step| match step.kind {
            StepKind::Measure { x, len, slot, .. } => {
                let is_whole = plan.buffers[x].len == len;
                [Some((x, slot)).filter(|_| is_whole), None, None]
            }
            StepKind::BatchNormTrain { results, notes, .. } | StepKind::BatchNormGrad { results, notes, .. } => {
                [0, 1, 2].map(|at| Some((results[at], notes[at]?)))
            }
            _ => [None; 3],
        })
        .flatten()
        .filter(|&(buffer, slot)| plan.watch.measured.get(slot) == Some(&buffer))
        .map(|(buffer, _)| buffer)
        .collect();
    let late: HashSet<BufferId> = plan.steps[plan.commit..].iter().flat_map(|step| step.kind.writes()).collect();
    for (at, step) in plan.steps.iter().enumerate().skip(plan.commit) {
        for buffer in step.kind.reads() {
            let Buffer { storage, dtype, len } = plan.buffers[buffer];
            let is_operand = matches!(storage, Storage::Arena(_) | Storage::Feed(_)) && !late.contains(&buffer);
            let is_seen = measured.contains(&buffer) || plan.watch.glanced.contains(&buffer);
            if is_operand && dtype.is_float() && len > 0 && !is_seen {
                report.fault(WATCHED, format!("{} reads buffer {buffer}", report.step(at)));
            }
        }
        for state in plan.states_written(step).filter(|state| !plan.watch.written.contains(state)) {
            report.fault(WATCHED, format!("{} writes `{}`", report.step(at), plan.states[state].name));
        }
    }
}
