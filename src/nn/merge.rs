//! Layers that combine several inputs element by element.

use super::{Layer, LayerCx};
use crate::ir::{Code, Diagnostic, Expr};

/// Two or more inputs combined element by element. Their shapes are equal, or stretch from size 1.
///
/// ```
/// use foldgrad::nn::{Dense, Merge, ModelBuilder};
/// let m = ModelBuilder::new();
/// let x = m.input("x", [8]);
/// let residual = m.add(Merge::Add, [x, m.add(Dense::new(8), x)]);
/// let model = m.build(x, residual)?;
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Merge {
    /// The sum.
    Add,
    /// The first minus the second; takes two inputs.
    Subtract,
    /// The product.
    Multiply,
    /// The mean.
    Average,
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
}

impl Layer for Merge {
    fn kind(&self) -> &str {
        match self {
            Merge::Add => "Add",
            Merge::Subtract => "Subtract",
            Merge::Multiply => "Multiply",
            Merge::Average => "Average",
            Merge::Maximum => "Maximum",
            Merge::Minimum => "Minimum",
        }
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let [first, rest @ ..] = inputs else { return Err(too_few(cx, inputs)) };
        match (self, rest.len()) {
            (_, 0) => return Err(too_few(cx, inputs)),
            (Merge::Subtract, 2..) => {
                return Err(cx
                    .mistake(Code::Graph, format!("it takes two inputs, found {}", inputs.len()))
                    .help("add up what is to be subtracted with `Merge::Add` first"));
            }
            _ => {}
        }
        for other in rest {
            let (a, b) = (first.ty(), other.ty());
            let fits = a.rank() == b.rank()
                && a.shape.iter().zip(b.shape.iter()).all(|(a, b)| a == b || a.is_one() || b.is_one());
            if !fits || a.dtype != b.dtype {
                return Err(cx
                    .mistake(Code::Shape, format!("its inputs are {a} and {b}"))
                    .help("make their shapes and element types equal; an axis of size 1 stretches"));
            }
        }
        let merged = rest.iter().fold(*first, |so_far, &next| match self {
            Merge::Add | Merge::Average => so_far + next,
            Merge::Subtract => so_far - next,
            Merge::Multiply => so_far * next,
            Merge::Maximum => so_far.max(next),
            Merge::Minimum => so_far.min(next),
        });
        Ok(if *self == Merge::Average { merged * (1.0 / inputs.len() as f64) } else { merged })
    }
}

/// A layer that merges was given one input, or none.
pub(super) fn too_few(cx: &LayerCx<'_, '_>, inputs: &[Expr<'_>]) -> Diagnostic {
    cx.mistake(Code::Graph, format!("it takes at least two inputs, found {}", inputs.len()))
        .help("pass an array of wires: `m.add(layer, [a, b])`")
}
