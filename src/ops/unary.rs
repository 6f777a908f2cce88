//! Element-wise functions of one operand, a row each.

use super::edge::{infinite_at, undefined_at};
use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Domain, Edge, EvalCx, Function, INF, InferCx, Mismatch, NAN, Nature, NoVjp,
    OpDef, SHAPES, Sample, Types, VjpCx,
};
use crate::reference::{Array, Number};
use std::f64::consts::FRAC_2_SQRT_PI;

macro_rules! unary_ops {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal $method:ident,
        about $about:literal,
        eval $eval:ident,
        vjp |$x:ident, $y:ident, $dy:ident| $vjp:expr,
        domain $domain:expr;
    )*) => {
        /// An element-wise function of one float operand.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Unary { $($(#[doc = $doc])+ $variant),* }

        impl Unary {
            /// Every function of the family.
            pub const ALL: &'static [Unary] = &[$(Unary::$variant),*];

            /// The function of one number.
            pub fn apply<S: Number>(self, x: S) -> S {
                match self { $(Unary::$variant => x.$eval()),* }
            }

            fn cotangent<'b>(self, x: Expr<'b>, y: Expr<'b>, dy: Expr<'b>) -> Expr<'b> {
                match self { $(Unary::$variant => { let ($x, $y, $dy) = (x, y, dy); let _ = ($x, $y); $vjp }),* }
            }

            fn domain(self) -> Domain {
                match self { $(Unary::$variant => $domain),* }
            }

            fn words(self) -> (&'static str, &'static str) {
                match self { $(Unary::$variant => ($name, $about)),* }
            }
        }

        impl<'b> Expr<'b> {
            $($(#[doc = $doc])+ #[track_caller] pub fn $method(self) -> Expr<'b> { self.apply(Unary::$variant) })*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

unary_ops! {
    /// `−x`.
    Neg "neg" negated, about "−x", eval neg,
        vjp |x, y, dy| -dy, domain Domain::Range(-2.0, 2.0);
    /// `eˣ`.
    Exp "exp" exp, about "eˣ", eval exp,
        vjp |x, y, dy| dy * y, domain Domain::Range(-2.0, 2.0);
    /// `eˣ − 1`, accurate near 0.
    Expm1 "expm1" expm1, about "eˣ − 1, accurate near 0", eval expm1,
        vjp |x, y, dy| dy * x.exp(), domain Domain::Range(-2.0, 2.0);
    /// Natural logarithm. A cotangent of 0 stays 0 at `x = 0`, where the slope is infinite.
    Log "log" log, about "natural logarithm", eval log,
        vjp |x, y, dy| quotient(dy, x), domain Domain::Range(0.5, 3.0);
    /// `ln(1 + x)`, accurate near 0. A cotangent of 0 stays 0 at `x = −1`, where the slope is infinite.
    Log1p "log1p" log1p, about "ln(1 + x), accurate near 0", eval log1p,
        vjp |x, y, dy| quotient(dy, x + 1.0), domain Domain::Range(-0.5, 2.0);
    /// Square root. A cotangent of 0 stays 0 at `x = 0`, where the slope is infinite, and where there is no root.
    Sqrt "sqrt" sqrt, about "√x", eval sqrt,
        vjp |x, y, dy| {
            let outside = y.not_equal(y);
            undefined_at(outside, quotient(dy * 0.5, outside.select(y.full_like(1.0), y)))
        }, domain Domain::Range(0.5, 3.0);
    /// `1/√x`. A cotangent of 0 stays 0 at `x = 0`, where the slope is infinite, and where there is no root.
    Rsqrt "rsqrt" rsqrt, about "1/√x", eval rsqrt,
        vjp |x, y, dy| {
            let (outside, pole, one) = (y.not_equal(y), x.equal(0.0), y.full_like(1.0));
            let finite = outside.select(one, pole.select(one, y));
            undefined_at(outside, infinite_at(pole, dy * -0.5 * finite * finite * finite))
        }, domain Domain::Range(0.5, 3.0);
    /// Hyperbolic tangent.
    Tanh "tanh" tanh, about "hyperbolic tangent", eval tanh,
        vjp |x, y, dy| dy * (1.0 - y * y), domain Domain::Range(-2.0, 2.0);
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid "sigmoid" sigmoid, about "1/(1 + e⁻ˣ)", eval sigmoid,
        vjp |x, y, dy| dy * y * (1.0 - y), domain Domain::Range(-3.0, 3.0);
    /// The error function.
    Erf "erf" erf, about "2/√π ∫₀ˣ e^(−t²) dt", eval erf,
        vjp |x, y, dy| dy * FRAC_2_SQRT_PI * (-(x * x)).exp(), domain Domain::Range(-2.0, 2.0);
    /// Sine, radians.
    Sin "sin" sin, about "sine", eval sin,
        vjp |x, y, dy| dy * x.cos(), domain Domain::Range(-3.0, 3.0);
    /// Cosine, radians.
    Cos "cos" cos, about "cosine", eval cos,
        vjp |x, y, dy| -(dy * x.sin()), domain Domain::Range(-3.0, 3.0);
    /// `|x|`; its derivative at 0 is taken as 0.
    Abs "abs" abs, about "|x|", eval abs,
        vjp |x, y, dy| dy * x.sign(), domain Domain::AwayFromZero(0.1, 2.0);
    /// −1, 0 or 1; its derivative is taken as 0 everywhere.
    Sign "sign" sign, about "−1, 0 or 1", eval sign,
        vjp |x, y, dy| dy.zeros_like(), domain Domain::AwayFromZero(0.1, 2.0);
    /// `max(x, 0)`; its derivative at 0 is taken as 0. It is read off the result, so that nothing keeps `x`.
    Relu "relu" relu, about "max(x, 0)", eval relu,
        vjp |x, y, dy| y.greater(y.zeros_like()).select(dy, dy.zeros_like()), domain Domain::AwayFromZero(0.1, 2.0);
}

/// `dy / d`, where 0 over 0 is 0.
fn quotient<'b>(dy: Expr<'b>, d: Expr<'b>) -> Expr<'b> {
    let pole = d.equal(0.0);
    infinite_at(pole, dy / pole.select(d.full_like(1.0), d))
}

impl OpDef for Unary {
    const NAMES: &'static [&'static str] = NAMES;

    fn name(&self) -> &'static str {
        self.words().0
    }

    fn about(&self) -> &'static str {
        self.words().1
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(Some(Function::Unary(*self)))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn from_attrs(name: &str, _: &mut Attrs) -> Result<Unary, AttrError> {
        let known = Unary::ALL.iter().copied().find(|op| op.words().0 == name);
        known.ok_or(AttrError { name: name.to_owned(), expected: "an element-wise function" })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        Ok([cx.float(0)?.clone()].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![Array::Real(cx.operand(0).real().map(|x| self.apply(x)))])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        if *self == Unary::Sign {
            return Ok(vec![Cotangent::Zero]);
        }
        Ok(vec![cx.cotangent(0).map(|dy| self.cotangent(cx.operand(0), cx.result(0), dy))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        let op = match self {
            Unary::Neg => "Neg",
            Unary::Exp => "Exp",
            Unary::Log => "Log",
            Unary::Sqrt => "Sqrt",
            Unary::Tanh => "Tanh",
            Unary::Sigmoid => "Sigmoid",
            Unary::Erf => "Erf",
            Unary::Sin => "Sin",
            Unary::Cos => "Cos",
            Unary::Abs => "Abs",
            Unary::Sign => "Sign",
            Unary::Relu => "Relu",
            Unary::Expm1 => return Ok(Held::elementwise(expm1(e, x), &[x], x.dtype)),
            Unary::Log1p => return Ok(Held::elementwise(log1p(e, x), &[x], x.dtype)),
            Unary::Rsqrt => {
                let root = e.map("Sqrt", &[x], x.dtype);
                return Ok(e.map("Reciprocal", &[&root], x.dtype));
            }
        };
        Ok(e.map(op, &[x], x.dtype))
    }

    fn cases() -> Vec<Case> {
        let of = |&op: &Unary| SHAPES.iter().map(move |shape| Case::new(op, [Sample::float(shape, op.domain())]));
        Unary::ALL.iter().flat_map(of).collect()
    }

    fn edges() -> Vec<Edge> {
        const ENDS: &[&[f64]] = &[&[-INF, 0.0, INF, NAN]];
        let log = Edge::of("log", |x| x[0].log());
        let log1p = Edge::of("log1p", |x| x[0].log1p());
        let sqrt = Edge::of("sqrt", |x| x[0].sqrt());
        let rsqrt = Edge::of("rsqrt", |x| x[0].rsqrt());
        vec![
            Edge::of("exp", |x| x[0].exp()).row(ENDS, &[0.0, 1.0, INF, NAN], &[&[0.0, 1.0, INF, NAN]]),
            Edge::of("expm1", |x| x[0].expm1()).row(ENDS, &[-1.0, 0.0, INF, NAN], &[&[0.0, 1.0, INF, NAN]]),
            log.row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, -INF, INF, NAN], &[&[-1.0, INF, 0.0, NAN]]),
            log.row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, -INF, INF, NAN], &[&[0.0, 0.0, 0.0, NAN]])
                .seeded(0.0)
                .elsewhere("NaN at 0", "NaN at 0"),
            log1p.row(&[&[-2.0, -1.0, INF, NAN]], &[NAN, -INF, INF, NAN], &[&[-1.0, INF, 0.0, NAN]]),
            log1p
                .row(&[&[-2.0, -1.0, INF, NAN]], &[NAN, -INF, INF, NAN], &[&[0.0, 0.0, 0.0, NAN]])
                .seeded(0.0)
                .elsewhere("NaN at −1", "NaN at −1"),
            sqrt.row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, 0.0, INF, NAN], &[&[NAN, INF, 0.0, NAN]]),
            sqrt.row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, 0.0, INF, NAN], &[&[0.0, 0.0, 0.0, 0.0]])
                .seeded(0.0)
                .elsewhere("NaN but at ∞", "NaN but at ∞"),
            rsqrt.row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, INF, 0.0, NAN], &[&[NAN, -INF, 0.0, NAN]]),
            rsqrt
                .row(&[&[-1.0, 0.0, INF, NAN]], &[NAN, INF, 0.0, NAN], &[&[0.0, 0.0, 0.0, 0.0]])
                .seeded(0.0)
                .elsewhere("NaN but at ∞", "NaN but at ∞"),
            Edge::of("tanh", |x| x[0].tanh()).row(&[&[-INF, INF, NAN]], &[-1.0, 1.0, NAN], &[&[0.0, 0.0, NAN]]),
            Edge::of("sigmoid", |x| x[0].sigmoid()).row(&[&[-INF, INF, NAN]], &[0.0, 1.0, NAN], &[&[0.0, 0.0, NAN]]),
            Edge::of("erf", |x| x[0].erf()).row(&[&[-INF, INF, NAN]], &[-1.0, 1.0, NAN], &[&[0.0, 0.0, NAN]]),
            Edge::of("sin", |x| x[0].sin()).row(&[&[-INF, INF, NAN]], &[NAN, NAN, NAN], &[&[NAN, NAN, NAN]]),
            Edge::of("cos", |x| x[0].cos()).row(&[&[-INF, INF, NAN]], &[NAN, NAN, NAN], &[&[NAN, NAN, NAN]]),
            Edge::of("abs", |x| x[0].abs())
                .row(ENDS, &[INF, 0.0, INF, NAN], &[&[-1.0, 0.0, 1.0, NAN]])
                .elsewhere("1 at 0, −1 over NaN", "0 at 0"),
            Edge::of("sign", |x| x[0].sign()).row(ENDS, &[-1.0, 0.0, 1.0, NAN], &[&[0.0, 0.0, 0.0, 0.0]]),
            Edge::of("relu", |x| x[0].relu())
                .row(ENDS, &[0.0, 0.0, INF, NAN], &[&[0.0, 0.0, 1.0, 0.0]])
                .elsewhere("same", "1 over NaN"),
        ]
    }
}

