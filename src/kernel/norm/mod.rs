//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

mod formula;
mod strips;

use super::Real;
use super::claim::claim;
use super::simd::Level;
use formula::{Backward, ByNormalised, Each, Normalised, Other, Plain, SquaredDistance, Sum};
use pulp::{Scalar, Simd, WithSimd};

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

    /// The elements of one channel in one outer position; with `inner` = 1, also those of the channels behind it.
    ///
    /// # Safety
    /// `start` is readable over the window for as long as the slice is used.
    #[inline(always)]
    unsafe fn line<'a, T>(self, start: *const T, outer: usize, channel: usize) -> &'a [T] {
        let (from, len) = self.span(outer, channel);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(start.add(from), len) }
    }

    /// As [`Window::line`], to be written.
    ///
    /// # Safety
    /// As [`Window::line`], and nothing else refers to these elements.
    #[inline(always)]
    unsafe fn line_mut<'a, T>(self, start: *mut T, outer: usize, channel: usize) -> &'a mut [T] {
        let (from, len) = self.span(outer, channel);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(start.add(from), len) }
    }

    /// Asks for the lines of the result, if they are few enough to stay.
    #[inline(always)]
    fn claim<T>(self, y: *mut T) {
        const MOST_BYTES: usize = 256 << 10;
        if self.inner == 1 && self.outer * self.width() * size_of::<T>() <= MOST_BYTES {
            for outer in 0..self.outer {
                claim(y.wrapping_add(self.span(outer, 0).0), self.width());
            }
        }
    }

    #[inline(always)]
    fn span(self, outer: usize, channel: usize) -> (usize, usize) {
        let at = (outer * self.channels + self.from + channel) * self.inner;
        (at, if self.inner == 1 { self.width() - channel } else { self.inner })
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

/// Two passes for the statistics, one for the result. `scratch` holds two vectors of channels.
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
) {
    let TrainOperands { x, gamma, beta } = operands;
    let TrainResults { y, mean, var } = results;
    let (count, eps): (T, T) = (window.count(), T::from_f64(eps));
    let (scale, partial) = scratch.split_at_mut(window.width());
    level.dispatch(Train { window, x, gamma, beta, y, mean, var, scale, partial, count, eps });
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
    partial: &'a mut [T],
    count: T,
    eps: T,
}

impl<T: Real> WithSimd for Train<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Train { window, x, gamma, beta, y, mean, var, scale, partial, count, eps } = self;
        window.claim(y);
        // SAFETY: the caller of `batch_norm_train` vouches for the memory.
        unsafe {
            // γ and β stand in where a formula uses no vector of channels.
            window.sum::<S, T, Plain>(simd, [x, x], [gamma, gamma], mean, partial);
            mean.iter_mut().for_each(|sum| *sum /= count);
            window.sum::<S, T, SquaredDistance>(simd, [x, x], [mean, gamma], var, partial);
            for c in 0..window.width() {
                var[c] /= count;
                scale[c] = (var[c] + eps).rsqrt() * gamma[c];
            }
            window.each::<S, T, Normalised>(simd, [x, x], [mean, scale, beta, beta], y);
        }
    }
}

pub(crate) struct GradOperands<'a, T> {
    pub x: *const T,
    pub gamma: &'a [T],
    pub mean: &'a [T],
    pub var: &'a [T],
    pub dy: *const T,
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
    let (r, partial) = scratch.split_at_mut(window.width());
    level.dispatch(Grad { window, operands, results, r, partial, count, eps });
}

struct Grad<'a, T> {
    window: Window,
    operands: GradOperands<'a, T>,
    results: GradResults<'a, T>,
    r: &'a mut [T],
    partial: &'a mut [T],
    count: T,
    eps: T,
}

