//! Sums, extremes and what is made of them.

use super::menu::{Drawn, Turn};
use super::pool::Pool;

pub fn sum<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    Some((t.x.sum(&[axis]), size as f64 * t.bound))
}

pub fn running<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    let value = if t.second.is_multiple_of(2) { t.x.cumulative_sum(axis) } else { t.x.reversed_cumulative_sum(axis) };
    Some((value, size as f64 * t.bound))
}

pub fn mean<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x.mean(&[axis]), t.bound))
}

/// Over an axis that may be of unknown size, or of none; never to a scalar.
pub fn over_any<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let axis = t.any_axis().filter(|_| t.x.rank() > 1)?;
    Some((if t.second.is_multiple_of(2) { t.x.sum(&[axis]) } else { t.x.mean(&[axis]) }, 3.0 * t.bound))
}

/// Over the first axis, which may be the batch.
pub fn over_first<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    (t.x.rank() > 0).then(|| (t.x.sum(&[0]).tanh(), 1.0))
}

pub fn extreme<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let (axis, _) = t.axis()?;
    Some((if t.second.is_multiple_of(2) { t.x.reduce_max(&[axis]) } else { t.x.reduce_min(&[axis]) }, t.bound))
}

pub fn product<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x.tanh().product(&[axis]), 1.0))
}

pub fn softmax<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x.softmax(axis), 1.0))
}

pub fn log_softmax<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x.log_softmax(axis), 2.0 * t.bound + 5.0))
}

pub fn centred<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x - t.x.mean(&[axis]).unreduce(&[axis], t.x), 2.0 * t.bound))
}

/// By how many there are along an axis of known size.
pub fn by_count<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.axis()?;
    Some((t.x / t.x.count(&[axis]), t.bound))
}
