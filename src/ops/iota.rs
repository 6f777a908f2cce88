//! Counts along an axis: element `[i₀, …, iₖ]` is `i_axis`.

use crate::ir::{Builder, DType, Dim, Expr, Shape, Tensor, TensorType};
use crate::op::onnx::{Exported, Held, Onnx};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// Indices along `axis` of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Iota {
    shape: Shape,
    axis: usize,
    dtype: DType,
}

impl Iota {
    /// The axis that is counted along.
    pub fn axis(&self) -> usize {
        self.axis
    }
}

impl Builder {
    /// A tensor of that shape whose elements count along `axis`, from 0.
    #[track_caller]
    pub fn iota(&self, dtype: DType, shape: impl Into<Shape>, axis: usize) -> Expr<'_> {
        self.push(Iota { shape: shape.into(), axis, dtype }.into(), &[])
    }
}

impl OpDef for Iota {
    const NAMES: &'static [&'static str] = &["iota"];

    fn about(&self) -> &'static str {
        "indices along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Source
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("shape", Attr::Shape(self.shape.clone())),
            ("axis", Attr::Int(self.axis)),
            ("dtype", Attr::DType(self.dtype)),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Iota, AttrError> {
        Ok(Iota { shape: attrs.shape("shape")?, axis: attrs.int("axis")?, dtype: attrs.dtype("dtype")? })
    }

    fn infer(&self, _: &InferCx) -> Result<Types, Mismatch> {
        if self.axis >= self.shape.rank() {
            return Err(Mismatch::attribute(format!("axis {} is out of range for shape {}", self.axis, self.shape))
                .help(format!("axes are counted from 0; the shape has {}", self.shape.rank())));
        }
        // The last index of a dimension of that size is the largest that an i32 holds.
        if self.dtype == DType::I32 && self.shape[self.axis].known().is_some_and(|size| size > 1 << 31) {
            return Err(Mismatch::shape(format!("axis {} of {} is longer than i32 counts", self.axis, self.shape))
                .help("ask for f64"));
        }
        match self.dtype {
            DType::Bool => Err(Mismatch::dtype("an index cannot be a bool").help("ask for i32, f32 or f64")),
            dtype => Ok([TensorType::new(dtype, self.shape.clone())].into()),
        }
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        let axis = cx.axis_in(&self.shape);
        if axis == Some(self.axis) { Rows::Coupled } else { Rows::apart(axis) }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let shape = cx.shape(0);
        Some(vec![match self.dtype {
            DType::I32 => Array::Int(NdArray::from_fn(shape, |index| index[self.axis] as i32)),
            _ => Array::Real(NdArray::from_fn(shape, |index| S::from_f64(index[self.axis] as f64))),
        }])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(Vec::new())
    }

    /// Counted once along its axis; the other axes are stretched from size 1.
    fn onnx(&self, e: &mut dyn Onnx, _: &[Held], ty: &TensorType) -> Exported<Held> {
        const SMALL: usize = 4096;
        let after = ty.rank() - self.axis - 1;
        let length = ty.shape[self.axis];
        let held: Shape = std::iter::once(length).chain(std::iter::repeat_n(Dim::Known(1), after)).collect();
        let name = match (length, held.known()) {
            (Dim::Known(length @ ..=SMALL), Some(shape)) => {
                let counted = Tensor::from_f64(ty.dtype, shape, (0..length).map(|index| index as f64));
                match counted {
                    Ok(counted) => e.constant(&counted),
                    Err(_) => unreachable!("all axes but one have size 1"),
                }
            }
            _ => {
                let (zero, one, axis) = (e.integer(0), e.integer(1), e.integers(&[0]));
                let limit = e.count(&[length])?;
                let limit = e.node("Squeeze", &[&limit, &axis], &[]);
                let counted = e.node("Range", &[&zero, &limit, &one], &[]);
                let counted = e.cast(&counted, ty.dtype);
                e.unsqueeze(&counted, &(1..=after).collect::<Vec<_>>())
            }
        };
        Ok(Held { held, ..Held::of(name, ty) })
    }

    fn cases() -> Vec<Case> {
        [(vec![5], 0, DType::I32), (vec![3, 4], 1, DType::F64), (vec![0, 2], 0, DType::I32)]
            .into_iter()
            .map(|(shape, axis, dtype)| Case::new(Iota { shape: Shape::from(shape), axis, dtype }, []))
            .collect()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