/// In ONNX, `eˣ − 1 = tanh(x/2)·(eˣ + 1)`, which keeps its digits near 0 and its limits at ±∞.
fn expm1(e: &mut dyn Onnx, x: &Held) -> String {
    let (half, one) = (e.scalar(x.dtype, 0.5), e.scalar(x.dtype, 1.0));
    let halved = e.node("Mul", &[&x.name, &half], &[]);
    let tanh = e.node("Tanh", &[&halved], &[]);
    let exp = e.node("Exp", &[&x.name], &[]);
    let sum = e.node("Add", &[&exp, &one], &[]);
    e.node("Mul", &[&tanh, &sum], &[])
}

/// In ONNX, `ln(1 + x) = ln u·(x/(u − 1))` for the rounded `u = 1 + x`: the second factor takes back what the rounding
/// did. It is left out where nothing was rounded, which ±∞ counts as, and the whole is `x` where `u` is 1.
fn log1p(e: &mut dyn Onnx, x: &Held) -> String {
    let (zero, one) = (e.scalar(x.dtype, 0.0), e.scalar(x.dtype, 1.0));
    let u = e.node("Add", &[&x.name, &one], &[]);
    let log = e.node("Log", &[&u], &[]);
    let added = e.node("Sub", &[&u, &one], &[]);
    let ratio = e.node("Div", &[&x.name, &added], &[]);
    let corrected = e.node("Mul", &[&log, &ratio], &[]);
    let exact = e.node("Equal", &[&added, &x.name], &[]);
    let either = e.node("Where", &[&exact, &log, &corrected], &[]);
    let tiny = e.node("Equal", &[&added, &zero], &[]);
    e.node("Where", &[&tiny, &x.name, &either], &[])
}
