//! What the steps behind the commit line read of what was computed before it: measured, so that a run can be stopped at
//! the line when a next value would be NaN or infinite.

use super::{BufferId, Plan, Step, StepKind, Storage};
use std::collections::{HashMap, HashSet};

/// Elements up to which a buffer is not measured by a step, but looked at when the line is reached.
const FEW: usize = 64;

/// What is known of the operands of the commit at its line.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Measured by steps, or bounded by the steps that make them, by slot.
    pub measured: Vec<BufferId>,
    /// To be looked at element for element.
    pub glanced: Vec<BufferId>,
    /// The states that the commit writes.
    pub written: Vec<usize>,
}

/// Adds a step that measures each buffer of some size that the commit reads, behind the step that makes it, unless that one
/// bounds what it makes.
pub(super) fn watch(plan: &mut Plan) {
    let written = plan.steps[plan.commit..].iter().flat_map(|step| plan.states_written(step)).collect();
    let (body, commit) = plan.steps.split_at_mut(plan.commit);
    let mut made: HashMap<BufferId, usize> = HashMap::new();
    for (at, step) in body.iter().enumerate() {
        made.extend(step.kind.writes().into_iter().map(|buffer| (buffer, at)));
        // A feed is measured where it is read first.
        let feeds = step.kind.reads().into_iter().filter(|&b| matches!(plan.buffers[b].storage, Storage::Feed(_)));
        feeds.for_each(|feed| {
            made.entry(feed).or_insert(at);
        });
    }
    let mut watch = Watch { written, ..Watch::default() };
    let mut behind: HashMap<usize, Vec<StepKind>> = HashMap::new();
    let mut seen: HashSet<BufferId> = HashSet::new();
    for step in &*commit {
        for x in step.kind.reads() {
            let super::Buffer { dtype, len, storage } = plan.buffers[x];
            let is_given = matches!(storage, Storage::Feed(_));
            let at = made.get(&x).copied().or(is_given.then_some(0));
            if let Some(at) = at.filter(|_| dtype.is_float() && len > 0 && seen.insert(x)) {
                if len <= FEW || body.is_empty() {
                    watch.glanced.push(x);
                } else {
                    let slot = watch.measured.len();
                    watch.measured.push(x);
                    match noted(&mut body[at].kind, x) {
                        Some(note) => *note = Some(slot),
                        None => behind.entry(at).or_default().push(StepKind::Measure { x, dtype, len, slot }),
                    }
                }
            }
        }
    }
    watch.written.sort_unstable();
    watch.written.dedup();
    let steps = std::mem::take(&mut plan.steps);
    plan.commit += behind.values().map(Vec::len).sum::<usize>();
    for (at, step) in steps.into_iter().enumerate() {
        let node = step.node;
        plan.steps.push(step);
        let measures = behind.remove(&at).unwrap_or_default();
        plan.steps.extend(measures.into_iter().map(|kind| Step { node, joined: None, kind, split: None }));
    }
    plan.watch = watch;
}

/// Where a step notes a bound of one of its results, if its kernel has one.
fn noted(kind: &mut StepKind, result: BufferId) -> Option<&mut Option<usize>> {
    match kind {
        StepKind::BatchNormTrain { results, notes, .. } | StepKind::BatchNormGrad { results, notes, .. } => {
            let at = results.iter().position(|&buffer| buffer == result)?;
            notes.get_mut(at)
        }
        _ => None,
    }
}
