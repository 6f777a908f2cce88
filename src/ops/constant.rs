//! A literal tensor.

use crate::ir::{Literal, Tensor, TensorType};
use crate::op::onnx::{Exported, Held, Onnx};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Types, VjpCx,
};
use crate::reference::{Array, Number};

/// A tensor written into the graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constant {
    literal: Literal,
}

impl Constant {
    pub(crate) fn new(tensor: Tensor) -> Constant {
        Constant { literal: Literal::new(tensor) }
    }

    /// The value.
    pub fn tensor(&self) -> &Tensor {
        &self.literal
    }
}

impl OpDef for Constant {
    const NAMES: &'static [&'static str] = &["constant"];

    fn about(&self) -> &'static str {
        "a literal tensor"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Source
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("value", Attr::Literal(self.literal.clone()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Constant, AttrError> {
        Ok(Constant { literal: attrs.literal("value")? })
    }

    fn infer(&self, _: &InferCx) -> Result<Types, Mismatch> {
        Ok([self.literal.ty()].into())
    }

    fn rows(&self, _: &RowsCx<'_>) -> Rows {
        Rows::apart(None)
    }

    fn eval<S: Number>(&self, _: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![Array::from_tensor(&self.literal)])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(Vec::new())
    }

    fn onnx(&self, e: &mut dyn Onnx, _: &[Held], ty: &TensorType) -> Exported<Held> {
        Ok(Held::of(e.constant(self.tensor()), ty))
    }

    fn cases() -> Vec<Case> {
        let tensors = [
            Tensor::vector(vec![1.5f64, -0.0, f64::INFINITY]),
            Tensor::scalar(0.1f64),
            Tensor::vector(vec![3i32, -4]),
            Tensor::vector(vec![true, false]),
        ];
        tensors.into_iter().map(|tensor| Case::new(Constant::new(tensor), [])).collect()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
