//! Sums over rows in a fixed order: trees of eight rows, blocks of eight trees, and blocks added up in twice the digits. The
//! order is that of [reductions](crate::kernel::reduce).

use super::Large;
use super::formula::Sums;
use crate::kernel::Real;
use crate::kernel::total::Total;
use pulp::Simd;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows summed in one go before they are added to the totals.
const BLOCK: usize = 64;

/// Lanes of the widest vector.
const LANES: usize = 16;

/// The terms of a formula for `N` vectors of columns.
#[derive(Clone, Copy)]
pub(super) struct Terms<S: Simd, T: Real, F, const N: usize, const GATED: bool> {
    pub of: Large<T>,
    /// The first element of the first row.
    pub from: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// The coefficient of each column.
    pub p: [T::Vector<S>; N],
    pub formula: PhantomData<F>,
}

/// Totals of `K` sums for `N` vectors of columns.
pub(super) type Totals<T, const N: usize, const K: usize> = [[[<T as Real>::Total; LANES]; K]; N];

impl<S: Simd, T: Real, F, const N: usize, const GATED: bool> Terms<S, T, F, N, GATED> {
    /// The sums over `rows` rows.
    ///
    /// # Safety
    /// The arrays are readable there.
    #[inline(always)]
    pub(super) unsafe fn totals<const K: usize>(&self, simd: S, rows: usize) -> Totals<T, N, K>
    where
        F: Sums<K>,
    {
        let mut totals = [[[T::Total::of(T::ZERO); LANES]; K]; N];
        // SAFETY: the caller's.
        unsafe {
            // The first block starts the totals: there is often no other.
            each_lane::<S, T, K, N>(&mut totals, self.block(simd, 0..rows.min(BLOCK)), |_, term| T::Total::of(term));
            for first in (BLOCK..rows).step_by(BLOCK) {
                let block = self.block(simd, first..rows.min(first + BLOCK));
                each_lane::<S, T, K, N>(&mut totals, block, |total, term| total.plus(term));
            }
        }
        totals
    }

    /// # Safety
    /// As [`Terms::totals`].
    #[inline(always)]
    unsafe fn block<const K: usize>(&self, simd: S, rows: Range<usize>) -> [[T::Vector<S>; K]; N]
    where
        F: Sums<K>,
    {
        let mut sums = [[T::splat(simd, T::ZERO); K]; N];
        let (mut row, end) = (rows.start, rows.end);
        // SAFETY: the caller's; trees end at or before the last row.
        unsafe {
            while row + 8 <= end {
                for (v, sums) in sums.iter_mut().enumerate() {
                    let eight = add::<S, T, K>(simd, self.four(simd, row, v), self.four(simd, row + 4, v));
                    *sums = add::<S, T, K>(simd, *sums, eight);
                }
                row += 8;
            }
            if row + 4 <= end {
                for (v, sums) in sums.iter_mut().enumerate() {
                    *sums = add::<S, T, K>(simd, *sums, self.four(simd, row, v));
                }
                row += 4;
            }
            if row + 2 <= end {
                for (v, sums) in sums.iter_mut().enumerate() {
                    *sums = add::<S, T, K>(simd, *sums, self.two(simd, row, v));
                }
                row += 2;
            }
            if row < end {
                for (v, sums) in sums.iter_mut().enumerate() {
                    *sums = add::<S, T, K>(simd, *sums, self.one(simd, row, v));
                }
            }
        }
        sums
    }

    /// # Safety
    /// As [`Terms::totals`].
    #[inline(always)]
    unsafe fn four<const K: usize>(&self, simd: S, row: usize, vector: usize) -> [T::Vector<S>; K]
    where
        F: Sums<K>,
    {
        // SAFETY: the caller's.
        unsafe { add::<S, T, K>(simd, self.two(simd, row, vector), self.two(simd, row + 2, vector)) }
    }

    /// # Safety
    /// As [`Terms::totals`].
    #[inline(always)]
    unsafe fn two<const K: usize>(&self, simd: S, row: usize, vector: usize) -> [T::Vector<S>; K]
    where
        F: Sums<K>,
    {
        // SAFETY: the caller's.
        unsafe { add::<S, T, K>(simd, self.one(simd, row, vector), self.one(simd, row + 1, vector)) }
    }

    /// # Safety
    /// As [`Terms::totals`].
    #[inline(always)]
    unsafe fn one<const K: usize>(&self, simd: S, row: usize, vector: usize) -> [T::Vector<S>; K]
    where
        F: Sums<K>,
    {
        let at = self.from + row * self.stride + vector * T::lanes::<S>();
        // SAFETY: the caller's.
        let [a, b] = unsafe { self.of.load::<S, GATED>(simd, at) };
        F::terms::<S, T>(simd, [a, b, self.p[vector]])
    }
}

/// Makes each total of what it was and of a block's sum.
#[inline(always)]
fn each_lane<S: Simd, T: Real, const K: usize, const N: usize>(
    totals: &mut Totals<T, N, K>,
    block: [[T::Vector<S>; K]; N],
    next: impl Fn(T::Total, T) -> T::Total,
) {
    for (totals, &sums) in totals.iter_mut().flatten().zip(block.iter().flatten()) {
        let mut terms = [T::ZERO; LANES];
        // SAFETY: no vector has more lanes.
        unsafe { T::store::<S>(terms.as_mut_ptr(), sums) };
        for (total, &term) in totals.iter_mut().zip(&terms).take(T::lanes::<S>()) {
            *total = next(*total, term);
        }
    }
}

#[inline(always)]
fn add<S: Simd, T: Real, const K: usize>(simd: S, mut a: [T::Vector<S>; K], b: [T::Vector<S>; K]) -> [T::Vector<S>; K] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = T::vector_add(simd, *a, b);
    }
    a
}
