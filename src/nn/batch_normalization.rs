//! Batch normalization (Ioffe, Szegedy 2015), with Keras's defaults and running statistics.
//!
//! ```text
//! training:   y = γ·(x − m)/√(v + ε) + β          m, v: mean and biased variance of the batch, per channel
//!             moving_mean ← μ·moving_mean + (1 − μ)·m,   moving_variance ← μ·moving_variance + (1 − μ)·v
//! inference:  y = γ·(x − moving_mean)/√(moving_variance + ε) + β
//! ```

use super::{Initializer, Layer, LayerCx, Mode};
use crate::ir::{Code, Diagnostic, Expr};

/// Normalises each channel over the batch and every other axis, then scales and shifts it.
///
/// [Frozen](Layer::frozen) it uses its running statistics in training too, as in Keras.
///
/// ```
/// use foldgrad::nn::BatchNormalization;
/// let default = BatchNormalization::new();
/// let channels_first = BatchNormalization::new().axis(1).momentum(0.9).epsilon(1e-5).without_scale();
/// ```
#[derive(Clone, Debug)]
pub struct BatchNormalization {
    axis: i64,
    momentum: f64,
    epsilon: f64,
    beta: Option<Initializer>,
    gamma: Option<Initializer>,
    moving_mean: Initializer,
    moving_variance: Initializer,
}

impl Default for BatchNormalization {
    fn default() -> BatchNormalization {
        BatchNormalization::new()
    }
}

impl BatchNormalization {
    /// Channels on the last axis, μ = 0.99, ε = 0.001, γ and the moving variance from 1, β and the moving mean from 0.
    pub fn new() -> BatchNormalization {
        BatchNormalization {
            axis: -1,
            momentum: 0.99,
            epsilon: 1e-3,
            beta: Some(Initializer::Zeros),
            gamma: Some(Initializer::Ones),
            moving_mean: Initializer::Zeros,
            moving_variance: Initializer::Ones,
        }
    }

    /// The channel axis, counted with the batch as axis 0, or from the end when negative.
    pub fn axis(mut self, axis: i64) -> BatchNormalization {
        self.axis = axis;
        self
    }

    /// μ, the share of the old running statistics that a step keeps, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> BatchNormalization {
        self.momentum = momentum;
        self
    }

    /// ε, added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> BatchNormalization {
        self.epsilon = epsilon;
        self
    }

    /// Without β: Keras's `center=False`.
    pub fn without_center(mut self) -> BatchNormalization {
        self.beta = None;
        self
    }

    /// Without γ: Keras's `scale=False`.
    pub fn without_scale(mut self) -> BatchNormalization {
        self.gamma = None;
        self
    }

    /// How β starts.
    pub fn beta_initializer(mut self, initializer: Initializer) -> BatchNormalization {
        self.beta = Some(initializer);
        self
    }

    /// How γ starts.
    pub fn gamma_initializer(mut self, initializer: Initializer) -> BatchNormalization {
        self.gamma = Some(initializer);
        self
    }

    /// How the moving mean starts.
    pub fn moving_mean_initializer(mut self, initializer: Initializer) -> BatchNormalization {
        self.moving_mean = initializer;
        self
    }

    /// How the moving variance starts.
    pub fn moving_variance_initializer(mut self, initializer: Initializer) -> BatchNormalization {
        self.moving_variance = initializer;
        self
    }

    fn check(&self, cx: &LayerCx<'_, '_>) -> Result<(), Diagnostic> {
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(cx
                .mistake(Code::Attribute, format!("the momentum is {}", self.momentum))
                .help("it is the share of the old statistics that a step keeps, from 0 up to, not including, 1"));
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(cx
                .mistake(Code::Attribute, format!("epsilon is {}", self.epsilon))
                .help("it keeps the division by the variance finite; give a positive number such as 1e-3"));
        }
        Ok(())
    }
}

impl Layer for BatchNormalization {
    fn kind(&self) -> &str {
        "BatchNormalization"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        self.check(cx)?;
        let x = cx.only_float(inputs)?;
        let (axis, channels) = cx.axis(x, self.axis)?;
        let parameter = |cx: &mut LayerCx<'_, 'b>, name, initializer: &Option<Initializer>, otherwise| match initializer
        {
            Some(initializer) => cx.parameter(name, [channels], initializer),
            None => Ok(cx.builder().scalar(cx.dtype(), otherwise).broadcast_to([channels])),
        };
        let gamma = parameter(cx, "gamma", &self.gamma, 1.0)?;
        let beta = parameter(cx, "beta", &self.beta, 0.0)?;
        let moving_mean = cx.state("moving_mean", [channels], &self.moving_mean)?;
        let moving_variance = cx.state("moving_variance", [channels], &self.moving_variance)?;
        if cx.mode() == Mode::Inference || cx.is_frozen() {
            return Ok(x.batch_norm_infer([gamma, beta, moving_mean, moving_variance], axis, self.epsilon));
        }
        let normed = x.batch_norm_train(gamma, beta, axis, self.epsilon);
        let moved = |old: Expr<'b>, new: Expr<'b>| old * self.momentum + new * (1.0 - self.momentum);
        cx.update("moving_mean", moved(moving_mean, normed.mean))?;
        cx.update("moving_variance", moved(moving_variance, normed.var))?;
        Ok(normed.y)
    }
}
