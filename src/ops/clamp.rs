//! `min(max(x, low), high)`.

use crate::ir::{Expr, ToExpr};
use crate::op::{AttrError, Attrs, Case, Domain, InferCx, Mismatch, OpDef, Rows, RowsCx, Sample, Types};
use smallvec::smallvec;

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
        Ok(smallvec![cx.ty(0).clone()])
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        cx.elementwise()
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, low, high] = *operands else { return None };
        Some(vec![x.max(low).min(high)])
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
}
