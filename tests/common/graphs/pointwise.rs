//! What looks at each element by itself.

use super::menu::{Drawn, Turn, elements};
use super::movement::permutation;
use super::pool::Pool;
use foldgrad::ir::Shape;
use foldgrad::ops::GeluForm;
use foldgrad::{DType, Expr};

pub fn squash<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x.tanh(), 1.0))
}

pub fn halve<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x * 0.5, t.bound))
}

pub fn scale<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some(if t.even() { (t.x * -2.0, 2.0 * t.bound) } else { (t.x * 0.5 + 0.1, t.bound) })
}

pub fn smooth<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (x, bound) = (t.x, t.bound);
    let square = || x * x;
    Some(match t.knob % 13 {
        0 => (x.tanh(), 1.0),
        1 => (x.sigmoid(), 1.0),
        2 => (x.sin(), 1.0),
        3 => (x.cos(), 1.0),
        4 if bound <= 2.0 => (x.exp(), bound.exp()),
        4 => (x.tanh().expm1(), 2.0),
        5 => (x.softplus(), bound + 0.7),
        6 => (x.silu(), bound),
        7 => (x.gelu([GeluForm::Exact, GeluForm::Tanh][usize::from(t.second) % 2]), bound),
        8 => (x.erf(), 1.0),
        9 => (square().log1p(), 2.0 * bound.ln_1p()),
        10 => ((square() + 1.0).sqrt(), bound + 1.0),
        11 => ((square() + 0.5).rsqrt(), 1.5),
        _ => ((square() + 0.5).log(), 4.0),
    })
}

/// A function with a kink; at the kink itself both sides follow one convention.
pub fn kinked<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let x = t.x;
    let value = match t.knob % 12 {
        0 => x.relu(),
        1 => x.abs(),
        2 => x.leaky_relu(0.2),
        3 => x.elu(0.7),
        4 => x.selu(),
        5 => x.clamp(-0.5, 0.5),
        6 | 9 => compared(t).select(x.sin(), x * 0.5),
        10 => x.sign().stop_gradient() * x,
        7 => x.greater(x.full_like(0.1)).select(x.sin() * 0.0 + 0.25, x.full_like(0.25)) * x,
        8 => x.max(x.zeros_like()),
        _ => x.max(x.zeros_like()).min(x.full_like(1.0)),
    };
    Some((value, 2.0 * t.bound))
}

/// Where it is beyond a number.
fn compared<'b>(t: &Turn<'b>) -> Expr<'b> {
    let (x, limit) = (t.x, t.x.full_like(0.1));
    match t.second / 4 % 4 {
        0 => x.greater(limit),
        1 => x.greater_equal(limit),
        2 => x.less(limit),
        _ => x.less_equal(limit),
    }
}

pub fn relu<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    Some((t.x.relu(), t.bound))
}

/// What a positive scale passes.
pub fn ramp<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let x = t.x;
    let value = match t.knob / 4 % 3 {
        0 => x.relu(),
        1 => x.leaky_relu(0.5),
        _ => x.max(x.zeros_like()),
    };
    Some((value, t.bound))
}

pub fn negate<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((-t.x, t.bound))
}

/// Gradients pass one of the two ways.
pub fn stopped<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some(if t.even() { (t.x.stop_gradient() * 0.5 + t.x, 1.5 * t.bound) } else { (t.x.stop_gradient(), t.bound) })
}

/// Through another type and back.
pub fn cast<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    Some((t.x.cast(DType::F32).cast(t.x.dtype()).stop_gradient() * 0.0 + t.x, t.bound))
}

pub fn add_like<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, bound) = pool.like(t);
    Some((t.x + y, t.bound + bound))
}

pub fn multiply_like<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, bound) = pool.like(t);
    Some((t.x * y, t.bound * bound))
}

pub fn divide_like<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let (y, _) = pool.like(t);
    Some((t.x / (y.abs() + 0.5), 2.0 * t.bound))
}

pub fn mix_fitted<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, bound) = pool.fitted(t.x, t.second);
    Some(if t.even() { ((t.x + y) * 0.5, t.bound.max(bound)) } else { (t.x * y, t.bound * bound) })
}

/// Another value, which broadcasts with this one: shapes that do not, or to something large, meet through a scalar.
fn partner<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Drawn<'b> {
    let (y, bound) = pool.pick(t.second);
    let (a, b) = (t.x.shape(), y.shape());
    let one = 1.into();
    let fits = a.iter().rev().zip(b.iter().rev()).all(|(m, n)| m == n || *m == one || *n == one);
    let is_small = a == b || elements(a) * elements(b) <= pool.menu.most;
    (if fits && is_small { y } else { y.mean_all() }, bound)
}

