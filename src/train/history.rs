//! What a fit leaves behind: a record an epoch.

use crate::ir::OrderedMap;

/// Loss and metrics over a set of examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Mean loss an example.
    pub loss: f64,
    /// Each metric by name, such as `accuracy`.
    pub metrics: OrderedMap<String, f64>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// Counted from 1, over every fit of one trainer.
    pub epoch: usize,
    /// Wall-clock seconds of the training steps.
    pub seconds: f64,
    /// Steps in the epoch.
    pub steps: usize,
    /// Mean training loss an example, while the weights changed.
    pub loss: f64,
    /// Each training metric by name.
    pub metrics: OrderedMap<String, f64>,
    /// The validation figures, with the weights at the end of the epoch.
    pub validation: Option<Evaluation>,
}

impl EpochRecord {
    /// Microseconds a training step.
    pub fn us_per_step(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.seconds * 1e6 / self.steps as f64 }
    }
}

/// The epochs of a fit, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// One record an epoch.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// The last epoch.
    pub fn last(&self) -> Option<&EpochRecord> {
        self.epochs.last()
    }

    /// The training loss of each epoch.
    pub fn losses(&self) -> impl Iterator<Item = f64> + '_ {
        self.epochs.iter().map(|record| record.loss)
    }
}
