//! Rewriting graphs: rules that replace values by equal ones, and the proof that they are equal.

pub(crate) mod evaluate;
pub mod proof;
