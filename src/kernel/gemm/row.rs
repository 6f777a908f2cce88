//! `c[n] = Σₖ a[k]·b[k, n]`: one row, bound by reading `b`.

use super::Product;
use crate::kernel::Real;
use crate::kernel::simd::Level;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// # Safety
/// As [`product`](super::product), with `m` = 1 and a column stride of `b` of 1.
pub(super) unsafe fn row<T: Real>(level: Level, product: Product<T>) {
    level.dispatch(Row { product, of: PhantomData });
}

struct Row<T> {
    product: Product<T>,
    of: PhantomData<T>,
}

/// Rows of `b` that one visit of `c` takes in.
const ROWS: usize = 8;

impl<T: Real> WithSimd for Row<T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { k, n, a, b, c, finish, .. } = self.product;
        let lanes = T::lanes::<S>();
        // SAFETY: whole vectors end at or before `n`, the masked one covers the rest, and rows stay below `k`.
        unsafe {
            for i in 0..n {
                c.add(i).write(T::ZERO);
            }
            let mut done = 0;
            while done < k {
                let rows = if k - done >= ROWS { ROWS } else { 1 };
                let (from, factors) = (b.start.add(done * b.row_stride), a.start.add(done * a.column_stride));
                if rows == ROWS {
                    visit::<S, T, ROWS>(simd, n, lanes, (factors, a.column_stride), (from, b.row_stride), c);
                } else {
                    visit::<S, T, 1>(simd, n, lanes, (factors, a.column_stride), (from, b.row_stride), c);
                }
                done += rows;
            }
            for i in (0..n).step_by(lanes).filter(|_| !finish.is_none()) {
                let mask = T::first(simd, lanes.min(n - i));
                let mut sum = T::load_masked(simd, mask, c.add(i));
                if !finish.bias.is_null() {
                    sum = T::vector_add(simd, sum, T::load_masked(simd, mask, finish.bias.add(i)));
                }
                T::store_masked(simd, mask, c.add(i), if finish.relu { T::vector_relu(simd, sum) } else { sum });
            }
        }
    }
}

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
