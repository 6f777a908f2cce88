//! Runs plans: the only room that touches a plan's memory.
#![allow(unsafe_code)]

mod arena;
mod calibrate;
pub mod ceiling;
mod commit;
mod error;
mod executable;
mod held;
mod options;
mod predictor;
mod profile;
mod range;
mod roofline;
mod rows;
mod run;
mod stopped;
mod team;
mod trace;
mod worker;

pub use calibrate::CalibrateError;
pub use error::{Cause, RunError};
pub use executable::Executable;
pub use options::{InstructionSet, MOST_THREADS, Options};
pub use predictor::{BLOCK, PLANS, PredictError, Predictor};
pub use profile::{PhaseProfile, Profile, RunSpans, StepProfile, WorkerProfile};
pub use roofline::Ceilings;
pub(crate) use team::on_workers;
pub use worker::Span;
