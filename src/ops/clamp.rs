//! `min(max(x, low), high)`. A value at a bound counts as clamped: the bound has slope 1 there, and `x` has slope 0, as
//! `jax.lax.clamp`, ReLU6 and hard sigmoid have it everywhere.

use super::edge::zero_or_nan;
use crate::ir::{Expr, TensorType, ToExpr};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Domain, Edge, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Sample, Types, VjpCx,
};

/// `x` kept between `low` and `high`, all of one type. Where `low > high` the result is `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clamp;

impl<'b> Expr<'b> {
    /// `min(max(self, low), high)`; bounds are expressions or numbers. Shapes broadcast to that of `self`.
    #[track_caller]
    pub fn clamp(self, low: impl ToExpr<'b>, high: impl ToExpr<'b>) -> Expr<'b> {
        let bound = |bound: Expr<'b>| bound.broadcast_to(self.shape());
        self.builder().push(Clamp.into(), &[self, bound(low.to_expr(self)), bound(high.to_expr(self))])
    }
}

impl OpDef for Clamp {
    const NAMES: &'static [&'static str] = &["clamp"];

    fn about(&self) -> &'static str {
        "min(max(x, low), high)"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(None)
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "low", "high"]
    }

    fn from_attrs(_: &str, _: &mut Attrs) -> Result<Clamp, AttrError> {
        Ok(Clamp)
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        for bound in [1, 2] {
            cx.same_dtype(0, bound)?;
            cx.same_shape(0, bound)?;
        }
        Ok([cx.ty(0).clone()].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, low, high] = *operands else { return None };
        Some(vec![x.max(low).min(high)])
    }

    /// Exactly one of the three gets `dy`; over a NaN all get NaN.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let Some(dy) = cx.cotangent(0).value() else { return Ok(vec![Cotangent::Zero; 3]) };
        let (x, low, high) = (cx.operand(0), cx.operand(1), cx.operand(2));
        let raised = x.max(low);
        let below = raised.less(high);
        let gets = |mask: Expr<'b>| mask.select(dy, zero_or_nan(cx.result(0)));
        Ok(vec![
            cx.if_needed(0, || gets(below.select(x.greater(low), below))),
            cx.if_needed(1, || gets(below.select(x.less_equal(low), below))),
            cx.if_needed(2, || gets(raised.greater_equal(high))),
        ])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [x, low, high] = exactly(operands);
        if low.held.rank() == 0 && high.held.rank() == 0 {
            return Ok(e.map("Clip", &[x, low, high], x.dtype));
        }
        let raised = e.map("Max", &[x, low], x.dtype);
        Ok(e.map("Min", &[&raised, high], x.dtype))
    }

    fn cases() -> Vec<Case> {
        let bounds = |shape: &[usize]| {
            [Sample::float(shape, Domain::Range(-0.9, -0.7)), Sample::float(shape, Domain::Range(0.7, 0.9))]
        };
        [Domain::Range(-0.5, 0.5), Domain::Range(-2.0, -1.0), Domain::Range(1.0, 2.0)]
            .into_iter()
            .flat_map(|domain| {
                [&[5, 3][..], &[], &[0, 2]].map(|shape| {
                    let [low, high] = bounds(shape);
                    Case::new(Clamp, [Sample::float(shape, domain), low, high])
                })
            })
            .collect()
    }

    fn edges() -> Vec<Edge> {
        let clamp = Edge::of("clamp", |x| x[0].clamp(x[1], x[2]));
        vec![
            clamp
                .row(
                    &[&[-2.0, -1.0, 0.0, 1.0, 2.0], &[-1.0; 5], &[1.0; 5]],
                    &[-1.0, -1.0, 0.0, 1.0, 1.0],
                    &[&[0.0, 0.0, 1.0, 0.0, 0.0], &[1.0, 1.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 1.0, 1.0]],
                )
                .elsewhere("`jnp.clip` ½ and ½ at a bound, `lax.clamp` 0 and 0", "1 and 0 at a bound"),
            clamp
                .row(
                    &[
                        &[0.0, 1.0, 0.0, NAN, 0.0, 0.0],
                        &[1.0, 1.0, 0.0, -1.0, NAN, -1.0],
                        &[-1.0, 1.0, 0.0, 1.0, 1.0, NAN],
                    ],
                    &[-1.0, 1.0, 0.0, NAN, NAN, NAN],
                    &[
                        &[0.0, 0.0, 0.0, NAN, NAN, NAN],
                        &[0.0, 0.0, 0.0, NAN, NAN, NAN],
                        &[1.0, 1.0, 1.0, NAN, NAN, NAN],
                    ],
                )
                .elsewhere("0 over NaN", "0 over NaN"),
        ]
    }
}
