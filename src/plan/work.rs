//! What a kernel call has to do, whatever the machine: `m·k·n` multiply-adds of a product, and each byte of its operands
//! and results once.

use super::step::{Gemm, MapCode, MapOp, Pattern, Step, StepKind};
use crate::ir::DType;
use std::ops::AddAssign;

/// What a kernel call has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-adds of its product.
    pub multiply_adds: u64,
    /// Arithmetic operations on elements: two for each multiply-add of a product, one for each instruction of a map,
    /// an exponential like an addition.
    pub operations: u64,
    /// Bytes of its operands and results, each once: a kernel that reads an operand again does not count it again.
    pub bytes: u64,
    /// Whether it computes in f64.
    pub double: bool,
}

impl Work {
    /// Operations a byte.
    pub fn intensity(&self) -> f64 {
        self.operations as f64 / (self.bytes as f64).max(1.0)
    }

    pub(super) fn of(step: &Step) -> Work {
        let count = |operations: usize, bytes: usize, dtype: DType| Work {
            multiply_adds: 0,
            operations: operations as u64,
            bytes: bytes as u64,
            double: dtype == DType::F64,
        };
        let size = DType::size;
        match &step.kind {
            StepKind::Map(map) => of_map(map, None),
            StepKind::Gemm(gemm) => of_product(gemm, gemm.m * gemm.n),
            StepKind::GemmMap(fused) => {
                let mut work = of_product(&fused.gemm, 0);
                work += of_map(&fused.map, Some(fused.input));
                work
            }
            StepKind::Reduce { dtype, outer, reduced, inner, .. } => {
                count(outer * reduced * inner, outer * (reduced + 1) * inner * size(*dtype), *dtype)
            }
            StepKind::Copy { to, .. } => count(0, 2 * to.len() * size(to.dtype), to.dtype),
            // The planner adds the bytes of the buffer.
            StepKind::Fill { dtype, .. } => count(0, size(*dtype), *dtype),
            // Sum, difference, square and its sum, then scale and shift: x, γ, β → y, μ, σ².
            StepKind::BatchNormTrain { dtype, extent, relu, .. } => {
                let len: usize = extent.iter().product();
                count((6 + usize::from(*relu)) * len, (2 * len + 4 * extent[1]) * size(*dtype), *dtype)
            }
            // x̂, Σdy, Σdy·x̂, and dx from them: x, γ, μ, σ², dy, dμ, dσ² → dx, dγ, dβ.
            StepKind::BatchNormGrad { dtype, extent, gate, .. } => {
                let len: usize = extent.iter().product();
                let gated = usize::from(gate.is_some());
                count((10 + gated) * len, ((3 + gated) * len + 7 * extent[1]) * size(*dtype), *dtype)
            }
            StepKind::ArgMax { dtype, extent: [outer, reduced, inner], .. } => {
                let bytes = outer * inner * (reduced * size(*dtype) + size(DType::I32));
                count(outer * reduced * inner, bytes, *dtype)
            }
            StepKind::OneHot { dtype, depth, rows, .. } => {
                count(0, rows * (size(DType::I32) + depth * size(*dtype)), *dtype)
            }
            StepKind::Take { dtype, extent: [outer, _, inner], taken, .. } => {
                count(0, outer * taken * inner * (size(DType::I32) + 2 * size(*dtype)), *dtype)
            }
            StepKind::Scatter { dtype, extent: [outer, all, inner], taken, .. } => {
                let moved = outer * taken * inner;
                count(moved, moved * (size(DType::I32) + size(*dtype)) + outer * all * inner * size(*dtype), *dtype)
            }
            StepKind::Measure { dtype, len, .. } => count(*len, len * size(*dtype), *dtype),
            StepKind::Random { dtype, len, .. } => count(0, len * size(*dtype), *dtype),
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.multiply_adds += other.multiply_adds;
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.double |= other.double;
    }
}

/// A product whose result has `stored` elements in memory for each batch.
fn of_product(gemm: &Gemm, stored: usize) -> Work {
    let Gemm { m, k, n, batch, dtype, .. } = *gemm;
    let multiply_adds = (batch * m * k * n) as u64;
    let bias = if gemm.finish.bias.is_some() { n } else { 0 };
    let bytes = ((batch * (m * k + k * n + stored) + bias) * dtype.size()) as u64;
    let finished = usize::from(gemm.finish.bias.is_some()) + usize::from(gemm.finish.relu);
    let operations = 2 * multiply_adds + (finished * m * n) as u64;
    Work { multiply_adds, operations, bytes, double: dtype == DType::F64 }
}

/// A map one of whose inputs may be in no memory.
fn of_map(map: &MapCode, without: Option<usize>) -> Work {
    let read = |pattern: Pattern| match pattern {
        Pattern::Full => map.len,
        Pattern::Scalar => 1,
        Pattern::Middle { period, .. } => period.min(map.len),
    };
    let inputs = map.inputs.iter().enumerate().filter(|&(index, _)| Some(index) != without);
    let read: usize = inputs.map(|(_, input)| read(input.pattern) * input.dtype.size()).sum();
    let written: usize = map.outputs.iter().map(|output| map.len * output.dtype.size()).sum();
    // An instruction that stands for two counts as two.
    let joined = |op: MapOp| matches!(op, MapOp::Multiply(_) | MapOp::SelectBy(_));
    let operations =
        map.len * map.code.iter().map(|instruction| 1 + usize::from(joined(instruction.op))).sum::<usize>();
    let double = map.code.iter().any(|instruction| instruction.dtype == DType::F64);
    Work { multiply_adds: 0, operations: operations as u64, bytes: (read + written) as u64, double }
}
