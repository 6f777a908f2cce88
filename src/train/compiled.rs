//! A graph of the trainer's, compiled for one batch size.

use super::samples::Samples;
use crate::exec::{Executable, RunError};
use crate::ir::Tensor;
use smallvec::SmallVec;

/// A graph compiled for one batch size, with the tensors its batches are gathered into.
#[derive(Debug)]
pub(super) struct Compiled {
    pub run: Executable,
    pub batch: Vec<Tensor>,
}

impl Compiled {
    /// Gathers the given examples and runs once.
    pub(super) fn step(&mut self, sources: &[&Samples], rows: &[u32], states: &mut [Tensor]) -> Result<(), RunError> {
        self.gather(sources, rows);
        let feeds: SmallVec<[&Tensor; 8]> = self.batch.iter().collect();
        self.run.run(&feeds, states)
    }

    /// As [`Compiled::step`], over the states that the executable holds.
    pub(super) fn step_held(&mut self, sources: &[&Samples], rows: &[u32]) -> Result<(), RunError> {
        self.gather(sources, rows);
        let feeds: SmallVec<[&Tensor; 8]> = self.batch.iter().collect();
        self.run.run_held(&feeds)
    }

    fn gather(&mut self, sources: &[&Samples], rows: &[u32]) {
        for (feed, (source, tensor)) in sources.iter().zip(&mut self.batch).enumerate() {
            source.gather(rows, tensor, self.run.plan().threads());
            self.run.vouch(feed, source.bound());
        }
    }
}
