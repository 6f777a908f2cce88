//! Why a run ended at its line.

use super::error::RunError;
use super::trace::first_not_finite;
use crate::ir::{Graph, Tensor};
use crate::plan::Plan;

/// Why a run ended before it changed state.
pub(super) enum Stopped {
    /// An element of a guarded output.
    Output { output: String, value: f64 },
    /// The next value of a state, or something that it is made from.
    Update { state: String },
}

impl Stopped {
    /// The error, without the node that is to blame.
    pub fn without_cause(self) -> RunError {
        match self {
            Stopped::Output { output, value } => RunError::NotFinite { output, value, cause: None },
            Stopped::Update { state } => RunError::NotFiniteUpdate { state, cause: None },
        }
    }

    /// The error, with the first node that made a NaN or an infinity of what was given.
    pub fn because(self, graph: &Graph, plan: &Plan, feeds: &[&Tensor], states: &[Tensor]) -> RunError {
        let mut error = self.without_cause();
        if let RunError::NotFinite { cause, .. } | RunError::NotFiniteUpdate { cause, .. } = &mut error {
            *cause = first_not_finite(graph, plan, feeds, states);
        }
        error
    }
}
