//! Values laid one after another along an axis.

use crate::ir::{Builder, Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// The operands one after another along `axis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concat {
    /// The axis along which they are laid.
    pub axis: usize,
}

impl Builder {
    /// `parts` one after another along `axis`; the other axes agree.
    #[track_caller]
    pub fn concat<'b>(&'b self, parts: &[Expr<'b>], axis: usize) -> Expr<'b> {
        match parts {
            [only] => only.with_axes("concat", &[axis]),
            _ => self.push(Concat { axis }.into(), parts),
        }
    }
}

impl OpDef for Concat {
    const NAMES: &'static [&'static str] = &["concat"];

    fn about(&self) -> &'static str {
        "values one after another along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Assembly
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["part", "parts..."]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axis", Attr::Int(self.axis))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Concat, AttrError> {
        Ok(Concat { axis: attrs.int("axis")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let first = cx.ty(0);
        let mut total = 0usize;
        for (slot, part) in cx.operands().iter().enumerate() {
            cx.same_dtype(0, slot)?;
            let dim = cx.axis(slot, self.axis)?;
            let Some(size) = dim.known() else {
                return Err(Mismatch::shape(format!("axis {} is the symbolic dimension `{dim}`", self.axis))
                    .help("only axes of known size can be joined"));
            };
            if part.shape.without(&[self.axis]) != first.shape.without(&[self.axis]) {
                return Err(Mismatch::shape(format!("part 0 is {first}, but part {slot} is {part}"))
                    .help(format!("parts may differ in axis {} only; give another axis, or reshape one", self.axis)));
            }
            total = total
                .checked_add(size)
                .ok_or_else(|| Mismatch::shape("the joined axis is too long").help("join fewer parts"))?;
        }
        Ok([first.with_shape(first.shape.with(self.axis, total))].into())
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        cx.along(self.axis)
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        fn join<T: Copy>(shape: &[usize], axis: usize, parts: &[&NdArray<T>]) -> NdArray<T> {
            NdArray::from_fn(shape, |index| {
                let mut from = index.to_vec();
                let mut part = parts.iter();
                let mut current = part.next();
                while let Some(array) = current {
                    if from[axis] < array.shape[axis] {
                        return array.at(&from);
                    }
                    from[axis] -= array.shape[axis];
                    current = part.next();
                }
                unreachable!("the joined axis is as long as its parts")
            })
        }
        let shape = cx.shape(0);
        Some(vec![match cx.operand(0) {
            Array::Real(_) => {
                Array::Real(join(shape, self.axis, &cx.operands().iter().map(|part| part.real()).collect::<Vec<_>>()))
            }
            Array::Int(_) => {
                Array::Int(join(shape, self.axis, &cx.operands().iter().map(|part| part.int()).collect::<Vec<_>>()))
            }
            Array::Bool(_) => {
                Array::Bool(join(shape, self.axis, &cx.operands().iter().map(|part| part.mask()).collect::<Vec<_>>()))
            }
        }])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let mut start = 0;
        Ok((0..cx.operands().len())
            .map(|slot| {
                let size = cx.operand(slot).shape()[self.axis].known().unwrap_or(0);
                start += size;
                let range = start - size..start;
                if cx.needed(slot) { cx.cotangent(0).map(|dy| dy.slice(self.axis, range)) } else { Cotangent::Zero }
            })
            .collect())
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let parts: Vec<String> = operands.iter().map(|part| e.whole(part)).collect::<Exported<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(Held::of(e.node("Concat", &parts, &[("axis", Attribute::Int(self.axis as i64))]), ty))
    }

    fn cases() -> Vec<Case> {
        let any = |shapes: &[&[usize]]| shapes.iter().map(|shape| Sample::any(shape)).collect::<Vec<_>>();
        vec![
            Case::new(Concat { axis: 0 }, any(&[&[2], &[3]])),
            Case::new(Concat { axis: 1 }, any(&[&[2, 3], &[2, 1], &[2, 5]])),
            Case::new(Concat { axis: 0 }, any(&[&[0, 3], &[2, 3]])),
            Case::new(Concat { axis: 0 }, [Sample::integers(&[2], 0, 5), Sample::integers(&[1], 0, 5)]),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
