//! What each worker has measured in a run: a row of numbers for each, so that noting one disturbs no other worker.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers on two cache lines, which are fetched together.
const NUMBERS: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines([AtomicU64; NUMBERS]);

/// What no magnitude of each watched buffer is above, as far as each worker has seen it.
#[derive(Debug)]
pub(crate) struct Notes {
    // The bits of `f64` magnitudes, whose order is that of the numbers, NaN above them all. A row a worker.
    rows: Vec<Lines>,
    // Of each row.
    lines: usize,
}

impl Notes {
    /// Room for so many slots, for each of so many workers.
    pub(crate) fn new(slots: usize, workers: usize) -> Notes {
        let lines = slots.div_ceil(NUMBERS);
        Notes { rows: (0..lines * workers).map(|_| Lines::default()).collect(), lines }
    }

    /// Before a run, while no worker is in one.
    pub(crate) fn reset(&mut self) {
        self.rows.iter_mut().flat_map(|lines| &mut lines.0).for_each(|note| *note.get_mut() = 0);
    }

    /// Takes in a magnitude that this worker has found.
    pub(crate) fn note(&self, worker: usize, slot: usize, magnitude: f64) {
        let note = &self.rows[worker * self.lines + slot / NUMBERS].0[slot % NUMBERS];
        // Only this worker writes it, and a phase ends before others read it.
        note.store(note.load(Ordering::Relaxed).max(magnitude.to_bits()), Ordering::Relaxed);
    }

    /// The largest magnitude that any worker has noted, NaN if one has noted that.
    pub(crate) fn largest(&self, slot: usize) -> f64 {
        let rows = self.rows.iter().skip(slot / NUMBERS).step_by(self.lines.max(1));
        f64::from_bits(rows.map(|lines| lines.0[slot % NUMBERS].load(Ordering::Relaxed)).max().unwrap_or(0))
    }
}
