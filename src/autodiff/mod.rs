//! Differentiation writes gradients as nodes of the same graph, where the optimiser of the graph sees them.
//!
//! [`vjp`] is the reverse sweep, and everything else follows from it: [`gradients`] of scalar losses, [`jvp`] (the
//! reverse sweep of the reverse sweep), [`hvp`], [`jacobian`]. [`check_gradients`] compares the gradients of any graph
//! with central differences and with dual numbers.

mod backward;
mod check;
mod forward;
mod template;

pub use backward::{OpRules, ReverseRules, gradients, vjp, vjp_with};
pub use check::{GradientCheck, GradientMismatch, GradientReport, check_gradients};
pub use forward::{hvp, jacobian, jvp};
