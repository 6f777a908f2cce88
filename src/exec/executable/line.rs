//! Guards: a run stops at the line behind which state is overwritten, with nothing lost.

use super::{Executable, Left};
use crate::exec::commit::Verdict;
use crate::exec::error::RunError;
use crate::exec::range::range_of;
use crate::exec::run::{Portion, Run};
use crate::exec::stopped::Stopped;
use crate::exec::team::together;
use crate::ir::DType;
use crate::kernel::{Kernel, Memory};
use crate::plan::{Buffer, Step};
use std::sync::atomic::AtomicU8;

impl Executable {
    /// Stops a run, before any state changes, when an element of this output is NaN or infinite. Guards add up; integers,
    /// masks and outputs without elements are never in the way.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::Executable, ir::Bindings};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [2]), g.parameter("w", DType::F32, [2]));
    /// g.output("loss", (x * w).sum_all());
    /// g.update(w, w + 1.0);
    /// let mut run = Executable::new(g.finish()?, &Bindings::new())?;
    /// run.guard("loss")?;
    /// let mut states = [Tensor::vector(vec![1.0f32, 2.0])];
    /// assert!(run.run(&[&Tensor::vector(vec![1.0f32, f32::NAN])], &mut states).is_err());
    /// assert_eq!(states[0].to_f64(), [1.0, 2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A name that no output has.
    pub fn guard(&mut self, output: &str) -> Result<(), RunError> {
        let Some(index) = self.plan.outputs.iter().position(|(port, _)| port.name == output) else {
            let known = self.plan.outputs().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(RunError::UnknownOutput { name: output.to_owned(), known });
        };
        if !self.guards.contains(&index) {
            self.guards.push(index);
        }
        Ok(())
    }

    /// Stops a run, before any state changes, when a next value would be NaN or infinite, or is made from a gradient or a
    /// statistic that is. Off unless asked for.
    ///
    /// Next values are bounded before they are computed, at the price of measuring their operands, which is about a hundredth
    /// of a small training step and less of a large one. Only where such a bound is no proof does a run keep a copy of the states.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::{Executable, RunError}, ir::Bindings};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [2]), g.parameter("w", DType::F32, [2]));
    /// g.update(w, w + x.sqrt());
    /// let mut run = Executable::new(g.finish()?, &Bindings::new())?;
    /// run.guard_updates(true);
    /// let mut states = [Tensor::vector(vec![1.0f32, 2.0])];
    /// let outcome = run.run(&[&Tensor::vector(vec![4.0f32, -1.0])], &mut states);
    /// assert!(matches!(outcome, Err(RunError::NotFiniteUpdate { .. })));
    /// assert_eq!(states[0].to_f64(), [1.0, 2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn guard_updates(&mut self, on: bool) {
        self.guards_updates = on;
    }

    /// What the magnitudes of a feed are not above from now on, if that is known: it need not be measured then for
    /// [`guard_updates`](Executable::guard_updates). Whoever vouches is trusted.
    pub(crate) fn vouch(&mut self, feed: usize, magnitude: Option<f64>) {
        if let Some(vouched) = self.vouched.get_mut(feed) {
            *vouched = magnitude;
        }
    }

    /// Runs over the pointers as they are set.
    pub(super) fn launch(&mut self) -> Result<(), Stopped> {
        self.workers.reset();
        self.notes.reset();
        if self.guards_updates && !self.knows_states {
            self.measure_states();
        }
        match self.pass(Portion::Whole) {
            Verdict::Passed => {
                // After an unguarded run nothing is known of the states.
                self.knows_states = self.guards_updates;
                if self.knows_states {
                    self.ranges.clone_from_slice(&self.workers.first().bounds.states);
                }
                Ok(())
            }
            Verdict::NotFinite => Err(self.stopped()),
            Verdict::Unproved => self.commit_with_copy(),
        }
    }

    /// Runs a part of the plan, as far as the line allows.
    fn pass(&mut self, portion: Portion) -> Verdict {
        let run = Run {
            plan: &self.plan,
            memory: Memory {
                buffers: &self.pointers.0,
                level: self.level,
                notes: &self.notes,
                vouched: &self.vouched,
                watches_products: portion == Portion::Commit,
            },
            workers: &self.workers,
            portion,
            guards: &self.guards,
            states: self.guards_updates.then_some(&self.ranges),
            verdict: AtomicU8::new(Verdict::Passed as u8),
            record: self.record,
            #[cfg(test)]
            trip: self.trip,
        };
        let several = self.plan.phases.iter().any(|phase| phase.shares > 1);
        let helped = if several { self.workers.len() } else { 1 };
        // A panic leaves it so.
        self.left = Left::Wreck;
        // SAFETY: `run` outlives the call, its pointers follow the plan, and each worker has a number of its own.
        unsafe { together((&raw const run).cast(), Run::work, helped) };
        let verdict = run.verdict();
        self.left = if verdict == Verdict::Passed { Left::Outputs } else { Left::Nothing };
        verdict
    }

    /// What stopped a run at the line.
    fn stopped(&mut self) -> Stopped {
        for &guard in &self.guards {
            let (port, buffer) = &self.plan.outputs[guard];
            // SAFETY: every output is written before the line.
            let values = unsafe { values(self.pointers.0[*buffer], &self.plan.buffers[*buffer]) };
            if let Some(value) = values.into_iter().find(|value| !value.is_finite()) {
                return Stopped::Output { output: port.name.clone(), value };
            }
        }
        let step = self.workers.first().bounds.guilty.unwrap_or(self.plan.commit);
        Stopped::Update { state: self.plan.states[self.written_by(step)].name.clone() }
    }

    /// Runs what is behind the line over states that a copy is kept of, and takes it back if a NaN or an infinity came out.
    fn commit_with_copy(&mut self) -> Result<(), Stopped> {
        let written: Vec<(*mut u8, usize)> = (self.plan.watch.written.iter())
            .map(|&state| {
                (self.pointers.0[self.state_buffers[state]], self.plan.buffers[self.state_buffers[state]].bytes())
            })
            .collect();
        self.copy.clear();
        for &(state, bytes) in &written {
            // SAFETY: a state is readable over its planned size, and no run is on its way.
            self.copy.extend_from_slice(unsafe { std::slice::from_raw_parts(state, bytes) });
        }
        self.pass(Portion::Commit);
        self.measure_states();
        let overflowed =
            self.workers.iter_mut().fold(false, |any, worker| any | std::mem::take(&mut worker.workspace.overflowed));
        let bad = self.plan.watch.written.iter().copied().find(|&state| self.ranges[state].if_finite().is_none());
        let product = |step: &Step| matches!(step.call, Kernel::GemmMap(_));
        let product = self.plan.steps.iter().position(product).filter(|_| overflowed);
        let Some(bad) = bad.or(product.map(|step| self.written_by(step))) else {
            return Ok(());
        };
        let mut from = 0;
        for (state, bytes) in written {
            // SAFETY: as above, and the copy has as many bytes.
            unsafe { std::ptr::copy_nonoverlapping(self.copy[from..].as_ptr(), state, bytes) };
            from += bytes;
        }
        (self.left, self.knows_states) = (Left::Nothing, false);
        Err(Stopped::Update { state: self.plan.states[bad].name.clone() })
    }

    /// The first state that a step writes; one behind it, where it writes none itself.
    fn written_by(&self, step: usize) -> usize {
        self.plan.steps[step..].iter().find_map(|step| self.plan.states_written(step).next()).unwrap_or(0)
    }

    /// Looks at all states.
    fn measure_states(&mut self) {
        let Executable { ranges, state_buffers, plan, pointers, level, .. } = self;
        ranges.clear();
        ranges.extend(state_buffers.iter().map(|&buffer| {
            let Buffer { dtype, len, .. } = plan.buffers[buffer];
            // SAFETY: a state is readable over its planned size, and no run is on its way.
            unsafe { range_of(*level, dtype, len, pointers.0[buffer]) }
        }));
        self.knows_states = true;
    }
}

