//! Passes: whole-graph steps, each from a graph to one that means the same, and the pipelines that order them.

mod explain;
mod fold;
mod fold_weights;
mod freeze;
mod pipeline;
pub mod presets;

pub use explain::{Cost, Explanation, LayerFate};
pub use fold::{FoldError, Folded, fold, fold_with};
pub(crate) use fold_weights::evaluate_recipe;
pub use fold_weights::{Weighted, WeightsMismatch, fold_weights};
pub use freeze::{FreezeError, freeze};
pub use pipeline::{Action, Dump, Outcome, Pass, PassError, PassRecord, Pipeline};
