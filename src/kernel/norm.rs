//! Training batch norm and its backward over `(outer, channels, inner)`; equations in
//! [`BatchNormTrain`](crate::ops::BatchNormTrain) and [`BatchNormGrad`](crate::ops::BatchNormGrad).

use super::Real;
use pulp::Arch;

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
    let Extent { channels, .. } = extent;
    let count: T = extent.count();
    let (eps, scratch) = (T::from_f64(eps), &mut scratch[..2 * channels]);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            sum_channels(
                extent,
                mean,
                scratch,
                #[inline(always)]
                |at, _| x[at],
            );
            mean.iter_mut().for_each(|sum| *sum = *sum / count);
            sum_channels(
                extent,
                var,
                scratch,
                #[inline(always)]
                |at, c| {
                    let centred = x[at] - mean[c];
                    centred * centred
                },
            );
            var.iter_mut().for_each(|sum| *sum = *sum / count);
            let scale = &mut scratch[..channels];
            for (c, scale) in scale.iter_mut().enumerate() {
                *scale = (var[c] + eps).rsqrt() * gamma[c];
            }
            each(
                extent,
                #[inline(always)]
                |at, c| y[at] = (x[at] - mean[c]) * scale[c] + beta[c],
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
    Arch::new().dispatch(
        #[inline(always)]
        || {
            sum_channels(
                extent,
                dbeta,
                scratch,
                #[inline(always)]
                |at, _| dy[at],
            );
            let (r, partial) = scratch.split_at_mut(channels);
            for (c, r) in r.iter_mut().enumerate() {
                *r = (var[c] + eps).rsqrt();
            }
            sum_channels(
                extent,
                dgamma,
                partial,
                #[inline(always)]
                |at, c| dy[at] * ((x[at] - mean[c]) * r[c]),
            );
            // dx is affine in dy and x − m, with three coefficients a channel.
            let (by_dy, rest) = partial.split_at_mut(channels);
            let (by_centred, constant) = rest.split_at_mut(channels);
            for c in 0..channels {
                let scale = gamma[c] * r[c];
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c]) / count - scale * r[c] * dgamma[c] / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count;
            }
            each(
                extent,
                #[inline(always)]
                |at, c| {
                    dx[at] = dy[at] * by_dy[c] + (x[at] - mean[c]) * by_centred[c] + constant[c];
                },
            );
        },
    );
}

/// Rows summed in one go before the partial sums are added to the totals.
const BLOCK: usize = 64;

/// `totals[c] = Σ f(at, c)` over everything of channel `c`, in a fixed order; `partial` holds one vector of channels.
#[inline(always)]
fn sum_channels<T: Real>(extent: Extent, totals: &mut [T], partial: &mut [T], f: impl Fn(usize, usize) -> T) {
    let Extent { outer, channels, inner } = extent;
    totals.fill(T::ZERO);
    if inner == 1 {
        let partial = &mut partial[..channels];
        for block in (0..outer).step_by(BLOCK) {
            partial.fill(T::ZERO);
            for o in block..outer.min(block + BLOCK) {
                for (c, partial) in partial.iter_mut().enumerate() {
                    *partial += f(o * channels + c, c);
                }
            }
            for (total, &partial) in totals.iter_mut().zip(&*partial) {
                *total += partial;
            }
        }
        return;
    }
    for o in 0..outer {
        for (c, total) in totals.iter_mut().enumerate() {
            let start = (o * channels + c) * inner;
            let mut sum = T::ZERO;
            for i in 0..inner {
                sum += f(start + i, c);
            }
            *total += sum;
        }
    }
}

/// Calls `f(at, c)` for every element, in memory order.
#[inline(always)]
fn each(extent: Extent, mut f: impl FnMut(usize, usize)) {
    let Extent { outer, channels, inner } = extent;
    for o in 0..outer {
        for c in 0..channels {
            let start = (o * channels + c) * inner;
            for i in 0..inner {
                f(start + i, c);
            }
        }
    }
}
