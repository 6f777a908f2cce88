//! What a kernel call has to do, whatever the machine: `m·k·n` multiply-adds of a product, and each byte of its operands
//! and results once.

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

    /// Arithmetic on elements of a type.
    pub(crate) fn of(operations: usize, bytes: usize, dtype: DType) -> Work {
        Work { multiply_adds: 0, operations: operations as u64, bytes: bytes as u64, double: dtype == DType::F64 }
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
