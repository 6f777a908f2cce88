//! Random zeroing in training, nothing in inference.

use super::{Layer, LayerCx, Mode};
use crate::ir::{Code, Diagnostic, Expr};

/// In training zeroes each element with probability `rate` and scales the rest by `1/(1 − rate)`; in inference the
/// identity. Draws are a function of the model's seed, the step and the position of the layer.
///
/// ```
/// use foldgrad::nn::{Dense, Dropout, Sequential};
/// let model = Sequential::new([8]).add(Dropout::new(0.2)).add(Dense::new(1)).build()?;
/// assert_eq!(model.variables()[0].name, "seed_generator/state");
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// Zeroes with that probability, in [0, 1).
    pub fn new(rate: f64) -> Dropout {
        Dropout { rate }
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &str {
        "Dropout"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only_float(inputs)?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(cx
                .mistake(Code::Attribute, format!("the rate is {}", self.rate))
                .help("the rate is the chance of an element to be zeroed, from 0 up to, not including, 1"));
        }
        if cx.mode() == Mode::Inference || self.rate == 0.0 {
            return Ok(x);
        }
        Ok(x.dropout(cx.random_key()?, self.rate))
    }
}
