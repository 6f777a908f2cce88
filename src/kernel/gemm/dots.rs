//! `c[i, j] = Σₖ a[i, k]·b[j, k]` for few rows `i`: both operands are read along `k`, lane by lane, and the lanes are added at
//! the end.
//!
//! Lanes begin anew in every block of `b`, whose widths are multiples of a vector, so the sum has one order for any width.

use super::Product;
use crate::kernel::Real;
use crate::kernel::simd::Level;
use crate::plan::Blocks;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// # Safety
/// As [`product_of_transposed_blocks`](super::blocks::product_of_transposed_blocks).
pub(super) unsafe fn dots<T: Real>(level: Level, product: Product<T>, blocks: Blocks, rows: Range<usize>) {
    level.dispatch(Dots { product, blocks, rows });
}

struct Dots<T> {
    product: Product<T>,
    blocks: Blocks,
    rows: Range<usize>,
}

impl<T: Real> WithSimd for Dots<T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the caller of `dots` vouches for the memory; positions stay inside the product.
        unsafe {
            if S::REGISTER_COUNT >= 32 {
                self.tiles::<S, 4, 6>(simd);
            } else {
                self.tiles::<S, 2, 4>(simd);
            }
        }
    }
}

impl<T: Real> Dots<T> {
    /// # Safety
    /// As [`dots`].
    #[inline(always)]
    unsafe fn tiles<S: Simd, const M: usize, const N: usize>(&self, simd: S) {
        let (m, n) = (self.product.m, self.rows.len());
        // SAFETY: the caller's.
        unsafe {
            for i in (0..m).step_by(M) {
                for j in (0..n).step_by(N) {
                    if i + M <= m && j + N <= n {
                        self.tile::<S, M, N>(simd, i, j);
                        continue;
                    }
                    for i in i..m.min(i + M) {
                        for j in j..n.min(j + N) {
                            self.tile::<S, 1, 1>(simd, i, j);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`dots`], for `M` rows from `i` and `N` columns from `j`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(&self, simd: S, i: usize, j: usize) {
        let Product { k, a, b, c, c_stride, .. } = self.product;
        let lanes = T::lanes::<S>();
        let mut sums = [[T::splat(simd, T::ZERO); N]; M];
        // SAFETY: the caller's; the last vector of a block is masked.
        unsafe {
            for column in (0..k).step_by(self.blocks.width) {
                let (start, width) = self.blocks.block(column);
                let (a_at, b_at) = (
                    a.start.add(i * a.row_stride + column),
                    b.start.add(start + (self.rows.start + j) * width),
                );
                let mut at = 0;
                while at + lanes <= width {
                    let left: [T::Vector<S>; M] =
                        std::array::from_fn(#[inline(always)] |r| T::load::<S>(a_at.add(r * a.row_stride + at)));
                    for l in 0..N {
                        let right = T::load::<S>(b_at.add(l * width + at));
                        for r in 0..M {
                            sums[r][l] = T::mul_add(simd, left[r], right, sums[r][l]);
                        }
                    }
                    at += lanes;
                }
                if at < width {
                    let mask = T::first(simd, width - at);
                    for l in 0..N {
                        let right = T::load_masked(simd, mask, b_at.add(l * width + at));
                        for r in 0..M {
                            let left = T::load_masked(simd, mask, a_at.add(r * a.row_stride + at));
                            sums[r][l] = T::mul_add(simd, left, right, sums[r][l]);
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (l, &sum) in sums.iter().enumerate() {
                    c.add((i + r) * c_stride + j + l).write(T::vector_sum(simd, sum));
                }
            }
        }
    }
}
