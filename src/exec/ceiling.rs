//! The machine's ceilings, for a benchmark to hold a program's speed against: see `foldgrad bench scale`.

use super::MOST_THREADS;
use crate::kernel::ceiling;

/// Multiplies and adds f32 numbers in registers on `threads` threads, [`MOST_THREADS`] at most, `iterations` times
/// each, and gives the floating-point operations done and the seconds taken.
///
/// ```
/// let (operations, seconds) = foldgrad::exec::ceiling::multiply_add(1, 1_000_000);
/// assert!(operations >= 24e6 && seconds > 0.0);
/// ```
pub fn multiply_add(threads: usize, iterations: u64) -> (f64, f64) {
    ceiling::multiply_add(threads.clamp(1, MOST_THREADS), iterations)
}

/// Reads each buffer in order `passes` times, with a thread for each, and gives the seconds taken.
pub fn read(buffers: &[Vec<f32>], passes: u64) -> f64 {
    ceiling::read(buffers, passes)
}
