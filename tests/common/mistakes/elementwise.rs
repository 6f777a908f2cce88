//! Mistakes in element-wise rules.

use super::{Mistake, one, only};
use foldgrad::Expr;
use foldgrad::op::{Cotangent, Op, VjpCx};

/// The two operands and the cotangent of a binary op of floats.
fn pair<'b>(cx: &VjpCx<'_, 'b>) -> (Expr<'b>, Expr<'b>, Expr<'b>) {
    (cx.operand(0), cx.operand(1), cx.materialised(0))
}

fn both<'b>(da: Expr<'b>, db: Expr<'b>) -> Option<Vec<Cotangent<'b>>> {
    Some(vec![Cotangent::Value(da), Cotangent::Value(db)])
}

pub const MISTAKES: &[Mistake] = &[
    Mistake::new("add", "the right side is forgotten", |_, cx| {
        Some(vec![Cotangent::Value(cx.materialised(0)), Cotangent::Zero])
    }),
    Mistake::new("sub", "the wrong sign on the right", |_, cx| both(cx.materialised(0), cx.materialised(0))),
    Mistake::new("mul", "each side by itself", |_, cx| {
        let (a, b, dy) = pair(cx);
        both(dy * a, dy * b)
    }),
    Mistake::new("div", "the square is missing below", |_, cx| {
        let (a, b, dy) = pair(cx);
        both(dy / b, -(dy * a / b))
    }),
    Mistake::new("div", "the sign is missing below", |_, cx| {
        let (_, b, dy) = pair(cx);
        both(dy / b, dy * cx.result(0) / b)
    }),
    Mistake::new("max", "a tie goes to both sides in full", |_, cx| {
        let (a, b, dy) = pair(cx);
        let zero = dy.zeros_like();
        both(a.greater_equal(b).select(dy, zero), b.greater_equal(a).select(dy, zero))
    }),
    Mistake::new("min", "the larger side is chosen", |_, cx| {
        let (a, b, dy) = pair(cx);
        let zero = dy.zeros_like();
        both(a.greater(b).select(dy, zero), b.greater(a).select(dy, zero))
    }),
    Mistake::new("pow", "the exponent is not lowered", |_, cx| {
        let (a, b, dy) = pair(cx);
        both(dy * b * cx.result(0), dy * cx.result(0) * a.log())
    }),
    Mistake::new("pow", "the exponent's gradient divides by the base", |_, cx| {
        let (a, b, dy) = pair(cx);
        both(dy * b * a.pow(b - 1.0), dy * cx.result(0) * a.log() / a)
    }),
    Mistake::new("tanh", "1 − y for 1 − y²", |_, cx| only(cx.materialised(0) * (1.0 - cx.result(0)))),
    Mistake::new("sigmoid", "y for y·(1 − y)", |_, cx| only(cx.materialised(0) * cx.result(0))),
    Mistake::new("exp", "x for eˣ", |_, cx| only(cx.materialised(0) * cx.operand(0))),
    Mistake::new("expm1", "y for y + 1", |_, cx| only(cx.materialised(0) * cx.result(0))),
    Mistake::new("log", "x for 1/x", |_, cx| only(cx.materialised(0) * cx.operand(0))),
    Mistake::new("log1p", "1/x for 1/(1 + x)", |_, cx| only(cx.materialised(0) / cx.operand(0))),
    Mistake::new("sqrt", "½ is missing", |_, cx| only(cx.materialised(0) / cx.result(0))),
    Mistake::new("rsqrt", "y² for y³", |_, cx| only(cx.materialised(0) * -0.5 * cx.result(0) * cx.result(0))),
    Mistake::new("erf", "2/√π is missing", |_, cx| {
        let (x, dy) = one(cx);
        only(dy * (-(x * x)).exp())
    }),
    Mistake::new("cos", "the sign is missing", |_, cx| only(cx.materialised(0) * cx.operand(0).sin())),
    Mistake::new("abs", "the sign of x is forgotten", |_, cx| only(cx.materialised(0))),
    Mistake::new("sign", "the identity instead of zero", |_, cx| only(cx.materialised(0))),
    Mistake::new("relu", "the mask is inverted", |_, cx| {
        let (x, dy) = one(cx);
        only(x.greater(x.zeros_like()).select(dy.zeros_like(), dy))
    }),
    Mistake::new("relu", "the gradient is cut off where it is negative, too", |_, cx| {
        let (x, dy) = one(cx);
        only(x.greater(x.zeros_like()).select(dy.relu(), dy.zeros_like()))
    }),
    Mistake::new("leaky_relu", "the slope is forgotten", |_, cx| {
        let (x, dy) = one(cx);
        only(x.greater(x.zeros_like()).select(dy, dy.zeros_like()))
    }),
    Mistake::new("elu", "α is forgotten", |_, cx| {
        let (x, dy) = one(cx);
        only(x.greater(x.zeros_like()).select(dy, dy * x.exp()))
    }),
    Mistake::new("silu", "x·σ′(x) is forgotten", |_, cx| only(cx.materialised(0) * cx.operand(0).sigmoid())),
    Mistake::new("softplus", "σ(−x) for σ(x)", |_, cx| only(cx.materialised(0) * (-cx.operand(0)).sigmoid())),
    Mistake::new("gelu", "σ(1.702·x), the derivative of nothing", |_, cx| {
        only(cx.materialised(0) * (cx.operand(0) * 1.702).sigmoid())
    }),
    Mistake::new("clamp", "straight through", |_, cx| {
        Some(vec![Cotangent::Value(cx.materialised(0)), Cotangent::Zero, Cotangent::Zero])
    }),
    Mistake::new("select", "both branches get all", |_, cx| {
        Some(vec![Cotangent::Zero, cx.cotangent(0), cx.cotangent(0)])
    }),
    Mistake::new("select", "the branches are swapped", |_, cx| {
        let (mask, dy) = one(cx);
        let zero = dy.zeros_like();
        Some(vec![Cotangent::Zero, mask.select(zero, dy).into(), mask.select(dy, zero).into()])
    }),
    Mistake::new("cast", "a conversion between floats is a constant", |_, cx| {
        cx.operand(0).dtype().is_float().then(|| vec![Cotangent::Zero])
    }),
    Mistake::new("cast", "a conversion from a mask or integer is a silent zero", |_, _| Some(vec![Cotangent::Zero])),
    Mistake::new("one_hot", "a silent zero", |_, _| Some(vec![Cotangent::Zero])),
    Mistake::new("stop_gradient", "it leaks", |_, cx| Some(vec![cx.cotangent(0)])),
    Mistake::new("dropout", "kept elements are not scaled up", |op, cx| {
        let Op::Dropout(dropout) = op else { return None };
        only(cx.materialised(0) * (1.0 - dropout.rate.0)).map(|mut cotangents| {
            cotangents.push(Cotangent::Zero);
            cotangents
        })
    }),
];
