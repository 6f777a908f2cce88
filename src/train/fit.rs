//! The training loop: epochs of shuffled batches through the one step graph.

use super::compiled::Compiled;
use super::error::TrainError;
use super::event::Event;
use super::finite::guilty_example;
use super::history::{EpochRecord, History};
use super::progress::{Reporter, Verbosity};
use super::samples::{Examples, Samples};
use super::shuffle::permutation;
use super::sums::Sums;
use super::trainer::{Stage, Trainer};
use crate::exec::RunError;
use crate::ir::Tensor;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

/// The order in which an epoch visits the examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Anew at random each epoch, a function of the trainer's seed and the epoch.
    #[default]
    Shuffled,
    /// As given.
    AsGiven,
}

/// How to fit.
#[derive(Clone, Debug)]
#[must_use]
pub struct Fit {
    epochs: usize,
    batch_size: usize,
    order: Order,
    validation: Option<Examples>,
    progress: Verbosity,
}

impl Default for Fit {
    fn default() -> Self {
        Fit { epochs: 1, batch_size: 32, order: Order::default(), validation: None, progress: Verbosity::default() }
    }
}

impl Fit {
    /// One epoch in shuffled batches of 32.
    pub fn new() -> Fit {
        Fit::default()
    }

    /// Passes over the data.
    pub fn epochs(mut self, epochs: usize) -> Fit {
        self.epochs = epochs;
        self
    }

    /// Examples a step. The last batch of an epoch may be shorter; it is trained on like any other.
    pub fn batch_size(mut self, batch_size: usize) -> Fit {
        self.batch_size = batch_size;
        self
    }

    /// The order in which an epoch visits the examples.
    pub fn order(mut self, order: Order) -> Fit {
        self.order = order;
        self
    }

    /// Evaluated after each epoch.
    pub fn validation(mut self, examples: Examples) -> Fit {
        self.validation = Some(examples);
        self
    }

    /// Shows nothing.
    pub fn silent(mut self) -> Fit {
        self.progress = Verbosity::Silent;
        self
    }
}

impl Trainer {
    /// Trains on `examples`.
    ///
    /// # Errors
    /// Data or settings that do not fit the model, before anything runs; a loss that is NaN or infinite, with the
    /// first node that made it so, and the weights as they were before that step.
    pub fn fit(&mut self, examples: &Examples, fit: &Fit) -> Result<History, TrainError> {
        self.fit_with(examples, fit, |_| ControlFlow::Continue(()))
    }

    /// [`fit`](Trainer::fit), telling `observe` what happens. Training ends after the event on which it breaks.
    ///
    /// # Errors
    /// As [`fit`](Trainer::fit).
    ///
    /// # Panics
    /// As `observe` does. The weights are then those after the last finished step, and training can go on. (Should a kernel
    /// panic, which is a mistake of ours, they are those after some step of this call, or as they were before it.)
    pub fn fit_with(
        &mut self,
        examples: &Examples,
        fit: &Fit,
        mut observe: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<History, TrainError> {
        if fit.batch_size == 0 {
            let help = "a batch holds at least one example";
            return Err(TrainError::Setting { name: "the batch size", value: "0".to_owned(), help });
        }
        self.check_examples(examples)?;
        if let Some(validation) = &fit.validation {
            self.check_examples(validation)?;
        }
        let count = examples.len();
        let (full, short) = (fit.batch_size.min(count), count % fit.batch_size.min(count));
        for batch in [full, short].into_iter().filter(|&batch| batch > 0) {
            self.check_batch(batch, count, fit.batch_size)?;
        }
        let mut reporter = Reporter::new(fit.progress, self.epochs_done.saturating_add(fit.epochs));
        let mut tell = |event: Event<'_>| {
            reporter.show(&event);
            observe(event)
        };
        let mut history = History::default();
        // The executable holds the state from the first step to the last.
        let mut compiled = self.take_compiled(Stage::Training, full)?;
        let mut states = self.weights.lend(compiled.run.plan().states());
        let epochs = || self.epochs(examples, fit, (&mut compiled, &mut states), &mut tell, &mut history);
        let outcome = catch_unwind(AssertUnwindSafe(epochs));
        // Refused where a kernel has panicked: `states` are then as they were when they were held last. Where evaluation
        // has panicked, nothing is lent.
        let released = compiled.run.release(&mut states);
        self.weights.give_back(compiled.run.plan().states(), states);
        let outcome = outcome.unwrap_or_else(|panic| resume_unwind(panic));
        self.keep_compiled(Stage::Training, full, compiled);
        released?;
        outcome.map(|()| history)
    }

