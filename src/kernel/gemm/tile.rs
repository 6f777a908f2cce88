//! Products by tiles of 8 × 3 or 12 × 2 vectors (6 × 2 where there are 16 registers), held in registers over the whole of
//! `k`.
//!
//! For each `k`, a tile loads 3 vectors of a row of `b` and broadcasts 8 elements of a column of `a`, for 24 multiply-adds:
//! half of what the load units could bring. So neither operand has to be packed as long as they come from cache.

use super::{CHAIN, ProductAt};
use crate::kernel::Real;
use crate::kernel::claim::claim;
use crate::kernel::simd::{Level, OverMemory};
use pulp::Simd;

/// # Safety
/// As [`product`](super::product), with a column stride of `b` of 1.
pub(super) unsafe fn tiles<T: Real>(level: Level, product: ProductAt<T>) {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Tiles { product, accumulate: false }) };
}

/// The tiles of a product. To be run, it asks for what [`tiles`] does.
pub(super) struct Tiles<T> {
    pub product: ProductAt<T>,
    /// Whether `c` holds the sum over earlier parts of `k`.
    pub accumulate: bool,
}

/// Vectors of a tile's row.
pub(super) const VECTORS: usize = 3;

impl<T: Real> OverMemory for Tiles<T> {
    type Output = ();

    /// # Safety
    /// As [`tiles`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        // SAFETY: the caller's.
        unsafe {
            self.columns::<S>(simd);
        }
    }
}

impl<T: Real> Tiles<T> {
    /// Panels of columns. With 32 registers, tiles of 8 rows of three vectors, and of 12 of two or one; with 16, tiles of 6
    /// rows of two, whose 12 sums, with the two vectors and a factor, leave one register.
    ///
    /// # Safety
    /// As [`tiles`].
    #[inline(always)]
    unsafe fn columns<S: Simd>(&self, simd: S) {
        let lanes = T::lanes::<S>();
        let (vectors, full) = (self.product.n.div_ceil(lanes), self.product.n / lanes);
        let is_wide = S::REGISTER_COUNT >= 32;
        let mut done = 0;
        while done < vectors {
            let (column, left) = (done * lanes, vectors - done);
            let is_tail = |width: usize| done + width > full;
            // SAFETY: the caller's.
            unsafe {
                done += match left {
                    1 if is_wide && is_tail(1) => self.rows::<S, 12, 8, 1, true>(simd, column),
                    1 if is_wide => self.rows::<S, 12, 8, 1, false>(simd, column),
                    // Two and two rather than three and one, which leaves the multipliers waiting.
                    2 | 4 if is_wide && is_tail(2) => self.rows::<S, 12, 8, 2, true>(simd, column),
                    2 | 4 if is_wide => self.rows::<S, 12, 8, 2, false>(simd, column),
                    _ if is_wide && is_tail(VECTORS) => self.rows::<S, 8, 4, VECTORS, true>(simd, column),
                    _ if is_wide => self.rows::<S, 8, 4, VECTORS, false>(simd, column),
                    1 if is_tail(1) => self.rows::<S, 6, 4, 1, true>(simd, column),
                    1 => self.rows::<S, 6, 4, 1, false>(simd, column),
                    _ if is_tail(2) => self.rows::<S, 6, 4, 2, true>(simd, column),
                    _ => self.rows::<S, 6, 4, 2, false>(simd, column),
                }
            }
        }
    }

