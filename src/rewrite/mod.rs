//! Rewriting: rules under their equations, the driver that applies them safely, and the proof that nothing changed.
//!
//! A rule is a function on one screen that reads the old graph and builds the replacement of one node in the new one.
//! What must never go wrong is not left to it. The [driver](Rewriter) checks types, lets no rewrite lose a value that
//! something else reads (the old node is simply copied where it is still used), skips what does not lower the graph's
//! [work](work()), and has every replaced value [proved](Prover) equal to the value it replaces.

mod affine;
mod chain;
mod driver;
mod evaluate;
mod facts;
mod product;
mod proof;
mod report;
mod rule;
pub mod rules;
mod share_sums;
mod through;
mod work;

pub use driver::Rewriter;
pub(crate) use driver::trimmed;
pub(crate) use evaluate::Evaluator;
pub(crate) use facts::weights_of;
pub use proof::{Claim, Difference, Equality, Prover, ProverError, Unequal, Which};
pub use report::{Fired, Refused, RewriteError, Subject};
pub use rule::{Match, Miss, Rewrite, Rule};
pub use share_sums::{count_sums, share_sums};
pub(crate) use work::multiply_adds;
pub use work::{GraphWork, work};
