//! Indices as rows of the identity: `result[…, j] = 1 where index[…] = j`.

use crate::ir::{DType, Expr, Shape, Tensor, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// A new last axis of `depth`, 1 at the index and 0 elsewhere; all 0 for an index out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OneHot {
    depth: usize,
    dtype: DType,
}

impl<'b> Expr<'b> {
    /// These indices as one-hot rows of length `depth` on a new last axis.
    #[track_caller]
    pub fn one_hot(self, depth: usize, dtype: DType) -> Expr<'b> {
        self.apply(OneHot { depth, dtype })
    }
}

impl OpDef for OneHot {
    const NAMES: &'static [&'static str] = &["one_hot"];

    fn about(&self) -> &'static str {
        "indices as rows of the identity"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Indexing
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["index"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("depth", Attr::Int(self.depth)), ("dtype", Attr::DType(self.dtype))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<OneHot, AttrError> {
        Ok(OneHot { depth: attrs.int("depth")?, dtype: attrs.dtype("dtype")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let index = cx.dtype(0, DType::I32)?;
        if !self.dtype.is_float() {
            return Err(Mismatch::dtype(format!("a one-hot row is f32 or f64, not {}", self.dtype))
                .help("ask for DType::F32, and convert the result with `.cast`"));
        }
        if self.depth > 1 << 31 {
            return Err(Mismatch::attribute(format!("a depth of {} is more than i32 indices reach", self.depth))
                .help("give the number of classes"));
        }
        let shape: Shape = index.shape.iter().copied().chain([self.depth.into()]).collect();
        Ok([TensorType::new(self.dtype, shape)].into())
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        Rows::apart(cx.axis(0))
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let index = cx.operand(0).int();
        Some(vec![Array::Real(NdArray::from_fn(cx.shape(0), |at| {
            let (class, at) = (at[at.len() - 1], &at[..at.len() - 1]);
            S::from_f64(if index.at(at) == class as i32 { 1.0 } else { 0.0 })
        }))])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Err(NoVjp::NotDifferentiable(
            "a one-hot row is piecewise constant in its index; wrap it in `.stop_gradient()` if it is meant as a \
             constant, or use `.softmax` as the smooth form of `.arg_max`",
        ))
    }

    /// `index[…] = j`, as numbers.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [index] = exactly(operands);
        let depth = ty.shape[ty.rank() - 1];
        let classes = (0..depth.known().unwrap_or(0)).map(|class| class as i32).collect();
        let classes = e.constant(&Tensor::vector::<i32>(classes));
        let column = e.unsqueeze(&index.name, &[index.held.rank()]);
        let equal = e.node("Equal", &[&column, &classes], &[]);
        let held: Shape = index.held.iter().copied().chain([depth]).collect();
        Ok(Held { held, ..Held::of(e.cast(&equal, ty.dtype), ty) })
    }

    fn cases() -> Vec<Case> {
        [&[5][..], &[], &[2, 3], &[0]]
            .into_iter()
            .map(|shape| Case::new(OneHot { depth: 4, dtype: DType::F64 }, [Sample::integers(shape, -1, 5)]))
            .collect()
    }

    fn edges() -> Vec<Edge> {
        vec![
            Edge::of("one_hot", |x| x[0].cast(DType::I32).one_hot(3, DType::F32))
                .row(&[&[-1.0, 1.0, 3.0]], &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[])
                .elsewhere("same", "an error"),
        ]
    }
}