impl<T: Real> WithSimd for Grad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Grad { window, operands, results, r, partial, count, eps } = self;
        let GradOperands { x, gamma, mean, var, dy, dmean, dvar } = operands;
        let GradResults { dx, dgamma, dbeta } = results;
        let width = window.width();
        window.claim(dx);
        for c in 0..width {
            r[c] = (var[c] + eps).rsqrt();
        }
        // SAFETY: the caller of `batch_norm_grad` vouches for the memory.
        unsafe {
            window.sum::<S, T, Other>(simd, [x, dy], [mean, r], dbeta, partial);
            window.sum::<S, T, ByNormalised>(simd, [x, dy], [mean, r], dgamma, partial);
            // dx is affine in dy and x − m, with three coefficients a channel.
            let (by_dy, rest) = partial.split_at_mut(width);
            let (by_centred, constant) = rest.split_at_mut(width);
            for c in 0..width {
                let scale = gamma[c] * r[c];
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c] - scale * r[c] * dgamma[c]) / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count;
            }
            window.each::<S, T, Backward>(simd, [x, dy], [mean, by_dy, by_centred, constant], dx);
        }
    }
}

/// Rows summed in one go before the partial sums are added to the totals.
const BLOCK: usize = 64;

impl Window {
    /// `totals[c] = Σ F(a, b, by_channel[0][c], by_channel[1][c])` over everything but the channels, in a fixed order;
    /// `partial` holds at least one vector of channels.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn sum<S: Simd, T: Real, F: Sum>(
        self,
        simd: S,
        [a, b]: [*const T; 2],
        by_channel: [&[T]; 2],
        totals: &mut [T],
        partial: &mut [T],
    ) {
        let width = self.width();
        let (totals, partial) = (&mut totals[..width], &mut partial[..width]);
        // SAFETY: the caller's.
        unsafe {
            if self.inner == 1 && width >= T::lanes::<S>() {
                return strips::sum::<S, T, F>(simd, self, [a, b], by_channel, totals);
            }
            totals.fill(T::ZERO);
            let block = if self.inner == 1 { BLOCK } else { 1 };
            for first in (0..self.outer).step_by(block) {
                partial.fill(T::ZERO);
                for o in first..self.outer.min(first + block) {
                    for (c, partial) in partial.iter_mut().enumerate() {
                        let (a, b) = (self.line(a, o, c), self.line(b, o, c));
                        // One element of each line where the channels are innermost.
                        for (&a, &b) in a.iter().zip(b).take(self.inner) {
                            *partial += one_term::<T, F>([a, b, by_channel[0][c], by_channel[1][c]]);
                        }
                    }
                }
                totals.iter_mut().zip(&*partial).for_each(|(total, &partial)| *total += partial);
            }
        }
    }

    /// `y = F(a, b, the coefficients of the channel)`.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn each<S: Simd, T: Real, F: Each>(self, simd: S, [a, b]: [*const T; 2], by_channel: [&[T]; 4], y: *mut T) {
        // SAFETY: the caller's.
        unsafe {
            if self.inner == 1 && self.width() >= T::lanes::<S>() {
                return strips::each::<S, T, F>(simd, self, [a, b], by_channel, y);
            }
            for o in 0..self.outer {
                for c in 0..self.width() {
                    let (a, b, y) = (self.line(a, o, c), self.line(b, o, c), self.line_mut(y, o, c));
                    for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)).take(self.inner) {
                        *y = one_value::<T, F>([a, b], by_channel.map(|vector| vector[c]));
                    }
                }
            }
        }
    }
}

/// A formula for one element.
#[inline(always)]
fn one_term<T: Real, F: Sum>(of: [T; 4]) -> T {
    let of = of.map(|value| T::splat(Scalar, value));
    T::only(F::term::<Scalar, T>(Scalar, of))
}

/// A formula for one element.
#[inline(always)]
fn one_value<T: Real, F: Each>(of: [T; 2], by_channel: [T; 4]) -> T {
    let splat = |value| T::splat(Scalar, value);
    T::only(F::value::<Scalar, T>(Scalar, of.map(splat), by_channel.map(splat)))
}
