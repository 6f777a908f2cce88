//! Picking and placing along an axis: `y[…, i, …] = x[…, index[…, i, …], …]`, and its adjoint.

use crate::ir::{DType, Dim, Expr, Tensor, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, index_of};

/// `y[…, i, …] = x[…, index[…, i, …], …]`; an index out of range picks NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TakeAlongAxis {
    /// The axis that the index counts along.
    pub axis: usize,
}

/// `y[…, index[…, i, …], …] += updates[…, i, …]` over zeros; an index out of range adds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScatterAlongAxis {
    /// The axis that the index counts along.
    pub axis: usize,
    /// The length of that axis in the result.
    pub size: Dim,
}

impl<'b> Expr<'b> {
    /// The elements that `index` (i32, of the same rank, equal in every other axis) picks along `axis`.
    #[track_caller]
    pub fn take_along_axis(self, index: Expr<'b>, axis: usize) -> Expr<'b> {
        self.builder().push(TakeAlongAxis { axis }.into(), &[self, index])
    }

    /// These values added into zeros of length `size` at the places that `index` names along `axis`.
    #[track_caller]
    pub fn scatter_along_axis(self, index: Expr<'b>, axis: usize, size: impl Into<Dim>) -> Expr<'b> {
        self.builder().push(ScatterAlongAxis { axis, size: size.into() }.into(), &[self, index])
    }
}

fn check_index(cx: &InferCx, axis: usize) -> Result<(), Mismatch> {
    cx.float(0)?;
    cx.dtype(1, DType::I32)?;
    cx.rank(1, cx.ty(0).rank())?;
    cx.axis(0, axis)?;
    Ok(())
}

/// In ONNX, the mask of indices within `0..size`, and the indices with 0 for the others: ONNX counts negative ones from
/// the end and leaves others undefined, so what lies outside is masked.
fn within(e: &mut dyn Onnx, index: &str, size: Dim) -> Exported<(String, String)> {
    let zero = e.scalar(DType::I32, 0.0);
    let size = match size {
        Dim::Known(size) => e.scalar(DType::I32, size as f64),
        symbol => {
            let (count, axis) = (e.count(&[symbol])?, e.integers(&[0]));
            let count = e.node("Squeeze", &[&count, &axis], &[]);
            e.cast(&count, DType::I32)
        }
    };
    let not_before = e.node("GreaterOrEqual", &[index, &zero], &[]);
    let before_end = e.node("Less", &[index, &size], &[]);
    let inside = e.node("And", &[&not_before, &before_end], &[]);
    let safe = e.node("Where", &[&inside, index, &zero], &[]);
    Ok((inside, safe))
}

impl OpDef for TakeAlongAxis {
    const NAMES: &'static [&'static str] = &["take_along_axis"];

    fn about(&self) -> &'static str {
        "elements picked by index along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Indexing
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "index"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<TakeAlongAxis, AttrError> {
        Ok(TakeAlongAxis { axis: attrs.int("axis")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        check_index(cx, self.axis)?;
        let (x, index) = (cx.ty(0), cx.ty(1));
        if x.shape.without(&[self.axis]) != index.shape.without(&[self.axis]) {
            return Err(Mismatch::shape(format!("x is {x}, but index is {index}"))
                .help(format!("index may differ from x in axis {} only", self.axis)));
        }
        Ok([x.with_shape(index.shape.clone())].into())
    }

    /// Rows may pick from what all of them share, but not from each other.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        if cx.axis(0) == Some(self.axis) { Rows::Coupled } else { Rows::apart(cx.axis(1)) }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let (x, index) = (cx.operand(0).real(), cx.operand(1).int());
        Some(vec![Array::Real(NdArray::from_fn(cx.shape(0), |at| {
            let mut from = at.to_vec();
            match usize::try_from(index.at(at)) {
                Ok(i) if i < x.shape[self.axis] => {
                    from[self.axis] = i;
                    x.at(&from)
                }
                _ => S::from_f64(f64::NAN),
            }
        }))])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let size = cx.operand(0).shape()[self.axis];
        let dx = cx.cotangent(0).map(|dy| dy.scatter_along_axis(cx.operand(1), self.axis, size));
        Ok(vec![dx, Cotangent::Zero])
    }

    /// NaN for an index outside.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x, index] = exactly(operands);
        let size = x.shape[self.axis];
        if size == Dim::Known(0) {
            return Ok(e.filled(ty, f64::NAN));
        }
        let (input, index) = (e.whole(x)?, e.whole(index)?);
        let (inside, safe) = within(e, &index, size)?;
        let picked = e.node("GatherElements", &[&input, &safe], &[("axis", Attribute::Int(self.axis as i64))]);
        let nan = e.scalar(ty.dtype, f64::NAN);
        Ok(Held::of(e.node("Where", &[&inside, &picked, &nan], &[]), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |x: &[usize], index: &[usize], axis: usize| {
            Case::new(TakeAlongAxis { axis }, [Sample::any(x), Sample::integers(index, 0, x[axis] as i32)])
        };
        vec![
            case(&[5, 3], &[5, 1], 1),
            case(&[5, 3], &[5, 4], 1),
            case(&[3, 5], &[2, 5], 0),
            case(&[7], &[3], 0),
            case(&[2, 3, 4], &[2, 2, 4], 1),
            case(&[0, 3], &[0, 1], 1),
        ]
    }

    fn edges() -> Vec<Edge> {
        let take_along_axis = Edge::of("take_along_axis", |x| x[0].take_along_axis(constant(x[0], &[3, 0, -1]), 0));
        vec![
            take_along_axis
                .row(&[&[5.0, 6.0, 7.0, 8.0]], &[8.0, 5.0, NAN], &[&[1.0, 0.0, 0.0, 1.0]])
                .elsewhere("−1 counts from the end", "an error"),
            take_along_axis
                .row(&[&[5.0, 6.0, 7.0]], &[NAN, 5.0, NAN], &[&[1.0, 0.0, 0.0]])
                .elsewhere("−1 counts from the end", "an error"),
        ]
    }
}

impl OpDef for ScatterAlongAxis {
    const NAMES: &'static [&'static str] = &["scatter_along_axis"];

    fn about(&self) -> &'static str {
        "values added at indices along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Indexing
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["updates", "index"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis)), ("size", Attr::Shape([self.size].into()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<ScatterAlongAxis, AttrError> {
        let axis = attrs.int("axis")?;
        match *attrs.shape("size")? {
            [size] => Ok(ScatterAlongAxis { axis, size }),
            _ => Err(AttrError { name: "size".to_owned(), expected: "one dimension, such as [10]" }),
        }
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        check_index(cx, self.axis)?;
        cx.same_shape(0, 1)?;
        Ok([cx.ty(0).with_shape(cx.shape(0).with(self.axis, self.size))].into())
    }

    /// Rows add to their own result, but not to that of each other; an axis that only the result has counts the rows.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        if cx.axis(0) == cx.result_axis(0) { cx.along(self.axis) } else { Rows::Coupled }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let (updates, index) = (cx.operand(0).real(), cx.operand(1).int());
        let shape = cx.shape(0).to_vec();
        let mut data = vec![S::from_f64(0.0); shape.iter().product()];
        NdArray::from_fn(&updates.shape, |at| {
            let mut to = at.to_vec();
            if let Some(i) = usize::try_from(index.at(at)).ok().filter(|&i| i < shape[self.axis]) {
                to[self.axis] = i;
                let cell = &mut data[index_of(&shape, &to)];
                *cell = cell.add(updates.at(at));
            }
        });
        Some(vec![Array::Real(NdArray { shape, data })])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        // What was added nowhere gets no gradient: an index out of range picks NaN, which is replaced by 0.
        let index = cx.operand(1);
        let size = cx.builder().size([self.size], DType::I32).broadcast_to(index.shape());
        let zero = cx.builder().scalar(DType::I32, 0.0).broadcast_to(index.shape());
        let du = cx.cotangent(0).map(|dy| {
            let picked = dy.take_along_axis(index, self.axis);
            let inside = index.less(size).select(picked, picked.zeros_like());
            index.less(zero).select(picked.zeros_like(), inside)
        });
        Ok(vec![du, Cotangent::Zero])
    }

    /// An index outside adds 0 at place 0.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [updates, index] = exactly(operands);
        let zeros = e.filled(ty, 0.0);
        let size = ty.shape[self.axis];
        if size == Dim::Known(0) {
            return Ok(zeros);
        }
        let (zeros, updates, index) = (e.whole(&zeros)?, e.whole(updates)?, e.whole(index)?);
        let (inside, safe) = within(e, &index, size)?;
        let zero = e.scalar(ty.dtype, 0.0);
        let updates = e.node("Where", &[&inside, &updates, &zero], &[]);
        let attributes = [("axis", Attribute::Int(self.axis as i64)), ("reduction", Attribute::Text("add"))];
        Ok(Held::of(e.node("ScatterElements", &[&zeros, &safe, &updates], &attributes), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis: usize, size: usize| {
            let op = ScatterAlongAxis { axis, size: size.into() };
            Case::new(op, [Sample::any(shape), Sample::integers(shape, -1, size as i32 + 1)])
        };
        vec![case(&[5, 1], 1, 3), case(&[5, 4], 1, 3), case(&[2, 5], 0, 3), case(&[3], 0, 7), case(&[0, 1], 1, 2)]
    }

    fn edges() -> Vec<Edge> {
        vec![
            Edge::of("scatter_along_axis", |x| x[0].scatter_along_axis(constant(x[0], &[2, 0, -1]), 0, 2))
                .row(&[&[5.0, 6.0, 7.0]], &[6.0, 0.0], &[&[0.0, 1.0, 0.0]])
                .elsewhere("−1 counts from the end", "an error"),
        ]
    }
}

/// Indices as a constant of the graph of `x`.
fn constant<'b>(x: Expr<'b>, indices: &[i32]) -> Expr<'b> {
    x.builder().constant(Tensor::vector(indices.to_vec()))
}
