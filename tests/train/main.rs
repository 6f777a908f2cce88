//! Training: losses, optimisers, the fit loop, and networks that learn.

#[path = "../common/mod.rs"]
mod common;

mod bad_gradients;
mod bits;
mod fit;
mod golden_run;
mod losses;
mod optimizers;
mod zoo;
