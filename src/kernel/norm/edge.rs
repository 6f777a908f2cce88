//! The backward of channels whose variance and ε are 0, where `1/√(v + ε)` is infinite.

use super::{Grad, GradOperands, GradResults, Large};
use crate::kernel::Real;
use pulp::Scalar;

/// A coefficient, which may be infinite, times a cotangent: nothing flows where the cotangent is 0.
fn flow<T: Real>(coefficient: T, cotangent: T) -> T {
    if cotangent == T::ZERO { T::ZERO } else { coefficient * cotangent }
}

impl<T: Real> Grad<'_, T> {
    /// Computes these channels anew, term by term, so that a result whose cotangent is 0 adds nothing: the mean and the
    /// variance of equal values have derivatives, and only the normalised value has none.
    ///
    /// # Safety
    /// As [`batch_norm_grad`](super::batch_norm_grad).
    #[cold]
    pub(super) unsafe fn edges<const GATED: bool>(self) {
        let Grad { window, operands, results, eps, .. } = self;
        let GradOperands { x, gamma, mean, var, dy, gate, dmean, dvar } = operands;
        let GradResults { dx, dgamma, dbeta } = results;
        let (of, count) = (Large { a: x, b: dy, gate }, T::from_f64(window.count() as f64));
        for c in 0..window.width() {
            let r = (var[c] + eps).rsqrt();
            if r != T::from_f64(f64::INFINITY) {
                continue;
            }
            let at_all = || (0..window.outer).flat_map(|outer| window.span(outer, c));
            // SAFETY: the caller's.
            let load = |at| unsafe { of.load::<Scalar, GATED>(Scalar, at) }.map(T::only);
            dgamma[c] = at_all().map(load).fold(T::ZERO, |sum, [x, dy]| sum + flow((x - mean[c]) * r, dy));
            for at in at_all() {
                let [x, dy] = load(at);
                let (centred, scale) = (x - mean[c], gamma[c] * r);
                let through_y =
                    flow(scale, dy) - flow(scale, dbeta[c]) / count - flow(scale * (centred * r), dgamma[c]) / count;
                let through_statistics = dmean[c] / count + flow(centred, dvar[c] + dvar[c]) / count;
                // SAFETY: the caller's.
                unsafe { dx.add(at).write(through_y + through_statistics) };
            }
        }
    }
}
