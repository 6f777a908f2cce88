//! Element-wise functions of two operands of one type, a row each.

use super::edge::{infinite_at, zero_or_nan};
use crate::ir::{DType, Expr, TensorType, ToExpr};
use crate::op::onnx::{Exported, Held, Onnx, Refusal, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Domain, Edge, EvalCx, Function, INF, InferCx, Mismatch, NAN, Nature, NoVjp,
    OpDef, SHAPES, Sample, Types, VjpCx,
};
use crate::reference::{Array, Number};
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, SQRT_2};

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

            /// The function of two integers. Arithmetic wraps (`i32::MIN / −1` is `i32::MIN`), division rounds towards
            /// zero, and division by zero gives 0; a negative power is a division, so it is 0 unless the base is ±1.
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

/// The share of `dy` that goes to the side that was chosen; a tie is split evenly. Where `y` is NaN nothing was chosen,
/// and both sides get NaN.
fn chosen<'b>(won: Expr<'b>, tied: Expr<'b>, y: Expr<'b>, dy: Expr<'b>) -> Expr<'b> {
    won.select(dy, tied.select(dy * 0.5, zero_or_nan(y)))
}

const MIN: f64 = i32::MIN as f64;
const MAX: f64 = i32::MAX as f64;
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
    Div "div" over, about "a / b", real div, int |a, b| if b == 0 { 0 } else { a.wrapping_div(b) },
        vjp |a, b, y, dy| (dy / b, -(dy * y / b)), domains (ANY, POLE);
    /// The larger of `a` and `b`; NaN if either is NaN. A tie splits the gradient evenly;
    /// over a NaN both gradients are NaN.
    Max "max" max, about "the larger of a and b", real max, int i32::max,
        vjp |a, b, y, dy| (chosen(a.greater(b), a.equal(b), y, dy), chosen(b.greater(a), a.equal(b), y, dy)),
        domains (Domain::Range(-2.0, 0.0), Domain::Range(0.1, 2.0));
    /// The smaller of `a` and `b`; NaN if either is NaN. A tie splits the gradient evenly;
    /// over a NaN both gradients are NaN.
    Min "min" min, about "the smaller of a and b", real min, int i32::min,
        vjp |a, b, y, dy| (chosen(a.less(b), a.equal(b), y, dy), chosen(b.less(a), a.equal(b), y, dy)),
        domains (Domain::Range(-2.0, 0.0), Domain::Range(0.1, 2.0));
    /// `a` to the power `b`. Where `a ≤ 0`, the exponent's gradient, which does not exist there, is taken as 0.
    Pow "pow" pow, about "a to the power b", real pow, int power,
        vjp |a, b, y, dy| (base_cotangent(a, b, dy), exponent_cotangent(a, y, dy)),
        domains (Domain::Range(0.5, 2.0), ANY);
}

/// `aᵇ` in integers: what the exact power is, rounded towards zero; it wraps.
fn power(a: i32, b: i32) -> i32 {
    match (a, u32::try_from(b)) {
        (_, Ok(b)) => a.wrapping_pow(b),
        (1, _) => 1,
        (-1, _) => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        _ => 0,
    }
}

/// `dy·b·aᵇ⁻¹`.
fn base_cotangent<'b>(a: Expr<'b>, b: Expr<'b>, dy: Expr<'b>) -> Expr<'b> {
    let zero = b.zeros_like();
    let at_zero = a.equal(zero);
    // 0⁰⁻¹ is infinite, but a⁰ has slope 0: where both are zero, the exponent stays 0.
    let exponent = b.equal(zero).select(at_zero.select(zero, b - 1.0), b - 1.0);
    let power = a.pow(exponent);
    // At a pole the power is infinite: its sign takes its place, so that a cotangent of 0 stays 0.
    let pole = at_zero.select(exponent.less(zero), at_zero);
    infinite_at(pole, dy * b * pole.select(power.sign(), power))
}

/// `dy·aᵇ·ln a`. Where `a ≤ 0` the power is no function of a real exponent, and its gradient is taken as 0 where there is a
/// power: it may be infinite there, and has no logarithm, so both are replaced.
fn exponent_cotangent<'b>(a: Expr<'b>, y: Expr<'b>, dy: Expr<'b>) -> Expr<'b> {
    let outside = a.less_equal(a.zeros_like());
    let log = outside.select(a.full_like(1.0), a).log();
    dy * outside.select(zero_or_nan(y), y) * log
}

