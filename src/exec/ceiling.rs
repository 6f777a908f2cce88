//! The machine's ceilings, for a benchmark to hold a program's speed against: see `foldgrad bench scale`.

use super::Options;
use crate::kernel::ceiling;

/// Multiplies and adds f32 numbers in registers on every thread of the options, with their instruction set, `iterations`
/// times each, and gives the floating-point operations done and the seconds taken.
///
/// ```
/// use foldgrad::exec::{Options, ceiling};
/// let (operations, seconds) = ceiling::multiply_add(&Options::default().threads(1), 1_000_000);
/// assert!(operations >= 24e6 && seconds > 0.0);
/// ```
pub fn multiply_add(options: &Options, iterations: u64) -> (f64, f64) {
    ceiling::multiply_add(options.instruction_set().level(), options.thread_count(), iterations)
}

/// Reads each buffer in order `passes` times, with a thread for each and the instruction set of the options, and gives the
/// seconds taken.
pub fn read(options: &Options, buffers: &[Vec<f32>], passes: u64) -> f64 {
    ceiling::read(options.instruction_set().level(), buffers, passes)
}
