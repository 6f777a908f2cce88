//! `x + ReLU(LN(x)·W + b)·V + c`, block after block, with `LN(x) = γ⊙(x − μ)/√(σ² + ε) + β` written out.

use super::CLASSES;
use crate::ir::{Diagnostic, Diagnostics, Expr};
use crate::nn::{Activation, Dense, Initializer, Layer, LayerCx, Merge, Model, ModelBuilder};

/// A residual network: a Dense to `width` units, `blocks` blocks of layer norm, Dense, ReLU and Dense that are added to
/// what came in, a last layer norm, and a softmax over 10 classes.
///
/// The layer norm is no op of the library: it is written in plain expressions, as a user would write one.
///
/// ```
/// use foldgrad::nn::VariableKind;
/// use foldgrad::zoo::residual;
/// let model = residual(784, 8, 256)?;
/// let trained = model.variables().iter().filter(|variable| variable.kind == VariableKind::Trainable);
/// assert_eq!(trained.count(), 2 + 8 * 6 + 2 + 2);
/// assert_eq!(model.summary().matches(" (Add)").count(), 8);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// # Errors
/// A size of 0.
pub fn residual(inputs: usize, blocks: usize, width: usize) -> Result<Model, Diagnostics> {
    let m = ModelBuilder::new().named("residual");
    let input = m.input("input", [inputs]);
    let mut x = m.add(Dense::new(width), input);
    for _ in 0..blocks {
        let normed = m.add(LayerNorm, x);
        let hidden = m.add(Dense::new(width).activation(Activation::Relu), normed);
        let branch = m.add(Dense::new(width), hidden);
        x = m.add(Merge::Add, [x, branch]);
    }
    let normed = m.add(LayerNorm, x);
    let output = m.add(Dense::new(CLASSES).activation(Activation::Softmax), normed);
    m.build(input, output)
}

/// `γ⊙(x − μ)/√(σ² + ε) + β` over the last axis.
#[derive(Debug)]
struct LayerNorm;

const EPSILON: f64 = 1e-5;

impl Layer for LayerNorm {
    fn kind(&self) -> &str {
        "LayerNorm"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only_float(inputs)?;
        let (axis, features) = cx.last_axis(x)?;
        let gamma = cx.parameter("gamma", [features], &Initializer::Ones)?;
        let beta = cx.parameter("beta", [features], &Initializer::Zeros)?;
        let centred = x - x.mean(&[axis]).unreduce(&[axis], x);
        let variance = (centred * centred).mean(&[axis]);
        let normed = centred / (variance + EPSILON).sqrt().unreduce(&[axis], x);
        Ok(normed * gamma.along(axis, x) + beta.along(axis, x))
    }
}
