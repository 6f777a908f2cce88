//! What each worker has measured in a run: a row of numbers for each, so that noting one disturbs no other worker.

use crate::plan::Plan;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest magnitude of each watched buffer, as far as each worker has seen it.
#[derive(Debug)]
pub(super) struct Notes {
    // The bits of `f64` magnitudes, whose order is that of the numbers, NaN above them all.
    rows: Vec<AtomicU64>,
    stride: usize,
}

/// Numbers on two cache lines, which are fetched together.
const LINES: usize = 16;

impl Notes {
    pub fn new(plan: &Plan) -> Notes {
        let stride = plan.watch.measured.len().next_multiple_of(LINES);
        Notes { rows: (0..stride * plan.threads()).map(|_| AtomicU64::new(0)).collect(), stride }
    }

    /// Before a run, while no worker is in one.
    pub fn reset(&mut self) {
        self.rows.iter_mut().for_each(|note| *note.get_mut() = 0);
    }

    /// Takes in a magnitude that this worker has found.
    pub fn note(&self, worker: usize, slot: usize, magnitude: f64) {
        let note = &self.rows[worker * self.stride + slot];
        // Only this worker writes it, and a phase ends before others read it.
        note.store(note.load(Ordering::Relaxed).max(magnitude.to_bits()), Ordering::Relaxed);
    }

    /// The largest magnitude that any worker has found, NaN if one has found that.
    pub fn largest(&self, slot: usize) -> f64 {
        let column = self.rows.iter().skip(slot).step_by(self.stride.max(1));
        f64::from_bits(column.map(|note| note.load(Ordering::Relaxed)).max().unwrap_or(0))
    }
}
