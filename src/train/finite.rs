//! Weights and scores that are no numbers: they are refused, never saved, folded, exported or averaged in silence.

use super::compiled::Compiled;
use super::error::TrainError;
use crate::exec::{Cause, RunError};
use crate::ir::Tensor;

/// Refuses variables that hold NaN or an infinity.
pub(super) fn refuse_not_finite<'t>(
    weights: impl IntoIterator<Item = (&'t String, &'t Tensor)>,
) -> Result<(), TrainError> {
    for (name, tensor) in weights {
        if let Some((element, value)) = tensor.first_not_finite() {
            return Err(TrainError::NotFiniteWeight { name: name.clone(), element, value });
        }
    }
    Ok(())
}

/// What stopped an evaluation, by the examples that it was at.
pub(super) fn of_evaluation(compiled: &Compiled, error: RunError, rows: &[u32]) -> TrainError {
    let (RunError::NotFinite { .. }, Some((&first, &last))) = (&error, rows.first().zip(rows.last())) else {
        return error.into();
    };
    let what = match guilty_example(compiled, &error, rows) {
        Some((name, example, value)) => format!("`{name}` of example {example} holds {value}"),
        None => error.to_string(),
    };
    TrainError::NotFiniteEvaluation { first: first as usize, last: last as usize, what }
}

/// The input or target, the example and its value, if what was fed is to blame.
pub(super) fn guilty_example(compiled: &Compiled, error: &RunError, rows: &[u32]) -> Option<(String, usize, f64)> {
    let (RunError::NotFinite { cause, .. } | RunError::NotFiniteUpdate { cause, .. }) = error else { return None };
    let Some(Cause::Given { name, element, value }) = cause else { return None };
    let feed = compiled.run.plan().feeds().iter().find(|port| port.name == *name)?;
    let each: usize = feed.shape.iter().skip(1).product();
    let row = rows.get(element / each.max(1))?;
    Some((name.clone(), *row as usize, *value))
}
