//! Weights and scores that are no numbers: they are refused, never saved, folded, exported or averaged in silence.

use super::error::TrainError;
use super::fit::guilty_example;
use super::trainer::Compiled;
use crate::exec::RunError;
use crate::ir::Tensor;

/// Refuses variables that hold NaN or an infinity.
pub(super) fn check_weights<'t>(weights: impl IntoIterator<Item = (&'t String, &'t Tensor)>) -> Result<(), TrainError> {
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
