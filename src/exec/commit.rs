//! The line behind which a run overwrites state: what is behind it is known to be finite, or it is not passed.
//!
//! Next values are written over present ones while they are computed, so they cannot be looked at first. They are bounded
//! instead: from what was measured of their operands and what is known of the states, by interval arithmetic over the
//! steps behind the line, which is a handful of numbers for each. Where the bound is no proof, which takes gradients of
//! 1e15 and more or a rule that divides by what may be 0, the caller keeps a copy of the states while they are written.

use super::range::{Range, of_map, of_product};
use crate::kernel::{BufferId, CopyCall, GemmMapCall, Kernel, MapCall, Notes};
use crate::plan::{Buffer, Plan, Step, Storage};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verdict {
    /// To its end.
    Passed,
    /// To the line, where something was NaN or infinite.
    NotFinite,
    /// To the line, since it was not proved that what is behind it is finite.
    Unproved,
}

/// Memory to bound next values in, one for each worker.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    // By buffer; those of constants are known from the start.
    buffers: Vec<Range>,
    scratch: Vec<Range>,
    wrote: Vec<(BufferId, Range)>,
    /// The states behind the line, once that is proved.
    pub states: Vec<Range>,
    /// The first step behind the line that reads what is not finite.
    pub guilty: Option<usize>,
}

/// What is known at the line.
pub(super) struct AtLine<'a> {
    pub plan: &'a Plan,
    pub notes: &'a Notes,
    /// The states before the line.
    pub states: &'a [Range],
}

impl Bounds {
    pub fn new(plan: &Plan) -> Bounds {
        let of_constant = |buffer: &Buffer| match buffer.storage {
            Storage::Constant(index) => Range::of(plan.constants[index].to_f64().into_iter()),
            _ => Range::ZERO,
        };
        let slots = |step: &Step| match &step.call {
            Kernel::Map(map) | Kernel::GemmMap(GemmMapCall { map, .. }) => map.scratch + map.outputs.len(),
            _ => 1,
        };
        // So many that no run allocates.
        let most = plan.steps.iter().map(slots).max().unwrap_or(0);
        Bounds {
            buffers: plan.buffers.iter().map(of_constant).collect(),
            scratch: Vec::with_capacity(most),
            wrote: Vec::with_capacity(most),
            states: vec![Range::ZERO; plan.states.len()],
            guilty: None,
        }
    }

    /// Bounds everything behind the line. `glance` looks at a small buffer.
    pub fn prove(&mut self, line: &AtLine<'_>, glance: impl Fn(BufferId) -> Range) -> Verdict {
        let AtLine { plan, notes, states } = *line;
        for (slot, &buffer) in plan.watch.measured.iter().enumerate() {
            // A bound of magnitudes may be infinite where they are not.
            let noted = Range::around_zero(notes.largest(slot));
            self.buffers[buffer] = noted.if_finite().unwrap_or_else(|| glance(buffer));
        }
        for &buffer in &plan.watch.glanced {
            self.buffers[buffer] = glance(buffer);
        }
        for &buffer in plan.watch.measured.iter().chain(&plan.watch.glanced) {
            if self.buffers[buffer].if_finite().is_none() {
                let reads = |step: &Step| step.call.reads().contains(&buffer);
                self.guilty = plan.steps[plan.commit..].iter().position(reads).map(|at| plan.commit + at);
                return Verdict::NotFinite;
            }
        }
        self.states.copy_from_slice(states);
        for (bound, buffer) in self.buffers.iter_mut().zip(&plan.buffers) {
            if let Storage::State(state) = buffer.storage {
                *bound = states[state];
            }
        }
        let is_proved = plan.steps[plan.commit..].iter().all(|step| self.step(plan, &step.call).is_some());
        if is_proved { Verdict::Passed } else { Verdict::Unproved }
    }

    /// Bounds what a step writes; `None` if that is not proved to be finite.
    fn step(&mut self, plan: &Plan, call: &Kernel) -> Option<()> {
        let Bounds { buffers, scratch, wrote, states, .. } = self;
        wrote.clear();
        match call {
            Kernel::Map(map) => of_step(plan, buffers, map, None, scratch, wrote)?,
            Kernel::GemmMap(GemmMapCall { gemm, map, input, .. }) => {
                let product = of_product(gemm, buffers[gemm.a.buffer], buffers[gemm.b.buffer])?;
                of_step(plan, buffers, map, Some((*input, product)), scratch, wrote)?;
            }
            Kernel::Copy(CopyCall { from, to }) => wrote.push((to.buffer, buffers[from.buffer])),
            _ => return None,
        }
        for &(buffer, range) in &*wrote {
            buffers[buffer] = range;
            if let Storage::State(state) = plan.buffers[buffer].storage {
                states[state] = range;
            }
        }
        Some(())
    }
}

/// What a map computes, one of whose inputs may be a product that is in no buffer.
fn of_step(
    plan: &Plan,
    buffers: &[Range],
    map: &MapCall,
    product: Option<(usize, Range)>,
    scratch: &mut Vec<Range>,
    wrote: &mut Vec<(BufferId, Range)>,
) -> Option<()> {
    let input = |index: usize| match product {
        Some((input, range)) if input == index => Some(range),
        _ => {
            let buffer = map.inputs[index].buffer;
            Range::of_type(plan.buffers[buffer].dtype).or_else(|| buffers[buffer].if_finite())
        }
    };
    of_map(map, input, scratch, |output, range| wrote.push((map.outputs[output].buffer, range)))
}