impl OpDef for Binary {
    const NAMES: &'static [&'static str] = NAMES;

    fn name(&self) -> &'static str {
        self.words().0
    }

    fn about(&self) -> &'static str {
        self.words().1
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(Some(Function::Binary(*self)))
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
        Ok([cx.ty(0).clone()].into())
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

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [a, b] = exactly(operands);
        let integers = a.dtype == DType::I32;
        let op = match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div if integers => return Ok(Held::elementwise(divide_integers(e, a, b), &[a, b], a.dtype)),
            Binary::Div => "Div",
            Binary::Max => "Max",
            Binary::Min => "Min",
            Binary::Pow if integers => {
                return Err(Refusal {
                    why: "runtimes compute powers of integers in floating point".to_owned(),
                    help: "multiply instead, or `.cast(DType::F32)` before the power",
                });
            }
            Binary::Pow => "Pow",
        };
        Ok(e.map(op, &[a, b], a.dtype))
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

    fn edges() -> Vec<Edge> {
        let div = Edge::of("div", |x| x[0] / x[1]);
        let mut edges = vec![
            Edge::of("add", |x| x[0] + x[1]).integers().row(&[&[MAX, MIN], &[1.0, -1.0]], &[MIN, MAX], &[]),
            Edge::of("sub", |x| x[0] - x[1]).integers().row(&[&[MIN, 0.0], &[1.0, MIN]], &[MAX, MIN], &[]),
            Edge::of("mul", |x| x[0] * x[1]).integers().row(&[&[MIN, 65536.0], &[-1.0, 65536.0]], &[MIN, 0.0], &[]),
            div.row(
                &[&[1.0, 0.0, -1.0, 1.0, INF, NAN], &[0.0, 0.0, 0.0, INF, INF, 1.0]],
                &[INF, NAN, -INF, 0.0, NAN, NAN],
                &[&[INF, INF, INF, 0.0, 0.0, 1.0], &[-INF, NAN, INF, 0.0, NAN, NAN]],
            ),
            div.row(&[&[1.0, 0.0], &[0.0, 0.0]], &[INF, NAN], &[&[NAN, NAN], &[NAN, NAN]]).seeded(0.0),
            Edge::of("div", |x| x[0] / x[1])
                .integers()
                .row(&[&[MIN, 7.0, -7.0, 7.0, 0.0], &[-1.0, -2.0, 2.0, 0.0, 0.0]], &[MIN, -3.0, -3.0, 0.0, 0.0], &[])
                .elsewhere("−1 over 0", "an error over 0"),
            Edge::of("max", |x| x[0].max(x[1]))
                .row(
                    &[&[1.0, 1.0, 2.0, INF, NAN, 1.0, NAN], &[2.0, 1.0, 1.0, INF, 1.0, NAN, NAN]],
                    &[2.0, 1.0, 2.0, INF, NAN, NAN, NAN],
                    &[&[0.0, 0.5, 1.0, 0.5, NAN, NAN, NAN], &[1.0, 0.5, 0.0, 0.5, NAN, NAN, NAN]],
                )
                .elsewhere("0 over NaN", "1 and 1 over NaN"),
            Edge::of("min", |x| x[0].min(x[1]))
                .row(
                    &[&[1.0, 1.0, 2.0, INF, NAN, 1.0, NAN], &[2.0, 1.0, 1.0, INF, 1.0, NAN, NAN]],
                    &[1.0, 1.0, 1.0, INF, NAN, NAN, NAN],
                    &[&[1.0, 0.5, 0.0, 0.5, NAN, NAN, NAN], &[0.0, 0.5, 1.0, 0.5, NAN, NAN, NAN]],
                )
                .elsewhere("0 over NaN", "1 and 1 over NaN"),
        ];
        edges.extend(powers());
        edges
    }
}

