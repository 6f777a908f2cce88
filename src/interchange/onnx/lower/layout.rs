//! Shapes: what is stretched stays small, sizes of symbolic axes are computed from the inputs.

use super::super::emit::{Attribute, Emitter, Held, Lowered};
use super::axes_of;
use crate::ir::{DType, Dim, Shape, Tensor, TensorType};
use crate::ops::{Broadcast, Concat, Iota, Pad, Size, Slice, Transpose};

pub(super) fn whole(name: String, ty: &TensorType) -> Held {
    Held { name, dtype: ty.dtype, shape: ty.shape.clone(), held: ty.shape.clone() }
}

/// One number in every element: how the elements lie does not matter.
fn uniform(x: &Held, ty: &TensorType) -> Option<Held> {
    (x.held.rank() == 0 && x.shape.rank() > 0).then(|| Held { shape: ty.shape.clone(), ..x.clone() })
}

pub(super) fn size(e: &mut Emitter, size: &Size, ty: &TensorType) -> Lowered<Held> {
    let dims = e.resolve(size.dims());
    if let Some(sizes) = dims.known() {
        let count = sizes.iter().fold(1usize, |count, &size| count.wrapping_mul(size));
        let count = if ty.dtype == DType::I32 { f64::from(count as i32) } else { count as f64 };
        return Ok(e.filled(ty, count));
    }
    let count = e.count(&dims)?;
    let (count, zero) = (count, e.integers(&[0]));
    let count = e.node("Squeeze", &[&count, &zero], &[]);
    Ok(whole(e.cast(&count, ty.dtype), ty))
}

/// Counted once along its axis; the other axes are stretched from size 1.
pub(super) fn iota(e: &mut Emitter, iota: &Iota, ty: &TensorType) -> Lowered<Held> {
    const SMALL: usize = 4096;
    let after = ty.rank() - iota.axis() - 1;
    let length = ty.shape[iota.axis()];
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
    Ok(Held { name, dtype: ty.dtype, shape: ty.shape.clone(), held })
}

/// No node where the axes are the last ones; otherwise axes of size 1 between them.
pub(super) fn broadcast(e: &mut Emitter, broadcast: &Broadcast, x: &Held, ty: &TensorType) -> Held {
    let missing = x.shape.rank() - x.held.rank();
    let Some(&first) = broadcast.dims().get(missing) else {
        return Held { shape: ty.shape.clone(), ..x.clone() };
    };
    let mut held: Shape = std::iter::repeat_n(Dim::Known(1), ty.rank() - first).collect();
    let mut new: Vec<usize> = (0..held.rank()).collect();
    for (axis, &dim) in broadcast.dims()[missing..].iter().enumerate() {
        held = held.with(dim - first, x.held[axis]);
        new.retain(|&axis| axis != dim - first);
    }
    Held { name: e.unsqueeze(&x.name, &new), dtype: x.dtype, shape: ty.shape.clone(), held }
}

pub(super) fn reshape(e: &mut Emitter, x: &Held, ty: &TensorType) -> Lowered<Held> {
    if let Some(uniform) = uniform(x, ty) {
        return Ok(uniform);
    }
    let name = e.whole(x)?;
    Ok(whole(e.reshape(&name, &axes_of(&x.shape), &axes_of(&ty.shape))?, ty))
}

pub(super) fn transpose(e: &mut Emitter, transpose: &Transpose, x: &Held, ty: &TensorType) -> Lowered<Held> {
    if let Some(uniform) = uniform(x, ty) {
        return Ok(uniform);
    }
    let name = e.whole(x)?;
    Ok(whole(e.transpose(&name, transpose.permutation()), ty))
}

pub(super) fn slice(e: &mut Emitter, slice: &Slice, x: &Held, ty: &TensorType) -> Lowered<Held> {
    if let Some(uniform) = uniform(x, ty) {
        return Ok(uniform);
    }
    let name = e.whole(x)?;
    Ok(whole(cut(e, &name, slice), ty))
}

fn cut(e: &mut Emitter, name: &str, slice: &Slice) -> String {
    let Slice { axis, start, limit, stride } = *slice;
    let [start, limit, axis, stride] = [start, limit, axis, stride].map(|value| e.integers(&[value as i64]));
    e.node("Slice", &[name, &start, &limit, &axis, &stride], &[])
}

/// What stands between neighbours is padding of an axis of its own, merged into the padded one.
pub(super) fn pad(e: &mut Emitter, pad: &Pad, x: &Held, value: &Held, ty: &TensorType) -> Lowered<Held> {
    let Pad { axis, low, high, interior } = *pad;
    let size = x.shape[axis].known().unwrap_or(0);
    if size == 0 {
        return Ok(Held { name: value.name.clone(), dtype: ty.dtype, shape: ty.shape.clone(), held: Shape::scalar() });
    }
    let mut name = e.whole(x)?;
    if interior > 0 && size > 1 {
        let (step, spread) = (interior + 1, size * (interior + 1));
        name = e.unsqueeze(&name, &[axis + 1]);
        name = surround(e, &name, &value.name, x.shape.rank() + 1, (axis + 1, 0, interior));
        let mut from = axes_of(&x.shape);
        from.insert(axis + 1, vec![Dim::Known(step)]);
        name = e.reshape(&name, &from, &axes_of(&x.shape.with(axis, spread)))?;
        name = cut(e, &name, &Slice { axis, start: 0, limit: spread - interior, stride: 1 });
    }
    if low > 0 || high > 0 {
        name = surround(e, &name, &value.name, x.shape.rank(), (axis, low, high));
    }
    Ok(whole(name, ty))
}

fn surround(e: &mut Emitter, name: &str, value: &str, rank: usize, (axis, low, high): (usize, usize, usize)) -> String {
    let mut pads = vec![0; 2 * rank];
    (pads[axis], pads[rank + axis]) = (low as i64, high as i64);
    let pads = e.integers(&pads);
    e.node("Pad", &[name, &pads, value], &[("mode", Attribute::Text("constant"))])
}

pub(super) fn concat(e: &mut Emitter, concat: &Concat, parts: &[Held], ty: &TensorType) -> Lowered<Held> {
    let names: Vec<String> = parts.iter().map(|part| e.whole(part)).collect::<Lowered<_>>()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(whole(e.node("Concat", &names, &[("axis", Attribute::Int(concat.axis as i64))]), ty))
}
