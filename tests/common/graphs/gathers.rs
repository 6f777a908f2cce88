//! What is looked up by an index.

use super::coupled::{index, matrix_of, rows_of};
use super::menu::{Drawn, Turn};
use super::pool::{Pool, SMALL};
use foldgrad::ir::Dim;
use foldgrad::op::Domain;
use foldgrad::reference::Array;
use foldgrad::{DType, Expr, Tensor};

/// Random indices below a limit.
fn constant<'b>(pool: &mut Pool<'b>, shape: &[usize], limit: usize) -> Expr<'b> {
    let Array::Int(index) = pool.random.array(DType::I32, shape, Domain::Integers(0, limit as i32)) else {
        unreachable!("integers were asked for")
    };
    match Tensor::new(shape, index.data) {
        Ok(index) => pool.b.constant(index),
        Err(_) => pool.b.poisoned(),
    }
}

pub fn take<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let ((axis, size), shape) = (t.axis()?, t.x.shape().known()?);
    Some((t.x.take_along_axis(constant(pool, &shape, size), axis), t.bound))
}

/// Some of the indices lie outside.
pub fn scatter<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let ((axis, size), shape) = (t.axis()?, t.x.shape().known()?);
    let index = constant(pool, &shape, size + 1);
    Some((t.x.scatter_along_axis(index, axis, size), size as f64 * t.bound))
}

pub fn cross_entropy<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let shape = t.x.shape().known()?;
    let (&classes, before) = shape.split_last()?;
    let labels = constant(pool, before, classes);
    Some((t.x.softmax_cross_entropy(labels), 2.0 * t.bound + 5.0))
}

/// The largest of each row, by its place.
pub fn take_largest<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let (_, size) = t.last()?;
    if t.x.rank() != 2 || size == 0 {
        return None;
    }
    let index = t.x.arg_max(1).reshape([t.x.shape()[0], Dim::Known(1)]);
    Some((t.x.take_along_axis(index, 1), t.bound))
}

/// The place of the largest feature of the first input.
pub fn place_of_largest<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let place = pool.named("x")?.arg_max(1).cast(t.x.dtype());
    Some((t.x + place.along(t.batch()?, t.x), t.bound + 4.0))
}

/// A row of a table for each row, by the fed index.
pub fn embedded<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (n, index) = (Dim::symbol("n"), index(pool));
    let table = pool.weight("table", t, [4, 1], SMALL);
    Some((rows_of(t.x, t.batch()?) + index.one_hot(4, t.x.dtype()).dot(table).reshape([n]), t.bound + 1.0))
}

pub fn one_hot<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((index(pool).one_hot(5, t.x.dtype()), 1.0))
}

pub fn take_fed<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    let at = index(pool).reshape([Dim::symbol("n"), 1.into()]);
    Some((matrix_of(t.x, t.batch()?, axis).take_along_axis(at, 1), t.bound))
}

/// Each row picks from a table that all share.
pub fn take_shared<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let at = index(pool).reshape([Dim::symbol("n"), 1.into()]);
    Some((pool.weight("shared", t, [4, 1], SMALL).take_along_axis(at, 0), 1.0))
}

pub fn scatter_fed<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (n, (axis, size)) = (Dim::symbol("n"), t.axis()?);
    let at = index(pool).reshape([n, 1.into()]).broadcast_to([n, size.into()]);
    Some((matrix_of(t.x, t.batch()?, axis).scatter_along_axis(at, 1, 4), size as f64 * t.bound))
}

pub fn cross_entropy_fed<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let ((axis, _), index) = (t.axis()?, index(pool));
    let labels = index.max(index.zeros_like());
    Some((matrix_of(t.x, t.batch()?, axis).softmax_cross_entropy(labels), 2.0 * t.bound + 5.0))
}

/// Where it stands along an axis.
pub fn counted<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let ((axis, size), shape) = (t.axis()?, t.x.shape());
    Some(match t.even() {
        true => (t.x + pool.b.iota(t.x.dtype(), shape, axis) * 0.1, t.bound + 0.1 * size as f64),
        false => (t.x * pool.b.iota(DType::I32, shape, axis).cast(t.x.dtype()), size as f64 * t.bound),
    })
}
