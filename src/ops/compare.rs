//! Element-wise comparisons; the result is a mask.

use super::cast::cast;
use crate::ir::{DType, Expr, TensorType, ToExpr};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Edge, EvalCx, Function, INF, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef,
    SHAPES, Sample, Types, VjpCx,
};
use crate::reference::{Array, Number};

/// A comparison of two operands of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    /// Every comparison.
    pub const ALL: &'static [Compare] = &[
        Compare::Equal,
        Compare::NotEqual,
        Compare::Less,
        Compare::LessEqual,
        Compare::Greater,
        Compare::GreaterEqual,
    ];

    /// The comparison of two numbers.
    pub fn apply<S: Number>(self, a: S, b: S) -> bool {
        match self {
            Compare::Equal => a.equal(b),
            Compare::NotEqual => !a.equal(b),
            Compare::Less => a.less(b),
            Compare::LessEqual => a.less(b) || a.equal(b),
            Compare::Greater => b.less(a),
            Compare::GreaterEqual => b.less(a) || a.equal(b),
        }
    }

    /// The comparison of two integers (masks count as 0 and 1).
    pub fn apply_int(self, a: i32, b: i32) -> bool {
        match self {
            Compare::Equal => a == b,
            Compare::NotEqual => a != b,
            Compare::Less => a < b,
            Compare::LessEqual => a <= b,
            Compare::Greater => a > b,
            Compare::GreaterEqual => a >= b,
        }
    }
}

macro_rules! comparisons {
    ($($method:ident $variant:ident $symbol:literal),*) => {
        impl<'b> Expr<'b> {$(
            #[doc = concat!("The mask of `self ", $symbol, " other`. Shapes broadcast.")]
            #[track_caller]
            pub fn $method(self, other: impl ToExpr<'b>) -> Expr<'b> {
                self.apply_broadcast(Compare::$variant, other.to_expr(self))
            }
        )*}
    };
}
comparisons!(
    equal Equal "=", not_equal NotEqual "≠", less Less "<",
    less_equal LessEqual "≤", greater Greater ">", greater_equal GreaterEqual "≥"
);

impl OpDef for Compare {
    const NAMES: &'static [&'static str] = &["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"];

    fn name(&self) -> &'static str {
        Self::NAMES[*self as usize]
    }

    fn about(&self) -> &'static str {
        ["a = b", "a ≠ b", "a < b", "a ≤ b", "a > b", "a ≥ b"][*self as usize]
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(Some(Function::Compare(*self)))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["a", "b"]
    }

    fn from_attrs(name: &str, _: &mut Attrs) -> Result<Compare, AttrError> {
        let known = Compare::ALL.iter().copied().find(|op| op.name() == name);
        known.ok_or(AttrError { name: name.to_owned(), expected: "a comparison" })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.same_dtype(0, 1)?;
        cx.same_shape(0, 1)?;
        Ok([cx.ty(0).with_dtype(DType::Bool)].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![Array::Bool(match (cx.operand(0), cx.operand(1)) {
            (Array::Int(a), Array::Int(b)) => a.zip(b, |a, b| self.apply_int(a, b)),
            (Array::Bool(a), Array::Bool(b)) => a.zip(b, |a, b| self.apply_int(i32::from(a), i32::from(b))),
            (a, b) => a.real().zip(b.real(), |a, b| self.apply(a, b)),
        })])
    }

    // A mask carries no cotangent; what it selects does.
    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(vec![Cotangent::Zero; 2])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [a, b] = exactly(operands);
        let op = match self {
            Compare::Equal => "Equal",
            Compare::NotEqual => {
                let equal = e.map("Equal", &[a, b], DType::Bool);
                return Ok(e.map("Not", &[&equal], DType::Bool));
            }
            Compare::Less => "Less",
            Compare::LessEqual => "LessOrEqual",
            Compare::Greater => "Greater",
            Compare::GreaterEqual => "GreaterOrEqual",
        };
        if a.dtype == DType::Bool && *self != Compare::Equal {
            // ONNX orders numbers only.
            let (a, b) = (cast(e, a, DType::I32), cast(e, b, DType::I32));
            return Ok(e.map(op, &[&a, &b], DType::Bool));
        }
        Ok(e.map(op, &[a, b], DType::Bool))
    }

    fn cases() -> Vec<Case> {
        let of = |&op: &Compare| {
            let floats = SHAPES.iter().map(move |shape| Case::new(op, [Sample::any(shape), Sample::any(shape)]));
            let integers = Case::new(op, [Sample::integers(&[9], -2, 3), Sample::integers(&[9], -2, 3)]);
            let masks = Case::new(op, [Sample::mask(&[5]), Sample::mask(&[5])]);
            floats.chain([integers, masks])
        };
        Compare::ALL.iter().flat_map(of).collect()
    }

    fn edges() -> Vec<Edge> {
        const AT: &[&[f64]] = &[&[1.0, 0.0, INF, NAN, NAN], &[1.0, -0.0, INF, 1.0, NAN]];
        vec![
            Edge::of("equal", |x| x[0].equal(x[1])).row(AT, &[1.0, 1.0, 1.0, 0.0, 0.0], &[]),
            Edge::of("not_equal", |x| x[0].not_equal(x[1])).row(AT, &[0.0, 0.0, 0.0, 1.0, 1.0], &[]),
            Edge::of("less", |x| x[0].less(x[1])).row(AT, &[0.0; 5], &[]),
            Edge::of("less_equal", |x| x[0].less_equal(x[1])).row(AT, &[1.0, 1.0, 1.0, 0.0, 0.0], &[]),
            Edge::of("greater", |x| x[0].greater(x[1])).row(AT, &[0.0; 5], &[]),
            Edge::of("greater_equal", |x| x[0].greater_equal(x[1])).row(AT, &[1.0, 1.0, 1.0, 0.0, 0.0], &[]),
        ]
    }
}
