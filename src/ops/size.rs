//! The number of elements of a shape, as a scalar: how a mean over a symbolic batch knows its N.

use crate::ir::{Builder, DType, Dim, Expr, Shape, TensorType};
use crate::op::onnx::{Exported, Held, Onnx};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// The product of `dims`, as a scalar of `dtype`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    dims: Shape,
    dtype: DType,
}

impl Size {
    /// The dimensions that are multiplied.
    pub fn dims(&self) -> &Shape {
        &self.dims
    }

    /// The product of these sizes of the dimensions, if it can be counted and the element type holds it.
    pub(crate) fn count(&self, sizes: &[usize]) -> Option<usize> {
        let most = if self.dtype == DType::I32 { i32::MAX as usize } else { usize::MAX };
        // A 0 anywhere is the product, however large the others are.
        let product =
            if sizes.contains(&0) { Some(0) } else { sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size)) };
        product.filter(|&product| product <= most)
    }
}

impl Builder {
    /// The product of `dims` as a scalar of `dtype`; symbolic dimensions are filled in when they are bound.
    #[track_caller]
    pub fn size(&self, dims: impl IntoIterator<Item = Dim>, dtype: DType) -> Expr<'_> {
        self.push(Size { dims: dims.into_iter().collect(), dtype }.into(), &[])
    }
}

impl OpDef for Size {
    const NAMES: &'static [&'static str] = &["size"];

    fn about(&self) -> &'static str {
        "the number of elements of a shape, as a scalar"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Source
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("dims", Attr::Shape(self.dims.clone())), ("dtype", Attr::DType(self.dtype))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Size, AttrError> {
        Ok(Size { dims: attrs.shape("dims")?, dtype: attrs.dtype("dtype")? })
    }

    fn infer(&self, _: &InferCx) -> Result<Types, Mismatch> {
        if self.dims.known().is_some_and(|sizes| self.count(&sizes).is_none()) {
            return Err(Mismatch::shape(format!("{} has more elements than {} counts", self.dims, self.dtype))
                .help("ask for f64, or take the size of a smaller shape"));
        }
        match self.dtype {
            DType::Bool => Err(Mismatch::dtype("a size cannot be a bool").help("ask for f32, f64 or i32")),
            dtype => Ok([TensorType::scalar(dtype)].into()),
        }
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        if cx.axis_in(&self.dims).is_some() { Rows::Coupled } else { Rows::apart(None) }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let sizes: Vec<usize> = self.dims.iter().map(|&dim| cx.size(dim)).collect();
        let size = self.count(&sizes)?;
        let shape = Vec::new();
        Some(vec![match self.dtype {
            DType::I32 => Array::Int(NdArray { shape, data: vec![size as i32] }),
            _ => Array::Real(NdArray { shape, data: vec![S::from_f64(size as f64)] }),
        }])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(Vec::new())
    }

    fn onnx(&self, e: &mut dyn Onnx, _: &[Held], ty: &TensorType) -> Exported<Held> {
        let dims = e.resolve(&self.dims);
        if let Some(sizes) = dims.known() {
            let count = sizes.iter().fold(1usize, |count, &size| count.wrapping_mul(size));
            let count = if ty.dtype == DType::I32 { f64::from(count as i32) } else { count as f64 };
            return Ok(e.filled(ty, count));
        }
        let (count, axis) = (e.count(&dims)?, e.integers(&[0]));
        let count = e.node("Squeeze", &[&count, &axis], &[]);
        Ok(Held::of(e.cast(&count, ty.dtype), ty))
    }

    fn cases() -> Vec<Case> {
        [(vec![], DType::F64), (vec![3, 5], DType::F64), (vec![0, 4], DType::I32)]
            .into_iter()
            .map(|(dims, dtype)| Case::new(Size { dims: Shape::from(dims), dtype }, []))
            .collect()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
