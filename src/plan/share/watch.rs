//! What the steps behind the commit line read of what was computed before it: measured, so that a run can be stopped at
//! the line when a next value would be NaN or infinite.

use crate::kernel::{BufferId, Call, Kernel, MeasureCall};
use crate::plan::{Buffer, Plan, Step, Storage};
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
pub(in crate::plan) fn watch(plan: &mut Plan) {
    let written = plan.steps[plan.commit..].iter().flat_map(|step| plan.states_written(step)).collect();
    let (body, commit) = plan.steps.split_at_mut(plan.commit);
    let mut made: HashMap<BufferId, usize> = HashMap::new();
    for (at, step) in body.iter().enumerate() {
        for touch in step.call.touches() {
            if touch.writes() {
                made.insert(touch.buffer, at);
            } else if let Storage::Feed(_) = plan.buffers[touch.buffer].storage {
                // A feed is measured where it is read first.
                made.entry(touch.buffer).or_insert(at);
            }
        }
    }
    let mut watch = Watch { written, ..Watch::default() };
    let mut behind: HashMap<usize, Vec<MeasureCall>> = HashMap::new();
    let mut seen: HashSet<BufferId> = HashSet::new();
    for step in &*commit {
        for x in step.call.reads() {
            let Buffer { dtype, len, storage } = plan.buffers[x];
            let feed = if let Storage::Feed(feed) = storage { Some(feed) } else { None };
            let at = made.get(&x).copied().or(feed.map(|_| 0));
            if let Some(at) = at.filter(|_| dtype.is_float() && len > 0 && seen.insert(x)) {
                if len <= FEW || body.is_empty() {
                    watch.glanced.push(x);
                } else {
                    let slot = watch.measured.len();
                    watch.measured.push(x);
                    let is_bounded = |step: &Step| step.call.touches().iter().any(|t| t.buffer == x && t.is_bounded);
                    if is_bounded(&body[at]) {
                        body[at].notes.push((x, slot));
                    } else {
                        behind.entry(at).or_default().push(MeasureCall { x, dtype, len, slot, feed });
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
        plan.steps.extend(measures.into_iter().map(|measure| Step::new(node, Kernel::Measure(measure))));
    }
    plan.watch = watch;
}
