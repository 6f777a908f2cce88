//! The batch-statistics backward of training batch norm in closed form. With `r = 1/√(v + ε)`, `x̂ = (x − m)·r`:
//!
//! ```text
//! dβ = Σ dy      dγ = Σ dy·x̂
//! dx = γ·r·(dy − dβ/N − x̂·dγ/N) + dm/N + 2·dv·(x − m)/N
//! ```

use super::batch_norm_train::batch_axes;
use crate::ir::{DType, Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, Refusal};
use crate::op::{Attr, AttrError, Attrs, Case, Domain, Edge, InferCx, Mismatch, Nature, OpDef, Sample, Scalar, Types};

/// Operands: `x`, `γ`, the batch mean and variance that the forward op gave, and the cotangents of its three results.
/// Results: `dx`, `dγ`, `dβ`.
///
/// It is the derivative of [`BatchNormTrain`](super::BatchNormTrain) wherever `mean` and `var` are the statistics of
/// `x`; law L5 compares it with the differentiated definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormGrad {
    /// The channel axis.
    pub axis: usize,
    /// ε, added to the variance.
    pub eps: Scalar,
}

impl BatchNormGrad {
    /// `v + ε`. Without ε it is 0 over a constant channel, whose slope is infinite, and a `dy` of 0 times that would be NaN:
    /// there it counts as the smallest normal number.
    fn finite<'b>(&self, spread: Expr<'b>) -> Expr<'b> {
        let (eps, least) = match spread.dtype() {
            DType::F32 => (f64::from(self.eps.0 as f32), f64::from(f32::MIN_POSITIVE)),
            _ => (self.eps.0, f64::MIN_POSITIVE),
        };
        if eps > 0.0 { spread } else { spread.equal(0.0).select(spread.full_like(least), spread) }
    }
}

impl OpDef for BatchNormGrad {
    const NAMES: &'static [&'static str] = &["batch_norm_grad"];

    fn about(&self) -> &'static str {
        "closed-form backward of batch_norm_train; dx, dgamma, dbeta"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 6 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "gamma", "mean", "var", "dy", "dmean", "dvar"]
    }

    fn results(&self) -> usize {
        3
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis)), ("eps", Attr::Float(self.eps.0))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<BatchNormGrad, AttrError> {
        Ok(BatchNormGrad { axis: attrs.int("axis")?, eps: Scalar(attrs.float("eps")?) })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.float(0)?;
        let channels = cx.axis(0, self.axis)?;
        cx.epsilon(self.eps.0)?;
        for vector in [1, 2, 3, 5, 6] {
            cx.vector_of(vector, channels, x.dtype, "channel")?;
        }
        cx.same_dtype(0, 4)?;
        cx.same_shape(0, 4)?;
        let statistic = x.with_shape([channels]);
        Ok([x.clone(), statistic.clone(), statistic].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, gamma, mean, var, dy, dmean, dvar] = *operands else { return None };
        let axes = batch_axes(x.rank(), self.axis);
        let along = |vector: Expr<'b>| vector.along(self.axis, x);
        let count = x.count(&axes);
        let centred = x - along(mean);
        let r = self.finite(var + self.eps.0).rsqrt();
        let normalised = centred * along(r);
        let dbeta = dy.sum(&axes);
        let dgamma = (dy * normalised).sum(&axes);
        let through_y = along(gamma * r) * (dy - along(dbeta / count) - normalised * along(dgamma / count));
        let through_statistics = along(dmean / count) + along(dvar * 2.0 / count) * centred;
        Some(vec![through_y + through_statistics, dgamma, dbeta])
    }

    fn onnx(&self, _: &mut dyn Onnx, _: &[Held], _: &TensorType) -> Exported<Held> {
        Err(Refusal::training("a gradient belongs to training"))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis: usize| {
            let channels = [shape[axis]];
            let vector = || Sample::any(&channels);
            Case::new(
                BatchNormGrad { axis, eps: Scalar(1e-3) },
                [
                    Sample::any(shape),
                    vector(),
                    vector(),
                    Sample::float(&channels, Domain::Range(0.5, 2.0)),
                    Sample::any(shape),
                    vector(),
                    vector(),
                ],
            )
        };
        vec![case(&[7, 3], 1), case(&[2, 3], 0), case(&[2, 3, 5], 1), case(&[1, 3], 1), case(&[5, 0], 1)]
    }

    fn edges() -> Vec<Edge> {
        let dx = Edge::of("batch_norm_grad", |x| {
            let column = |x: Expr<'_>| [x.shape()[0], 1.into()];
            let (values, dy) = (x[0].reshape(column(x[0])), x[4].reshape(column(x[4])));
            let op = BatchNormGrad { axis: 1, eps: Scalar(0.0) };
            let results = x[0].builder().push_all(op.into(), &[values, x[1], x[2], x[3], dy, x[5], x[6]]);
            results[0].reshape(x[0].shape())
        });
        const AT: &[&[f64]] = &[&[3.0; 4], &[2.0], &[3.0], &[0.0], &[1.0; 4], &[0.0], &[0.0]];
        const ZEROS: &[&[f64]] = &[&[0.0; 4], &[0.0], &[0.0], &[0.0], &[0.0; 4], &[0.0], &[0.0]];
        vec![dx.how("dx, ε = 0").row(AT, &[0.0; 4], ZEROS).seeded(0.0).elsewhere("—", "—")]
    }
}
