//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

mod blocks;
mod formula;
mod strips;

use super::Real;
use super::claim::claim;
use super::simd::{Level, OverMemory};
use super::total::Total;
use crate::plan::BATCH_NORM_SCRATCH;
use blocks::Terms;
use formula::{Backward, Deviations, Each, Gradients, Normalised, Plain, Rectified, Sums};
use pulp::{Scalar, Simd};
use std::marker::PhantomData;
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
    /// Elements of a channel.
    fn count(self) -> usize {
        self.outer * self.inner
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

/// Two passes for the statistics, one for the result, which `relu` makes 0 where it is below.
///
/// The first pass finds a mean `p` that may be off by rounding. The second takes `d = Σ(x − p)/N`, what it lacks, and the
/// variance as `Σ(x − p)²/N − d²`. The mean is `m = p + d`, rounded, and what rounding took from it is `e = (p − m) + d`. So
/// the result is `(x − m)·q + (β − e·q)`. Differences are exact where values lie close together far from 0: then nothing
/// here depends on where they lie, and equal values give exactly β.
///
/// Gives what no magnitude of the result is above.
///
/// # Safety
/// `x` is readable and `y` writable over the window, nothing else refers to those elements of `y`, and `scratch` holds
/// [`BATCH_NORM_SCRATCH`] vectors of channels.
pub(crate) unsafe fn batch_norm_train<T: Real>(
    level: Level,
    operands: TrainOperands<'_, T>,
    results: TrainResults<'_, T>,
    scratch: &mut [T],
    window: Window,
    eps: f64,
    relu: bool,
) -> T {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Train { window, operands, results, scratch, eps: T::from_f64(eps), relu }) }
}

struct Train<'a, T> {
    window: Window,
    operands: TrainOperands<'a, T>,
    results: TrainResults<'a, T>,
    scratch: &'a mut [T],
    eps: T,
    relu: bool,
}

impl<T: Real> OverMemory for Train<'_, T> {
    type Output = T;

    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) -> T {
        let Train { window, operands: TrainOperands { x, gamma, beta }, results, scratch, eps, relu } = self;
        let TrainResults { y, mean, var } = results;
        let of = Large { a: x, b: x, gate: x };
        let count = T::from_f64(window.count() as f64);
        let [about, scale, offset] = vectors(scratch, window.width());
        window.claim(y);
        // SAFETY: the caller's.
        unsafe {
            // γ and β stand in where a formula uses no vector of channels.
            window.sums::<S, T, Plain, 1, false>(simd, of, gamma, [about]);
            about.iter_mut().for_each(|sum| *sum /= count);
            window.sums::<S, T, Deviations, 2, false>(simd, of, about, [mean, var]);
            for c in 0..window.width() {
                let (off, squares) = (mean[c] / count, var[c] / count);
                let above = squares - off * off;
                // Not below 0 but for rounding.
                var[c] = if above < T::ZERO { T::ZERO } else { above };
                // Differences from an infinite mean are NaN, the mean is not.
                mean[c] = if is_finite(about[c]) { about[c] + off } else { about[c] };
                scale[c] = (var[c] + eps).rsqrt() * gamma[c];
                // What is left when the mean itself is rounded.
                offset[c] = beta[c] - ((about[c] - mean[c]) + off) * scale[c];
            }
            if relu {
                window.each::<S, T, Rectified, false>(simd, of, [mean, scale, offset, beta], y)
            } else {
                window.each::<S, T, Normalised, false>(simd, of, [mean, scale, offset, beta], y)
            }
        }
    }
}

/// The vectors of channels in scratch.
#[inline(always)]
fn vectors<T>(scratch: &mut [T], width: usize) -> [&mut [T]; BATCH_NORM_SCRATCH] {
    let (first, rest) = scratch.split_at_mut(width);
    let (second, rest) = rest.split_at_mut(width);
    [first, second, &mut rest[..width]]
}

#[inline(always)]
fn is_finite<T: Real>(value: T) -> bool {
    value.abs() < T::from_f64(f64::INFINITY)
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

/// The closed-form backward. Gives what no magnitude of `dx` is above.
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
) -> T {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Grad { window, operands, results, scratch, eps: T::from_f64(eps) }) }
}

struct Grad<'a, T> {
    window: Window,
    operands: GradOperands<'a, T>,
    results: GradResults<'a, T>,
    scratch: &'a mut [T],
    eps: T,
}

impl<T: Real> OverMemory for Grad<'_, T> {
    type Output = T;

    /// # Safety
    /// As [`batch_norm_grad`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) -> T {
        // SAFETY: the caller's.
        unsafe { if self.operands.gate.is_null() { self.gated::<S, false>(simd) } else { self.gated::<S, true>(simd) } }
    }
}

