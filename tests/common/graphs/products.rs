//! Products with weights and with other values.

use super::menu::{Bias, Drawn, Turn, elements};
use super::movement::{factor, flat, split_shape, view};
use super::norms::norm_infer_last;
use super::pointwise::{map, ramp};
use super::pool::{Pool, SMALL};
use foldgrad::ir::Dim;

const NONE: (&[usize], &[usize]) = (&[], &[]);

/// `x·W + b` over the last axis, with the bias in one of the menu's forms; some biases are penalised.
pub fn dense<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (x, menu) = (t.x, pool.menu);
    let features = x.shape()[pool.last(t)?];
    let units: Dim = menu.units[t.knob % menu.units.len()].into();
    let form = menu.biases[usize::from(t.second) / 16 % menu.biases.len()];
    let kernel = pool.weight("kernel", t, [features, units], SMALL);
    let bound = 1.5 * (features.known().unwrap_or(3) as f64 * t.bound + 1.0);
    if let Bias::None = form {
        return Some((x.dense(kernel, None), bound));
    }
    let bias = pool.weight("bias", t, [units], SMALL);
    if t.second % 16 == 1 {
        pool.penalties.push((bias * bias).sum_all());
    }
    let product = |()| x.dot(kernel);
    let value = match form {
        Bias::None | Bias::Dense => x.dense(kernel, Some(bias)),
        Bias::Plus => product(()) + bias,
        Bias::Minus => product(()) - bias,
        Bias::From => bias - product(()),
    };
    Some((value, bound))
}

/// A product over one axis, with the weight on either side and in either order.
pub fn product<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (x, axis) = (t.x, pool.axis(t)?);
    let size = x.shape()[axis];
    let units: Dim = pool.menu.units[t.knob / 8 % pool.menu.units.len()].into();
    let value = match t.knob % 8 {
        0 => x.dot_general(pool.weight("transposed", t, [units, size], SMALL), (&[axis], &[1]), NONE),
        1 => pool.weight("left", t, [units, size], SMALL).dot_general(x, (&[1], &[axis]), NONE),
        2 => x.dot_general(pool.weight("vector", t, [size], SMALL), (&[axis], &[0]), NONE),
        3 => x.dot_general(pool.weight("wide", t, [2.into(), size, 2.into()], SMALL), (&[axis], &[1]), NONE),
        _ => x.dot_general(pool.weight("kernel", t, [size, units], SMALL), (&[axis], &[0]), NONE),
    };
    Some((value, 1.5 * size.known().unwrap_or(3) as f64 * t.bound))
}

/// A product over two axes at once.
pub fn over_two<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let &[.., (i, m), (j, n)] = &t.known[..] else { return None };
    let x = t.x;
    let value = match t.knob % 3 {
        0 => x.dot_general(pool.weight("both", t, [m, n, 3], SMALL), (&[i, j], &[0, 1]), NONE),
        1 => x.dot_general(pool.weight("crossed", t, [n, 3, m], SMALL), (&[i, j], &[2, 0]), NONE),
        _ => pool.weight("left both", t, [3, n, m], SMALL).dot_general(x, (&[1, 2], &[j, i]), NONE),
    };
    Some((value, 1.5 * (m * n) as f64 * t.bound))
}

/// A product with another value, over any two axes of one size.
pub fn contraction<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, other) = pool.pick(t.second);
    let (a, b) = (t.x.shape(), y.shape());
    let pairs = (0..a.rank()).flat_map(|i| (0..b.rank()).map(move |j| (i, j)));
    let (i, j) = pairs.into_iter().find(|&(i, j)| a[i] == b[j])?;
    let size = a[i].known().unwrap_or(3);
    if elements(a) * elements(b) / (size * size).max(1) > pool.menu.most {
        return None;
    }
    Some((t.x.dot_general(y, (&[i], &[j]), NONE), size as f64 * t.bound * other))
}

/// In step with the batch, contracted over the features.
pub fn in_step<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let ((axis, size), batch) = (t.axis()?, t.batch()?);
    let (y, bound) = pool.like(t);
    Some((t.x.dot_general(y, (&[axis], &[axis]), (&[batch], &[batch])), size as f64 * t.bound * bound))
}

/// A matrix by the first that it fits, or by itself.
pub fn matrices<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let x = t.x;
    if x.rank() != 2 {
        return None;
    }
    let shape = x.shape();
    let value = match pool.find(|y| y.rank() == 2 && y.shape()[0] == shape[1]) {
        Some((y, _)) => x.dot(y),
        None => x.transpose(&[1, 0]).dot(x),
    };
    Some((value.tanh(), 1.0))
}

/// A batch norm, a ramp and a product, in either order.
pub fn through_ramp<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let steps =
        if (t.second / 4).is_multiple_of(2) { [norm_infer_last, ramp, dense] } else { [dense, ramp, norm_infer_last] };
    steps.into_iter().try_fold((t.x, t.bound), |drawn, step| step(pool, &t.of(drawn)))
}

/// A map, a view and a product, in either order.
pub fn through_view<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    // No map by one number.
    let t = &Turn { knob: t.knob | 2, ..t.of((t.x, t.bound)) };
    if (t.second / 4).is_multiple_of(2) {
        let drawn = map(pool, t)?;
        let drawn = view(pool, &t.of(drawn)).unwrap_or(drawn);
        let drawn = if t.even() { (flat(drawn.0), drawn.1) } else { drawn };
        return dense(pool, &t.of(drawn)).or(Some(drawn));
    }
    let (z, bound) = dense(pool, t).unwrap_or((t.x, t.bound));
    let split = Turn::new(z, bound, t.knob, t.second).last();
    let z = split.map_or(z, |(axis, size)| z.reshape(split_shape(z, axis, factor(size))));
    let drawn = view(pool, &t.of((z, bound))).unwrap_or((z, bound));
    map(pool, &t.of(drawn)).or(Some(drawn))
}
