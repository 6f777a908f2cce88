//! Batch norm with given statistics: `y = γ·(x − μ)/√(σ² + ε) + β`, per channel of `axis`.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx};
use crate::op::{
    Attr, AttrError, Attrs, Case, Domain, Edge, INF, InferCx, Mismatch, NAN, Nature, OpDef, Sample, Scalar, Types,
};

/// The affine map that batch norm is once its statistics are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormInfer {
    /// The channel axis.
    pub axis: usize,
    /// ε, added to the variance.
    pub eps: Scalar,
}

impl<'b> Expr<'b> {
    /// Batch norm with given `mean` and `var`, vectors with an entry for each channel of `axis`.
    #[track_caller]
    pub fn batch_norm_infer(self, [gamma, beta, mean, var]: [Expr<'b>; 4], axis: usize, eps: f64) -> Expr<'b> {
        let op = BatchNormInfer { axis, eps: Scalar(eps) };
        self.builder().push(op.into(), &[self, gamma, beta, mean, var])
    }
}

impl OpDef for BatchNormInfer {
    const NAMES: &'static [&'static str] = &["batch_norm_infer"];

    fn about(&self) -> &'static str {
        "batch norm with given statistics"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 2 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "gamma", "beta", "mean", "var"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis)), ("eps", Attr::Float(self.eps.0))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<BatchNormInfer, AttrError> {
        Ok(BatchNormInfer { axis: attrs.int("axis")?, eps: Scalar(attrs.float("eps")?) })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.float(0)?;
        let channels = cx.axis(0, self.axis)?;
        cx.epsilon(self.eps.0)?;
        for vector in 1..5 {
            cx.vector_of(vector, channels, x.dtype, "channel")?;
        }
        Ok([x.clone()].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, gamma, beta, mean, var] = *operands else { return None };
        let along = |vector: Expr<'b>| vector.along(self.axis, x);
        let scale = (var + self.eps.0).rsqrt() * gamma;
        Some(vec![(x - along(mean)) * along(scale) + along(beta)])
    }

    /// ONNX's own op, whose channels are axis 1.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        if self.axis != 1 || !Attribute::holds(ty.dtype) {
            return e.expand(&|operands| self.expand(operands), operands);
        }
        let inputs: Vec<String> = operands.iter().map(|operand| e.whole(operand)).collect::<Exported<_>>()?;
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(Held::of(e.node("BatchNormalization", &inputs, &[("epsilon", Attribute::Float(self.eps.0 as f32))]), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis: usize| {
            let channels = [shape[axis]];
            let vector = || Sample::any(&channels);
            let var = Sample::float(&channels, Domain::Range(0.2, 2.0));
            let op = BatchNormInfer { axis, eps: Scalar(1e-3) };
            Case::new(op, [Sample::any(shape), vector(), vector(), vector(), var])
        };
        vec![case(&[7, 3], 1), case(&[2, 3], 0), case(&[2, 3, 5], 1), case(&[1, 1], 1), case(&[0, 3], 1)]
    }

    fn edges() -> Vec<Edge> {
        vec![
            Edge::of("batch_norm_infer", |x| {
                let (one, zero) = (x[1].full_like(1.0), x[1].zeros_like());
                x[0].reshape([1.into(), x[0].shape()[0]]).batch_norm_infer([one, zero, x[1], x[2]], 1, 0.0)
            })
            .how("ε = 0")
            .row(&[&[1.0, 2.0], &[2.0, 2.0], &[0.0, 0.0]], &[-INF, NAN], &[&[INF, INF], &[-INF, -INF], &[INF, 0.0]])
            .elsewhere("σ² NaN where x = μ", "—"),
        ]
    }
}
