//! What a step costs: a few rates, measured on the machine that the benchmarks name, and overridable.
//!
//! Costs decide how work is shared out, never what is computed: results have the same bits whatever they say.

use super::step::Gemm;
use super::{Split, StepKind};

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

/// Vectors of f32 that a tile's row is made of.
const LANES: usize = 16;

impl Costs {
    /// Nanoseconds until the last share of a step is done.
    pub(crate) fn step(&self, kind: &StepKind, split: Option<Split>, threads: usize) -> f64 {
        let fraction = |whole: usize| match split {
            Some(split) if split.extent > 0 => whole as f64 * split.largest(threads) as f64 / split.extent as f64,
            _ => whole as f64,
        };
        let swept = |elements: usize, passes: usize| fraction(elements) * (passes * 4) as f64 / self.map_bytes;
        self.call
            + match kind {
                StepKind::Gemm(gemm) => self.gemm(gemm, split, threads),
                StepKind::GemmMap(fused) => {
                    self.gemm(&fused.gemm, split, threads) + swept(fused.map.len, 3 * fused.map.code.len())
                }
                StepKind::Map(map) => {
                    let elementary = map.code.iter().filter(|instruction| instruction.op.is_elementary()).count();
                    swept(map.len, 3 * map.code.len()) + fraction(map.len) * elementary as f64 * self.elementary
                }
                StepKind::BatchNormTrain { extent, .. } => swept(extent.iter().product(), 5),
                StepKind::BatchNormGrad { extent, .. } => swept(extent.iter().product(), 8),
                StepKind::Reduce { outer, reduced, inner, .. } => swept(outer * reduced * inner, 2),
                StepKind::ArgMax { extent, .. } | StepKind::Take { extent, .. } | StepKind::Scatter { extent, .. } => {
                    fraction(extent.iter().product()) * 2.0
                }
                StepKind::Copy { to, .. } => fraction(to.len()),
                StepKind::Measure { len, .. } => swept(*len, 1),
                StepKind::OneHot { depth, rows, .. } => swept(depth * rows, 1),
                StepKind::Random { len, .. } => fraction(*len) * 3.0,
                StepKind::Fill { .. } => 0.0,
            }
    }

    fn gemm(&self, gemm: &Gemm, split: Option<Split>, threads: usize) -> f64 {
        let Gemm { m, k, n, batch, dtype, .. } = *gemm;
        let (mut rows, mut columns, mut products) = (m, n, batch);
        match split {
            Some(split) if batch > 1 => products = split.largest(threads),
            Some(split) if split == Split::columns(n) => columns = split.largest(threads),
            Some(split) => rows = split.largest(threads),
            None => {}
        }
        let width = dtype.size() as f64 / 4.0;
        let computed = (rows * k * columns.next_multiple_of(LANES)) as f64 / self.multiply_adds;
        // Blocks of a state are in the caches of those who update them: a split by rows fetches the others'.
        let is_foreign = threads > 1 && gemm.blocks.is_some() && split.is_some_and(|split| split.inner > 1);
        let read = (k * columns * 4) as f64 / self.operand_bytes;
        let foreign = if is_foreign { read } else { 0.0 };
        products as f64 * width * (computed.max(read) + 0.1 * read + foreign)
    }
}
