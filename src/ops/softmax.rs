//! `softmax(x)ᵢ = e^(xᵢ − max x) / Σⱼ e^(xⱼ − max x)`, and its logarithm.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, INF, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Sample, Types,
    VjpCx,
};

/// Exponentials along `axis`, scaled to sum to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// The axis that sums to 1.
    pub axis: usize,
}

/// The logarithm of [`Softmax`], accurate where a probability underflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogSoftmax {
    /// The axis whose exponentials sum to 1.
    pub axis: usize,
}

impl<'b> Expr<'b> {
    /// Exponentials along `axis`, scaled to sum to 1.
    #[track_caller]
    pub fn softmax(self, axis: usize) -> Expr<'b> {
        self.apply(Softmax { axis })
    }

    /// The logarithm of the softmax along `axis`.
    #[track_caller]
    pub fn log_softmax(self, axis: usize) -> Expr<'b> {
        self.apply(LogSoftmax { axis })
    }

    /// This value minus its largest element along `axis`, so that exponentials cannot overflow. The result does not
    /// depend on the shift, so no gradient flows through it.
    fn shifted(self, axis: usize) -> Expr<'b> {
        self - self.reduce_max(&[axis]).stop_gradient().unreduce(&[axis], self)
    }
}

/// A function of the whole axis that keeps the shape, as a node of ONNX.
fn along(e: &mut dyn Onnx, op: &str, axis: usize, operands: &[Held]) -> Exported<Held> {
    let [x] = exactly(operands);
    let input = e.whole(x)?;
    let name = e.node(op, &[&input], &[("axis", Attribute::Int(axis as i64))]);
    Ok(Held { name, held: x.shape.clone(), ..x.clone() })
}

fn cases<T: OpDef>(op: impl Fn(usize) -> T) -> Vec<Case> {
    let shapes: [(&[usize], usize); 6] =
        [(&[5], 0), (&[3, 7], 1), (&[3, 7], 0), (&[2, 3, 4], 1), (&[1, 1], 1), (&[0, 3], 1)];
    shapes.into_iter().map(|(shape, axis)| Case::new(op(axis), [Sample::any(shape)])).collect()
}

impl OpDef for Softmax {
    const NAMES: &'static [&'static str] = &["softmax"];

    fn about(&self) -> &'static str {
        "exponentials along an axis, scaled to sum to 1"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 4 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Softmax, AttrError> {
        Ok(Softmax { axis: attrs.int("axis")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.axis(0, self.axis)?;
        Ok([cx.ty(0).clone()].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x] = *operands else { return None };
        let e = x.shifted(self.axis).exp();
        Some(vec![e / e.sum(&[self.axis]).unreduce(&[self.axis], e)])
    }

    /// `dx = y⊙(dy − Σ dy⊙y)`.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let (y, axes) = (cx.result(0), [self.axis]);
        Ok(vec![cx.cotangent(0).map(|dy| y * (dy - (dy * y).sum(&axes).unreduce(&axes, y)))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        along(e, "Softmax", self.axis, operands)
    }

    fn cases() -> Vec<Case> {
        cases(|axis| Softmax { axis })
    }

    fn edges() -> Vec<Edge> {
        let softmax = Edge::of("softmax", |x| x[0].softmax(0));
        vec![
            softmax.row(&[&[0.0, -INF]], &[1.0, 0.0], &[&[0.0, 0.0]]),
            softmax.row(&[&[-INF, -INF]], &[NAN, NAN], &[&[NAN, NAN]]),
            softmax.row(&[&[0.0, INF]], &[NAN, NAN], &[&[NAN, NAN]]),
            softmax.row(&[&[0.0, NAN]], &[NAN, NAN], &[&[NAN, NAN]]),
        ]
    }
}

impl OpDef for LogSoftmax {
    const NAMES: &'static [&'static str] = &["log_softmax"];

    fn about(&self) -> &'static str {
        "logarithm of the softmax"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 4 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<LogSoftmax, AttrError> {
        Ok(LogSoftmax { axis: attrs.int("axis")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.axis(0, self.axis)?;
        Ok([cx.ty(0).clone()].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x] = *operands else { return None };
        let shifted = x.shifted(self.axis);
        Some(vec![shifted - shifted.exp().sum(&[self.axis]).log().unreduce(&[self.axis], shifted)])
    }

    /// `dx = dy − softmax(x)·Σ dy`.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let (y, axes) = (cx.result(0), [self.axis]);
        Ok(vec![cx.cotangent(0).map(|dy| dy - y.exp() * dy.sum(&axes).unreduce(&axes, y))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        along(e, "LogSoftmax", self.axis, operands)
    }

    fn cases() -> Vec<Case> {
        cases(|axis| LogSoftmax { axis })
    }

    fn edges() -> Vec<Edge> {
        let log_softmax = Edge::of("log_softmax", |x| x[0].log_softmax(0));
        vec![
            log_softmax.row(&[&[0.0, -INF]], &[0.0, -INF], &[&[-1.0, 1.0]]),
            log_softmax.row(&[&[-INF, -INF]], &[NAN, NAN], &[&[NAN, NAN]]),
            log_softmax.row(&[&[0.0, INF]], &[NAN, NAN], &[&[NAN, NAN]]),
            log_softmax.row(&[&[0.0, NAN]], &[NAN, NAN], &[&[NAN, NAN]]),
        ]
    }
}
