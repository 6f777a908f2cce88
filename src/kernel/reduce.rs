//! Reductions over the middle of `(outer, reduced, inner)`, in a fixed order.

use super::Real;
use super::simd::vectorise;
use crate::ops::Reduction;

/// Elements summed in one go before the partial sum is added to the total: rounding grows with the square root of the
/// number of blocks, not with the number of elements.
const BLOCK: usize = 1024;

/// Independent partial results, so that the loop fills vector registers. The order is the same on every machine.
const LANES: usize = 16;

/// `y[o, i] = ⊕ᵣ x[o, r, i]`.
pub(crate) fn reduce<T: Real>(reduction: Reduction, x: &[T], y: &mut [T], [outer, reduced, inner]: [usize; 3]) {
    vectorise(
        #[inline(always)]
        || match reduction {
            Reduction::Sum => over(
                x,
                y,
                [outer, reduced, inner],
                T::ZERO,
                #[inline(always)]
                |a, b| a + b,
            ),
            Reduction::Product => over(
                x,
                y,
                [outer, reduced, inner],
                T::ONE,
                #[inline(always)]
                |a, b| a * b,
            ),
            Reduction::Max => over(
                x,
                y,
                [outer, reduced, inner],
                T::from_f64(f64::NEG_INFINITY),
                #[inline(always)]
                |a, b| a.max(b),
            ),
            Reduction::Min => over(
                x,
                y,
                [outer, reduced, inner],
                T::from_f64(f64::INFINITY),
                #[inline(always)]
                |a, b| a.min(b),
            ),
        },
    );
}

#[inline(always)]
fn over<T: Real>(
    x: &[T],
    y: &mut [T],
    [outer, reduced, inner]: [usize; 3],
    identity: T,
    combine: impl Fn(T, T) -> T + Copy,
) {
    if inner == 0 {
        return;
    }
    for o in 0..outer {
        let rows = &x[o * reduced * inner..(o + 1) * reduced * inner];
        let totals = &mut y[o * inner..(o + 1) * inner];
        totals.fill(identity);
        if inner == 1 {
            for block in rows.chunks(BLOCK) {
                totals[0] = combine(totals[0], fold(block, identity, combine));
            }
        } else {
            for row in rows.chunks_exact(inner) {
                for (total, &value) in totals.iter_mut().zip(row) {
                    *total = combine(*total, value);
                }
            }
        }
    }
}

#[inline(always)]
fn fold<T: Real>(values: &[T], identity: T, combine: impl Fn(T, T) -> T) -> T {
    let mut lanes = [identity; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = combine(*lane, value);
        }
    }
    let total = lanes.into_iter().fold(identity, &combine);
    rest.iter().fold(total, |total, &value| combine(total, value))
}
