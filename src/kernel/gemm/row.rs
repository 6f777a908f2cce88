//! `c[n] = Σₖ a[k]·b[k, n]`: one row, bound by reading `b`.

use super::{CHAIN, ProductAt};
use crate::kernel::Real;
use crate::kernel::simd::{Level, OverMemory};
use pulp::Simd;

/// # Safety
/// As [`product`](super::product), with `m` = 1 and a column stride of `b` of 1.
pub(super) unsafe fn row<T: Real>(level: Level, product: ProductAt<T>) {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Row { product }) };
}

struct Row<T> {
    product: ProductAt<T>,
}

/// Rows of `b` that one visit of `c` takes in.
const ROWS: usize = 8;

impl<T: Real> OverMemory for Row<T> {
    type Output = ();

    /// # Safety
    /// As [`row`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        let n = self.product.n;
        for column in (0..n).step_by(STRIP) {
            // SAFETY: the caller's.
            unsafe { self.strip::<S>(simd, column, STRIP.min(n - column)) };
        }
    }
}

impl<T: Real> Row<T> {
    /// # Safety
    /// As [`row`], for `width` columns from `column`.
    #[inline(always)]
    unsafe fn strip<S: Simd>(&self, simd: S, column: usize, width: usize) {
        let ProductAt { k, a, b, c, finish, .. } = self.product;
        let (finish, lanes) = (finish.behind(column), T::lanes::<S>());
        let mut chain = [T::ZERO; STRIP];
        // SAFETY: whole vectors end at or before the width, the masked one covers the rest, and rows stay below `k`.
        unsafe {
            let (b, c) = (b.start.add(column), c.add(column));
            let mut done = 0;
            loop {
                chain[..width].fill(T::ZERO);
                let end = k.min(done + CHAIN);
                let first = done == 0;
                while done < end {
                    let (from, factors) =
                        (b.add(done * self.product.b.row_stride), a.start.add(done * a.column_stride));
                    let (b, factors) = ((from, self.product.b.row_stride), (factors, a.column_stride));
                    if end - done >= ROWS {
                        visit::<S, T, ROWS>(simd, width, lanes, factors, b, chain.as_mut_ptr());
                        done += ROWS;
                    } else {
                        visit::<S, T, 1>(simd, width, lanes, factors, b, chain.as_mut_ptr());
                        done += 1;
                    }
                }
                let is_last = done >= k;
                for i in (0..width).step_by(lanes) {
                    let mask = T::first(simd, lanes.min(width - i));
                    let mut sum = T::load_masked(simd, mask, chain.as_ptr().add(i));
                    if !first {
                        sum = T::vector_add(simd, T::load_masked(simd, mask, c.add(i)), sum);
                    }
                    if is_last && !finish.bias.is_null() {
                        sum = T::vector_add(simd, sum, T::load_masked(simd, mask, finish.bias.add(i)));
                    }
                    let sum = if is_last && finish.relu { T::vector_relu(simd, sum) } else { sum };
                    T::store_masked(simd, mask, c.add(i), sum);
                }
                if is_last {
                    break;
                }
            }
        }
    }
}

/// Columns whose chains are kept at a time: in the first-level cache, beside what is read of `b`.
const STRIP: usize = 512;

/// Adds `R` rows of `b`, in order, to `c`.
///
/// # Safety
/// The rows, their factors and `c` are in bounds for `n` elements.
#[inline(always)]
unsafe fn visit<S: Simd, T: Real, const R: usize>(
    simd: S,
    n: usize,
    lanes: usize,
    (factors, factor_stride): (*const T, usize),
    (b, b_stride): (*const T, usize),
    c: *mut T,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut factor = [T::splat(simd, T::ZERO); R];
        for (r, factor) in factor.iter_mut().enumerate() {
            *factor = T::splat(simd, factors.add(r * factor_stride).read());
        }
        let mut at = 0;
        while at + lanes <= n {
            let mut sum = T::load::<S>(c.add(at));
            for (r, &factor) in factor.iter().enumerate() {
                sum = T::mul_add(simd, factor, T::load::<S>(b.add(r * b_stride + at)), sum);
            }
            T::store::<S>(c.add(at), sum);
            at += lanes;
        }
        if at < n {
            let mask = T::first(simd, n - at);
            let mut sum = T::load_masked(simd, mask, c.add(at));
            for (r, &factor) in factor.iter().enumerate() {
                sum = T::mul_add(simd, factor, T::load_masked(simd, mask, b.add(r * b_stride + at)), sum);
            }
            T::store_masked(simd, mask, c.add(at), sum);
        }
    }
}
