//! Every axis but the batch joined into one.

use super::{Layer, LayerCx};
use crate::ir::{Code, Diagnostic, Dim, Expr};

/// Each example as a vector: `[batch, 28, 28]` becomes `[batch, 784]`, row-major.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flatten;

impl Flatten {
    /// The layer.
    pub fn new() -> Flatten {
        Flatten
    }
}

impl Layer for Flatten {
    fn kind(&self) -> &str {
        "Flatten"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only(inputs)?;
        let (batch, size) = cx.example_size(x)?;
        Ok(x.reshape([batch, Dim::Known(size)]))
    }
}

impl<'b> LayerCx<'_, 'b> {
    /// The batch dimension of an input, and the number of elements of one example.
    pub(super) fn example_size(&self, x: Expr<'b>) -> Result<(Dim, usize), Diagnostic> {
        let shape = x.shape();
        let Some((&batch, dims)) = shape.split_first() else {
            return Err(self.mistake(Code::Shape, "its input is a scalar").help("axis 0 of an input is the batch"));
        };
        let size = dims.iter().try_fold(1usize, |size, dim| size.checked_mul(dim.known()?));
        match size {
            Some(size) => Ok((batch, size)),
            None => Err(self
                .mistake(Code::Shape, format!("one example of its input {} has no known size", x.ty()))
                .help("give every axis but the batch a size at the model's input")),
        }
    }
}
