//! The arithmetic mean over axes: `Σx / N`.

use super::reduce::over;
use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{Attr, AttrError, Attrs, Case, Edge, InferCx, Mismatch, NAN, Nature, OpDef, Sample, Types};

/// The mean over `axes`, which disappear from the shape; NaN over nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mean {
    axes: Vec<usize>,
}

impl Mean {
    /// The axes that disappear, ascending.
    pub fn axes(&self) -> &[usize] {
        &self.axes
    }
}

impl<'b> Expr<'b> {
    /// The mean over `axes`, which disappear.
    #[track_caller]
    pub fn mean(self, axes: &[usize]) -> Expr<'b> {
        if axes.is_empty() {
            return self;
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.apply(Mean { axes })
    }

    /// The mean over every axis.
    #[track_caller]
    pub fn mean_all(self) -> Expr<'b> {
        self.mean(&(0..self.rank()).collect::<Vec<_>>())
    }

    /// The number of elements along `axes`, as a scalar of the same element type.
    #[track_caller]
    pub fn count(self, axes: &[usize]) -> Expr<'b> {
        let counted = self.with_axes("count", axes);
        if counted.is_poisoned() {
            return counted;
        }
        let shape = self.shape();
        self.builder().size(axes.iter().map(|&axis| shape[axis]), self.dtype())
    }
}

impl OpDef for Mean {
    const NAMES: &'static [&'static str] = &["mean"];

    fn about(&self) -> &'static str {
        "mean over axes"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Reduction { axes: &self.axes }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axes", Attr::Ints(self.axes.clone()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Mean, AttrError> {
        Ok(Mean { axes: attrs.ints("axes")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.axes(0, &self.axes)?;
        Ok([cx.ty(0).with_shape(cx.shape(0).without(&self.axes))].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x] = *operands else { return None };
        Some(vec![x.sum(&self.axes) / x.count(&self.axes)])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        over(e, "ReduceMean", &self.axes, x, ty, f64::NAN)
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axes: &[usize]| Case::new(Mean { axes: axes.to_vec() }, [Sample::any(shape)]);
        vec![
            case(&[7], &[0]),
            case(&[3, 5], &[0]),
            case(&[3, 5], &[0, 1]),
            case(&[2, 3, 5], &[0, 2]),
            case(&[1, 3], &[0]),
            case(&[0, 3], &[1]),
        ]
    }

    fn edges() -> Vec<Edge> {
        vec![Edge::of("mean", |x| x[0].mean(&[0])).row(&[&[]], &[NAN], &[&[]])]
    }
}
