//! What an op gives at kinks, ties and poles, outside of its domain, and over NaN: rows of the table in docs/LAWS.md.

use crate::ir::{DType, Expr};

pub(crate) const INF: f64 = f64::INFINITY;
pub(crate) const NAN: f64 = f64::NAN;

/// Vectors, one for each operand.
type Vectors = &'static [&'static [f64]];

/// A value and its gradients at the edge of an op's domain. The laws evaluate it, and the table is written from it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Edge {
    /// The op's name.
    pub op: &'static str,
    /// A word on how it is used, where there are several ways.
    pub how: &'static str,
    /// The op over vectors.
    pub apply: for<'b> fn(&[Expr<'b>]) -> Expr<'b>,
    /// The element type of the vectors; none stands for either float type.
    pub dtype: Option<DType>,
    /// The vectors.
    pub at: Vectors,
    /// The cotangent of every element of the value.
    pub cotangent: f64,
    /// What comes out.
    pub value: &'static [f64],
    /// The gradient by each vector; none if the op has no derivative.
    pub gradients: Vectors,
    /// What is different in JAX.
    pub jax: &'static str,
    /// What is different in PyTorch.
    pub torch: &'static str,
}

impl Edge {
    /// A template for rows of one use of an op.
    pub fn of(op: &'static str, apply: for<'b> fn(&[Expr<'b>]) -> Expr<'b>) -> Edge {
        let (how, jax, torch) = ("", "same", "same");
        Edge { op, how, apply, dtype: None, at: &[], cotangent: 1.0, value: &[], gradients: &[], jax, torch }
    }

    /// With a word on the use.
    pub fn how(self, how: &'static str) -> Edge {
        Edge { how, ..self }
    }

    /// Over integers.
    pub fn integers(self) -> Edge {
        Edge { how: "i32", dtype: Some(DType::I32), ..self }
    }

    /// What comes out at these vectors, and the gradients by them.
    pub fn row(self, at: Vectors, value: &'static [f64], gradients: Vectors) -> Edge {
        Edge { at, value, gradients, ..self }
    }

    /// For a cotangent other than 1.
    pub fn seeded(self, cotangent: f64) -> Edge {
        Edge { cotangent, ..self }
    }

    /// Where JAX and PyTorch give something else.
    pub fn elsewhere(self, jax: &'static str, torch: &'static str) -> Edge {
        Edge { jax, torch, ..self }
    }
}
