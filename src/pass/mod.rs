//! Passes: whole-graph transformations that keep every output equal as algebra and make the graph cheaper to run.

mod share_sums;

pub use share_sums::{count_sums, share_sums};
