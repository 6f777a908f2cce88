//! Gradient clipping, with Keras's formulas.

use crate::ir::{Builder, Code, Diagnostic, Expr};

/// How gradients are kept small.
#[derive(Clone, Copy, Debug, PartialEq)]
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

    pub(super) fn apply<'b>(self, builder: &'b Builder, gradients: &[Expr<'b>]) -> Vec<Expr<'b>> {
        let squares = |gradient: &Expr<'b>| (gradient * gradient).sum_all();
        let scaled = |gradient: &Expr<'b>, norm: Expr<'b>, limit: f64| {
            // limit / max(norm, limit) is 1 for a gradient that is short enough.
            gradient * (norm.scalar_like(limit) / norm.max(limit))
        };
        match self {
            Clip::Value(limit) => gradients.iter().map(|gradient| gradient.clamp(-limit, limit)).collect(),
            Clip::Norm(limit) => {
                gradients.iter().map(|gradient| scaled(gradient, squares(gradient).sqrt(), limit)).collect()
            }
            Clip::GlobalNorm(limit) => {
                let sum = gradients.iter().map(squares).reduce(|sum, square| sum + square);
                let norm = sum.map_or(builder.poisoned(), |sum| sum.sqrt());
                gradients.iter().map(|gradient| scaled(gradient, norm, limit)).collect()
            }
        }
    }
}
