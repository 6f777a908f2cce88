//! Foldgrad: an automatic-differentiation graph compiler for neural networks, on the CPU.
//!
//! A model is declared as a symbolic graph; reverse-mode differentiation writes the gradients into the same graph; a
//! plan lowers it onto SIMD kernels and faer's matrix products; and the whole training step runs as one program. After
//! training, every batch norm is folded into the weights, with a proof, and the graph is exported as ONNX.
//!
//! ```
//! use foldgrad::{Builder, DType, autodiff};
//! let g = Builder::new();
//! let x = g.input("x", DType::F32, ["batch"]);
//! let loss = (x * x).mean_all();
//! let gradient = autodiff::gradients(&[loss], &[x])?[0];
//! g.output("gradient", gradient);
//! println!("{}", g.graph());
//! # Ok::<(), foldgrad::Diagnostic>(())
//! ```
//!
//! Most users meet three modules: [`nn`] declares models as layers, [`train`] trains and exports them, [`data`] finds
//! Fashion-MNIST.
//! The others are the compiler, listed here in the order in which a program passes through them; a module uses only
//! those above it. `docs/ARCHITECTURE.md` is the map.
#![deny(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::missing_errors_doc)]

// The law tests' generators, which the tests inside of the library share, call the library by its name.
#[cfg(test)]
extern crate self as foldgrad;

// What a graph is: values and types, the ops, and their slow reference meaning.
pub mod ir;
pub mod op;
pub mod ops;
mod random;
pub mod reference;

// Differentiate.
pub mod autodiff;

// Declare models as layers.
pub mod nn;

// Rewrite, fold, and prove each step.
pub mod pass;
pub mod rewrite;

// Plan and run.
pub mod plan;

mod kernel;

pub mod exec;

// Data, and files of other tools.
pub mod data;
pub mod interchange;

// Train.
pub mod train;
pub mod zoo;

#[cfg(feature = "cli")]
pub mod cli;

pub use ir::{Builder, DType, Diagnostic, Diagnostics, Expr, Graph, Tensor};
