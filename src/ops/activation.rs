//! Activations that are compositions of smaller functions.
//!
//! Where a branch is not taken, its argument is clamped into a harmless range first: an overflow in the untaken branch
//! would otherwise become NaN in the gradient.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Domain, Edge, INF, InferCx, Mismatch, NAN, Nature, OpDef, Sample, Scalar, Types,
};
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};

/// SELU's α (Klambauer et al., "Self-normalizing neural networks", 2017).
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// SELU's scale λ.
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// Which formula of GELU is meant (Hendrycks, Gimpel, "Gaussian error linear units", 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GeluForm {
    /// `x·Φ(x)` with the error function.
    Exact,
    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    Tanh,
}

/// `x` where `x > 0`, `alpha·x` elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeakyRelu {
    /// The slope for negative `x`.
    pub alpha: Scalar,
}

/// `x` where `x > 0`, `alpha·(eˣ − 1)` elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elu {
    /// The negative of the limit towards −∞.
    pub alpha: Scalar,
}

/// `λ·x` where `x > 0`, `λ·α·(eˣ − 1)` elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selu;

/// `x·Φ(x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gelu {
    /// Which formula is meant.
    pub form: GeluForm,
}

/// `x·sigmoid(x)`, also called swish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Silu;

/// `ln(1 + eˣ)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softplus;

impl<'b> Expr<'b> {
    /// `x` where `x > 0`, `alpha·x` elsewhere.
    #[track_caller]
    pub fn leaky_relu(self, alpha: f64) -> Expr<'b> {
        self.apply(LeakyRelu { alpha: Scalar(alpha) })
    }

    /// `x` where `x > 0`, `alpha·(eˣ − 1)` elsewhere.
    #[track_caller]
    pub fn elu(self, alpha: f64) -> Expr<'b> {
        self.apply(Elu { alpha: Scalar(alpha) })
    }

    /// The self-normalising exponential linear unit.
    #[track_caller]
    pub fn selu(self) -> Expr<'b> {
        self.apply(Selu)
    }

    /// The Gaussian error linear unit, `x·Φ(x)`.
    #[track_caller]
    pub fn gelu(self, form: GeluForm) -> Expr<'b> {
        self.apply(Gelu { form })
    }

    /// `x·sigmoid(x)`, also called swish.
    #[track_caller]
    pub fn silu(self) -> Expr<'b> {
        self.apply(Silu)
    }

    /// `ln(1 + eˣ)`.
    #[track_caller]
    pub fn softplus(self) -> Expr<'b> {
        self.apply(Softplus)
    }

    fn is_positive(self) -> Expr<'b> {
        self.greater(self.zeros_like())
    }

    /// `x` where `x > 0`, `alpha·(eˣ − 1)` elsewhere, with the exponential kept from overflowing.
    fn elu_of(self, alpha: f64) -> Expr<'b> {
        let positive = self.is_positive();
        let negative_part = positive.select(self.zeros_like(), self);
        positive.select(self, negative_part.expm1() * alpha)
    }
}

/// An activation's op in ONNX, and its slope, if it has any. An activation without one is written as its definition,
/// and so is every other in a graph whose slopes ONNX does not hold.
type OwnForm = Option<(&'static str, Option<Scalar>)>;

fn sloped(e: &mut dyn Onnx, op: &str, slope: Option<Scalar>, operands: &[Held]) -> Held {
    let [x] = exactly(operands);
    let alpha = slope.map(|slope| ("alpha", Attribute::Float(slope.0 as f32)));
    Held::elementwise(e.node(op, &[&x.name], alpha.as_slice()), &[x], x.dtype)
}

/// The shared parts of a smooth or piecewise function of one float operand.
macro_rules! activation {
    ($ty:ident, $name:literal, $about:literal, |$op:ident, $x:ident| $expand:expr,
     attrs $attrs:expr, parse |$from:ident| $parse:expr, instances $instances:expr, domain $domain:expr,
     onnx $onnx:expr, edges $edges:expr) => {
        impl OpDef for $ty {
            const NAMES: &'static [&'static str] = &[$name];

            fn about(&self) -> &'static str {
                $about
            }

            fn nature(&self) -> Nature<'_> {
                Nature::Elementwise(None)
            }

            fn operand_names(&self) -> &'static [&'static str] {
                &["x"]
            }

            fn attrs(&self) -> Vec<(&'static str, Attr)> {
                let attrs: fn(&$ty) -> Vec<(&'static str, Attr)> = $attrs;
                attrs(self)
            }

            fn from_attrs(_: &str, $from: &mut Attrs) -> Result<$ty, AttrError> {
                $parse
            }

            fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
                Ok([cx.float(0)?.clone()].into())
            }

            fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
                let ($op, [$x]) = (self, operands) else { return None };
                let _ = $op;
                Some(vec![$expand])
            }

            fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
                let own: fn(&$ty) -> OwnForm = $onnx;
                match own(self).filter(|_| Attribute::holds(ty.dtype)) {
                    Some((op, slope)) => Ok(sloped(e, op, slope, operands)),
                    None => e.expand(&|operands| self.expand(operands), operands),
                }
            }

            fn cases() -> Vec<Case> {
                let shapes = [&[][..], &[1], &[13], &[0, 3], &[5, 3]];
                let of = |op: $ty| shapes.map(|shape| Case::new(op, [Sample::float(shape, $domain)]));
                $instances.into_iter().flat_map(of).collect()
            }

            fn edges() -> Vec<Edge> {
                $edges.into()
            }
        }
    };
}

