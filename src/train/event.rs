//! What a fit tells of itself while it runs.

use super::history::EpochRecord;

/// What happens in a fit, as it happens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An epoch begins.
    EpochStarted {
        /// Counted from 1.
        epoch: usize,
        /// Steps it will take.
        steps: usize,
    },
    /// A step is done.
    Step {
        /// The epoch, from 1.
        epoch: usize,
        /// The step, from 1.
        step: usize,
        /// The loss of this step's batch.
        loss: f64,
        /// Mean loss of the epoch so far.
        mean_loss: f64,
    },
    /// An epoch is done and validated.
    EpochEnded(&'a EpochRecord),
}
