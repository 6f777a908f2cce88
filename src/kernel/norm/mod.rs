//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

mod formula;
mod strips;

use super::Real;
use super::claim::claim;
use super::simd::Level;
use formula::{Backward, Each, Gradients, Normalised, Plain, Rectified, SquaredDistance, Sums};
use pulp::{Scalar, Simd, WithSimd};
use std::ops::Range;

/// A range of the channels of `(outer, channels, inner)`.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
    pub from: usize,
    pub to: usize,
}

impl Window {
    fn count<T: Real>(self) -> T {
        T::from_f64((self.outer * self.inner) as f64)
    }

    fn width(self) -> usize {
        self.to - self.from
    }

    /// Asks for the lines of the result, if they are few enough to stay.
    #[inline(always)]
    fn claim<T>(self, y: *mut T) {
        const MOST_BYTES: usize = 256 << 10;
        if self.inner == 1 && self.outer * self.width() * size_of::<T>() <= MOST_BYTES {
            for outer in 0..self.outer {
                claim(y.wrapping_add(self.span(outer, 0).start), self.width());
            }
        }
    }

    /// The elements of one channel in one outer position.
    #[inline(always)]
    fn span(self, outer: usize, channel: usize) -> Range<usize> {
        let from = (outer * self.channels + self.from + channel) * self.inner;
        from..from + self.inner
    }
}

/// Arrays over the whole of `(outer, channels, inner)` that a formula reads.
#[derive(Clone, Copy)]
struct Large<T> {
    a: *const T,
    b: *const T,
    /// Where it is not above 0, `b` counts as 0. Only read if a formula is gated.
    gate: *const T,
}

impl<T: Real> Large<T> {
    /// Vectors of `a` and `b`.
    ///
    /// # Safety
    /// The arrays are readable there.
    #[inline(always)]
    unsafe fn load<S: Simd, const GATED: bool>(self, simd: S, at: usize) -> [T::Vector<S>; 2] {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (T::load::<S>(self.a.add(at)), T::load::<S>(self.b.add(at)));
            [a, if GATED { T::vector_gated(simd, T::load::<S>(self.gate.add(at)), b) } else { b }]
        }
    }
}

/// Vectors of channels are those of the window; the large arrays are whole.
pub(crate) struct TrainOperands<'a, T> {
    pub x: *const T,
    pub gamma: &'a [T],
    pub beta: &'a [T],
}

pub(crate) struct TrainResults<'a, T> {
    pub y: *mut T,
    pub mean: &'a mut [T],
    pub var: &'a mut [T],
}

/// Two passes for the statistics, one for the result, which `relu` makes 0 where it is below. `scratch` holds a vector of
/// channels.
///
/// # Safety
/// `x` is readable and `y` writable over the window, and nothing else refers to those elements of `y`.
pub(crate) unsafe fn batch_norm_train<T: Real>(
    level: Level,
    operands: TrainOperands<'_, T>,
    results: TrainResults<'_, T>,
    scratch: &mut [T],
    window: Window,
    eps: f64,
    relu: bool,
) {
    let TrainOperands { x, gamma, beta } = operands;
    let TrainResults { y, mean, var } = results;
    let (count, eps): (T, T) = (window.count(), T::from_f64(eps));
    level.dispatch(Train { window, x, gamma, beta, y, mean, var, scale: scratch, count, eps, relu });
}

struct Train<'a, T> {
    window: Window,
    x: *const T,
    gamma: &'a [T],
    beta: &'a [T],
    y: *mut T,
    mean: &'a mut [T],
    var: &'a mut [T],
    scale: &'a mut [T],
    count: T,
    eps: T,
    relu: bool,
}

impl<T: Real> WithSimd for Train<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Train { window, x, gamma, beta, y, mean, var, scale, count, eps, relu } = self;
        let of = Large { a: x, b: x, gate: x };
        window.claim(y);
        // SAFETY: the caller of `batch_norm_train` vouches for the memory.
        unsafe {
            // γ and β stand in where a formula uses no vector of channels.
            window.sums::<S, T, Plain, 1, false>(simd, of, [gamma, gamma], [mean]);
            mean.iter_mut().for_each(|sum| *sum /= count);
            window.sums::<S, T, SquaredDistance, 1, false>(simd, of, [mean, gamma], [var]);
            for c in 0..window.width() {
                var[c] /= count;
                scale[c] = (var[c] + eps).rsqrt() * gamma[c];
            }
            if relu {
                window.each::<S, T, Rectified, false>(simd, of, [mean, scale, beta, beta], y);
            } else {
                window.each::<S, T, Normalised, false>(simd, of, [mean, scale, beta, beta], y);
            }
        }
    }
}

pub(crate) struct GradOperands<'a, T> {
    pub x: *const T,
    pub gamma: &'a [T],
    pub mean: &'a [T],
    pub var: &'a [T],
    pub dy: *const T,
    /// Where it is not above 0, `dy` counts as 0; null where all of it counts.
    pub gate: *const T,
    pub dmean: &'a [T],
    pub dvar: &'a [T],
}