const ENDS: &[&[f64]] = &[&[-INF, 0.0, INF, NAN]];
const KINKED: Domain = Domain::AwayFromZero(0.1, 2.0);
const SMOOTH: Domain = Domain::Range(-3.0, 3.0);

activation! {
    LeakyRelu, "leaky_relu", "x where x > 0, alpha·x elsewhere",
    |op, x| x.is_positive().select(*x, x * op.alpha.0),
    attrs |op| vec![("alpha", Attr::Float(op.alpha.0))],
    parse |attrs| Ok(LeakyRelu { alpha: Scalar(attrs.float("alpha")?) }),
    instances [LeakyRelu { alpha: Scalar(0.3) }], domain KINKED,
    onnx |op| Some(("LeakyRelu", Some(op.alpha))),
    edges [
        Edge::of("leaky_relu", |x| x[0].leaky_relu(0.25)).row(ENDS, &[-INF, 0.0, INF, NAN], &[&[0.25, 0.25, 1.0, 0.25]])
            .elsewhere("1 at 0", "same")
    ]
}

activation! {
    Elu, "elu", "x where x > 0, alpha·(eˣ − 1) elsewhere",
    |op, x| x.elu_of(op.alpha.0),
    attrs |op| vec![("alpha", Attr::Float(op.alpha.0))],
    parse |attrs| Ok(Elu { alpha: Scalar(attrs.float("alpha")?) }),
    instances [Elu { alpha: Scalar(0.7) }], domain KINKED,
    onnx |op| Some(("Elu", Some(op.alpha))),
    edges [
        Edge::of("elu", |x| x[0].elu(0.5)).row(ENDS, &[-0.5, 0.0, INF, NAN], &[&[0.0, 0.5, 1.0, NAN]])
            .elsewhere("same", "1 over NaN")
    ]
}

activation! {
    Selu, "selu", "λ·x where x > 0, λ·α·(eˣ − 1) elsewhere",
    |op, x| x.elu_of(SELU_ALPHA) * SELU_SCALE,
    attrs |_| Vec::new(), parse |_attrs| Ok(Selu),
    instances [Selu], domain KINKED,
    onnx |_| Some(("Selu", None)),
    edges [
        Edge::of("selu", |x| x[0].selu())
            .row(ENDS, &[-SELU_SCALE * SELU_ALPHA, 0.0, INF, NAN], &[&[0.0, SELU_SCALE * SELU_ALPHA, SELU_SCALE, NAN]])
            .elsewhere("same", "1.05 over NaN")
    ]
}

activation! {
    Gelu, "gelu", "x·Φ(x)",
    |op, x| match op.form {
        GeluForm::Exact => x * ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
        GeluForm::Tanh => {
            let inner = (x + x * x * *x * 0.044_715) * (2.0 / PI).sqrt();
            x * (inner.tanh() + 1.0) * 0.5
        }
    },
    attrs |op| vec![("form", Attr::Word(match op.form { GeluForm::Exact => "exact", GeluForm::Tanh => "tanh" }))],
    parse |attrs| Ok(Gelu { form: attrs.word("form", &[("exact", GeluForm::Exact), ("tanh", GeluForm::Tanh)])? }),
    instances [Gelu { form: GeluForm::Exact }, Gelu { form: GeluForm::Tanh }], domain SMOOTH,
    // ONNX has GELU from opset 20 on; runtimes recognise this form of it.
    onnx |_| None,
    edges [
        Edge::of("gelu", |x| x[0].gelu(GeluForm::Exact)).row(ENDS, &[NAN, 0.0, INF, NAN], &[&[NAN, 0.5, NAN, NAN]]),
        Edge::of("gelu", |x| x[0].gelu(GeluForm::Tanh)).how("by tanh")
            .row(ENDS, &[NAN, 0.0, INF, NAN], &[&[NAN, 0.5, NAN, NAN]])
    ]
}

activation! {
    Silu, "silu", "x·sigmoid(x)",
    |op, x| x * x.sigmoid(),
    attrs |_| Vec::new(), parse |_attrs| Ok(Silu),
    instances [Silu], domain SMOOTH,
    onnx |_| None,
    edges [
        Edge::of("silu", |x| x[0].silu()).row(ENDS, &[NAN, 0.0, INF, NAN], &[&[NAN, 0.5, NAN, NAN]])
    ]
}

activation! {
    Softplus, "softplus", "ln(1 + eˣ)",
    // max(x, 0) + ln(1 + e^−|x|) never overflows. Both parts follow the same branch at 0, so the sum is smooth there to
    // every order, which the slope 0 of |x| at 0 would spoil.
    |op, x| x.relu() + x.is_positive().select(-x, *x).exp().log1p(),
    attrs |_| Vec::new(), parse |_attrs| Ok(Softplus),
    instances [Softplus], domain KINKED,
    // ONNX defines `Softplus` by a formula that overflows, and some runtimes compute just that.
    onnx |_| None,
    edges [
        Edge::of("softplus", |x| x[0].softplus()).row(ENDS, &[0.0, LN_2, INF, NAN], &[&[0.0, 0.5, 1.0, NAN]])
    ]
}
