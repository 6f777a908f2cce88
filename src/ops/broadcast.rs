//! Stretching a value over a larger shape.

use crate::ir::{Dim, Expr, Shape, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rearrangement,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, each_kind};

/// Operand axis `i` becomes result axis `dims[i]`, with the same size or stretched from 1; other result axes repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broadcast {
    shape: Shape,
    dims: Vec<usize>,
}

impl Broadcast {
    /// The result axis of each operand axis.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }
}

impl<'b> Expr<'b> {
    /// Stretched to `shape`, axes aligned from the right as numpy does.
    #[track_caller]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Expr<'b> {
        let shape = shape.into();
        if self.is_poisoned() || self.shape() == shape {
            return self;
        }
        let offset = shape.rank().saturating_sub(self.rank());
        let dims: Vec<usize> = (offset..offset + self.rank()).collect();
        self.broadcast_in(shape, &dims)
    }

    /// Stretched to `shape`, with axis `i` of this value becoming axis `dims[i]`.
    #[track_caller]
    pub fn broadcast_in(self, shape: impl Into<Shape>, dims: &[usize]) -> Expr<'b> {
        self.apply(Broadcast { shape: shape.into(), dims: dims.to_vec() })
    }

    /// A vector laid along `axis` of the shape of `like`.
    #[track_caller]
    pub fn along(self, axis: usize, like: Expr<'b>) -> Expr<'b> {
        self.broadcast_in(like.shape(), &[axis])
    }
}

impl OpDef for Broadcast {
    const NAMES: &'static [&'static str] = &["broadcast"];

    fn about(&self) -> &'static str {
        "x stretched over a larger shape"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::View(Rearrangement::Stretch(&self.dims))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("shape", Attr::Shape(self.shape.clone())), ("dims", Attr::Ints(self.dims.clone()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Broadcast, AttrError> {
        Ok(Broadcast { shape: attrs.shape("shape")?, dims: attrs.ints("dims")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.ty(0);
        let misfit = || {
            Mismatch::shape(format!("{x} does not stretch to {} along axes {:?}", self.shape, self.dims))
                .help("each axis must keep its size, or have size 1 and stretch")
        };
        if self.dims.len() != x.rank() || !self.dims.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(misfit());
        }
        for (&axis, &dim) in self.dims.iter().zip(x.shape.iter()) {
            let fits = self.shape.get(axis).is_some_and(|&result| dim == result || dim.is_one());
            if !fits {
                return Err(misfit());
            }
        }
        Ok([x.with_shape(self.shape.clone())].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let mut from = vec![0; self.dims.len()];
        Some(vec![each_kind!(cx.operand(0), x => NdArray::from_fn(cx.shape(0), |index| {
            for (axis, &dim) in self.dims.iter().enumerate() {
                from[axis] = if x.shape[axis] == 1 { 0 } else { index[dim] };
            }
            x.at(&from)
        }))])
    }

    /// The adjoint of repetition is summation.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let shape = cx.operand(0).shape();
        let repeated: Vec<usize> = (0..self.shape.rank())
            .filter(|axis| match self.dims.iter().position(|dim| dim == axis) {
                None => true,
                Some(from) => shape[from].is_one() && !self.shape[*axis].is_one(),
            })
            .collect();
        Ok(vec![cx.cotangent(0).map(|dy| dy.sum(&repeated).reshape(shape))])
    }

    /// No node where the axes are the last ones; otherwise axes of size 1 between them.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        let missing = x.shape.rank() - x.held.rank();
        let Some(&first) = self.dims.get(missing) else {
            return Ok(Held { shape: ty.shape.clone(), ..x.clone() });
        };
        let mut held: Shape = std::iter::repeat_n(Dim::Known(1), ty.rank() - first).collect();
        let mut new: Vec<usize> = (0..held.rank()).collect();
        for (axis, &dim) in self.dims[missing..].iter().enumerate() {
            held = held.with(dim - first, x.held[axis]);
            new.retain(|&axis| axis != dim - first);
        }
        Ok(Held { name: e.unsqueeze(&x.name, &new), dtype: x.dtype, shape: ty.shape.clone(), held })
    }

    fn cases() -> Vec<Case> {
        let case = |from: &[usize], to: &[usize], dims: &[usize]| {
            Case::new(Broadcast { shape: Shape::from(to), dims: dims.to_vec() }, [Sample::any(from)])
        };
        vec![
            case(&[], &[3, 5], &[]),
            case(&[5], &[3, 5], &[1]),
            case(&[3], &[3, 5], &[0]),
            case(&[3, 1], &[3, 5], &[0, 1]),
            case(&[1, 3], &[2, 7, 3], &[1, 2]),
            case(&[2, 3], &[2, 5, 3], &[0, 2]),
            case(&[1], &[0], &[0]),
            case(&[0, 2], &[0, 2], &[0, 1]),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