    /// The tiles of `N` vectors of columns: of `ROWS` rows, then of `FEWER`, of 4 and of one. With a `TAIL`, the last vector
    /// is only as wide as the product.
    ///
    /// # Safety
    /// As [`tiles`], for the `N` vectors of columns from `column`.
    #[inline(always)]
    unsafe fn rows<S: Simd, const ROWS: usize, const FEWER: usize, const N: usize, const TAIL: bool>(
        &self,
        simd: S,
        column: usize,
    ) -> usize {
        let m = self.product.m;
        let mut row = 0;
        // SAFETY: the caller's, for rows below `m`.
        unsafe {
            // Four and four rather than six and two.
            while row + ROWS <= m && !(ROWS == 6 && m - row == 8) {
                self.tile::<S, ROWS, N, TAIL>(simd, row, column);
                row += ROWS;
            }
            if FEWER > 4 && row + FEWER <= m {
                self.tile::<S, FEWER, N, TAIL>(simd, row, column);
                row += FEWER;
            }
            while ROWS > 4 && row + 4 <= m {
                self.tile::<S, 4, N, TAIL>(simd, row, column);
                row += 4;
            }
            if ROWS == 6 && row + 2 <= m {
                self.tile::<S, 2, N, TAIL>(simd, row, column);
                row += 2;
            }
            while row < m {
                self.tile::<S, 1, N, TAIL>(simd, row, column);
                row += 1;
            }
        }
        N
    }

    /// # Safety
    /// As [`Tiles::rows`], for the `ROWS` rows from `row`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: usize, const N: usize, const TAIL: bool>(
        &self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        let ProductAt { k, n, a, b, c, c_stride, finish, .. } = self.product;
        let lanes = T::lanes::<S>();
        // Not looked at without a tail, where it would take a register.
        let mask = T::first(simd, if TAIL { n - column - (N - 1) * lanes } else { 0 });
        let is_partial = |v: usize| TAIL && v == N - 1;
        // SAFETY: the caller's; the partial vector is masked.
        unsafe {
            let c = c.add(row * c_stride + column);
            for row in 0..ROWS {
                claim(c.wrapping_add(row * c_stride), N * lanes);
            }
            let (mut a_at, mut b_at) = (a.start.add(row * a.row_stride), b.start.add(column));
            let mut sums = [[T::splat(simd, T::ZERO); N]; ROWS];
            let mut done = 0;
            loop {
                for _ in done..k.min(done + CHAIN) {
                    let mut factors = [T::splat(simd, T::ZERO); N];
                    for (v, factor) in factors.iter_mut().enumerate() {
                        let from = b_at.add(v * lanes);
                        *factor = if is_partial(v) { T::load_masked(simd, mask, from) } else { T::load::<S>(from) };
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let factor = T::splat(simd, a_at.add(r * a.row_stride).read());
                        for (sum, &other) in sums.iter_mut().zip(&factors) {
                            *sum = T::mul_add(simd, factor, other, *sum);
                        }
                    }
                    // The last step leads outside; it is not followed.
                    (a_at, b_at) = (a_at.wrapping_add(a.column_stride), b_at.wrapping_add(b.row_stride));
                }
                // The chains before this one wait in `c`.
                if done > 0 || self.accumulate {
                    for (r, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let from = c.add(r * c_stride + v * lanes);
                            let before =
                                if is_partial(v) { T::load_masked(simd, mask, from) } else { T::load::<S>(from) };
                            *sum = T::vector_add(simd, before, *sum);
                        }
                    }
                }
                done += CHAIN;
                if done >= k {
                    break;
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let to = c.add(r * c_stride + v * lanes);
                        if is_partial(v) {
                            T::store_masked(simd, mask, to, *sum)
                        } else {
                            T::store::<S>(to, *sum)
                        }
                        *sum = T::splat(simd, T::ZERO);
                    }
                }
            }
            if !finish.is_none() {
                for v in 0..N {
                    let from = finish.bias.wrapping_add(column + v * lanes);
                    let bias = match (finish.bias.is_null(), is_partial(v)) {
                        (true, _) => None,
                        (false, true) => Some(T::load_masked(simd, mask, from)),
                        (false, false) => Some(T::load::<S>(from)),
                    };
                    for sums in &mut sums {
                        sums[v] = bias.map_or(sums[v], |bias| T::vector_add(simd, sums[v], bias));
                        sums[v] = if finish.relu { T::vector_relu(simd, sums[v]) } else { sums[v] };
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    let to = c.add(r * c_stride + v * lanes);
                    if is_partial(v) { T::store_masked(simd, mask, to, sum) } else { T::store::<S>(to, sum) }
                }
            }
        }
    }
}
