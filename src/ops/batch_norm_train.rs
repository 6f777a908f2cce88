//! Training batch norm (Ioffe, Szegedy 2015): per channel of `axis`, over every other axis, with `N` values a channel,
//!
//! ```text
//! m = Σx / N      v = Σ(x − m)² / N  (biased, two passes)      y = γ·(x − m)/√(v + ε) + β
//! ```

use super::BatchNormGrad;
use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, Refusal};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Domain, Edge, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Sample,
    Scalar, Types, VjpCx,
};

/// Results: `y`, the batch mean `m`, the biased batch variance `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormTrain {
    /// The channel axis.
    pub axis: usize,
    /// ε, added to the variance.
    pub eps: Scalar,
}

/// What [`Expr::batch_norm_train`] returns.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormed<'b> {
    /// The normalised, scaled and shifted value.
    pub y: Expr<'b>,
    /// The batch mean, one a channel.
    pub mean: Expr<'b>,
    /// The biased batch variance, one a channel.
    pub var: Expr<'b>,
}

impl<'b> Expr<'b> {
    /// Training batch norm over every axis but `axis`; `gamma` and `beta` are vectors with an entry for each channel.
    #[track_caller]
    pub fn batch_norm_train(self, gamma: Expr<'b>, beta: Expr<'b>, axis: usize, eps: f64) -> BatchNormed<'b> {
        let op = BatchNormTrain { axis, eps: Scalar(eps) };
        match self.builder().push_all(op.into(), &[self, gamma, beta])[..] {
            [y, mean, var] => BatchNormed { y, mean, var },
            _ => unreachable!("batch_norm_train has three results"),
        }
    }
}

/// The axes that statistics are taken over.
pub(crate) fn batch_axes(rank: usize, axis: usize) -> Vec<usize> {
    (0..rank).filter(|&other| other != axis).collect()
}

impl OpDef for BatchNormTrain {
    const NAMES: &'static [&'static str] = &["batch_norm_train"];

    fn about(&self) -> &'static str {
        "batch norm with batch statistics; y, mean, variance"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 6 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "gamma", "beta"]
    }

    fn results(&self) -> usize {
        3
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis)), ("eps", Attr::Float(self.eps.0))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<BatchNormTrain, AttrError> {
        Ok(BatchNormTrain { axis: attrs.int("axis")?, eps: Scalar(attrs.float("eps")?) })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.float(0)?;
        let channels = cx.axis(0, self.axis)?;
        cx.epsilon(self.eps.0)?;
        cx.vector_of(1, channels, x.dtype, "channel")?;
        cx.vector_of(2, channels, x.dtype, "channel")?;
        let statistic = x.with_shape([channels]);
        Ok([x.clone(), statistic.clone(), statistic].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, gamma, beta] = *operands else { return None };
        let axes = batch_axes(x.rank(), self.axis);
        let mean = x.mean(&axes);
        let centred = x - mean.along(self.axis, x);
        let var = (centred * centred).mean(&axes);
        let scale = (var + self.eps.0).rsqrt() * gamma;
        let y = centred * scale.along(self.axis, x) + beta.along(self.axis, x);
        Some(vec![y, mean, var])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        if (0..3).all(|result| matches!(cx.cotangent(result), Cotangent::Zero)) {
            return Ok(vec![Cotangent::Zero; 3]);
        }
        let (x, gamma) = (cx.operand(0), cx.operand(1));
        let op = BatchNormGrad { axis: self.axis, eps: self.eps };
        let operands =
            [x, gamma, cx.result(1), cx.result(2), cx.materialised(0), cx.materialised(1), cx.materialised(2)];
        Ok(cx.builder().push_all(op.into(), &operands).into_iter().map(Cotangent::Value).collect())
    }

    fn onnx(&self, _: &mut dyn Onnx, _: &[Held], _: &TensorType) -> Exported<Held> {
        Err(Refusal::training("batch norm over the batch's own statistics belongs to training"))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis: usize, eps: f64| {
            let channels = [shape[axis]];
            Case::new(
                BatchNormTrain { axis, eps: Scalar(eps) },
                [Sample::any(shape), Sample::float(&channels, Domain::AwayFromZero(0.5, 2.0)), Sample::any(&channels)],
            )
        };
        vec![
            case(&[2, 3], 1, 1e-1),
            case(&[7, 3], 1, 1e-3),
            case(&[3, 7], 0, 1e-3),
            case(&[13, 1], 1, 1e-5),
            case(&[2, 3, 5], 1, 1e-3),
            case(&[3, 2, 5], 2, 1e-3),
            case(&[1, 3], 1, 1e-3),
            case(&[5, 0], 1, 1e-3),
        ]
    }

    fn edges() -> Vec<Edge> {
        let batch_norm_train = Edge::of("batch_norm_train", |x| normed(x).y.reshape(x[0].shape())).how("ε = 0");
        vec![
            batch_norm_train
                .row(
                    &[&[3.0, 3.0, 3.0, 3.0], &[2.0], &[1.0]],
                    &[NAN, NAN, NAN, NAN],
                    &[&[0.0, 0.0, 0.0, 0.0], &[0.0], &[4.0]],
                )
                .elsewhere("NaN", "—"),
            batch_norm_train
                .row(
                    &[&[3.0, 3.0, 3.0, 3.0], &[2.0], &[1.0]],
                    &[NAN, NAN, NAN, NAN],
                    &[&[0.0, 0.0, 0.0, 0.0], &[0.0], &[0.0]],
                )
                .seeded(0.0)
                .elsewhere("NaN", "—"),
            Edge::of("batch_norm_train", |x| normed(x).mean)
                .how("its mean, ε = 0")
                .row(&[&[3.0, 3.0, 3.0, 3.0], &[2.0], &[1.0]], &[3.0], &[&[0.25, 0.25, 0.25, 0.25], &[0.0], &[0.0]])
                .elsewhere("same", "—"),
            Edge::of("batch_norm_train", |x| normed(x).var)
                .how("its variance, ε = 0")
                .row(&[&[3.0, 3.0, 3.0, 3.0], &[2.0], &[1.0]], &[0.0], &[&[0.0, 0.0, 0.0, 0.0], &[0.0], &[0.0]])
                .elsewhere("same", "—"),
        ]
    }
}

/// Batch norm over one channel without ε, of values, γ and β.
fn normed<'b>(x: &[Expr<'b>]) -> BatchNormed<'b> {
    x[0].reshape([x[0].shape()[0], 1.into()]).batch_norm_train(x[1], x[2], 1, 0.0)
}
