//! A function of the user's as a layer without variables.

use super::{Layer, LayerCx};
use crate::ir::{Diagnostic, Expr};
use std::fmt;

/// A layer made of a function. For a layer with variables, implement [`Layer`].
///
/// ```
/// use foldgrad::nn::{Lambda, Sequential};
/// let model = Sequential::new([4]).add(Lambda::new(|x| x * x + 1.0)).build()?;
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
pub struct Lambda<F> {
    f: F,
}

impl<F> Lambda<F>
where
    F: for<'b> Fn(Expr<'b>) -> Expr<'b> + Send + Sync,
{
    /// The layer that computes `f` of its input.
    pub fn new(f: F) -> Lambda<F> {
        Lambda { f }
    }
}

impl<F> fmt::Debug for Lambda<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lambda")
    }
}

impl<F> Layer for Lambda<F>
where
    F: for<'b> Fn(Expr<'b>) -> Expr<'b> + Send + Sync,
{
    fn kind(&self) -> &str {
        "Lambda"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        Ok((self.f)(cx.only(inputs)?))
    }
}
