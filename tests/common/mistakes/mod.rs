//! Wrong reverse rules, one mistake each, of the kind that people make.
//!
//! A mistake overrides the rule of one op where it applies and leaves every other rule alone. The gradient laws must fail
//! for each: that is what shows that they have teeth.

mod elementwise;
mod movement;
mod norm;
mod reduction;

use foldgrad::autodiff::ReverseRules;
use foldgrad::op::{Cotangent, NoVjp, Op, VjpCx};

/// The cotangents that the wrong rule gives, or `None` where the mistake does not apply.
pub type Wrong = for<'a, 'b> fn(&Op, &VjpCx<'a, 'b>) -> Option<Vec<Cotangent<'b>>>;

/// One planted mistake.
pub struct Mistake {
    /// The op whose rule is wrong.
    pub op: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
    wrong: Wrong,
}

impl Mistake {
    const fn new(op: &'static str, what: &'static str, wrong: Wrong) -> Mistake {
        Mistake { op, what, wrong }
    }
}

impl ReverseRules for Mistake {
    fn vjp<'b>(&self, op: &Op, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let wrong = if op.name() == self.op { (self.wrong)(op, cx) } else { None };
        wrong.map_or_else(|| op.vjp(cx), Ok)
    }
}

/// Every planted mistake.
pub fn mistakes() -> impl Iterator<Item = &'static Mistake> {
    [norm::MISTAKES, elementwise::MISTAKES, reduction::MISTAKES, movement::MISTAKES].into_iter().flatten()
}

/// The cotangent of the only result as an expression, and the first operand: what most rules are about.
fn one<'b>(cx: &VjpCx<'_, 'b>) -> (foldgrad::Expr<'b>, foldgrad::Expr<'b>) {
    (cx.operand(0), cx.materialised(0))
}

/// The cotangents of an op whose only operand gets `dx`.
fn only(dx: foldgrad::Expr<'_>) -> Option<Vec<Cotangent<'_>>> {
    Some(vec![Cotangent::Value(dx)])
}
