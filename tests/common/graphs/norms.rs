//! Batch norm, trained and at rest.

use super::menu::{Drawn, Turn};
use super::pool::{FACTOR, POSITIVE, Pool, SMALL};
use super::products::dense;
use foldgrad::op::Role;

/// With weights for its moments, over one axis.
pub fn norm_infer<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    norm_infer_along(pool, t, pool.axis(t)?, t.even())
}

/// Over the last axis, with a scale that passes a ramp.
pub fn norm_infer_last<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    norm_infer_along(pool, t, pool.last(t)?, true)
}

fn norm_infer_along<'b>(pool: &mut Pool<'b>, t: &Turn<'b>, axis: usize, positive: bool) -> Option<Drawn<'b>> {
    let size = t.x.shape()[axis];
    let (name, gamma) = if positive { ("positive gamma", POSITIVE) } else { ("gamma", FACTOR) };
    let moments = [
        pool.weight(name, t, [size], gamma),
        pool.weight("beta", t, [size], SMALL),
        pool.weight("mean", t, [size], SMALL),
        pool.weight("variance", t, [size], POSITIVE),
    ];
    Some((t.x.batch_norm_infer(moments, axis, pool.menu.epsilon), 2.5 * t.bound + 3.0))
}

/// With moments that are values themselves.
pub fn norm_of_values<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, size) = t.axis()?;
    let (gamma, one) = pool.vector(t, size, t.second);
    let (beta, two) = pool.vector(t, size, t.second / 16);
    if t.knob.is_multiple_of(4) || t.x.rank() < 2 {
        let moments = [gamma, t.x.mean_all().broadcast_to([size]), beta, gamma * gamma + 0.5];
        return Some((t.x.batch_norm_infer(moments, axis, 1e-3), (2.0 * t.bound + two) * one.max(1.0) * 1.5));
    }
    let normed = t.x.batch_norm_train(gamma, beta, axis, 0.1);
    pool.push((normed.mean, t.bound));
    pool.push((normed.var, t.bound * t.bound));
    let count = (t.elements() / size.max(1)) as f64;
    Some((normed.y, one * count.sqrt() + two))
}

/// Training batch norm with weights, and running statistics, its mean or variance sometimes read.
pub fn norm_train<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let last = pool.last(t)?;
    let axis = if t.knob.is_multiple_of(5) { pool.axis(t)? } else { last };
    let (z, size) = (t.x, t.x.shape()[axis]);
    let factor = pool.menu.factors[0];
    let [gamma, beta] = ["gamma", "beta"].map(|kind| pool.weight(kind, t, [size], factor));
    let normed = z.batch_norm_train(gamma, beta, axis, pool.menu.epsilon);
    if pool.menu.running {
        let number = pool.weights.len();
        let mean = pool.declare(&format!("moving mean {number}"), Role::State, [size], SMALL);
        let var = pool.declare(&format!("moving variance {number}"), Role::State, [size], POSITIVE);
        pool.b.update(mean, mean * 0.9 + normed.mean * 0.1);
        pool.b.update(var, var * 0.9 + normed.var * 0.1);
    }
    let value = match t.knob / 4 % 10 {
        0 => normed.y + normed.mean.along(axis, z),
        1 => normed.y * normed.var.along(axis, z),
        // A second batch norm of the same value.
        2 => normed.y + z.batch_norm_train(beta, gamma, axis, pool.menu.epsilon).y,
        3 => {
            let name = format!("statistic {}", pool.b.graph().len());
            pool.b.output(&name, normed.mean);
            normed.y
        }
        _ => normed.y,
    };
    Some((value, 4.0 * t.bound + 4.0))
}

pub fn dense_norm_train<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let drawn = dense(pool, t)?;
    norm_train(pool, &t.of(drawn))
}

pub fn dense_norm_infer<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let drawn = if t.knob.is_multiple_of(3) { (t.x, t.bound) } else { dense(pool, t)? };
    let t = t.of(drawn);
    if t.knob.is_multiple_of(5) { norm_infer(pool, &t) } else { norm_infer_last(pool, &t) }
}
