//! Runs plans: the only room that touches a plan's memory.
#![allow(unsafe_code)]

mod arena;
pub mod ceiling;
mod executable;
mod held;
mod options;
mod predictor;
mod rows;
mod run;
mod team;
mod trace;
mod worker;

pub use executable::{Cause, Executable, RunError};
pub use options::{InstructionSet, Options};
pub use predictor::{BLOCK, PLANS, PredictError, Predictor};
pub use worker::Span;
