//! Inputs laid one after another.

use super::merge::too_few;
use super::{Layer, LayerCx};
use crate::ir::{Diagnostic, Expr};

/// Two or more inputs one after another along an axis, the last one unless given; the other axes agree.
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::nn::{Concatenate, ModelBuilder};
/// let m = ModelBuilder::new();
/// let (a, b) = (m.input("a", [3]), m.input("b", [4]));
/// let model = m.build([a, b], m.add(Concatenate::new(), [a, b]))?;
/// assert_eq!(model.output_types(DType::F32)["concatenate"].to_string(), "f32[batch,7]");
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Concatenate {
    axis: i64,
}

impl Default for Concatenate {
    fn default() -> Concatenate {
        Concatenate::new()
    }
}

impl Concatenate {
    /// Along the last axis.
    pub fn new() -> Concatenate {
        Concatenate { axis: -1 }
    }

    /// The axis, counted with the batch as axis 0, or from the end when negative.
    pub fn axis(mut self, axis: i64) -> Concatenate {
        self.axis = axis;
        self
    }
}

impl Layer for Concatenate {
    fn kind(&self) -> &str {
        "Concatenate"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let [first, _, ..] = inputs else { return Err(too_few(cx, inputs)) };
        let (axis, _) = cx.axis(*first, self.axis)?;
        Ok(cx.builder().concat(inputs, axis))
    }
}
