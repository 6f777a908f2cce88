//! Ops and their gradients: the laws, the index, and random graphs of them.

#[path = "../common/mod.rs"]
mod common;

mod drawn;
mod gradients;
mod laws;
mod op_index;
mod planted_mistakes;
mod random_graphs;
mod second_order;
