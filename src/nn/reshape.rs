//! Each example under another shape.

use super::{Layer, LayerCx};
use crate::ir::{Code, Diagnostic, Dim, Expr, Shape};

/// Each example row-major under another shape of equal size; one axis may be −1, the size that is left.
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::nn::{Reshape, Sequential};
/// let model = Sequential::new([12]).add(Reshape::new([3, -1])).build()?;
/// assert_eq!(model.output_types(DType::F32)["reshape"].to_string(), "f32[batch,3,4]");
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reshape {
    shape: Vec<i64>,
}

impl Reshape {
    /// To that shape, without the batch axis.
    pub fn new(shape: impl Into<Vec<i64>>) -> Reshape {
        Reshape { shape: shape.into() }
    }

    /// The sizes, with −1 filled in; `None` where they do not make up `size`.
    fn sizes(&self, size: usize) -> Option<Vec<usize>> {
        let known = self.shape.iter().filter(|&&axis| axis != -1);
        let product = known.map(|&axis| usize::try_from(axis).ok()).try_fold(1usize, |p, axis| p.checked_mul(axis?))?;
        let rest = match self.shape.iter().filter(|&&axis| axis == -1).count() {
            0 if product == size => 1,
            1 if product > 0 && size.is_multiple_of(product) => size / product,
            _ => return None,
        };
        Some(self.shape.iter().map(|&axis| usize::try_from(axis).unwrap_or(rest)).collect())
    }
}

impl Layer for Reshape {
    fn kind(&self) -> &str {
        "Reshape"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only(inputs)?;
        let (batch, size) = cx.example_size(x)?;
        let Some(sizes) = self.sizes(size) else {
            let message =
                format!("an example of {size} elements, from {}, cannot take the shape {:?}", x.ty(), self.shape);
            return Err(cx
                .mistake(Code::Shape, message)
                .help("give sizes whose product is that number, or leave one of them to be worked out with −1"));
        };
        Ok(x.reshape([batch].into_iter().chain(sizes.into_iter().map(Dim::Known)).collect::<Shape>()))
    }
}
