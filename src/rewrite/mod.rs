//! Rewriting: rules under their equations, the driver that applies them safely, and the proof that nothing changed.
//!
//! A rule is a function on one screen that reads the old graph and builds the replacement of one node in the new one.
//! What must never go wrong is not left to it. The [driver](Rewriter) checks types, lets no rewrite lose a value that
//! something else reads (the old node is simply copied where it is still used), demands that the graph's
//! [work](work()) falls, and has every replaced value [proved](Prover) equal to the value it replaces.

mod affine;
mod chain;
mod driver;
mod evaluate;
mod facts;
mod product;
mod proof;
mod rule;
pub mod rules;
mod through;
mod work;

pub(crate) use driver::trimmed;
pub use driver::{Fired, Refused, RewriteError, Rewriter, Subject};
pub(crate) use evaluate::Evaluator;
pub use facts::Weights;
pub(crate) use facts::weights_of;
pub use proof::{Claim, Difference, Equality, Prover, ProverError, Unequal, Which};
pub use rule::{Match, Miss, Rewrite, Rule};
pub(crate) use work::multiply_adds;
pub use work::{Work, work};
