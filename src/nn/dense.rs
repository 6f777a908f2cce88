//! The fully connected layer: `activation(x·W + b)`.

use super::{Activation, Initializer, Layer, LayerCx};
use crate::ir::{Code, Diagnostic, Expr};

/// `activation(x·W + b)` over the last axis of `x`, with `W` of shape `[in, units]` and `b` of shape `[units]`.
///
/// ```
/// use foldgrad::nn::{Activation, Dense, Initializer};
/// let hidden = Dense::new(300).without_bias().kernel_initializer(Initializer::HeNormal);
/// let output = Dense::new(10).activation(Activation::Softmax);
/// ```
#[derive(Clone, Debug)]
pub struct Dense {
    units: usize,
    activation: Activation,
    kernel: Initializer,
    bias: Option<Initializer>,
}

impl Dense {
    /// `units` outputs, linear, with a bias that starts at 0 and a Glorot-uniform kernel.
    pub fn new(units: usize) -> Dense {
        Dense {
            units,
            activation: Activation::Linear,
            kernel: Initializer::GlorotUniform,
            bias: Some(Initializer::Zeros),
        }
    }

    /// The activation at the end.
    pub fn activation(mut self, activation: Activation) -> Dense {
        self.activation = activation;
        self
    }

    /// Without `b`: for a layer that batch normalization follows, which removes any constant.
    pub fn without_bias(mut self) -> Dense {
        self.bias = None;
        self
    }

    /// How `W` starts.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Dense {
        self.kernel = initializer;
        self
    }

    /// How `b` starts.
    pub fn bias_initializer(mut self, initializer: Initializer) -> Dense {
        self.bias = Some(initializer);
        self
    }
}

impl Layer for Dense {
    fn kind(&self) -> &str {
        "Dense"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only_float(inputs)?;
        if self.units == 0 {
            return Err(cx.mistake(Code::Attribute, "it has no units").help("give it at least one unit"));
        }
        let (_, features) = cx.last_axis(x)?;
        let kernel = cx.parameter("kernel", [features, self.units], &self.kernel)?;
        let bias = match &self.bias {
            Some(initializer) => Some(cx.parameter("bias", [self.units], initializer)?),
            None => None,
        };
        self.activation.apply(cx, x.dense(kernel, bias))
    }
}
