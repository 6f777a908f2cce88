//! What a plan tells: where each kernel call comes from (`label`), what it has to do and is expected to take (`planned`), and
//! the whole as text (`print`).

mod label;
mod planned;
mod print;

pub(super) use label::Sources;
pub use label::{Direction, Label};
pub use planned::{PlannedPhase, PlannedStep};