/// A power of each kind of base, by each kind of exponent.
fn powers() -> Vec<Edge> {
    const EXPONENTS: &[f64] = &[-INF, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, INF, NAN];
    let pow = Edge::of("pow", |x| x[0].pow(x[1]));
    vec![
        pow.row(
            &[&[-INF; 11], EXPONENTS],
            &[0.0, 0.0, 0.0, 0.0, 1.0, INF, -INF, INF, -INF, INF, NAN],
            &[
                &[NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, -INF, INF, INF, NAN],
                &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN],
            ],
        )
        .elsewhere("exponent NaN", "exponent NaN"),
        pow.row(
            &[&[-2.0; 11], EXPONENTS],
            &[0.0, 0.25, -0.5, NAN, 1.0, NAN, -2.0, 4.0, -8.0, INF, NAN],
            &[
                &[NAN, 0.25, -0.25, NAN, 0.0, NAN, 1.0, -4.0, 12.0, INF, NAN],
                &[0.0, 0.0, 0.0, NAN, 0.0, NAN, 0.0, 0.0, 0.0, 0.0, NAN],
            ],
        )
        .elsewhere("exponent NaN", "exponent NaN"),
        pow.row(
            &[&[-1.0; 11], EXPONENTS],
            &[1.0, 1.0, -1.0, NAN, 1.0, NAN, -1.0, 1.0, -1.0, 1.0, NAN],
            &[
                &[-INF, 2.0, -1.0, NAN, 0.0, NAN, 1.0, -2.0, 3.0, INF, NAN],
                &[0.0, 0.0, 0.0, NAN, 0.0, NAN, 0.0, 0.0, 0.0, 0.0, NAN],
            ],
        )
        .elsewhere("exponent NaN", "exponent NaN"),
        pow.row(
            &[&[-0.0; 11], EXPONENTS],
            &[INF, INF, -INF, INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN],
            &[
                &[-INF, INF, -INF, -INF, 0.0, INF, 1.0, 0.0, 0.0, NAN, NAN],
                &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN],
            ],
        )
        .elsewhere("base NaN at 0⁰; exponent NaN below 0", "exponent −∞ or NaN below 0"),
        pow.row(
            &[&[0.0; 11], EXPONENTS],
            &[INF, INF, INF, INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN],
            &[
                &[-INF, -INF, -INF, -INF, 0.0, INF, 1.0, 0.0, 0.0, NAN, NAN],
                &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NAN],
            ],
        )
        .elsewhere("base NaN at 0⁰; exponent NaN below 0", "exponent −∞ or NaN below 0"),
        pow.row(&[&[1.0; 11], EXPONENTS], &[1.0; 11], &[EXPONENTS, &[0.0; 11]]),
        pow.row(
            &[&[2.0; 11], EXPONENTS],
            &[0.0, 0.25, 0.5, FRAC_1_SQRT_2, 1.0, SQRT_2, 2.0, 4.0, 8.0, INF, NAN],
            &[
                &[NAN, -0.25, -0.25, -0.25 * FRAC_1_SQRT_2, 0.0, 0.5 * FRAC_1_SQRT_2, 1.0, 4.0, 12.0, INF, NAN],
                &[
                    0.0,
                    0.25 * LN_2,
                    0.5 * LN_2,
                    FRAC_1_SQRT_2 * LN_2,
                    LN_2,
                    SQRT_2 * LN_2,
                    2.0 * LN_2,
                    4.0 * LN_2,
                    8.0 * LN_2,
                    INF,
                    NAN,
                ],
            ],
        ),
        pow.row(
            &[&[INF; 11], EXPONENTS],
            &[0.0, 0.0, 0.0, 0.0, 1.0, INF, INF, INF, INF, INF, NAN],
            &[
                &[NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, INF, INF, INF, NAN],
                &[NAN, NAN, NAN, NAN, INF, INF, INF, INF, INF, INF, NAN],
            ],
        ),
        pow.row(
            &[&[NAN; 11], EXPONENTS],
            &[NAN, NAN, NAN, NAN, 1.0, NAN, NAN, NAN, NAN, NAN, NAN],
            &[&[NAN, NAN, NAN, NAN, NAN, NAN, 1.0, NAN, NAN, NAN, NAN], &[NAN; 11]],
        )
        .elsewhere("same", "base 0 at exponent 0"),
        pow.row(
            &[&[0.0, 0.0, 0.0, 0.25], &[-1.0, 0.5, 0.0, 0.5]],
            &[INF, 0.0, 1.0, 0.5],
            &[&[0.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 0.0]],
        )
        .seeded(0.0)
        .elsewhere("NaN at a pole", "NaN at a pole"),
        Edge::of("pow", |x| x[0].pow(x[1]))
            .integers()
            .row(
                &[
                    &[3.0, -2.0, 0.0, 0.0, 2.0, 1.0, -1.0, -1.0, 0.0],
                    &[40.0, 31.0, 0.0, 5.0, -1.0, -3.0, -3.0, -2.0, -1.0],
                ],
                &[689956897.0, MIN, 1.0, 0.0, 0.0, 1.0, -1.0, 1.0, 0.0],
                &[],
            )
            .elsewhere("no rule below 0", "same"),
    ]
}

/// In ONNX. Integer division is 0 by zero, and wraps where it overflows, as a division by 1 does; in runtimes either
/// would end the process.
fn divide_integers(e: &mut dyn Onnx, a: &Held, b: &Held) -> String {
    let [zero, one, minus_one, least] = [0.0, 1.0, -1.0, f64::from(i32::MIN)].map(|value| e.scalar(DType::I32, value));
    let by_zero = e.node("Equal", &[&b.name, &zero], &[]);
    let of_least = e.node("Equal", &[&a.name, &least], &[]);
    let by_minus_one = e.node("Equal", &[&b.name, &minus_one], &[]);
    let overflows = e.node("And", &[&of_least, &by_minus_one], &[]);
    let traps = e.node("Or", &[&by_zero, &overflows], &[]);
    let divisor = e.node("Where", &[&traps, &one, &b.name], &[]);
    let quotient = e.node("Div", &[&a.name, &divisor], &[]);
    e.node("Where", &[&by_zero, &zero, &quotient], &[])
}
