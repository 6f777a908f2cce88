//! Sums over rows in a fixed order: trees of eight rows, blocks of eight trees, stretches of eight blocks, and stretches added
//! up in twice the digits.

use super::Large;
use super::formula::Sums;
use crate::kernel::Real;
use crate::kernel::total::Total;
use pulp::Simd;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows summed in one go before they are added to those of a stretch.
const BLOCK: usize = 64;

/// Rows whose sum needs no more digits than its terms have: most batches are no longer.
const STRETCH: usize = 8 * BLOCK;

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

/// `K` sums for `N` vectors of columns.
pub(super) type Vectors<S, T, const N: usize, const K: usize> = [[<T as Real>::Vector<S>; K]; N];

impl<S: Simd, T: Real, F, const N: usize, const GATED: bool> Terms<S, T, F, N, GATED> {
    /// The sums over `rows` rows.
    ///
    /// # Safety
    /// The arrays are readable there.
    #[inline(always)]
    pub(super) unsafe fn sums<const K: usize>(&self, simd: S, rows: usize) -> Vectors<S, T, N, K>
    where
        F: Sums<K>,
    {
        // SAFETY: the caller's.
        unsafe {
            let mut totals = None;
            let mut first = 0;
            let mut sums = loop {
                // One place that calls it: it is compiled into its callers.
                let sums = self.stretch(simd, first..rows.min(first + STRETCH));
                if rows <= STRETCH {
                    return sums;
                }
                gather::<S, T, K, N>(totals.get_or_insert([[[T::Total::of(T::ZERO); LANES]; K]; N]), &sums);
                first += STRETCH;
                if first >= rows {
                    break sums;
                }
            };
            let Some(totals) = totals else { return sums };
            for (sum, totals) in sums.iter_mut().flatten().zip(totals.iter().flatten()) {
                let lanes = totals.map(|total| total.rounded());
                *sum = T::load::<S>(lanes.as_ptr());
            }
            sums
        }
    }

    /// # Safety
    /// As [`Terms::sums`].
    #[inline(always)]
    unsafe fn stretch<const K: usize>(&self, simd: S, rows: Range<usize>) -> Vectors<S, T, N, K>
    where
        F: Sums<K>,
    {
        let mut sums = [[T::splat(simd, T::ZERO); K]; N];
        for first in rows.clone().step_by(BLOCK) {
            // SAFETY: the caller's.
            let block = unsafe { self.block(simd, first..rows.end.min(first + BLOCK)) };
            for (sums, block) in sums.iter_mut().zip(block) {
                *sums = add::<S, T, K>(simd, *sums, block);
            }
        }
        sums
    }

    /// # Safety
    /// As [`Terms::sums`].
    #[inline(always)]
    unsafe fn block<const K: usize>(&self, simd: S, rows: Range<usize>) -> Vectors<S, T, N, K>
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
    /// As [`Terms::sums`].
    #[inline(always)]
    unsafe fn four<const K: usize>(&self, simd: S, row: usize, vector: usize) -> [T::Vector<S>; K]
    where
        F: Sums<K>,
    {
        // SAFETY: the caller's.
        unsafe { add::<S, T, K>(simd, self.two(simd, row, vector), self.two(simd, row + 2, vector)) }
    }

    /// # Safety
    /// As [`Terms::sums`].
    #[inline(always)]
    unsafe fn two<const K: usize>(&self, simd: S, row: usize, vector: usize) -> [T::Vector<S>; K]
    where
        F: Sums<K>,
    {
        // SAFETY: the caller's.
        unsafe { add::<S, T, K>(simd, self.one(simd, row, vector), self.one(simd, row + 1, vector)) }
    }

    /// # Safety
    /// As [`Terms::sums`].
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

#[inline(always)]
fn gather<S: Simd, T: Real, const K: usize, const N: usize>(
    totals: &mut [[[T::Total; LANES]; K]; N],
    sums: &Vectors<S, T, N, K>,
) {
    for (totals, &sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
        let mut terms = [T::ZERO; LANES];
        // SAFETY: no vector has more lanes.
        unsafe { T::store::<S>(terms.as_mut_ptr(), sum) };
        totals.iter_mut().zip(terms).for_each(|(total, term)| *total = total.plus(term));
    }
}

#[inline(always)]
fn add<S: Simd, T: Real, const K: usize>(simd: S, mut a: [T::Vector<S>; K], b: [T::Vector<S>; K]) -> [T::Vector<S>; K] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = T::vector_add(simd, *a, b);
    }
    a
}
