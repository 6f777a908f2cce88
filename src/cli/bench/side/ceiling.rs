//! The machine itself as a side: a step is a fixed number of operations or bytes.

use super::{CommandError, Done, Side};
use crate::exec::{Options, ceiling};
use serde_json::{Value, json};

/// Iterations of a step: some milliseconds.
const ITERATIONS: u64 = 1 << 18;

pub(super) struct MultiplyAdd {
    pub(super) threads: usize,
}

impl Side for MultiplyAdd {
    fn about(&self) -> Value {
        let (operations, _) = ceiling::multiply_add(&Options::default().threads(self.threads), 1);
        json!({ "version": "multiply-add, f32", "flop": operations * ITERATIONS as f64 })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let (_, seconds) = ceiling::multiply_add(&Options::default().threads(self.threads), steps * ITERATIONS);
        Ok(Done { seconds, steps, check: None })
    }
}

/// Reads buffers again and again.
pub(super) struct Read {
    buffers: Vec<Vec<f32>>,
    // Of a step.
    passes: u64,
}

/// Bytes of a step and thread, about.
const BYTES: u64 = 1 << 26;

impl Read {
    pub(super) fn new(threads: usize, kilobytes: usize) -> Read {
        // Not zeros, which the system would hand out as one page.
        let buffers = (0..threads).map(|thread| vec![1.0 + thread as f32; kilobytes * 256]).collect();
        Read { buffers, passes: (BYTES / (kilobytes as u64 * 1024)).max(1) }
    }
}

impl Side for Read {
    fn about(&self) -> Value {
        let bytes: usize = self.buffers.iter().map(|buffer| buffer.len() * size_of::<f32>()).sum();
        json!({ "version": "read in order", "bytes": bytes as f64 * self.passes as f64 })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        Ok(Done { seconds: ceiling::read(&Options::default(), &self.buffers, steps * self.passes), steps, check: None })
    }
}