pub fn add<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, bound) = partner(pool, t);
    Some((if t.knob.is_multiple_of(3) { t.x - y } else { t.x + y }, t.bound + bound))
}

pub fn multiply<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, bound) = partner(pool, t);
    Some((t.x * y, t.bound * bound))
}

pub fn divide<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, _) = partner(pool, t);
    Some((t.x / (y * y + 1.0), t.bound))
}

pub fn power<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (y, _) = partner(pool, t);
    Some(((t.x * t.x + 0.5).pow(y.tanh()), t.bound * t.bound + 2.0))
}

pub fn larger<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    pool.smooth = false;
    let (y, bound) = partner(pool, t);
    Some((if t.even() { t.x.max(y) } else { t.x.min(y) }, t.bound.max(bound)))
}

/// What needs no axis: also for scalars.
pub fn any<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    match t.knob % 24 {
        0..13 => smooth(pool, t),
        13 => kinked(pool, &Turn { knob: t.knob / 24, ..t.of((t.x, t.bound)) }),
        14..17 => add(pool, t),
        17..20 => multiply(pool, t),
        20 => divide(pool, t),
        21 => power(pool, t),
        _ => larger(pool, t),
    }
}

/// A sum, difference, product or quotient with a weight, laid along one axis, two axes, or all.
pub fn map<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let x = t.x;
    let domain = pool.menu.factors[t.knob % pool.menu.factors.len()];
    let weight = match (t.knob / 2 % 6, &t.known[..]) {
        (0, _) => pool.scalar(if t.even() { 0.75 } else { -1.25 }).broadcast_to(x.shape()),
        (1, &[.., (i, m), (j, n)]) => pool.weight("pixels", t, [m, n], domain).broadcast_in(x.shape(), &[i, j]),
        (4, _) if pool.menu.open => pool.weight("each", t, x.shape(), domain),
        (5, _) if pool.menu.open => -pool.weight("each", t, x.shape(), domain),
        _ => {
            let axis = pool.axis(t)?;
            pool.weight("factor", t, [x.shape()[axis]], domain).along(axis, x)
        }
    };
    let bound = 2.0 * t.bound + 2.0;
    Some(match t.second / 4 % 8 {
        0 => (x + weight, bound),
        1 => (weight + x, bound),
        2 => (x - weight, bound),
        3 => (weight - x, bound),
        4 => (x * weight, bound),
        5 => (weight * x, bound),
        6 => (x / weight, bound),
        _ => (weight / (x * x + 0.5), 4.0),
    })
}

/// What changes nothing, in many ways.
pub fn nothing<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let x = t.x;
    let order = permutation(x.rank(), t);
    let value = match t.knob % 15 {
        0 => x + 0.0,
        1 => 0.0 + x,
        2 => x - 0.0,
        3 => x * 1.0,
        4 => x / 1.0,
        5 => -(-x),
        6 => x * 1.0 - 0.0,
        7 => x.transpose(&order).transpose(&order),
        8 | 9 => {
            let (axis, size) = t.axis()?;
            let factor = super::movement::factor(size);
            let shape: Shape = super::movement::split_shape(x, axis, factor);
            x.reshape(shape).reshape(x.shape())
        }
        10 | 11 => {
            let (axis, size) = t.axis()?;
            x.slice(axis, 0..size)
        }
        _ => written(pool, x, usize::from(t.second)),
    };
    Some((value, t.bound))
}

/// Nodes that the expressions' own sugar leaves out, as a file may have them.
fn written<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize) -> Expr<'b> {
    let (ty, axes) = (x.ty(), (0..x.rank()).map(|axis| axis.to_string()).collect::<Vec<_>>().join(","));
    let node = match knob % 3 {
        0 => format!("cast(%0) {{dtype={}}}", ty.dtype),
        1 => format!("transpose(%0) {{permutation=[{axes}]}}"),
        _ => format!("reshape(%0) {{shape={}}}", ty.shape),
    };
    let text =
        format!("graph {{\n  %0 = input() {{name=\"x\", role=data, type={ty}}} : {ty}\n  %1 = {node} : {ty}\n}}\n");
    let graph = foldgrad::ir::parse(&text).expect("a graph in text form");
    let op = graph.nodes().last().map(|(_, node)| node.op().clone()).expect("two nodes");
    pool.b.push(op, &[x])
}

/// A value that is given out, and read as well.
pub fn given_out<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let name = format!("inner {}", pool.b.graph().len());
    pool.b.output(&name, t.x);
    Some((t.x * 1.5, 1.5 * t.bound))
}
