//! What moves elements and computes nothing.

use super::super::Random;
use super::menu::{Drawn, Turn};
use super::pool::Pool;
use foldgrad::Expr;
use foldgrad::ir::{Dim, Shape};

pub fn permutation(rank: usize, t: &Turn<'_>) -> Vec<usize> {
    let mut random = Random((t.knob as u64) << 8 | u64::from(t.second));
    let mut order: Vec<usize> = (0..rank).collect();
    (1..rank).for_each(|i| order.swap(i, random.below(i + 1)));
    order
}

pub fn transpose<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x.transpose(&permutation(t.x.rank(), t)), t.bound))
}

/// The batch stays in front.
pub fn transpose_behind<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let order = permutation(t.x.rank().checked_sub(1)?, t);
    let order: Vec<usize> = [0].into_iter().chain(order.into_iter().map(|axis| axis + 1)).collect();
    Some((t.x.transpose(&order), t.bound))
}

pub fn reverse<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x.transpose(&(0..t.x.rank()).rev().collect::<Vec<_>>()), t.bound))
}

/// All elements in a row.
pub fn ravel<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let len: usize = t.x.shape().known()?.iter().product();
    Some((t.x.reshape([len]), t.bound))
}

/// An axis of one at the end.
pub fn widen<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x.reshape(t.x.shape().iter().copied().chain([1.into()]).collect::<Shape>()), t.bound))
}

/// An axis joined with the next one of known size.
pub fn join<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    let shape = t.x.shape();
    let both = size * shape.get(axis + 1)?.known()?;
    let dim = |at: usize| if at == axis { Dim::Known(both) } else { shape[at] };
    let joined: Shape = (0..t.x.rank()).filter(|&at| at != axis + 1).map(dim).collect();
    Some((t.x.reshape(joined), t.bound))
}

/// An axis split in two.
pub fn split<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    Some((t.x.reshape(split_shape(t.x, axis, factor(size))), t.bound))
}

pub fn factor(size: usize) -> usize {
    [2, 3].into_iter().find(|&factor| size.is_multiple_of(factor) && size > factor).unwrap_or(1)
}

/// The shape with that axis as two, the second of which has that size.
pub fn split_shape(x: Expr<'_>, axis: usize, factor: usize) -> Shape {
    let dims = |(at, &dim): (usize, &Dim)| match dim.known() {
        Some(size) if at == axis => vec![Dim::Known(size / factor), Dim::Known(factor)],
        _ => vec![dim],
    };
    x.shape().iter().enumerate().flat_map(dims).collect()
}

/// Rows of all that follows the first axis.
pub fn flat(x: Expr<'_>) -> Expr<'_> {
    let shape = x.shape();
    let sizes = shape.iter().skip(1).map(|dim| dim.known());
    let size = sizes.reduce(|a, b| Some(a? * b?)).flatten();
    size.map_or(x, |size| x.reshape([shape[0], size.into()]))
}

pub fn slice<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    let start = (t.knob / 4 % 3).min(size.checked_sub(1)?);
    Some((t.x.slice_by(axis, start..size, 1 + usize::from(t.second) % 2), t.bound))
}

/// Another of its type, or a function of itself, behind it.
pub fn concat<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    let (y, bound) = pool.like(t);
    let (y, bound) = if y.value() == t.x.value() { (y.sin(), 1.0) } else { (y, bound) };
    Some((pool.b.concat(&[t.x, y], axis), t.bound.max(bound)))
}

/// With a number, or the mean of all, which is no number before a run.
pub fn pad<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    let value = match t.second % 3 {
        0 if t.batch().is_none() => t.x.mean_all(),
        1 => pool.scalar(0.5),
        _ => pool.scalar(0.0),
    };
    Some((t.x.pad(axis, t.knob % 2, 1, t.knob / 2 % 2, value), t.bound.max(0.5)))
}

/// What a map may pass on the way to a product.
pub fn view<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    match t.knob / 8 % 5 {
        0 | 1 => transpose_behind(pool, t),
        2 => pad(pool, t),
        3 => join(pool, t),
        _ => slice(pool, t),
    }
}
