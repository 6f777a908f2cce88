//! Foldgrad: an automatic-differentiation graph compiler for neural networks, on the CPU.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod autodiff;
pub mod data;
pub mod exec;
pub mod ir;
mod kernel;
pub mod op;
pub mod ops;
pub mod plan;
pub mod reference;

pub use ir::{Builder, DType, Diagnostic, Diagnostics, Expr, Graph, Tensor};
