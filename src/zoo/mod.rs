//! Networks that many people know, and networks that ask much of a compiler, declared once.
//!
//! | network | what it asks |
//! | --- | --- |
//! | [`tutorial`] | small products, three batch norms: overheads count |
//! | [`deep`] | batch norm behind GELU, twenty times over: maps and reductions between products |
//! | [`residual`] | layer norm written by hand: sums that must be fused without a kernel of their own |
//! | [`self_normalising`] | SELU without any norm: products and one map each |
//! | [`plain`] | nothing but products with ReLU: the machine's peak |
//!
//! **Invariant.** They are declared through [`nn`](crate::nn) alone, as a user would, and end in a softmax.

mod deep;
mod plain;
mod residual;
mod self_normalising;
mod tutorial;

pub use deep::deep;
pub use plain::plain;
pub use residual::residual;
pub use self_normalising::self_normalising;
pub use tutorial::{BatchNorm, tutorial, tutorial_with_biases};

/// Classes of every network here: those of Fashion-MNIST.
const CLASSES: usize = 10;
