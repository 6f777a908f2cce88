//! Element-wise functions of two operands of one type, a row each.

use crate::ir::{DType, Expr, ToExpr};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Domain, EvalCx, InferCx, Mismatch, NoVjp, OpDef, Rows, RowsCx, SHAPES, Sample,
    Types, VjpCx,
};
use crate::reference::{Array, Number};
use smallvec::smallvec;

macro_rules! binary_ops {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal $method:ident,
        about $about:literal,
        real $real:ident,
        int $int:expr,
        vjp |$a:ident, $b:ident, $y:ident, $dy:ident| ($da:expr, $db:expr),
        domains ($left:expr, $right:expr);
    )*) => {
        /// An element-wise function of two operands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Binary { $($(#[doc = $doc])+ $variant),* }

        impl Binary {
            /// Every function of the family.
            pub const ALL: &'static [Binary] = &[$(Binary::$variant),*];

            /// The function of two numbers.
            pub fn apply<S: Number>(self, a: S, b: S) -> S {
                match self { $(Binary::$variant => a.$real(b)),* }
            }

            /// The function of two integers; arithmetic wraps, and division by zero gives 0.
            pub fn apply_int(self, a: i32, b: i32) -> i32 {
                let f: fn(i32, i32) -> i32 = match self { $(Binary::$variant => $int),* };
                f(a, b)
            }

            fn cotangents<'b>(self, cx: &VjpCx<'_, 'b>, dy: Expr<'b>) -> Vec<Cotangent<'b>> {
                let (a, b, y) = (cx.operand(0), cx.operand(1), cx.result(0));
                match self { $(Binary::$variant => {
                    let ($a, $b, $y, $dy) = (a, b, y, dy);
                    let _ = ($a, $b, $y);
                    vec![cx.if_needed(0, || $da), cx.if_needed(1, || $db)]
                }),* }
            }

            fn domains(self) -> (Domain, Domain) {
                match self { $(Binary::$variant => ($left, $right)),* }
            }

            fn words(self) -> (&'static str, &'static str) {
                match self { $(Binary::$variant => ($name, $about)),* }
            }
        }

        impl<'b> Expr<'b> {
            $($(#[doc = $doc])+ /// Shapes broadcast.
            #[track_caller]
            pub fn $method(self, other: impl ToExpr<'b>) -> Expr<'b> {
                self.apply_broadcast(Binary::$variant, other.to_expr(self))
            })*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

/// The share of `dy` that goes to the side that was chosen; a tie is split evenly.
fn chosen<'b>(won: Expr<'b>, tied: Expr<'b>, dy: Expr<'b>) -> Expr<'b> {
    won.select(dy, tied.select(dy * 0.5, dy.zeros_like()))
}

const ANY: Domain = Domain::Range(-2.0, 2.0);
const POLE: Domain = Domain::AwayFromZero(0.5, 2.0);

binary_ops! {
    /// `a + b`.
    Add "add" plus, about "a + b", real add, int i32::wrapping_add,
        vjp |a, b, y, dy| (dy, dy), domains (ANY, ANY);
    /// `a − b`.
    Sub "sub" minus, about "a − b", real sub, int i32::wrapping_sub,
        vjp |a, b, y, dy| (dy, -dy), domains (ANY, ANY);
    /// `a · b`.
    Mul "mul" times, about "a · b", real mul, int i32::wrapping_mul,
        vjp |a, b, y, dy| (dy * b, dy * a), domains (ANY, ANY);
    /// `a / b`.
    Div "div" over, about "a / b", real div, int |a, b| a.checked_div(b).unwrap_or(0),
        vjp |a, b, y, dy| (dy / b, -(dy * y / b)), domains (ANY, POLE);
    /// The larger of `a` and `b`; NaN if either is NaN. A tie splits the gradient evenly.
    Max "max" max, about "the larger of a and b", real max, int i32::max,
        vjp |a, b, y, dy| (chosen(a.greater(b), a.equal(b), dy), chosen(b.greater(a), a.equal(b), dy)),
        domains (Domain::Range(-2.0, 0.0), Domain::Range(0.1, 2.0));
    /// The smaller of `a` and `b`; NaN if either is NaN. A tie splits the gradient evenly.
    Min "min" min, about "the smaller of a and b", real min, int i32::min,
        vjp |a, b, y, dy| (chosen(a.less(b), a.equal(b), dy), chosen(b.less(a), a.equal(b), dy)),
        domains (Domain::Range(-2.0, 0.0), Domain::Range(0.1, 2.0));
    /// `a` to the power `b`. Where `a ≤ 0`, the exponent's gradient, which does not exist there, is taken as 0.
    Pow "pow" pow, about "a to the power b", real pow, int |a, b| if b < 0 { 0 } else { a.wrapping_pow(b as u32) },
        vjp |a, b, y, dy| (
            {
                // 0⁰⁻¹ is infinite, but a⁰ has slope 0: where both are zero, the exponent stays 0.
                let zero = b.zeros_like();
                let both = a.equal(zero).select(zero, b - 1.0);
                dy * b * a.pow(b.equal(zero).select(both, b - 1.0))
            },
            {
                let positive = a.greater(a.zeros_like());
                // The logarithm is taken of a harmless 1 where it does not exist, so that no NaN can leak.
                let log = positive.select(a, a.full_like(1.0)).log();
                dy * y * log
            }
        ),
        domains (Domain::Range(0.5, 2.0), ANY);
}

impl OpDef for Binary {
    const NAMES: &'static [&'static str] = NAMES;

    fn name(&self) -> &'static str {
        self.words().0
    }

    fn about(&self) -> &'static str {
        self.words().1
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["a", "b"]
    }

    fn from_attrs(name: &str, _: &mut Attrs) -> Result<Binary, AttrError> {
        let known = Binary::ALL.iter().copied().find(|op| op.words().0 == name);
        known.ok_or(AttrError { name: name.to_owned(), expected: "an element-wise function" })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.same_dtype(0, 1)?;
        cx.same_shape(0, 1)?;
        if cx.ty(0).dtype == DType::Bool {
            return Err(Mismatch::dtype("a and b must be numbers, found bool").help("use `.cast(DType::F32)` first"));
        }
        Ok(smallvec![cx.ty(0).clone()])
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        cx.elementwise()
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![match (cx.operand(0), cx.operand(1)) {
            (Array::Int(a), Array::Int(b)) => Array::Int(a.zip(b, |a, b| self.apply_int(a, b))),
            (a, b) => Array::Real(a.real().zip(b.real(), |a, b| self.apply(a, b))),
        }])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        match cx.cotangent(0) {
            Cotangent::Zero => Ok(vec![Cotangent::Zero; 2]),
            Cotangent::Value(dy) => Ok(self.cotangents(cx, dy)),
        }
    }

    fn cases() -> Vec<Case> {
        let of = |&op: &Binary| {
            let (left, right) = op.domains();
            let floats = SHAPES
                .iter()
                .map(move |shape| Case::new(op, [Sample::float(shape, left), Sample::float(shape, right)]));
            let integers = Case::new(op, [Sample::integers(&[7], -9, 9), Sample::integers(&[7], -3, 5)]);
            // Negative bases need an integral exponent, which is not sampled: the reverse rule covers it.
            floats.chain([integers])
        };
        Binary::ALL.iter().flat_map(of).collect()
    }
}
