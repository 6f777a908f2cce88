//! Mistakes in ops that move elements.

use super::{Mistake, one, only};
use foldgrad::op::{Cotangent, Op};
use foldgrad::{Expr, ir::Shape};

/// The axes of the result that a broadcast repeats along.
fn repeated(op: &Op, x: Expr<'_>, y: Expr<'_>) -> Option<Vec<usize>> {
    let Op::Broadcast(broadcast) = op else { return None };
    let stretched = |axis: &usize| match broadcast.dims().iter().position(|dim| dim == axis) {
        None => true,
        Some(from) => x.shape()[from].is_one() && !y.shape()[*axis].is_one(),
    };
    Some((0..y.rank()).filter(stretched).collect())
}

fn count(shape: &Shape) -> usize {
    shape.known().unwrap_or_default().iter().product()
}

pub const MISTAKES: &[Mistake] = &[
    Mistake::new("broadcast", "the reduction is forgotten: the first copy stands for all", |op, cx| {
        let (x, dy) = one(cx);
        let axes = repeated(op, x, dy)?;
        if count(&dy.shape()) == 0 {
            return None;
        }
        let first = axes.iter().fold(dy, |value, &axis| value.slice(axis, 0..1));
        only(first.reshape(x.shape()))
    }),
    Mistake::new("broadcast", "the copies are averaged", |op, cx| {
        let (x, dy) = one(cx);
        let axes = repeated(op, x, dy)?;
        only(dy.mean(&axes).reshape(x.shape()))
    }),
    Mistake::new("reshape", "elements are taken in column-major order", |_, cx| {
        let (x, dy) = one(cx);
        let reverse: Vec<usize> = (0..dy.rank()).rev().collect();
        only(dy.transpose(&reverse).reshape(x.shape()))
    }),
    Mistake::new("transpose", "the permutation for its inverse", |op, cx| {
        let Op::Transpose(transpose) = op else { return None };
        let (x, dy) = one(cx);
        let wrong = dy.transpose(transpose.permutation());
        // A wrong type is no gradient at all; of equal size it may pass.
        only(wrong.reshape(x.shape()))
    }),
    Mistake::new("slice", "the padding starts one too late", |op, cx| {
        let Op::Slice(slice) = op else { return None };
        let (x, dy) = one(cx);
        let size = x.shape()[slice.axis].known()?;
        let spanned = (dy.shape()[slice.axis].known()?.checked_sub(1)?) * slice.stride + 1;
        let after = (size - slice.start).checked_sub(spanned + 1)?;
        only(dy.pad(slice.axis, slice.start + 1, after, slice.stride - 1, dy.scalar_like(0.0)))
    }),
    Mistake::new("slice", "the stride is forgotten", |op, cx| {
        let Op::Slice(slice) = op else { return None };
        let (x, dy) = one(cx);
        let after = (x.shape()[slice.axis].known()? - slice.start).checked_sub(dy.shape()[slice.axis].known()?)?;
        only(dy.pad(slice.axis, slice.start, after, 0, dy.scalar_like(0.0)))
    }),
    Mistake::new("pad", "the value gets no gradient", |op, cx| {
        let mut right = op.vjp(cx).ok()?;
        right[1] = Cotangent::Zero;
        Some(right)
    }),
    Mistake::new("pad", "the value takes the padded elements, not the padding", |op, cx| {
        let Op::Pad(pad) = op else { return None };
        let (x, dy) = one(cx);
        let size = cx.result(0).shape()[pad.axis].known()?;
        let inside = dy.slice_by(pad.axis, pad.low..size - pad.high, pad.interior + 1);
        (x.rank() > 0).then(|| vec![inside.into(), inside.sum_all().into()])
    }),
    Mistake::new("concat", "the parts are swapped", |op, cx| {
        let Op::Concat(concat) = op else { return None };
        let dy = cx.materialised(0);
        let mut end = dy.shape()[concat.axis].known()?;
        let mut cotangents = Vec::new();
        for part in cx.operands() {
            let size = part.shape()[concat.axis].known()?;
            cotangents.push(dy.slice(concat.axis, end - size..end).into());
            end -= size;
        }
        Some(cotangents)
    }),
    Mistake::new("take_along_axis", "elements that are taken twice are overwritten, not added", |op, cx| {
        let Op::TakeAlongAxis(take) = op else { return None };
        let ((x, dy), index) = (one(cx), cx.operand(1));
        let size = x.shape()[take.axis];
        let total = dy.scatter_along_axis(index, take.axis, size);
        let times = dy.full_like(1.0).scatter_along_axis(index, take.axis, size);
        Some(vec![(total / times.max(times.full_like(1.0))).into(), Cotangent::Zero])
    }),
    Mistake::new("scatter_along_axis", "an index out of range takes part", |op, cx| {
        let Op::ScatterAlongAxis(scatter) = op else { return None };
        let (dy, index) = (cx.materialised(0), cx.operand(1));
        Some(vec![dy.take_along_axis(index, scatter.axis).into(), Cotangent::Zero])
    }),
];
