//! Sums and maps over rows, for strips of a few vectors of columns that stay in registers from the first row to the last.

use super::formula::{Each, Sums};
use super::{BLOCK, Large, Window};
use crate::kernel::Real;
use pulp::Simd;

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

/// `totals[i][c] = Σ F(a, b, p[c], q[c])[i]` over the rows, in blocks.
///
/// # Safety
/// The arrays are readable over the window, whose `inner` is 1 and which is at least a vector wide.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool>(
    simd: S,
    window: Window,
    of: Large<T>,
    [p, q]: [&[T]; 2],
    totals: [&mut [T]; K],
) {
    let vectors = [p.as_ptr(), q.as_ptr()];
    let totals = totals.map(<[T]>::as_mut_ptr);
    let (width, lanes) = (window.width(), T::lanes::<S>());
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe { for_each_strip!(width, lanes, sum_strip, [S, T, F, K, GATED], simd, window, of, vectors, totals) }
}

/// # Safety
/// As [`sums`], for `N` vectors of columns from `column`.
#[inline(always)]
unsafe fn sum_strip<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool, const N: usize>(
    simd: S,
    window: Window,
    of: Large<T>,
    [p, q]: [*const T; 2],
    totals: [*mut T; K],
    column: usize,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's.
    unsafe {
        let zero = T::splat(simd, T::ZERO);
        let (mut total, mut p_of, mut q_of) = ([[zero; K]; N], [zero; N], [zero; N]);
        for v in 0..N {
            p_of[v] = T::load::<S>(p.add(column + v * lanes));
            q_of[v] = T::load::<S>(q.add(column + v * lanes));
        }
        for block in (0..window.outer).step_by(BLOCK) {
            let mut partial = [[zero; K]; N];
            for row in block..window.outer.min(block + BLOCK) {
                let at = row * window.channels + window.from + column;
                for v in 0..N {
                    let [a, b] = of.load::<S, GATED>(simd, at + v * lanes);
                    let terms = F::terms::<S, T>(simd, [a, b, p_of[v], q_of[v]]);
                    for (partial, term) in partial[v].iter_mut().zip(terms) {
                        *partial = T::vector_add(simd, *partial, term);
                    }
                }
            }
            for (total, partial) in total.iter_mut().flatten().zip(partial.iter().flatten()) {
                *total = T::vector_add(simd, *total, *partial);
            }
        }
        for (v, total) in total.iter().enumerate() {
            for (&totals, &total) in totals.iter().zip(total) {
                T::store::<S>(totals.add(column + v * lanes), total);
            }
        }
    }
}

/// `y = F(a, b, the coefficients of the column)`.
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
) {
    let vectors = coefficients.map(<[T]>::as_ptr);
    let (width, lanes) = (window.width(), T::lanes::<S>());
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe { for_each_strip!(width, lanes, each_strip, [S, T, F, GATED], simd, window, of, vectors, y) }
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
        for row in 0..window.outer {
            let at = row * window.channels + window.from + column;
            for (v, &[p, q, r, s]) in of.iter().enumerate() {
                let operands = large.load::<S, GATED>(simd, at + v * lanes);
                T::store::<S>(y.add(at + v * lanes), F::value::<S, T>(simd, operands, [p, q, r, s]));
            }
        }
    }
}
