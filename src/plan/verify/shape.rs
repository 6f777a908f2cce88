//! The checks that look at steps and buffers one by one.

use super::touched::touched_by;
use super::{IN_PLACE, INSIDE, LAYOUTS, LINE, PHASES, Report, SCRATCH, SHARES, STORAGE, WATCHED};
use crate::kernel::{BufferId, Call, Kernel, LINE as CACHE_LINE, MapCall, Pattern, Slot};
use crate::plan::{Buffer, Step, Storage};
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
        match &step.call {
            Kernel::Map(map) => program(report, at, map, None),
            Kernel::GemmMap(fused) => program(report, at, &fused.map, Some(fused.input)),
            _ => {}
        }
        if step.call.scratch() > plan.scratch_bytes {
            let what = format!("{} needs {} bytes of {}", report.step(at), step.call.scratch(), plan.scratch_bytes);
            report.fault(SCRATCH, what);
        }
        let is_late = matches!(step.call, Kernel::Map(_) | Kernel::GemmMap(_) | Kernel::Copy(_));
        if at >= plan.commit && !is_late {
            report.fault(LINE, format!("{} is behind the line", report.step(at)));
        }
    }
    watched(report);
}

fn storage(report: &mut Report<'_>) {
    let plan = report.plan;
    let used: HashSet<BufferId> =
        plan.steps.iter().flat_map(|step| step.call.reads().into_iter().chain(step.call.writes())).collect();
    for (id, &Buffer { storage, dtype, len }) in plan.buffers.iter().enumerate() {
        let of_port = |port: Option<&crate::plan::Port>| {
            port.is_some_and(|port| port.dtype == dtype && port.shape.iter().product::<usize>() == len)
        };
        let bytes = len.checked_mul(dtype.size());
        let is_fine = match storage {
            // What other buffers have taken the place of has no place of its own.
            Storage::Arena(offset) if len == 0 || (offset == usize::MAX && !used.contains(&id)) => true,
            Storage::Arena(offset) => {
                offset.is_multiple_of(CACHE_LINE)
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
    for touch in step.call.touches() {
        if report.plan.buffers.get(touch.buffer).is_none_or(|buffer| buffer.dtype != touch.dtype) {
            let what = format!("{} takes buffer {} for {}", report.step(at), touch.buffer, touch.dtype);
            report.fault(STORAGE, what);
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
    for (touch, ranges) in (0..shares).flat_map(|share| touched_by(step, share, shares)) {
        let len = plan.buffers.get(touch.buffer).map_or(0, |buffer| buffer.len);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        if end > len {
            let what = format!("{} touches element {} of {len} of buffer {}", report.step(at), end - 1, touch.buffer);
            return report.fault(INSIDE, what);
        }
    }
}

fn layouts(report: &mut Report<'_>, at: usize, step: &Step) {
    let plan = report.plan;
    for touch in step.call.touches() {
        let layout = match plan.buffers[touch.buffer].storage {
            Storage::State(state) => plan.layouts.get(state).copied().flatten(),
            _ => None,
        };
        if touch.layout != layout {
            report.fault(LAYOUTS, format!("{} and buffer {}", report.step(at), touch.buffer));
        }
    }
}

/// What only a map can do wrong: its program has more slots than scratch, or writes over what it reads later.
fn program(report: &mut Report<'_>, at: usize, map: &MapCall, product: Option<usize>) {
    let slots = map.code.iter().flat_map(|code| code.operands.into_iter().chain([code.result]));
    let slots = slots.chain(map.outputs.iter().map(|output| output.from));
    let in_scratch = |slot| if let Slot::Scratch(slot) = slot { Some(slot + 1) } else { None };
    let used = slots.filter_map(in_scratch).max().unwrap_or(0);
    if used > map.scratch {
        report.fault(SCRATCH, format!("{} uses {used} slots of {}", report.step(at), map.scratch));
    }
    in_place(report, at, map, product);
}

fn in_place(report: &mut Report<'_>, at: usize, map: &MapCall, product: Option<usize>) {
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
        .flat_map(|step| {
            let measure = match &step.call {
                Kernel::Measure(measure) if plan.buffers[measure.x].len == measure.len => {
                    Some((measure.x, measure.slot))
                }
                _ => None,
            };
            step.notes.iter().copied().filter(|&(buffer, _)| is_bounded(step, buffer)).chain(measure)
        })
        .filter(|&(buffer, slot)| plan.watch.measured.get(slot) == Some(&buffer))
        .map(|(buffer, _)| buffer)
        .collect();
    let late: HashSet<BufferId> = plan.steps[plan.commit..].iter().flat_map(|step| step.call.writes()).collect();
    for (at, step) in plan.steps.iter().enumerate().skip(plan.commit) {
        for buffer in step.call.reads() {
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

/// Whether the kernel notes a bound of what it writes there.
fn is_bounded(step: &Step, buffer: BufferId) -> bool {
    step.call.touches().iter().any(|touch| touch.buffer == buffer && touch.writes() && touch.is_bounded)
}
