//! What a step costs: a few rates, measured on the machine that the benchmarks name, and overridable.
//!
//! Costs decide how work is shared out, never what is computed: results have the same bits whatever they say.

use super::Split;

/// The rates of one core, and the price of waiting for another.
///
/// Read and set by [`Rate`](super::Rate), so that none is ever out of its range; see [`with`](Costs::with).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Multiply-adds of f32 a nanosecond in a product that fills its tiles.
    pub(crate) multiply_adds: f64,
    /// Bytes a nanosecond that a product reads of an operand which is not in the first-level cache.
    pub(crate) operand_bytes: f64,
    /// Bytes a nanosecond that an element-wise instruction reads and writes.
    pub(crate) map_bytes: f64,
    /// Nanoseconds of an elementary function, for each element.
    pub(crate) elementary: f64,
    /// Nanoseconds until every worker knows that the others are done.
    pub(crate) barrier: f64,
    /// Nanoseconds to start a kernel.
    pub(crate) call: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            multiply_adds: 110.0,
            operand_bytes: 20.0,
            map_bytes: 120.0,
            elementary: 0.8,
            barrier: 400.0,
            call: 30.0,
        }
    }
}

impl Costs {
    /// Nanoseconds to go over elements of f32 so many times.
    pub(crate) fn swept(&self, elements: f64, passes: usize) -> f64 {
        elements * (passes * 4) as f64 / self.map_bytes
    }
}

/// The part of a whole that the largest share of a split has to do.
pub(crate) fn largest_share(whole: usize, split: Option<Split>, threads: usize) -> f64 {
    match split {
        Some(split) if split.extent > 0 => whole as f64 * split.largest(threads) as f64 / split.extent as f64,
        _ => whole as f64,
    }
}
