//! Running a plan: the only place that touches its memory.
#![allow(unsafe_code)]

mod arena;
mod executable;
mod trace;

pub use executable::{Cause, Executable, RunError};
