//! Large batches: blocks of rows, each computed through all layers by one thread. What a layer makes is then still in that
//! core's cache when the next one reads it, and no thread waits for another before the end.

use super::{BLOCK, PredictError, Predictor};
use crate::exec::{Executable, RunError, on_workers};
use crate::ir::Tensor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Computes all rows.
///
/// # Safety
/// Each of `outputs` is writable for `rows` rows of the output with its number, by no one else.
pub(super) unsafe fn compute(
    predictor: &Predictor,
    inputs: &[&Tensor],
    outputs: &[*mut u8],
    rows: usize,
) -> Result<(), PredictError> {
    let workers = predictor.options.thread_count().min(rows.div_ceil(BLOCK));
    // One for each worker, so that nothing is left to be made by a helper that comes in a later call only.
    for (rows, count) in [(BLOCK, workers), (rows % BLOCK, 1)] {
        if rows > 0 {
            predictor.idle.prepare([rows, 1], count, || predictor.executable(rows, 1))?;
        }
    }
    let blocks = RowBlocks { predictor, inputs, outputs, rows, next: AtomicUsize::new(0), failed: Mutex::new(None) };
    on_workers(workers, || blocks.work());
    blocks.failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct RowBlocks<'a> {
    predictor: &'a Predictor,
    inputs: &'a [&'a Tensor],
    outputs: &'a [*mut u8],
    rows: usize,
    /// The block that is to be taken next.
    next: AtomicUsize,
    /// Why blocks were not computed.
    failed: Mutex<Option<PredictError>>,
}

// SAFETY: the outputs are written apart, since each block is taken once.
unsafe impl Sync for RowBlocks<'_> {}

impl RowBlocks<'_> {
    /// Takes blocks until there are none.
    fn work(&self) {
        if let Err(error) = self.take() {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    fn take(&self) -> Result<(), PredictError> {
        let found = self.predictor.with(BLOCK, 1, |run| self.whole_blocks(run))??;
        // The first to find no whole block takes what is left.
        let (whole, rest) = (self.rows / BLOCK, self.rows % BLOCK);
        if found == whole && rest > 0 {
            self.predictor.with(rest, 1, |run| self.run(run, whole))??;
        }
        Ok(())
    }

    /// Takes whole blocks until there are none; gives the number that it found then.
    fn whole_blocks(&self, run: &mut Executable) -> Result<usize, RunError> {
        loop {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            if block >= self.rows / BLOCK {
                return Ok(block);
            }
            self.run(run, block)?;
        }
    }

    fn run(&self, run: &mut Executable, block: usize) -> Result<(), RunError> {
        // SAFETY: whoever called `compute` vouches for the outputs, and no one else has this block.
        unsafe { run.run_rows(self.inputs, &self.predictor.weights, self.outputs, block * BLOCK) }
    }
}
