//! Every `stride`-th index of one axis from `start` up to, not including, `limit`.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rearrangement,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, each_kind};
use std::ops::Range;

/// `start, start + stride, … < limit` of one axis of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The axis that is cut.
    pub axis: usize,
    /// First index taken.
    pub start: usize,
    /// First index not taken.
    pub limit: usize,
    /// Distance between indices taken.
    pub stride: usize,
}

impl Slice {
    fn len(self) -> usize {
        self.limit.saturating_sub(self.start).div_ceil(self.stride.max(1))
    }

    /// The cut as a node of ONNX.
    pub(super) fn cut(self, e: &mut dyn Onnx, name: &str) -> String {
        let Slice { axis, start, limit, stride } = self;
        let [start, limit, axis, stride] = [start, limit, axis, stride].map(|value| e.integers(&[value as i64]));
        e.node("Slice", &[name, &start, &limit, &axis, &stride], &[])
    }
}

impl<'b> Expr<'b> {
    /// The indices `range` of `axis`.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Expr<'b> {
        self.slice_by(axis, range, 1)
    }

    /// Every `stride`-th index of `range` of `axis`.
    #[track_caller]
    pub fn slice_by(self, axis: usize, range: Range<usize>, stride: usize) -> Expr<'b> {
        self.apply(Slice { axis, start: range.start, limit: range.end, stride })
    }
}

impl OpDef for Slice {
    const NAMES: &'static [&'static str] = &["slice"];

    fn about(&self) -> &'static str {
        "a range of one axis, with a stride"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::View(Rearrangement::Cut { axis: self.axis, start: self.start, stride: self.stride })
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("axis", Attr::Int(self.axis)),
            ("start", Attr::Int(self.start)),
            ("limit", Attr::Int(self.limit)),
            ("stride", Attr::Int(self.stride)),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Slice, AttrError> {
        let (axis, start) = (attrs.int("axis")?, attrs.int("start")?);
        Ok(Slice { axis, start, limit: attrs.int("limit")?, stride: attrs.int("stride")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let dim = cx.axis(0, self.axis)?;
        let Some(size) = dim.known() else {
            return Err(Mismatch::shape(format!("axis {} is the symbolic dimension `{dim}`", self.axis))
                .help("only an axis of known size can be cut; cut the data before it is fed"));
        };
        if self.stride == 0 {
            return Err(Mismatch::attribute("the stride is 0").help("use a stride of 1 or more"));
        }
        if self.start > self.limit || self.limit > size {
            return Err(Mismatch::attribute(format!(
                "the range {}..{} does not lie in axis {} of size {size}",
                self.start, self.limit, self.axis
            ))
            .help(format!("give a range within 0..{size}, its start not after its end")));
        }
        Ok([cx.ty(0).with_shape(cx.shape(0).with(self.axis, self.len()))].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![each_kind!(cx.operand(0), x => NdArray::from_fn(cx.shape(0), |index| {
            let mut from = index.to_vec();
            from[self.axis] = self.start + index[self.axis] * self.stride;
            x.at(&from)
        }))])
    }

    /// The adjoint of cutting is padding with zeros.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let size = cx.operand(0).shape()[self.axis].known().unwrap_or(0);
        let spanned = match self.len() {
            0 => 0,
            len => (len - 1) * self.stride + 1,
        };
        let after = size - self.start - spanned;
        Ok(vec![cx.cotangent(0).map(|dy| dy.pad(self.axis, self.start, after, self.stride - 1, dy.scalar_like(0.0)))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        if let Some(uniform) = x.uniform(ty) {
            return Ok(uniform);
        }
        let name = e.whole(x)?;
        Ok(Held::of(self.cut(e, &name), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis, range: Range<usize>, stride| {
            Case::new(Slice { axis, start: range.start, limit: range.end, stride }, [Sample::any(shape)])
        };
        vec![
            case(&[7], 0, 2..5, 1),
            case(&[3, 7], 1, 1..7, 2),
            case(&[3, 7], 1, 1..6, 3),
            case(&[5, 2], 0, 2..2, 1),
            case(&[2, 3, 5], 2, 0..5, 1),
            case(&[0, 3], 1, 0..2, 1),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
