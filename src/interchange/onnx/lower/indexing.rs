//! Indices: ONNX counts negative ones from the end and leaves others undefined, so what lies outside is masked here.

use super::super::emit::{Attribute, Emitter, Held, Lowered};
use super::layout::whole;
use crate::ir::{DType, Dim, Shape, Tensor, TensorType};
use crate::ops::ArgMax;

pub(super) fn arg_max(e: &mut Emitter, arg_max: &ArgMax, x: &Held, ty: &TensorType) -> Lowered<Held> {
    let input = e.whole(x)?;
    let attributes = [("axis", Attribute::Int(arg_max.axis as i64)), ("keepdims", Attribute::Int(0))];
    let index = e.node("ArgMax", &[&input], &attributes);
    Ok(whole(e.cast(&index, ty.dtype), ty))
}

/// `index[…] = j`, as numbers.
pub(super) fn one_hot(e: &mut Emitter, index: &Held, ty: &TensorType) -> Held {
    let depth = ty.shape[ty.rank() - 1];
    let classes = (0..depth.known().unwrap_or(0)).map(|class| class as i32).collect();
    let classes = e.constant(&Tensor::vector::<i32>(classes));
    let column = e.unsqueeze(&index.name, &[index.held.rank()]);
    let equal = e.node("Equal", &[&column, &classes], &[]);
    let held: Shape = index.held.iter().copied().chain([depth]).collect();
    Held { name: e.cast(&equal, ty.dtype), dtype: ty.dtype, shape: ty.shape.clone(), held }
}

/// The mask of indices within `0..size`, and the indices with 0 for the others.
fn within(e: &mut Emitter, index: &str, size: Dim) -> Lowered<(String, String)> {
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

/// NaN for an index outside.
pub(super) fn take(e: &mut Emitter, axis: usize, x: &Held, index: &Held, ty: &TensorType) -> Lowered<Held> {
    let size = x.shape[axis];
    if size == Dim::Known(0) {
        return Ok(e.filled(ty, f64::NAN));
    }
    let (input, index) = (e.whole(x)?, e.whole(index)?);
    let (inside, safe) = within(e, &index, size)?;
    let picked = e.node("GatherElements", &[&input, &safe], &[("axis", Attribute::Int(axis as i64))]);
    let nan = e.scalar(ty.dtype, f64::NAN);
    Ok(whole(e.node("Where", &[&inside, &picked, &nan], &[]), ty))
}

/// An index outside adds 0 at place 0.
pub(super) fn scatter(e: &mut Emitter, axis: usize, updates: &Held, index: &Held, ty: &TensorType) -> Lowered<Held> {
    let zeros = e.filled(ty, 0.0);
    let size = ty.shape[axis];
    if size == Dim::Known(0) {
        return Ok(zeros);
    }
    let (zeros, updates, index) = (e.whole(&zeros)?, e.whole(updates)?, e.whole(index)?);
    let (inside, safe) = within(e, &index, size)?;
    let zero = e.scalar(ty.dtype, 0.0);
    let updates = e.node("Where", &[&inside, &updates, &zero], &[]);
    let attributes = [("axis", Attribute::Int(axis as i64)), ("reduction", Attribute::Text("add"))];
    Ok(whole(e.node("ScatterElements", &[&zeros, &safe, &updates], &attributes), ty))
}
