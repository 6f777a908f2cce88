//! Reductions over the middle of `(outer, reduced, inner)`, in a fixed order.

use super::Real;
use super::simd::Level;
use crate::ops::Reduction;

/// Elements summed in one go before the partial sum is added to the total: rounding grows with the square root of the
/// number of blocks, not with the number of elements.
const BLOCK: usize = 1024;

/// Independent partial results, so that the loop fills vector registers. The order is the same on every machine.
const LANES: usize = 16;

/// `y[o, i] = ⊕ᵣ x[o, r, i]` for `outer` blocks of `reduced` rows of `inner` elements, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub outer: usize,
    pub reduced: usize,
    pub inner: usize,
    pub stride: usize,
}

/// Reduces `x` into `y`, whose blocks are packed.
///
/// # Safety
/// `x` is readable over the extent.
pub(crate) unsafe fn reduce<T: Real>(level: Level, reduction: Reduction, x: *const T, y: &mut [T], extent: Extent) {
    level.vectorise(
        #[inline(always)]
        || {
            macro_rules! over {
                ($identity:expr, $combine:expr) => {
                    // SAFETY: the caller's.
                    unsafe { over(x, y, extent, $identity, $combine) }
                };
            }
            match reduction {
                Reduction::Sum => over!(
                    T::ZERO,
                    #[inline(always)]
                    |a, b| a + b
                ),
                Reduction::Product => over!(
                    T::ONE,
                    #[inline(always)]
                    |a, b| a * b
                ),
                Reduction::Max => over!(
                    T::from_f64(f64::NEG_INFINITY),
                    #[inline(always)]
                    |a, b| a.max(b)
                ),
                Reduction::Min => over!(
                    T::from_f64(f64::INFINITY),
                    #[inline(always)]
                    |a, b| a.min(b)
                ),
            }
        },
    );
}

/// # Safety
/// As [`reduce`].
#[inline(always)]
unsafe fn over<T: Real>(
    x: *const T,
    y: &mut [T],
    Extent { outer, reduced, inner, stride }: Extent,
    identity: T,
    combine: impl Fn(T, T) -> T + Copy,
) {
    if inner == 0 {
        return;
    }
    for (o, totals) in y.chunks_exact_mut(inner).take(outer).enumerate() {
        let block = x.wrapping_add(o * reduced * stride);
        totals.fill(identity);
        if inner == 1 && stride == 1 {
            // SAFETY: the caller's.
            let rows = unsafe { std::slice::from_raw_parts(block, reduced) };
            for part in rows.chunks(BLOCK) {
                totals[0] = combine(totals[0], fold(part, identity, combine));
            }
            continue;
        }
        for r in 0..reduced {
            // SAFETY: the caller's.
            let row = unsafe { std::slice::from_raw_parts(block.add(r * stride), inner) };
            for (total, &value) in totals.iter_mut().zip(row) {
                *total = combine(*total, value);
            }
        }
    }
}

#[inline(always)]
fn fold<T: Real>(values: &[T], identity: T, combine: impl Fn(T, T) -> T) -> T {
    if values.len() < LANES {
        // The same bits as through lanes that all hold the identity.
        return values.iter().fold(identity, |total, &value| combine(total, value));
    }
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
