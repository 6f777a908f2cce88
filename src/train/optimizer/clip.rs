//! Gradient clipping, with Keras's formulas.

use crate::ir::{Code, Diagnostic, Expr};

/// How gradients are kept small.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// Each entry into ± this value.
    Value(f64),
    /// Each parameter's gradient scaled down to this Euclidean norm, where it is longer.
    Norm(f64),
    /// All gradients scaled down alike, to this Euclidean norm of all entries together, where it is longer
    /// (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013).
    GlobalNorm(f64),
}

impl Clip {
    pub(super) fn check(self) -> Result<(), Diagnostic> {
        let (Clip::Value(limit) | Clip::Norm(limit) | Clip::GlobalNorm(limit)) = self;
        if limit > 0.0 && limit.is_finite() {
            return Ok(());
        }
        Err(Diagnostic::new(Code::Attribute, format!("gradients cannot be clipped at {limit}"))
            .help("give a finite positive number"))
    }

    pub(super) fn apply<'b>(self, gradients: &[Expr<'b>]) -> Vec<Expr<'b>> {
        match self {
            Clip::Value(limit) => gradients.iter().map(|gradient| gradient.clamp(-limit, limit)).collect(),
            Clip::Norm(limit) => gradients.iter().flat_map(|&gradient| shorten(&[gradient], limit)).collect(),
            Clip::GlobalNorm(limit) => shorten(gradients, limit),
        }
    }
}

/// All gradients, scaled down alike to the Euclidean norm of `limit` over all entries, where it is longer.
///
/// The norm is `s·√Σ(g/s)²` with `s` the largest magnitude, so that no square overflows or underflows. An infinite gradient
/// has no direction: all becomes NaN.
fn shorten<'b>(gradients: &[Expr<'b>], limit: f64) -> Vec<Expr<'b>> {
    let all = |gradient: Expr<'b>| (0..gradient.rank()).collect::<Vec<_>>();
    let magnitudes = gradients.iter().map(|&gradient| gradient.abs().reduce_max(&all(gradient)));
    let Some(largest) = magnitudes.reduce(|a, b| a.max(b)) else { return Vec::new() };
    // Zeros are divided by 1; and so are empty ones, whose largest entry is −∞.
    let scale = largest.less_equal(largest.zeros_like()).select(largest.full_like(1.0), largest);
    let squares = gradients.iter().map(|&gradient| {
        let unit = gradient / scale;
        (unit * unit).sum_all()
    });
    let Some(sum) = squares.reduce(|a, b| a + b) else { return Vec::new() };
    // The share that is left, 1 for what is short enough.
    let share = (largest.full_like(limit) / sum.sqrt() / scale).min(1.0);
    gradients.iter().map(|&gradient| gradient * share).collect()
}
