//! Products by faer, on the thread that asks.

use super::{MatrixAt, ProductAt};
use crate::kernel::Real;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// # Safety
/// As [`product`](super::product).
pub(super) unsafe fn product<T: Real>(p: ProductAt<T>) {
    let matrix = |of: MatrixAt<T>, rows, columns| {
        // SAFETY: the caller's; a borrow of the matrix lasts only for this product.
        unsafe { MatRef::from_raw_parts(of.start, rows, columns, of.row_stride as isize, of.column_stride as isize) }
    };
    let (a, b) = (matrix(p.a, p.m, p.k), matrix(p.b, p.k, p.n));
    // SAFETY: the caller's.
    let c = unsafe { MatMut::from_raw_parts_mut(p.c, p.m, p.n, p.c_stride as isize, 1) };
    matmul(c, Accum::Replace, a, b, T::ONE, Par::Seq);
    if p.finish.is_none() {
        return;
    }
    for row in 0..p.m {
        // SAFETY: the caller's.
        let line = unsafe { std::slice::from_raw_parts_mut(p.c.add(row * p.c_stride), p.n) };
        if !p.finish.bias.is_null() {
            // SAFETY: the caller's: a bias has an element for each column.
            let bias = unsafe { std::slice::from_raw_parts(p.finish.bias, p.n) };
            line.iter_mut().zip(bias).for_each(|(value, &bias)| *value += bias);
        }
        if p.finish.relu {
            line.iter_mut().filter(|value| **value < T::ZERO).for_each(|value| *value = T::ZERO);
        }
    }
}
