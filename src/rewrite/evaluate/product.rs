//! The general product as matrix products: `out[b, i, j] = Σ_k lhs[b, i, k]·rhs[b, k, j]`, each sum in the order of `k`.

use super::content::{Content, View, gather};
use super::number::Exact;
use super::walk::{Axes, row_major};
use crate::ops::Dot;
use crate::reference::{Array, NdArray};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) fn dot<S: Exact>(op: &Dot, lhs: &Content<S>, rhs: &Content<S>, shape: &[usize]) -> Content<S> {
    let rows = op.lhs_free(lhs.shape.len());
    let columns = op.rhs_free(rhs.shape.len());
    let a = packed(lhs, [&op.lhs_batch, &rows, &op.lhs_contract]);
    let b = packed(rhs, [&op.rhs_batch, &op.rhs_contract, &columns]);
    let size = |content: &Content<S>, axes: &[usize]| axes.iter().map(|&axis| content.shape[axis]).product();
    let (batch, m): (usize, usize) = (size(lhs, &op.lhs_batch), size(lhs, &rows));
    let (k, n): (usize, usize) = (size(lhs, &op.lhs_contract), size(rhs, &columns));
    let mut data = Vec::with_capacity(batch * m * n);
    let mut sums = vec![S::nothing(); m * n];
    for index in 0..batch {
        sums.fill(S::nothing());
        multiply(&a[index * m * k..][..m * k], &b[index * k * n..][..k * n], [m, k, n], &mut sums);
        data.extend(sums.iter().map(|&sum| S::total(sum)));
    }
    Content::new(Arc::new(Array::Real(NdArray { shape: shape.to_vec(), data })))
}

/// The elements one after another with the axes in that order; borrowed where they already lie so.
fn packed<'a, S: Exact>(content: &'a Content<S>, order: [&[usize]; 3]) -> Cow<'a, [S]> {
    let View { data, strides } = content.real();
    let order = order.concat();
    let shape: Axes = order.iter().map(|&axis| content.shape[axis]).collect();
    let strides: Axes = order.iter().map(|&axis| strides[axis]).collect();
    if strides == row_major(&shape) && data.len() == shape.iter().product::<usize>() {
        return Cow::Borrowed(data);
    }
    Cow::Owned(gather(&shape, View { data, strides: &strides }))
}

/// Adds a product of row-major matrices to `sums`.
///
/// Four rows of `b` at a time, so that a sum is read and written once for four products; every row of `a` meets them
/// while they are in cache.
fn multiply<S: Exact>(a: &[S], b: &[S], [m, k, n]: [usize; 3], sums: &mut [S::Sum]) {
    const GROUP: usize = 4;
    if n == 0 {
        return;
    }
    let mut pending = 0;
    for start in (0..k).step_by(GROUP) {
        let group = GROUP.min(k - start);
        if pending + group > S::SETTLE {
            sums.iter_mut().for_each(|sum| *sum = S::settle(*sum));
            pending = 0;
        }
        pending += group;
        for (i, sums) in sums.chunks_exact_mut(n).enumerate().take(m) {
            let row = &a[i * k + start..][..group];
            let below = &b[start * n..][..group * n];
            if let [x0, x1, x2, x3] = *row {
                let (b0, below) = below.split_at(n);
                let (b1, below) = below.split_at(n);
                let (b2, b3) = below.split_at(n);
                for ((((sum, &y0), &y1), &y2), &y3) in sums.iter_mut().zip(b0).zip(b1).zip(b2).zip(b3) {
                    let two = S::add_product(S::add_product(*sum, x0, y0), x1, y1);
                    *sum = S::add_product(S::add_product(two, x2, y2), x3, y3);
                }
            } else {
                for (&x, below) in row.iter().zip(below.chunks_exact(n)) {
                    sums.iter_mut().zip(below).for_each(|(sum, &y)| *sum = S::add_product(*sum, x, y));
                }
            }
        }
    }
}
