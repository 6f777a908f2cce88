//! What a row of a batch cannot do by itself, and what it can.

use super::menu::{Drawn, Turn};
use super::norms::norm_of_values;
use super::pool::{Pool, SMALL};
use foldgrad::ir::{Dim, Role, TensorType};
use foldgrad::{DType, Expr, Tensor};

/// The fed index, one for each row.
pub fn index<'b>(pool: &Pool<'b>) -> Expr<'b> {
    pool.named("index").unwrap_or_else(|| pool.b.input("index", DType::I32, ["n"]))
}

/// One number for each row.
pub fn rows_of<'b>(x: Expr<'b>, batch: usize) -> Expr<'b> {
    let others: Vec<usize> = (0..x.rank()).filter(|&axis| axis != batch).collect();
    if others.is_empty() { x } else { x.mean(&others) }
}

/// A matrix of the batch and that axis.
pub fn matrix_of<'b>(x: Expr<'b>, batch: usize, axis: usize) -> Expr<'b> {
    let others: Vec<usize> = (0..x.rank()).filter(|&at| at != batch && at != axis).collect();
    let matrix = if others.is_empty() { x } else { x.mean(&others) };
    if batch < axis { matrix } else { matrix.transpose(&[1, 0]) }
}

/// A batch norm of each row by itself: the channel axis is the batch.
pub fn norm_of_rows<'b>(_: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let batch = t.batch()?;
    let gamma = rows_of(t.x, batch) * 0.0 + 1.0;
    Some((t.x.batch_norm_train(gamma, gamma * 0.5, batch, 0.1).y, 4.0))
}

/// A vector of the batch alone gets an axis; what has no rows any more is laid beside what has.
pub fn spread<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    if t.batch().is_none() || t.elements() > pool.menu.most {
        let mean = t.x.mean_all();
        let (other, _) = pool.pick(255);
        return Some((other.tanh() + mean, 1.0 + t.bound));
    }
    if !t.known.is_empty() {
        return Some((t.x * 0.5, t.bound));
    }
    let weight = pool.weight("spread", t, [1, 3], SMALL);
    Some((t.x.reshape([Dim::symbol("n"), 1.into()]) * weight, t.bound))
}

fn key<'b>(pool: &mut Pool<'b>) -> Expr<'b> {
    pool.named("key").unwrap_or_else(|| {
        pool.weights.insert("key".to_owned(), Tensor::vector(vec![3i32, 5]));
        pool.b.declare("key", Role::State, TensorType::new(DType::I32, [2]))
    })
}

/// In some graphs no value couples rows, in some a few do, in some many.
pub fn couple<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let is_to = match pool.seed % 3 {
        0 => false,
        1 => t.second.is_multiple_of(3),
        _ => true,
    };
    let batch = t.batch().filter(|_| is_to)?;
    let (x, n) = (t.x, Dim::symbol("n"));
    let value = match t.knob % 18 {
        0 => x * pool.b.size([n], x.dtype()) * 1e-3,
        1 => x / x.count(&[batch]),
        2 => x - x.mean(&[batch]).unreduce(&[batch], x),
        3 => x + x.mean_all(),
        4 => x + x.sum(&[batch]).unreduce(&[batch], x) * 1e-3,
        5 => x - x.reduce_max(&[batch]).unreduce(&[batch], x),
        6 => x * x.reduce_min(&[batch]).unreduce(&[batch], x),
        7 => x + pool.b.iota(x.dtype(), x.shape(), batch) * 1e-3,
        8 => x.softmax(batch) * 100.0,
        9 => {
            // Every row is the first one.
            let first = pool.b.scalar(DType::I32, 0.0).broadcast_to(x.shape());
            x.take_along_axis(first, batch) * 0.5 + x
        }
        10 => {
            let index = index(pool);
            x.scatter_along_axis(index.max(index.zeros_like()).along(batch, x), batch, n)
        }
        11 => {
            let key = key(pool);
            x.dropout(key, 0.3)
        }
        12 => {
            let key = key(pool);
            x * pool.b.random_uniform(key, x.dtype(), x.shape())
        }
        13 | 14 => {
            let pairs = x.dot_general(x, (&[batch], &[batch]), (&[], &[]));
            x + pairs.mean_all() * 1e-3
        }
        15 => {
            // Rows beside all rows, and back.
            let row = rows_of(x, batch);
            let table = row.reshape([n, 1.into()]) * 1.0 + row.broadcast_in([n, n], &[1]);
            table.mean(&[1]).along(batch, x) + x
        }
        _ => return norm_of_values(pool, t).or(Some((x.sum_all() * 1e-3 + x, t.bound))),
    };
    Some((value, 2.0 * t.bound + 2.0))
}