/// The elements of a buffer of floats; none of another one.
///
/// # Safety
/// The memory holds the buffer, and no one writes it meanwhile.
unsafe fn values(start: *const u8, buffer: &Buffer) -> Vec<f64> {
    // SAFETY: the caller's.
    unsafe {
        match buffer.dtype {
            DType::F32 => {
                let values = std::slice::from_raw_parts(start.cast::<f32>(), buffer.len);
                values.iter().map(|&value| f64::from(value)).collect()
            }
            DType::F64 => std::slice::from_raw_parts(start.cast(), buffer.len).to_vec(),
            DType::I32 | DType::Bool => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::{Executable, Options};
    use crate::ir::{Bindings, DType, Symbol, Tensor};
    use crate::nn::{Activation, BatchNormalization, Dense, Sequential};
    use crate::train::{Adam, AdamW, Clip, Loss, Optimizer, RmsProp, Sgd, Trainer};

    /// An ordinary step needs no copy of the states: it is proved that what it commits is finite.
    #[test]
    fn ordinary_steps_of_every_optimizer_are_proved() {
        let plain: [Optimizer; 7] = [
            Sgd::new(0.1).into(),
            Sgd::new(0.1).momentum(0.9).nesterov().decay(1e-4).into(),
            Adam::new(1e-3).into(),
            AdamW::new(1e-3).into(),
            RmsProp::new(1e-3).into(),
            RmsProp::new(1e-3).momentum(0.9).into(),
            RmsProp::new(1e-3).centered().momentum(0.9).into(),
        ];
        for optimizer in plain {
            for clip in [None, Some(Clip::Value(0.5)), Some(Clip::Norm(1.0)), Some(Clip::GlobalNorm(1.0))] {
                let optimizer = clip.map_or(optimizer.clone(), |clip| optimizer.clone().clip(clip));
                let net = Sequential::new([90])
                    .add(Dense::new(200))
                    .add(BatchNormalization::new())
                    .add(Activation::Relu)
                    .add(Dense::new(10).activation(Activation::Softmax));
                let loss = Loss::SparseCategoricalCrossentropy;
                let trainer = Trainer::new(net.build().unwrap(), optimizer, loss).compile().unwrap();
                let batch = Bindings::from([(Symbol::new("batch"), 32)]);
                let options = Options::default().threads(2).holds_state(true);
                let mut run = Executable::with(trainer.training_graph().clone(), &batch, &options).unwrap();
                run.guard_updates(true);
                let names: Vec<String> = run.plan().states().iter().map(|port| port.name.clone()).collect();
                let states: Vec<Tensor> = names.iter().map(|name| trainer.value(name).unwrap().clone()).collect();
                run.hold(&states).unwrap();
                for step in 0..20 {
                    let x = (0..32 * 90).map(|i| f64::from((i * 37 + step * 11) % 101) / 101.0 - 0.5);
                    let x = Tensor::from_f64(DType::F32, [32, 90], x).unwrap();
                    let labels = Tensor::vector((0..32).map(|i| (i * 7 + step) % 10).collect::<Vec<i32>>());
                    run.run_held(&[&x, &labels]).unwrap();
                }
                assert!(run.copy.is_empty(), "{:?} {clip:?}: a copy was kept", trainer.rewrites().0.len());
            }
        }
    }
}
