//! Loss and metrics of an epoch or an evaluation, from those of its batches.

use super::step::LOSS;
use crate::exec::Executable;
use crate::ir::OrderedMap;

/// Sums of loss and metrics over batches of different sizes.
#[derive(Debug, Default)]
pub(super) struct Sums {
    count: usize,
    loss: f64,
    metrics: OrderedMap<String, f64>,
}

impl Sums {
    /// Adds what a run over `rows` examples gave: the mean loss, which is returned, and metrics as sums.
    pub(super) fn add(&mut self, run: &Executable, rows: usize) -> f64 {
        self.count += rows;
        let mut loss = f64::NAN;
        for (index, port) in run.plan().outputs().enumerate() {
            let value = run.scalar_output(index).unwrap_or(f64::NAN);
            match self.metrics.get_mut(&port.name) {
                _ if port.name == LOSS => loss = value,
                Some(sum) => *sum += value,
                None => drop(self.metrics.insert(port.name.clone(), value)),
            }
        }
        self.loss += loss * rows as f64;
        loss
    }

    /// The mean loss so far.
    pub(super) fn loss(&self) -> f64 {
        self.loss / self.count as f64
    }

    /// Mean loss and metrics.
    pub(super) fn means(self) -> (f64, OrderedMap<String, f64>) {
        let count = self.count as f64;
        (self.loss / count, self.metrics.into_iter().map(|(name, sum)| (name, sum / count)).collect())
    }
}
