//! What runs: kernels, plans, threads, states and predictions, each against the reference.

#[path = "../common/mod.rs"]
mod common;

mod guards;
mod held;
mod kernel_shapes;
mod kernels;
mod predictor;
mod profile;
mod state_updates;
mod sums;
mod threads;
