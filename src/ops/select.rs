//! Element-wise choice: `mask ? on_true : on_false`.

use crate::ir::{DType, Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Edge, EvalCx, Function, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, SHAPES,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// `mask ? on_true : on_false`, all of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Select;

impl<'b> Expr<'b> {
    /// Where this mask is true `on_true`, elsewhere `on_false`. All three have one shape.
    #[track_caller]
    pub fn select(self, on_true: Expr<'b>, on_false: Expr<'b>) -> Expr<'b> {
        self.builder().push(Select.into(), &[self, on_true, on_false])
    }
}

impl OpDef for Select {
    const NAMES: &'static [&'static str] = &["select"];

    fn about(&self) -> &'static str {
        "mask ? on_true : on_false"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(Some(Function::Select))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["mask", "on_true", "on_false"]
    }

    fn from_attrs(_: &str, _: &mut Attrs) -> Result<Select, AttrError> {
        Ok(Select)
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.dtype(0, DType::Bool)?;
        cx.same_dtype(1, 2)?;
        cx.same_shape(1, 2)?;
        cx.same_shape(0, 1)?;
        Ok([cx.ty(1).clone()].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        fn pick<T: Copy>(mask: &NdArray<bool>, a: &NdArray<T>, b: &NdArray<T>) -> NdArray<T> {
            let pairs = a.zip(b, |a, b| (a, b));
            mask.zip(&pairs, |mask, (a, b)| if mask { a } else { b })
        }
        let mask = cx.operand(0).mask();
        Some(vec![match (cx.operand(1), cx.operand(2)) {
            (Array::Int(a), Array::Int(b)) => Array::Int(pick(mask, a, b)),
            (Array::Bool(a), Array::Bool(b)) => Array::Bool(pick(mask, a, b)),
            (a, b) => Array::Real(pick(mask, a.real(), b.real())),
        }])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let mask = cx.operand(0);
        Ok(match cx.cotangent(0) {
            Cotangent::Zero => vec![Cotangent::Zero; 3],
            Cotangent::Value(dy) => vec![
                Cotangent::Zero,
                cx.if_needed(1, || mask.select(dy, dy.zeros_like())),
                cx.if_needed(2, || mask.select(dy.zeros_like(), dy)),
            ],
        })
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [mask, a, b] = exactly(operands);
        if a.dtype != DType::Bool {
            return Ok(e.map("Where", &[mask, a, b], a.dtype));
        }
        // ONNX Runtime has no `Where` over masks.
        let not = e.map("Not", &[mask], DType::Bool);
        let (left, right) = (e.map("And", &[mask, a], DType::Bool), e.map("And", &[&not, b], DType::Bool));
        Ok(e.map("Or", &[&left, &right], DType::Bool))
    }

    fn cases() -> Vec<Case> {
        let floats = SHAPES.iter().map(|s| Case::new(Select, [Sample::mask(s), Sample::any(s), Sample::any(s)]));
        let integers =
            Case::new(Select, [Sample::mask(&[6]), Sample::integers(&[6], 0, 9), Sample::integers(&[6], -9, 0)]);
        floats.chain([integers]).collect()
    }

    fn edges() -> Vec<Edge> {
        vec![Edge::of("select", |x| x[0].greater(0.0).select(x[0], x[1])).row(
            &[&[1.0, -1.0, NAN], &[NAN, 2.0, 3.0]],
            &[1.0, 2.0, 3.0],
            &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 1.0]],
        )]
    }
}
