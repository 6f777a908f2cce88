//! Foldgrad: an automatic-differentiation graph compiler for neural networks, on the CPU.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod autodiff;
#[cfg(feature = "cli")]
pub mod cli;
pub mod data;
pub mod exec;
pub mod interchange;
pub mod ir;
mod kernel;
pub mod nn;
pub mod op;
pub mod ops;
pub mod plan;
mod random;
pub mod reference;
pub mod train;
pub mod zoo;

pub use ir::{Builder, DType, Diagnostic, Diagnostics, Expr, Graph, Tensor};
