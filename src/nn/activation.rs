//! Activations, as layers of their own and as the end of a [`Dense`](super::Dense).

use super::{Layer, LayerCx};
use crate::ir::{Code, Diagnostic, Expr};
use crate::ops::GeluForm;
use std::panic::Location;

/// A function that is applied element by element, or along the last axis (softmax).
///
/// ```
/// use foldgrad::nn::{Activation, Dense, Sequential};
/// let model = Sequential::new([4]).add(Dense::new(3)).add(Activation::Relu).build()?;
/// assert_eq!(Activation::from_name("relu")?, Activation::Relu);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` where positive, this slope times `x` elsewhere.
    LeakyRelu(f64),
    /// `x` where positive, this factor times `eˣ − 1` elsewhere.
    Elu(f64),
    /// The self-normalising exponential linear unit.
    Selu,
    /// `x·Φ(x)`.
    Gelu,
    /// `x·Φ(x)` by its tanh formula.
    GeluTanh,
    /// `x·sigmoid(x)`, also called swish.
    Silu,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x/(1 + |x|)`.
    Softsign,
    /// `eˣ`.
    Exponential,
    /// Hyperbolic tangent.
    Tanh,
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid,
    /// `min(max(x + 3, 0), 6)/6`.
    HardSigmoid,
    /// Exponentials along the last axis, scaled to sum to 1.
    Softmax,
    /// The logarithm of the softmax.
    LogSoftmax,
}

// Names and defaults are those of `keras.activations`.
const NAMES: [(&str, Activation); 18] = [
    ("linear", Activation::Linear),
    ("relu", Activation::Relu),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LeakyRelu(0.2)),
    ("elu", Activation::Elu(1.0)),
    ("selu", Activation::Selu),
    ("gelu", Activation::Gelu),
    ("gelu_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("softplus", Activation::Softplus),
    ("softsign", Activation::Softsign),
    ("exponential", Activation::Exponential),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("hard_sigmoid", Activation::HardSigmoid),
    ("softmax", Activation::Softmax),
    ("log_softmax", Activation::LogSoftmax),
];

impl Activation {
    /// The activation that Keras calls so.
    ///
    /// # Errors
    /// A name that no activation has; the diagnostic lists those that exist.
    #[track_caller]
    pub fn from_name(name: &str) -> Result<Activation, Diagnostic> {
        let caller = Location::caller();
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation).ok_or_else(|| {
            let known = NAMES.map(|(known, _)| known).join(", ");
            Diagnostic::new(Code::Name, format!("there is no activation `{name}`"))
                .at(caller)
                .help(format!("use one of {known}"))
        })
    }

    pub(super) fn apply<'b>(self, cx: &LayerCx<'_, 'b>, x: Expr<'b>) -> Result<Expr<'b>, Diagnostic> {
        if let Activation::LeakyRelu(alpha) | Activation::Elu(alpha) = self
            && !alpha.is_finite()
        {
            return Err(cx.mistake(Code::Attribute, format!("its slope is {alpha}")).help("give a finite number"));
        }
        let relu6 = |x: Expr<'b>| x.clamp(0.0, 6.0);
        Ok(match self {
            Activation::Linear => x,
            Activation::Relu => x.relu(),
            Activation::Relu6 => relu6(x),
            Activation::LeakyRelu(alpha) => x.leaky_relu(alpha),
            Activation::Elu(alpha) => x.elu(alpha),
            Activation::Selu => x.selu(),
            Activation::Gelu => x.gelu(GeluForm::Exact),
            Activation::GeluTanh => x.gelu(GeluForm::Tanh),
            Activation::Silu => x.silu(),
            Activation::Softplus => x.softplus(),
            Activation::Softsign => x / (x.abs() + 1.0),
            Activation::Exponential => x.exp(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::HardSigmoid => relu6(x + 3.0) * (1.0 / 6.0),
            Activation::Softmax => x.softmax(cx.last_axis(x)?.0),
            Activation::LogSoftmax => x.log_softmax(cx.last_axis(x)?.0),
        })
    }
}

impl Layer for Activation {
    fn kind(&self) -> &str {
        "Activation"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only_float(inputs)?;
        self.apply(cx, x)
    }
}
