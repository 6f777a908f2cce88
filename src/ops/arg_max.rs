//! The index of the largest element along an axis, the first where several tie; −1 where a symbolic axis is empty.

use crate::ir::{DType, Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Domain, Edge, EvalCx, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// `i32` indices of the largest elements along `axis`, which disappears; a NaN counts as the largest.
/// Over nothing the index is −1, which is one of no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgMax {
    /// The axis that is searched.
    pub axis: usize,
}

impl<'b> Expr<'b> {
    /// The index of the largest element along `axis`, which disappears; the first where several tie.
    #[track_caller]
    pub fn arg_max(self, axis: usize) -> Expr<'b> {
        self.apply(ArgMax { axis })
    }
}

impl OpDef for ArgMax {
    const NAMES: &'static [&'static str] = &["arg_max"];

    fn about(&self) -> &'static str {
        "index of the largest element along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Reduction { axes: std::slice::from_ref(&self.axis) }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<ArgMax, AttrError> {
        Ok(ArgMax { axis: attrs.int("axis")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        if cx.axis(0, self.axis)?.known() == Some(0) {
            return Err(Mismatch::shape(format!(
                "axis {} of {} is empty: it has no largest element",
                self.axis,
                cx.ty(0)
            ))
            .help("give the axis at least one element"));
        }
        Ok([TensorType::new(DType::I32, cx.shape(0).without(&[self.axis]))].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let x = cx.operand(0).real();
        Some(vec![Array::Int(NdArray::from_fn(cx.shape(0), |index| {
            if x.shape[self.axis] == 0 {
                return -1;
            }
            let mut at = index.to_vec();
            at.insert(self.axis, 0);
            let mut best = (0, x.at(&at));
            for i in 1..x.shape[self.axis] {
                at[self.axis] = i;
                let candidate = x.at(&at);
                let best_is_nan = best.1.to_f64().is_nan();
                if !best_is_nan && (best.1.less(candidate) || candidate.to_f64().is_nan()) {
                    best = (i, candidate);
                }
            }
            best.0 as i32
        }))])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Err(NoVjp::NotDifferentiable(
            "an index is piecewise constant; wrap it in `.stop_gradient()`, or use `.softmax` as its smooth form",
        ))
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        let input = e.whole(x)?;
        let attributes = [("axis", Attribute::Int(self.axis as i64)), ("keepdims", Attribute::Int(0))];
        let index = e.node("ArgMax", &[&input], &attributes);
        Ok(Held::of(e.cast(&index, ty.dtype), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis| Case::new(ArgMax { axis }, [Sample::float(shape, Domain::Distinct(0.1))]);
        vec![case(&[7], 0), case(&[3, 5], 1), case(&[3, 5], 0), case(&[0, 3], 1), case(&[1, 1], 0)]
    }

    fn edges() -> Vec<Edge> {
        let arg_max = Edge::of("arg_max", |x| x[0].arg_max(0));
        vec![
            arg_max.row(&[&[1.0, 3.0, 3.0]], &[1.0], &[]).elsewhere("same", "any of them"),
            arg_max.row(&[&[1.0, NAN, 3.0, NAN]], &[1.0], &[]),
        ]
    }
}
