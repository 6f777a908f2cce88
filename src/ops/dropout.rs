//! Dropout: each element is zeroed with probability `rate`, the rest scaled by `1/(1 − rate)`.

use crate::ir::{DType, Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, Refusal};
use crate::op::{Attr, AttrError, Attrs, Case, Edge, InferCx, Mismatch, Nature, OpDef, Sample, Scalar, Types};
use crate::ops::RandomUniform;

/// Inverted dropout (Srivastava et al., 2014). The mask is a function of the key and of this op's own `site`, so it is
/// the same for any number of threads, and two dropouts never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dropout {
    /// The chance of an element to be zeroed, in [0, 1).
    pub rate: Scalar,
    site: u32,
}

impl<'b> Expr<'b> {
    /// Zeroes each element with probability `rate` and scales the rest by `1/(1 − rate)`. `key` is `i32[2]`: a seed
    /// and a counter that changes from step to step.
    #[track_caller]
    pub fn dropout(self, key: Expr<'b>, rate: f64) -> Expr<'b> {
        let op = Dropout { rate: Scalar(rate), site: self.builder().next_site() };
        self.builder().push(op.into(), &[self, key])
    }
}

impl OpDef for Dropout {
    const NAMES: &'static [&'static str] = &["dropout"];

    fn about(&self) -> &'static str {
        "random zeroing, with the rest scaled up"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Random
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "key"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("rate", Attr::Float(self.rate.0)), ("site", Attr::Int(self.site as usize))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Dropout, AttrError> {
        Ok(Dropout { rate: Scalar(attrs.float("rate")?), site: attrs.int("site")? as u32 })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        let key = TensorType::new(DType::I32, [2]);
        if *cx.ty(1) != key {
            return Err(Mismatch::shape(format!("key must be {key}, a seed and a counter; found {}", cx.ty(1))).help(
                "declare it with `.state(\"key\", DType::I32, [2])`, and update its second element at each step",
            ));
        }
        if !(0.0..1.0).contains(&self.rate.0) {
            return Err(Mismatch::attribute(format!("the rate is {}", self.rate.0))
                .help("the rate is the chance of an element to be zeroed, from 0 up to, not including, 1"));
        }
        Ok([cx.ty(0).clone()].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, key] = *operands else { return None };
        let draw = RandomUniform::draw(x.builder(), key, x.dtype(), x.shape(), self.site);
        let kept = draw.greater_equal(x.full_like(self.rate.0));
        Some(vec![kept.select(x * (1.0 / (1.0 - self.rate.0)), x.zeros_like())])
    }

    fn onnx(&self, _: &mut dyn Onnx, _: &[Held], _: &TensorType) -> Exported<Held> {
        Err(Refusal::training("dropout draws random numbers, and belongs to training"))
    }

    fn cases() -> Vec<Case> {
        let of = |rate: f64| {
            [&[][..], &[1], &[13], &[0, 3], &[5, 3]].map(|shape| {
                let op = Dropout { rate: Scalar(rate), site: 1 };
                Case::new(op, [Sample::any(shape), Sample::integers(&[2], 0, 100)])
            })
        };
        [0.0, 0.3].into_iter().flat_map(of).collect()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }

    fn site(&self) -> Option<u32> {
        Some(self.site)
    }
}
