//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

use super::Real;
use super::claim::claim;
use super::simd::Level;

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

    /// The elements of the window in one outer position (`inner` = 1), or those of one channel in it.
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
        const MOST_BYTES: usize = 64 << 10;
        if self.inner == 1 && self.outer * self.width() * size_of::<T>() <= MOST_BYTES {
            for outer in 0..self.outer {
                claim(y.wrapping_add(self.span(outer, 0).0), self.width());
            }
        }
    }

    #[inline(always)]
    fn span(self, outer: usize, channel: usize) -> (usize, usize) {
        let at = (outer * self.channels + self.from + channel) * self.inner;
        (at, if self.inner == 1 { self.width() } else { self.inner })
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
    level.vectorise(
        #[inline(always)]
        || {
            window.claim(y);
            // SAFETY: the caller's.
            unsafe {
                // γ stands in where the sum uses no vector of channels.
                let plain = Sum { a: x, b: x, by_channel: [gamma, gamma] };
                plain.run(
                    window,
                    mean,
                    partial,
                    #[inline(always)]
                    |x, _, _, _| x,
                );
                mean.iter_mut().for_each(|sum| *sum /= count);
                let centred = Sum { a: x, b: x, by_channel: [mean, gamma] };
                centred.run(
                    window,
                    var,
                    partial,
                    #[inline(always)]
                    |x, _, mean, _| (x - mean) * (x - mean),
                );
                for c in 0..window.width() {
                    var[c] /= count;
                    scale[c] = (var[c] + eps).rsqrt() * gamma[c];
                }
                let map = Each { a: x, b: x, by_channel: [mean, scale, beta, beta] };
                map.run(
                    window,
                    y,
                    #[inline(always)]
                    |x, _, [mean, scale, beta, _]| (x - mean) * scale + beta,
                );
            }
        },
    );
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
    let GradOperands { x, gamma, mean, var, dy, dmean, dvar } = operands;
    let GradResults { dx, dgamma, dbeta } = results;
    let width = window.width();
    let (count, eps): (T, T) = (window.count(), T::from_f64(eps));
    let (r, partial) = scratch.split_at_mut(width);
    level.vectorise(
        #[inline(always)]
        || {
            window.claim(dx);
            // SAFETY: the caller's.
            unsafe {
                for c in 0..width {
                    r[c] = (var[c] + eps).rsqrt();
                }
                let sum = Sum { a: x, b: dy, by_channel: [mean, r] };
                sum.run(
                    window,
                    dbeta,
                    partial,
                    #[inline(always)]
                    |_, dy, _, _| dy,
                );
                sum.run(
                    window,
                    dgamma,
                    partial,
                    #[inline(always)]
                    |x, dy, mean, r| dy * ((x - mean) * r),
                );
                // dx is affine in dy and x − m, with three coefficients a channel.
                let (by_dy, rest) = partial.split_at_mut(width);
                let (by_centred, constant) = rest.split_at_mut(width);
                for c in 0..width {
                    let scale = gamma[c] * r[c];
                    by_dy[c] = scale;
                    by_centred[c] = (dvar[c] + dvar[c] - scale * r[c] * dgamma[c]) / count;
                    constant[c] = (dmean[c] - scale * dbeta[c]) / count;
                }
                let map = Each { a: x, b: dy, by_channel: [mean, by_dy, by_centred, constant] };
                map.run(
                    window,
                    dx,
                    #[inline(always)]
                    |x, dy, [mean, by_dy, by_centred, constant]| dy * by_dy + (x - mean) * by_centred + constant,
                );
            }
        },
    );
}

/// Rows summed in one go before the partial sums are added to the totals.
const BLOCK: usize = 64;

/// Rows that one visit of the partial sums takes in.
const ROWS: usize = 4;

/// The operands of a sum over everything but the channel axis.
#[derive(Clone, Copy)]
struct Sum<'a, T> {
    a: *const T,
    b: *const T,
    by_channel: [&'a [T]; 2],
}

impl<T: Real> Sum<'_, T> {
    /// `totals[c] = Σ f(a, b, by_channel[0][c], by_channel[1][c])`, in a fixed order; `partial` holds at least one
    /// vector of channels.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn run(self, window: Window, totals: &mut [T], partial: &mut [T], f: impl Fn(T, T, T, T) -> T) {
        let width = window.width();
        let [p, q] = self.by_channel.map(|vector| &vector[..width]);
        let (totals, partial) = (&mut totals[..width], &mut partial[..width]);
        totals.fill(T::ZERO);
        // SAFETY: the caller's.
        let lines = |o: usize, c: usize| unsafe { (window.line(self.a, o, c), window.line(self.b, o, c)) };
        // A length that the compiler can see, so that it needs no bounds checks and makes vectors.
        let rows_of = |o: usize| (&lines(o, 0).0[..width], &lines(o, 0).1[..width]);
        if window.inner == 1 {
            for block in (0..window.outer).step_by(BLOCK) {
                partial.fill(T::ZERO);
                let end = window.outer.min(block + BLOCK);
                let mut o = block;
                while o + ROWS <= end {
                    let rows: [(&[T], &[T]); ROWS] = std::array::from_fn(|row| rows_of(o + row));
                    for c in 0..width {
                        let mut sum = partial[c];
                        for (a, b) in rows {
                            sum += f(a[c], b[c], p[c], q[c]);
                        }
                        partial[c] = sum;
                    }
                    o += ROWS;
                }
                for o in o..end {
                    let (a, b) = rows_of(o);
                    for c in 0..width {
                        partial[c] += f(a[c], b[c], p[c], q[c]);
                    }
                }
                for c in 0..width {
                    totals[c] += partial[c];
                }
            }
            return;
        }
        for o in 0..window.outer {
            for c in 0..width {
                let (a, b) = lines(o, c);
                let sum = a.iter().zip(b).fold(T::ZERO, |sum, (&a, &b)| sum + f(a, b, p[c], q[c]));
                totals[c] += sum;
            }
        }
    }
}

/// The operands of a map with coefficients a channel.
struct Each<'a, T> {
    a: *const T,
    b: *const T,
    by_channel: [&'a [T]; 4],
}

impl<T: Real> Each<'_, T> {
    /// `y = f(a, b, the coefficients of the channel)`.
    ///
    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn run(self, window: Window, y: *mut T, f: impl Fn(T, T, [T; 4]) -> T) {
        let width = window.width();
        let [p, q, r, s] = self.by_channel.map(|vector| &vector[..width]);
        // SAFETY: the caller's.
        unsafe {
            for o in 0..window.outer {
                if window.inner == 1 {
                    let (a, b, y) = (window.line(self.a, o, 0), window.line(self.b, o, 0), window.line_mut(y, o, 0));
                    let (a, b, y) = (&a[..width], &b[..width], &mut y[..width]);
                    for c in 0..width {
                        y[c] = f(a[c], b[c], [p[c], q[c], r[c], s[c]]);
                    }
                    continue;
                }
                for c in 0..width {
                    let (a, b) = (window.line(self.a, o, c), window.line(self.b, o, c));
                    for (y, (&a, &b)) in window.line_mut(y, o, c).iter_mut().zip(a.iter().zip(b)) {
                        *y = f(a, b, [p[c], q[c], r[c], s[c]]);
                    }
                }
            }
        }
    }
}
