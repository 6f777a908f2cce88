//! Mistakes in the backward of training batch norm, and of its gradient.

use super::Mistake;
use foldgrad::Expr;
use foldgrad::autodiff::vjp;
use foldgrad::op::{Cotangent, Op, VjpCx};

/// The terms of the closed form, which a mistake drops or bends.
struct Terms<'b> {
    gamma: Expr<'b>,
    dy: Expr<'b>,
    dmean: Expr<'b>,
    dvar: Expr<'b>,
    count: Expr<'b>,
    centred: Expr<'b>,
    var: Expr<'b>,
    r: Expr<'b>,
    axis: usize,
    axes: Vec<usize>,
}

impl<'b> Terms<'b> {
    fn along(&self, vector: Expr<'b>) -> Expr<'b> {
        vector.along(self.axis, self.dy)
    }

    fn normalised(&self) -> Expr<'b> {
        self.centred * self.along(self.r)
    }

    fn dbeta(&self) -> Expr<'b> {
        self.dy.sum(&self.axes)
    }

    fn dgamma(&self) -> Expr<'b> {
        (self.dy * self.normalised()).sum(&self.axes)
    }

    /// `dβ/N`, the mean term.
    fn mean_term(&self) -> Expr<'b> {
        self.along(self.dbeta() / self.count)
    }

    /// `x̂·dγ/N`, the variance term.
    fn variance_term(&self) -> Expr<'b> {
        self.normalised() * self.along(self.dgamma() / self.count)
    }

    /// `γ·r·inside + dm/N + 2·dv·(x − m)/N`.
    fn dx(&self, inside: Expr<'b>) -> Expr<'b> {
        self.along(self.gamma * self.r) * inside + self.through_mean() + self.through_variance()
    }

    fn through_mean(&self) -> Expr<'b> {
        self.along(self.dmean / self.count)
    }

    fn through_variance(&self) -> Expr<'b> {
        self.along(self.dvar * 2.0 / self.count) * self.centred
    }

    fn inside(&self) -> Expr<'b> {
        self.dy - self.mean_term() - self.variance_term()
    }

    fn right(&self) -> Expr<'b> {
        self.dx(self.inside())
    }

    fn give(&self, dx: Expr<'b>) -> Option<Vec<Cotangent<'b>>> {
        Some([dx, self.dgamma(), self.dbeta()].map(Cotangent::Value).to_vec())
    }
}

fn terms<'b>(op: &Op, cx: &VjpCx<'_, 'b>) -> Option<Terms<'b>> {
    let Op::BatchNormTrain(op) = op else { return None };
    let (x, gamma, mean, var) = (cx.operand(0), cx.operand(1), cx.result(1), cx.result(2));
    let axes: Vec<usize> = (0..x.rank()).filter(|&axis| axis != op.axis).collect();
    Some(Terms {
        gamma,
        dy: cx.materialised(0),
        dmean: cx.materialised(1),
        dvar: cx.materialised(2),
        count: x.count(&axes),
        centred: x - mean.along(op.axis, x),
        var,
        r: (var + op.eps.0).rsqrt(),
        axis: op.axis,
        axes,
    })
}

const TRAIN: &str = "batch_norm_train";

pub const MISTAKES: &[Mistake] = &[
    Mistake::new(TRAIN, "the mean term is dropped", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.dx(t.dy - t.variance_term()))
    }),
    Mistake::new(TRAIN, "the variance term is dropped", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.dx(t.dy - t.mean_term()))
    }),
    Mistake::new(TRAIN, "the statistics are taken as constants, as in inference", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.along(t.gamma * t.r) * t.dy)
    }),
    Mistake::new(TRAIN, "1/N is missing in the mean term", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.dx(t.dy - t.along(t.dbeta()) - t.variance_term()))
    }),
    Mistake::new(TRAIN, "1/N is missing in the variance term", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.dx(t.dy - t.mean_term() - t.normalised() * t.along(t.dgamma())))
    }),
    Mistake::new(TRAIN, "N − 1 for N: the variance taken as unbiased", |op, cx| {
        let t = terms(op, cx)?;
        let unbiased = t.along(t.dvar * 2.0 / (t.count - 1.0)) * t.centred;
        t.give(t.right() - t.through_variance() + unbiased)
    }),
    Mistake::new(TRAIN, "the variance's cotangent is ignored", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.right() - t.through_variance())
    }),
    Mistake::new(TRAIN, "the mean's cotangent is ignored", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.right() - t.through_mean())
    }),
    Mistake::new(TRAIN, "1/N is missing for the mean's cotangent", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.right() - t.through_mean() + t.along(t.dmean))
    }),
    Mistake::new(TRAIN, "2 is missing for the variance's cotangent", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.right() - t.through_variance() * 0.5)
    }),
    Mistake::new(TRAIN, "the wrong sign of the variance term", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.dx(t.dy - t.mean_term() + t.variance_term()))
    }),
    Mistake::new(TRAIN, "ε is forgotten", |op, cx| {
        let mut t = terms(op, cx)?;
        t.r = t.var.rsqrt();
        t.give(t.right())
    }),
    Mistake::new(TRAIN, "σ² for σ", |op, cx| {
        let mut t = terms(op, cx)?;
        t.r = t.r * t.r;
        t.give(t.right())
    }),
    Mistake::new(TRAIN, "γ is forgotten", |op, cx| {
        let t = terms(op, cx)?;
        t.give(t.along(t.r) * t.inside() + t.through_mean() + t.through_variance())
    }),
    Mistake::new(TRAIN, "dγ from x − m, not normalised", |op, cx| {
        let t = terms(op, cx)?;
        let dgamma = (t.dy * t.centred).sum(&t.axes);
        Some([t.right(), dgamma, t.dbeta()].map(Cotangent::Value).to_vec())
    }),
    Mistake::new(TRAIN, "dβ is averaged", |op, cx| {
        let t = terms(op, cx)?;
        Some([t.right(), t.dgamma(), t.dbeta() / t.count].map(Cotangent::Value).to_vec())
    }),
    Mistake::new("batch_norm_grad", "to second order, the variance is taken as a constant", |op, cx| {
        let results = op.expand(cx.operands())?;
        let cotangents: Vec<Cotangent<'_>> = (0..3).map(|result| cx.cotangent(result)).collect();
        let mut found = vjp(&results, &cotangents, cx.operands()).ok()?;
        found[3] = Cotangent::Zero;
        Some(found)
    }),
];
