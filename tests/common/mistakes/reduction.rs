//! Mistakes in reductions, softmax and products.

use super::{Mistake, one, only};
use foldgrad::ir::DType;
use foldgrad::op::{Cotangent, Op};

/// Of a product of two square matrices: the only shape at which a forgotten transposition goes unnoticed by the types.
fn square(op: &Op, lhs: foldgrad::Expr<'_>) -> bool {
    let shape = lhs.shape();
    let plain = matches!(op, Op::Dot(dot) if dot.lhs_contract == [1] && dot.rhs_contract == [0]);
    plain && shape.rank() == 2 && shape[0] == shape[1]
}

pub const MISTAKES: &[Mistake] = &[
    Mistake::new("reduce_sum", "scaled by 1/N", |op, cx| {
        let Op::Reduce(reduce) = op else { return None };
        let (x, dy) = one(cx);
        only((dy / x.count(reduce.axes())).unreduce(reduce.axes(), x))
    }),
    Mistake::new("mean", "1/N is missing", |op, cx| {
        let Op::Mean(mean) = op else { return None };
        let (x, dy) = one(cx);
        only(dy.unreduce(mean.axes(), x))
    }),
    Mistake::new("mean", "N counts every axis", |op, cx| {
        let Op::Mean(mean) = op else { return None };
        let (x, dy) = one(cx);
        let all: Vec<usize> = (0..x.rank()).collect();
        only((dy / x.count(&all)).unreduce(mean.axes(), x))
    }),
    Mistake::new("reduce_max", "every element gets the gradient", |op, cx| {
        let Op::Reduce(reduce) = op else { return None };
        let (x, dy) = one(cx);
        only(dy.unreduce(reduce.axes(), x))
    }),
    Mistake::new("reduce_min", "ties all get the gradient in full", |op, cx| {
        let Op::Reduce(reduce) = op else { return None };
        let (x, dy) = one(cx);
        let best = x.equal(cx.result(0).unreduce(reduce.axes(), x));
        only(best.select(dy.unreduce(reduce.axes(), x), x.zeros_like()))
    }),
    Mistake::new("reduce_product", "y/x, which is no number at zero", |op, cx| {
        let Op::Reduce(reduce) = op else { return None };
        let (x, dy) = one(cx);
        only((dy * cx.result(0)).unreduce(reduce.axes(), x) / x)
    }),
    Mistake::new("softmax", "the sum term is dropped", |_, cx| only(cx.result(0) * cx.materialised(0))),
    Mistake::new("softmax", "the sum goes over every axis", |op, cx| {
        let (Op::Softmax(_), y, dy) = (op, cx.result(0), cx.materialised(0)) else { return None };
        only(y * (dy - (dy * y).sum_all().broadcast_to(y.shape())))
    }),
    Mistake::new("log_softmax", "the softmax term is dropped", |_, cx| only(cx.materialised(0))),
    Mistake::new("softmax_cross_entropy", "the one-hot label is forgotten", |_, cx| {
        let (logits, dy) = one(cx);
        let axis = logits.rank() - 1;
        Some(vec![(logits.softmax(axis) * dy.unreduce(&[axis], logits)).into(), Cotangent::Zero])
    }),
    Mistake::new("softmax_cross_entropy", "the cotangent is forgotten", |_, cx| {
        let (logits, _) = one(cx);
        let axis = logits.rank() - 1;
        let hot = cx.operand(1).one_hot(logits.shape()[axis].known()?, DType::F64);
        Some(vec![(logits.softmax(axis) - hot).into(), Cotangent::Zero])
    }),
    Mistake::new("softmax_cross_entropy", "averaged over the rows, once more", |_, cx| {
        let (logits, dy) = one(cx);
        let axis = logits.rank() - 1;
        let hot = cx.operand(1).one_hot(logits.shape()[axis].known()?, DType::F64);
        let rows: Vec<usize> = (0..axis).collect();
        let share = (dy / logits.count(&rows)).unreduce(&[axis], logits);
        Some(vec![((logits.softmax(axis) - hot) * share).into(), Cotangent::Zero])
    }),
    Mistake::new("dot", "the kernel is not transposed", |op, cx| {
        let ((lhs, dy), rhs) = (one(cx), cx.operand(1));
        square(op, lhs).then(|| vec![dy.dot(rhs).into(), lhs.transpose(&[1, 0]).dot(dy).into()])
    }),
    Mistake::new("dot", "the sides of the kernel's gradient are swapped", |op, cx| {
        let ((lhs, dy), rhs) = (one(cx), cx.operand(1));
        let swapped = || dy.dot(lhs.transpose(&[1, 0])).into();
        square(op, lhs).then(|| vec![dy.dot(rhs.transpose(&[1, 0])).into(), swapped()])
    }),
    Mistake::new("dot", "the kernel gets no gradient", |op, cx| {
        let mut right = op.vjp(cx).ok()?;
        right[1] = Cotangent::Zero;
        Some(right)
    }),
    Mistake::new("dense", "the bias takes the first row instead of the sum", |_, cx| {
        let ((x, dy), kernel) = (one(cx), cx.operand(1));
        (x.rank() == 2 && x.shape()[0].known()? > 0).then(|| {
            let bias = dy.slice(0, 0..1).reshape([dy.shape()[1]]);
            vec![dy.dot(kernel.transpose(&[1, 0])).into(), x.transpose(&[1, 0]).dot(dy).into(), bias.into()]
        })
    }),
];
