//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

use super::Real;
use super::simd::vectorise;

/// Sizes around the channel axis.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
}

impl Extent {
    fn count<T: Real>(self) -> T {
        T::from_f64((self.outer * self.inner) as f64)
    }
}

pub(crate) struct TrainOperands<'a, T> {
    pub x: &'a [T],
    pub gamma: &'a [T],
    pub beta: &'a [T],
}

pub(crate) struct TrainResults<'a, T> {
    pub y: &'a mut [T],
    pub mean: &'a mut [T],
    pub var: &'a mut [T],
}

/// Two passes for the statistics, one for the result. `scratch` holds two vectors of channels.
pub(crate) fn batch_norm_train<T: Real>(
    operands: TrainOperands<'_, T>,
    results: TrainResults<'_, T>,
    scratch: &mut [T],
    extent: Extent,
    eps: f64,
) {
    let TrainOperands { x, gamma, beta } = operands;
    let TrainResults { y, mean, var } = results;
    let count: T = extent.count();
    let eps = T::from_f64(eps);
    let (scale, partial) = scratch.split_at_mut(extent.channels);
    vectorise(
        #[inline(always)]
        || {
            // γ stands in where the sum uses no vector of channels.
            let plain = Sum { a: x, b: x, by_channel: [gamma, gamma] };
            plain.run(
                extent,
                mean,
                partial,
                #[inline(always)]
                |x, _, _, _| x,
            );
            mean.iter_mut().for_each(|sum| *sum /= count);
            let centred = Sum { a: x, b: x, by_channel: [mean, gamma] };
            centred.run(
                extent,
                var,
                partial,
                #[inline(always)]
                |x, _, mean, _| (x - mean) * (x - mean),
            );
            for c in 0..extent.channels {
                var[c] /= count;
                scale[c] = (var[c] + eps).rsqrt() * gamma[c];
            }
            let map = Each { a: x, b: x, by_channel: [mean, scale, beta, beta] };
            map.run(
                extent,
                y,
                #[inline(always)]
                |x, _, [mean, scale, beta, _]| (x - mean) * scale + beta,
            );
        },
    );
}

pub(crate) struct GradOperands<'a, T> {
    pub x: &'a [T],
    pub gamma: &'a [T],
    pub mean: &'a [T],
    pub var: &'a [T],
    pub dy: &'a [T],
    pub dmean: &'a [T],
    pub dvar: &'a [T],
}

pub(crate) struct GradResults<'a, T> {
    pub dx: &'a mut [T],
    pub dgamma: &'a mut [T],
    pub dbeta: &'a mut [T],
}

/// The closed-form backward. `scratch` holds four vectors of channels.
pub(crate) fn batch_norm_grad<T: Real>(
    operands: GradOperands<'_, T>,
    results: GradResults<'_, T>,
    scratch: &mut [T],
    extent: Extent,
    eps: f64,
) {
    let GradOperands { x, gamma, mean, var, dy, dmean, dvar } = operands;
    let GradResults { dx, dgamma, dbeta } = results;
    let Extent { channels, .. } = extent;
    let (count, eps): (T, T) = (extent.count(), T::from_f64(eps));
    let (r, partial) = scratch.split_at_mut(channels);
    vectorise(
        #[inline(always)]
        || {
            for c in 0..channels {
                r[c] = (var[c] + eps).rsqrt();
            }
            let sum = Sum { a: x, b: dy, by_channel: [mean, r] };
            sum.run(
                extent,
                dbeta,
                partial,
                #[inline(always)]
                |_, dy, _, _| dy,
            );
            sum.run(
                extent,
                dgamma,
                partial,
                #[inline(always)]
                |x, dy, mean, r| dy * ((x - mean) * r),
            );
            // dx is affine in dy and x − m, with three coefficients a channel.
            let (by_dy, rest) = partial.split_at_mut(channels);
            let (by_centred, constant) = rest.split_at_mut(channels);
            for c in 0..channels {
                let scale = gamma[c] * r[c];
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c] - scale * r[c] * dgamma[c]) / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count;
            }
            let map = Each { a: x, b: dy, by_channel: [mean, by_dy, by_centred, constant] };
            map.run(
                extent,
                dx,
                #[inline(always)]
                |x, dy, [mean, by_dy, by_centred, constant]| dy * by_dy + (x - mean) * by_centred + constant,
            );
        },
    );
}

/// Rows summed in one go before the partial sums are added to the totals.
const BLOCK: usize = 64;

/// The operands of a sum over everything but the channel axis.
#[derive(Clone, Copy)]
struct Sum<'a, T> {
    a: &'a [T],
    b: &'a [T],
    by_channel: [&'a [T]; 2],
}

impl<T: Real> Sum<'_, T> {
    /// `totals[c] = Σ f(a, b, by_channel[0][c], by_channel[1][c])`, in a fixed order; `partial` holds at least one
    /// vector of channels.
    #[inline(always)]
    fn run(self, extent: Extent, totals: &mut [T], partial: &mut [T], f: impl Fn(T, T, T, T) -> T) {
        let Extent { outer, channels, inner } = extent;
        let [p, q] = self.by_channel.map(|vector| &vector[..channels]);
        let (totals, partial) = (&mut totals[..channels], &mut partial[..channels]);
        totals.fill(T::ZERO);
        if inner == 1 {
            for block in (0..outer).step_by(BLOCK) {
                partial.fill(T::ZERO);
                for o in block..outer.min(block + BLOCK) {
                    let (a, b) = (&self.a[o * channels..][..channels], &self.b[o * channels..][..channels]);
                    for c in 0..channels {
                        partial[c] += f(a[c], b[c], p[c], q[c]);
                    }
                }
                for c in 0..channels {
                    totals[c] += partial[c];
                }
            }
            return;
        }
        for o in 0..outer {
            for c in 0..channels {
                let start = (o * channels + c) * inner;
                let (a, b) = (&self.a[start..][..inner], &self.b[start..][..inner]);
                let sum = a.iter().zip(b).fold(T::ZERO, |sum, (&a, &b)| sum + f(a, b, p[c], q[c]));
                totals[c] += sum;
            }
        }
    }
}

/// The operands of a map with coefficients a channel.
struct Each<'a, T> {
    a: &'a [T],
    b: &'a [T],
    by_channel: [&'a [T]; 4],
}

impl<T: Real> Each<'_, T> {
    /// `y = f(a, b, the coefficients of the channel)`.
    #[inline(always)]
    fn run(self, extent: Extent, y: &mut [T], f: impl Fn(T, T, [T; 4]) -> T) {
        let Extent { outer, channels, inner } = extent;
        let [p, q, r, s] = self.by_channel.map(|vector| &vector[..channels]);
        if inner == 1 {
            for o in 0..outer {
                let (a, b) = (&self.a[o * channels..][..channels], &self.b[o * channels..][..channels]);
                let y = &mut y[o * channels..][..channels];
                for c in 0..channels {
                    y[c] = f(a[c], b[c], [p[c], q[c], r[c], s[c]]);
                }
            }
            return;
        }
        for o in 0..outer {
            for c in 0..channels {
                let start = (o * channels + c) * inner;
                let (a, b) = (&self.a[start..][..inner], &self.b[start..][..inner]);
                for (y, (&a, &b)) in y[start..][..inner].iter_mut().zip(a.iter().zip(b)) {
                    *y = f(a, b, [p[c], q[c], r[c], s[c]]);
                }
            }
        }
    }
}
