//! Sums and maps over rows, for strips of a few vectors of columns that stay in registers from the first row to the last.

use super::blocks::Terms;
use super::formula::{Each, Sums};
use super::{Large, Window};
use crate::kernel::Real;
use pulp::Simd;
use std::marker::PhantomData;

/// Lanes of the widest vector.
const LANES: usize = 16;

/// Vectors of a strip: enough sums to keep the adders busy.
const VECTORS: usize = 4;

/// Calls a body for the columns of a window, several vectors at a time while there are as many, then one at a time. The
/// last vector may overlap the one before it: whatever is computed twice is the same.
macro_rules! for_each_strip {
    ($width:expr, $lanes:expr, $body:ident, [$($generic:tt),*], $($argument:expr),*) => {{
        let mut column = 0;
        while column + VECTORS * $lanes <= $width {
            $body::<$($generic),*, VECTORS>($($argument),*, column);
            column += VECTORS * $lanes;
        }
        while column < $width {
            $body::<$($generic),*, 1>($($argument),*, column.min($width - $lanes));
            column += $lanes;
        }
    }};
}

/// `results[i][c] = Σ F(a, b, p[c])[i]` over the rows.
///
/// # Safety
/// The arrays are readable over the window, whose `inner` is 1 and which is at least a vector wide.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool>(
    simd: S,
    window: Window,
    of: Large<T>,
    p: &[T],
    results: [&mut [T]; K],
) {
    let (p, results) = (p.as_ptr(), results.map(<[T]>::as_mut_ptr));
    let (width, lanes) = (window.width(), T::lanes::<S>());
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe { for_each_strip!(width, lanes, sum_strip, [S, T, F, K, GATED], simd, window, of, p, results) }
}

/// # Safety
/// As [`sums`], for `N` vectors of columns from `column`.
#[inline(always)]
unsafe fn sum_strip<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool, const N: usize>(
    simd: S,
    window: Window,
    of: Large<T>,
    p: *const T,
    results: [*mut T; K],
    column: usize,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's.
    unsafe {
        let mut p_of = [T::splat(simd, T::ZERO); N];
        for (v, p_of) in p_of.iter_mut().enumerate() {
            *p_of = T::load::<S>(p.add(column + v * lanes));
        }
        let from = window.from + column;
        let strip = Terms::<S, T, F, N, GATED> { of, from, stride: window.channels, p: p_of, formula: PhantomData };
        for (v, sums) in strip.sums(simd, window.outer).iter().enumerate() {
            for (&result, &sum) in results.iter().zip(sums) {
                T::store::<S>(result.add(column + v * lanes), sum);
            }
        }
    }
}

/// `y = F(a, b, the coefficients of the column)`. Gives a sum of magnitudes that none of `y` is above.
///
/// # Safety
/// As [`sums`], with `y` writable over the window and apart from what is read.
#[inline(always)]
pub(super) unsafe fn each<S: Simd, T: Real, F: Each, const GATED: bool>(
    simd: S,
    window: Window,
    of: Large<T>,
    coefficients: [&[T]; 4],
    y: *mut T,
) -> T {
    let mut magnitude = T::ZERO;
    let vectors = coefficients.map(<[T]>::as_ptr);
    let (width, lanes) = (window.width(), T::lanes::<S>());
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe {
        for_each_strip!(width, lanes, each_strip, [S, T, F, GATED], simd, window, of, vectors, y, &mut magnitude);
    }
    magnitude
}

/// # Safety
/// As [`each`], for `N` vectors of columns from `column`.
#[inline(always)]
unsafe fn each_strip<S: Simd, T: Real, F: Each, const GATED: bool, const N: usize>(
    simd: S,
    window: Window,
    large: Large<T>,
    coefficients: [*const T; 4],
    y: *mut T,
    magnitude: &mut T,
    column: usize,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's.
    unsafe {
        let zero = T::splat(simd, T::ZERO);
        let mut of = [[zero; 4]; N];
        for (v, of) in of.iter_mut().enumerate() {
            *of = coefficients.map(|vector| T::load::<S>(vector.add(column + v * lanes)));
        }
        // Two sums, so that one addition need not wait for the one before.
        let mut magnitudes = [zero; 2];
        for row in 0..window.outer {
            let at = row * window.channels + window.from + column;
            for (v, &[p, q, r, s]) in of.iter().enumerate() {
                let operands = large.load::<S, GATED>(simd, at + v * lanes);
                let value = F::value::<S, T>(simd, operands, [p, q, r, s]);
                T::store::<S>(y.add(at + v * lanes), value);
                magnitudes[v % 2] = T::vector_add(simd, magnitudes[v % 2], T::vector_abs(simd, value));
            }
        }
        let mut sums = [T::ZERO; LANES];
        T::store::<S>(sums.as_mut_ptr(), T::vector_add(simd, magnitudes[0], magnitudes[1]));
        sums.into_iter().for_each(|sum| *magnitude += sum);
    }
}
