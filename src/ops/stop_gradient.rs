//! The identity, through which no gradient flows.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rearrangement, Sample,
    Types, VjpCx,
};
use crate::reference::{Array, Number};

/// `x`, treated as a constant by differentiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StopGradient;

impl<'b> Expr<'b> {
    /// The same value, treated as a constant by differentiation.
    #[track_caller]
    pub fn stop_gradient(self) -> Expr<'b> {
        self.apply(StopGradient)
    }
}

impl OpDef for StopGradient {
    const NAMES: &'static [&'static str] = &["stop_gradient"];

    fn about(&self) -> &'static str {
        "x, treated as a constant by differentiation"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::View(Rearrangement::Same)
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn from_attrs(_: &str, _: &mut Attrs) -> Result<StopGradient, AttrError> {
        Ok(StopGradient)
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        Ok([cx.ty(0).clone()].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![cx.operand(0).clone()])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(vec![Cotangent::Zero])
    }

    fn onnx(&self, _: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        Ok(x.clone())
    }

    fn cases() -> Vec<Case> {
        vec![Case::new(StopGradient, [Sample::integers(&[3], 0, 9)]), Case::new(StopGradient, [Sample::mask(&[2, 2])])]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