impl<T: Real> Grad<'_, T> {
    /// # Safety
    /// As [`batch_norm_grad`].
    #[inline(always)]
    unsafe fn gated<S: Simd, const GATED: bool>(self, simd: S) -> T {
        let Grad { window, operands, results, scratch, eps } = self;
        let GradOperands { x, gamma, mean, var, dy, gate, dmean, dvar } = operands;
        let GradResults { dx, dgamma, dbeta } = results;
        let of = Large { a: x, b: dy, gate };
        let count = T::from_f64(window.count() as f64);
        let [by_dy, by_centred, constant] = vectors(scratch, window.width());
        window.claim(dx);
        // SAFETY: the caller's.
        unsafe {
            let sums = [&mut *dbeta, &mut *dgamma, &mut *constant];
            window.sums::<S, T, Gradients, 3, GATED>(simd, of, mean, sums);
            // dx is affine in dy and x − m, with three coefficients a channel.
            for c in 0..window.width() {
                let off = rounded_off(constant[c] / count, mean[c]);
                let r = finite_rsqrt(var[c] + eps);
                let scale = gamma[c] * r;
                dgamma[c] = (dgamma[c] - off * dbeta[c]) * r;
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c] - scale * dgamma[c] * r) / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count - off * by_centred[c];
            }
            window.each::<S, T, Backward, GATED>(simd, of, [mean, by_dy, by_centred, constant], dx)
        }
    }
}

/// `1/√x`, where an `x` of 0 counts as the smallest normal number: without ε over a constant channel a `dy` of 0 stays 0.
fn finite_rsqrt<T: Real>(x: T) -> T {
    let least = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    if x == T::ZERO { T::from_f64(least).rsqrt() } else { x.rsqrt() }
}

/// What a mean lacks, given the mean of the differences from it, if that is no more than rounding took from it; else 0.
/// It matters where values lie close together far from 0: there it is no small part of the deviation.
#[inline(always)]
fn rounded_off<T: Real>(difference: T, mean: T) -> T {
    let most = mean.abs() * T::from_f64(if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON });
    if difference.abs() <= most { difference } else { T::ZERO }
}

impl Window {
    /// `results[i][c] = Σ F(a, b, p[c])[i]` over everything but the channels, in a fixed order.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn sums<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool>(
        self,
        simd: S,
        of: Large<T>,
        p: &[T],
        mut results: [&mut [T]; K],
    ) {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::sums::<S, T, F, K, GATED>(simd, self, of, p, results) };
        }
        // A channel is one column of rows that are far apart, or a contiguous line for each outer position.
        let (lines, stride) = if self.inner == 1 { (1, self.channels) } else { (self.outer, 1) };
        for (c, &p) in p.iter().enumerate() {
            let mut sums = [T::Total::of(T::ZERO); K];
            for line in 0..lines {
                let (from, p) = (self.span(line, c).start, [T::splat(Scalar, p)]);
                let terms = Terms::<Scalar, T, F, 1, GATED> { of, from, stride, p, formula: PhantomData };
                // SAFETY: the caller's.
                let [line] = unsafe { terms.sums(Scalar, self.count() / lines) };
                sums.iter_mut().zip(line).for_each(|(sum, line)| *sum = sum.plus(T::only(line)));
            }
            for (result, sum) in results.iter_mut().zip(sums) {
                result[c] = sum.rounded();
            }
        }
    }

    /// `y = F(a, b, the coefficients of the channel)`. Gives a sum of magnitudes that none of `y` is above; it may be infinite
    /// where they are not, but is never finite where one is not.
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
    ) -> T {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::each::<S, T, F, GATED>(simd, self, of, by_channel, y) };
        }
        let mut magnitude = T::ZERO;
        for o in 0..self.outer {
            for c in 0..self.width() {
                let coefficients = by_channel.map(|vector| T::splat(Scalar, vector[c]));
                for at in self.span(o, c) {
                    // SAFETY: the caller's.
                    unsafe {
                        let operands = of.load::<Scalar, GATED>(Scalar, at);
                        let value = T::only(F::value::<Scalar, T>(Scalar, operands, coefficients));
                        y.add(at).write(value);
                        magnitude += value.abs();
                    }
                }
            }
        }
        magnitude
    }

    /// Whether rows of channels fill vectors.
    #[inline(always)]
    fn is_wide<S: Simd, T: Real>(self) -> bool {
        self.inner == 1 && self.width() >= T::lanes::<S>()
    }
}
