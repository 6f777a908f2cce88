//! A plan as others see it: its steps with their labels, their work and what they are expected to take.

use super::Label;
use crate::ir::NodeId;
use crate::kernel::{Call, Costs, Kernel, Work};
use crate::plan::{Buffer, Plan, Step, Storage};

/// A step of a plan: one kernel call.
#[derive(Clone, Debug)]
pub struct PlannedStep<'p> {
    /// Its place in the plan.
    pub index: usize,
    /// The phase that it belongs to.
    pub phase: usize,
    /// The node that it computes, or the last of several, in the graph as the planner has expanded it.
    pub node: NodeId,
    /// The layers behind it, and what it is for.
    pub label: &'p Label,
    /// What it has to do.
    pub work: Work,
    /// Whether its work is shared out.
    pub is_shared: bool,
    /// Nanoseconds that the [`Costs`] expect until its last share is done.
    pub estimate: f64,
    call: &'p Kernel,
}

impl PlannedStep<'_> {
    /// The kernel: `gemm`, `map`, `batch_norm_train`, and so on. A product that a map is joined to is a `gemm`.
    pub fn kind(&self) -> &'static str {
        self.call.describe().kernel
    }

    /// Whether it is a product.
    pub fn is_product(&self) -> bool {
        self.call.describe().is_product
    }

    /// The kernel with its sizes, such as `gemm 32×784×300`, or `gemm 784×32×300 + map` where a map is joined to it.
    pub fn kernel(&self) -> String {
        let description = self.call.describe();
        format!("{} {}", description.kernel, description.sizes).trim_end().to_owned()
    }
}

/// A phase of a plan: its steps run without waiting; behind it, all workers wait for each other.
#[derive(Clone, Debug)]
pub struct PlannedPhase {
    /// Its place in the plan.
    pub index: usize,
    /// The places of its steps.
    pub steps: std::ops::Range<usize>,
    /// The number of shares that its work is cut into.
    pub shares: usize,
    /// Nanoseconds that the [`Costs`] expect, the wait at its end included.
    pub estimate: f64,
}

impl Plan {
    /// The steps in the order of the plan.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, ir::Bindings, plan::Plan};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [8, 16]), g.input("w", DType::F32, [16, 4]));
    /// g.output("y", g.scoped("dense", || x.dot(w)));
    /// let plan = Plan::new(&g.finish()?, &Bindings::default())?;
    /// let product = plan.planned_steps().next().expect("one step");
    /// assert_eq!((product.label.layer(), product.work.multiply_adds), (Some("dense"), 8 * 16 * 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn planned_steps(&self) -> impl Iterator<Item = PlannedStep<'_>> {
        let phases = self.phases.iter().enumerate();
        phases.flat_map(|(phase, range)| range.steps.clone().map(move |index| (phase, index))).filter_map(
            |(phase, index)| {
                let (step, label) = (self.steps.get(index)?, self.labels.get(index)?);
                let Step { node, call, split, .. } = step;
                Some(PlannedStep {
                    index,
                    phase,
                    node: *node,
                    label,
                    work: call.work(),
                    is_shared: split.is_some() && range_of(self, phase) > 1,
                    estimate: self.step_time(step),
                    call,
                })
            },
        )
    }

    /// The phases in order.
    pub fn planned_phases(&self) -> impl ExactSizeIterator<Item = PlannedPhase> {
        self.phases.iter().enumerate().map(|(index, phase)| {
            let steps: f64 = self.steps[phase.steps.clone()].iter().map(|step| self.step_time(step)).sum();
            let wait = if phase.shares > 1 { self.costs.barrier } else { 0.0 };
            PlannedPhase { index, steps: phase.steps.clone(), shares: phase.shares, estimate: steps + wait }
        })
    }

    /// Nanoseconds that the costs expect until the last share of a step is done.
    fn step_time(&self, step: &Step) -> f64 {
        self.costs.call + step.call.time(&self.costs, step.split, self.threads)
    }

    /// Nanoseconds that the [`Costs`] expect of a run: the sum over its phases.
    pub fn estimate(&self) -> f64 {
        self.planned_phases().map(|phase| phase.estimate).sum()
    }

    /// The rates that the work was shared out by.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// Bytes that a run touches at most: intermediate values, constants, fed data, parameters and states.
    pub fn touched_bytes(&self) -> usize {
        let outside = self.buffers.iter().filter(|buffer| !matches!(buffer.storage, Storage::Arena(_)));
        // A state that a step overwrites has a second buffer over the same memory.
        let states: usize =
            self.states.iter().map(|port| port.shape.iter().product::<usize>() * port.dtype.size()).sum();
        let others = outside.filter(|buffer| !matches!(buffer.storage, Storage::State(_)));
        self.arena_bytes + states + others.map(Buffer::bytes).sum::<usize>()
    }
}

fn range_of(plan: &Plan, phase: usize) -> usize {
    plan.phases.get(phase).map_or(1, |phase| phase.shares)
}