    fn epochs(
        &mut self,
        examples: &Examples,
        fit: &Fit,
        (full, states): (&mut Compiled, &mut Vec<Tensor>),
        tell: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
        history: &mut History,
    ) -> Result<(), TrainError> {
        full.run.hold(states)?;
        for _ in 0..fit.epochs {
            let Ended { mut record, stopped } = self.epoch(examples, fit, full, states, tell)?;
            if let Some(validation) = &fit.validation {
                full.run.release(states)?;
                self.weights.give_back(full.run.plan().states(), std::mem::take(states));
                let validated = self.evaluate(validation);
                *states = self.weights.lend(full.run.plan().states());
                record.validation = Some(validated?);
            }
            let stop = tell(Event::EpochEnded(&record)).is_break() || stopped;
            history.epochs.push(record);
            if stop {
                break;
            }
        }
        Ok(())
    }

    fn epoch(
        &mut self,
        examples: &Examples,
        fit: &Fit,
        full: &mut Compiled,
        states: &mut [Tensor],
        tell: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Ended, TrainError> {
        let order = match fit.order {
            Order::Shuffled => permutation(self.seed, self.epochs_done, examples.len()),
            Order::AsGiven => (0..examples.len() as u32).collect(),
        };
        let batch_size = fit.batch_size.min(examples.len());
        let (epoch, steps) = (self.epochs_done + 1, order.len().div_ceil(batch_size));
        let sources: Vec<&Samples> = examples.inputs.iter().chain(&examples.targets).collect();
        let mut stopped = tell(Event::EpochStarted { epoch, steps }).is_break();
        let mut sums = Sums::default();
        let started = Instant::now();
        let mut outcome = Ok(());
        for (index, rows) in order.chunks(batch_size).enumerate() {
            let outcome_of_step = if rows.len() == batch_size {
                full.step_held(&sources, rows).map(|()| sums.add(&full.run, rows.len())).map_err(TrainError::from)
            } else {
                self.short_step(full, &sources, rows, states, &mut sums)
            };
            let loss = match outcome_of_step {
                Ok(loss) => loss,
                Err(TrainError::Run(source @ (RunError::NotFinite { .. } | RunError::NotFiniteUpdate { .. }))) => {
                    let step = index + 1;
                    outcome = Err(match guilty_example(full, &source, rows) {
                        Some((name, example, value)) => {
                            TrainError::NotFiniteExample { epoch, step, steps, name, example, value }
                        }
                        None => TrainError::NotFinite { epoch, step, steps, source },
                    });
                    break;
                }
                Err(other) => {
                    outcome = Err(other);
                    break;
                }
            };
            stopped |= tell(Event::Step { epoch, step: index + 1, loss, mean_loss: sums.loss() }).is_break();
            if stopped {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        outcome?;
        self.epochs_done += 1;
        let (loss, metrics) = sums.means();
        Ok(Ended { record: EpochRecord { epoch, seconds, steps, loss, metrics, validation: None }, stopped })
    }

    /// One step on fewer examples than the others, by an executable of its own, which the states pass through.
    fn short_step(
        &mut self,
        full: &mut Compiled,
        sources: &[&Samples],
        rows: &[u32],
        states: &mut [Tensor],
        sums: &mut Sums,
    ) -> Result<f64, TrainError> {
        let mut short = self.take_compiled(Stage::Training, rows.len())?;
        full.run.release(states)?;
        let outcome = short.step(sources, rows, states).map(|()| sums.add(&short.run, rows.len()));
        full.run.hold(states)?;
        self.keep_compiled(Stage::Training, rows.len(), short);
        Ok(outcome?)
    }
}

/// An epoch that has ended, and whether an observer wants it to be the last.
struct Ended {
    record: EpochRecord,
    stopped: bool,
}