pub(crate) struct GradResults<'a, T> {
    pub dx: *mut T,
    pub dgamma: &'a mut [T],
    pub dbeta: &'a mut [T],
}

/// The closed-form backward. `scratch` holds four vectors of channels.
///
/// # Safety
/// As [`batch_norm_train`].
pub(crate) unsafe fn batch_norm_grad<T: Real>(
    level: Level,
    operands: GradOperands<'_, T>,
    results: GradResults<'_, T>,
    scratch: &mut [T],
    window: Window,
    eps: f64,
) {
    let (count, eps): (T, T) = (window.count(), T::from_f64(eps));
    level.dispatch(Grad { window, operands, results, scratch, count, eps });
}

struct Grad<'a, T> {
    window: Window,
    operands: GradOperands<'a, T>,
    results: GradResults<'a, T>,
    scratch: &'a mut [T],
    count: T,
    eps: T,
}

impl<T: Real> WithSimd for Grad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.operands.gate.is_null() { self.gated::<S, false>(simd) } else { self.gated::<S, true>(simd) }
    }
}

impl<T: Real> Grad<'_, T> {
    #[inline(always)]
    fn gated<S: Simd, const GATED: bool>(self, simd: S) {
        let Grad { window, operands, results, scratch, count, eps } = self;
        let GradOperands { x, gamma, mean, var, dy, gate, dmean, dvar } = operands;
        let GradResults { dx, dgamma, dbeta } = results;
        let (of, width) = (Large { a: x, b: dy, gate }, window.width());
        window.claim(dx);
        let (r, rest) = scratch.split_at_mut(width);
        let (by_dy, rest) = rest.split_at_mut(width);
        let (by_centred, constant) = rest.split_at_mut(width);
        for c in 0..width {
            r[c] = finite_rsqrt(var[c] + eps);
        }
        // SAFETY: the caller of `batch_norm_grad` vouches for the memory.
        unsafe {
            window.sums::<S, T, Gradients, 2, GATED>(simd, of, [mean, r], [dbeta, dgamma]);
            // dx is affine in dy and x − m, with three coefficients a channel.
            for c in 0..width {
                let scale = gamma[c] * r[c];
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c] - scale * dgamma[c] * r[c]) / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count;
            }
            window.each::<S, T, Backward, GATED>(simd, of, [mean, by_dy, by_centred, constant], dx);
        }
    }
}

/// `1/√x`, where an `x` of 0 counts as the smallest normal number: without ε over a constant channel a `dy` of 0 stays 0.
fn finite_rsqrt<T: Real>(x: T) -> T {
    let least = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    if x == T::ZERO { T::from_f64(least).rsqrt() } else { x.rsqrt() }
}

/// Rows summed in one go before the partial sums are added to the totals.
const BLOCK: usize = 64;

impl Window {
    /// `totals[i][c] = Σ F(a, b, by_channel[0][c], by_channel[1][c])[i]` over everything but the channels, in a fixed order.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn sums<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool>(
        self,
        simd: S,
        of: Large<T>,
        by_channel: [&[T]; 2],
        mut totals: [&mut [T]; K],
    ) {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::sums::<S, T, F, K, GATED>(simd, self, of, by_channel, totals) };
        }
        let block = if self.inner == 1 { BLOCK } else { 1 };
        for c in 0..self.width() {
            let mut total = [T::ZERO; K];
            for first in (0..self.outer).step_by(block) {
                let mut partial = [T::ZERO; K];
                for o in first..self.outer.min(first + block) {
                    for at in self.span(o, c) {
                        // SAFETY: the caller's.
                        let [a, b] = unsafe { of.load::<Scalar, GATED>(Scalar, at) };
                        let [p, q] = by_channel.map(|vector| T::splat(Scalar, vector[c]));
                        let terms = F::terms::<Scalar, T>(Scalar, [a, b, p, q]);
                        partial.iter_mut().zip(terms).for_each(|(partial, term)| *partial += T::only(term));
                    }
                }
                total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
            }
            totals.iter_mut().zip(total).for_each(|(totals, total)| totals[c] = total);
        }
    }

    /// `y = F(a, b, the coefficients of the channel)`.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn each<S: Simd, T: Real, F: Each, const GATED: bool>(
        self,
        simd: S,
        of: Large<T>,
        by_channel: [&[T]; 4],
        y: *mut T,
    ) {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::each::<S, T, F, GATED>(simd, self, of, by_channel, y) };
        }
        for o in 0..self.outer {
            for c in 0..self.width() {
                let coefficients = by_channel.map(|vector| T::splat(Scalar, vector[c]));
                for at in self.span(o, c) {
                    // SAFETY: the caller's.
                    unsafe {
                        let operands = of.load::<Scalar, GATED>(Scalar, at);
                        y.add(at).write(T::only(F::value::<Scalar, T>(Scalar, operands, coefficients)));
                    }
                }
            }
        }
    }

    /// Whether rows of channels fill vectors.
    #[inline(always)]
    fn is_wide<S: Simd, T: Real>(self) -> bool {
        self.inner == 1 && self.width() >= T::lanes::<S>()
    }
}
