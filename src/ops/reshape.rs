//! The same elements in row-major order under another shape.

use crate::ir::{Dim, Expr, Shape, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, axes_of, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rearrangement,
    Rows, RowsCx, Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, each_kind};

/// Row-major reinterpretation. Symbolic dimensions must appear the same number of times on both sides, so that the
/// element counts agree for every batch size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reshape {
    shape: Shape,
}

impl<'b> Expr<'b> {
    /// The same elements, row-major, under another shape.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Expr<'b> {
        let shape = shape.into();
        if self.is_poisoned() || self.shape() == shape { self } else { self.apply(Reshape { shape }) }
    }
}

/// The product of the known dimensions and the sorted symbols.
fn measure(shape: &Shape) -> (Option<usize>, Vec<crate::ir::Symbol>) {
    let known = shape.iter().filter_map(|dim| dim.known()).try_fold(1usize, |product, size| product.checked_mul(size));
    let mut symbols: Vec<_> = shape
        .iter()
        .filter_map(|&dim| match dim {
            Dim::Symbol(symbol) => Some(symbol),
            Dim::Known(_) => None,
        })
        .collect();
    symbols.sort();
    (known, symbols)
}

impl OpDef for Reshape {
    const NAMES: &'static [&'static str] = &["reshape"];

    fn about(&self) -> &'static str {
        "the same elements, row-major, under another shape"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::View(Rearrangement::Reshape)
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("shape", Attr::Shape(self.shape.clone()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Reshape, AttrError> {
        Ok(Reshape { shape: attrs.shape("shape")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.ty(0);
        if measure(&x.shape) != measure(&self.shape) || measure(&self.shape).0.is_none() {
            let ((have, symbols), (want, kept)) = (measure(&x.shape), measure(&self.shape));
            let why = match (have, want) {
                (Some(have), Some(want)) if symbols == kept => format!(": {have} elements are not {want}"),
                _ if symbols != kept => ": the symbolic dimensions differ".to_owned(),
                _ => ": more elements than can be counted".to_owned(),
            };
            return Err(Mismatch::shape(format!("{x} cannot become {}{why}", self.shape))
                .help("the known sizes must have one product, and each symbolic dimension must appear on both sides"));
        }
        Ok([x.with_shape(self.shape.clone())].into())
    }

    /// The rows stay whole if what lies before them does.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        let before = |shape: &Shape| Some(measure(&shape.iter().take(cx.axis_in(shape)?).copied().collect()));
        if before(&cx.ty(0).shape) == before(&self.shape) { Rows::apart(cx.result_axis(0)) } else { Rows::Coupled }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        Some(vec![each_kind!(cx.operand(0), x => NdArray { shape: cx.shape(0).to_vec(), data: x.data.clone() })])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let shape = cx.operand(0).shape();
        Ok(vec![cx.cotangent(0).map(|dy| dy.reshape(shape))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        if let Some(uniform) = x.uniform(ty) {
            return Ok(uniform);
        }
        let name = e.whole(x)?;
        Ok(Held::of(e.reshape(&name, &axes_of(&x.shape), &axes_of(&ty.shape))?, ty))
    }

    fn cases() -> Vec<Case> {
        let case = |from: &[usize], to: &[usize]| Case::new(Reshape { shape: Shape::from(to) }, [Sample::any(from)]);
        vec![
            case(&[2, 6], &[3, 4]),
            case(&[12], &[2, 3, 2]),
            case(&[1], &[]),
            case(&[], &[1, 1]),
            case(&[0, 3], &[5, 0]),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
