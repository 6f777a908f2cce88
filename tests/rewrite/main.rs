//! Rules, pipelines and folds: what they do, what they leave alone, and that nothing changes its meaning.

#[path = "../common/mod.rs"]
mod common;

mod folding;
mod planted_rules;
mod random_rewrites;
mod rules;
mod share_sums;
mod traps;
