//! Sums and maps over rows, for strips of a few vectors of columns that stay in registers from the first row to the last.

use super::formula::{Each, Sum};
use super::{BLOCK, Window};
use crate::kernel::Real;
use pulp::Simd;

/// Vectors of a strip: enough sums to keep the adders busy.
const VECTORS: usize = 4;

/// Calls a body for the columns of a window, several vectors at a time while there are as many, then one at a time. The
/// last vector may overlap the one before it: whatever is computed twice is the same.
macro_rules! for_each_strip {
    ($width:expr, $lanes:expr, $body:ident, $($argument:expr),*) => {{
        let mut column = 0;
        while column + VECTORS * $lanes <= $width {
            $body::<S, T, F, VECTORS>($($argument),*, column);
            column += VECTORS * $lanes;
        }
        while column < $width {
            $body::<S, T, F, 1>($($argument),*, column.min($width - $lanes));
            column += $lanes;
        }
    }};
}

/// `totals[c] = Σ F(a, b, p[c], q[c])` over the rows, in blocks.
///
/// # Safety
/// `a` and `b` are readable over the window, whose `inner` is 1 and which is at least a vector wide.
#[inline(always)]
pub(super) unsafe fn sum<S: Simd, T: Real, F: Sum>(
    simd: S,
    window: Window,
    [a, b]: [*const T; 2],
    [p, q]: [&[T]; 2],
    totals: &mut [T],
) {
    let vectors = [p.as_ptr(), q.as_ptr()];
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe {
        for_each_strip!(window.width(), T::lanes::<S>(), sum_strip, simd, window, [a, b], vectors, totals);
    }
}

/// # Safety
/// As [`sum`], for `N` vectors of columns from `column`.
#[inline(always)]
unsafe fn sum_strip<S: Simd, T: Real, F: Sum, const N: usize>(
    simd: S,
    window: Window,
    [a, b]: [*const T; 2],
    [p, q]: [*const T; 2],
    totals: &mut [T],
    column: usize,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's.
    unsafe {
        let zero = T::splat(simd, T::ZERO);
        let (mut total, mut p_of, mut q_of) = ([zero; N], [zero; N], [zero; N]);
        for v in 0..N {
            p_of[v] = T::load::<S>(p.add(column + v * lanes));
            q_of[v] = T::load::<S>(q.add(column + v * lanes));
        }
        for block in (0..window.outer).step_by(BLOCK) {
            let mut partial = [zero; N];
            for row in block..window.outer.min(block + BLOCK) {
                let at = row * window.channels + window.from + column;
                for v in 0..N {
                    let (a, b) = (T::load::<S>(a.add(at + v * lanes)), T::load::<S>(b.add(at + v * lanes)));
                    partial[v] = T::vector_add(simd, partial[v], F::term::<S, T>(simd, [a, b, p_of[v], q_of[v]]));
                }
            }
            for v in 0..N {
                total[v] = T::vector_add(simd, total[v], partial[v]);
            }
        }
        for (v, &total) in total.iter().enumerate() {
            T::store::<S>(totals.as_mut_ptr().add(column + v * lanes), total);
        }
    }
}

/// `y = F(a, b, the coefficients of the column)`.
///
/// # Safety
/// As [`sum`], with `y` writable over the window and apart from `a` and `b`.
#[inline(always)]
pub(super) unsafe fn each<S: Simd, T: Real, F: Each>(
    simd: S,
    window: Window,
    [a, b]: [*const T; 2],
    coefficients: [&[T]; 4],
    y: *mut T,
) {
    let coefficients = coefficients.map(<[T]>::as_ptr);
    // SAFETY: the caller's; strips end at or before the last column.
    unsafe {
        for_each_strip!(window.width(), T::lanes::<S>(), each_strip, simd, window, [a, b], coefficients, y);
    }
}

/// # Safety
/// As [`each`], for `N` vectors of columns from `column`.
#[inline(always)]
unsafe fn each_strip<S: Simd, T: Real, F: Each, const N: usize>(
    simd: S,
    window: Window,
    [a, b]: [*const T; 2],
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
                let (a, b) = (T::load::<S>(a.add(at + v * lanes)), T::load::<S>(b.add(at + v * lanes)));
                T::store::<S>(y.add(at + v * lanes), F::value::<S, T>(simd, [a, b], [p, q, r, s]));
            }
        }
    }
}
