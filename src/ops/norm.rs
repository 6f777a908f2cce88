//! Norms and standard deviations, written in smaller ops.

use crate::ir::Expr;

impl<'b> Expr<'b> {
    /// The Euclidean norm `√Σx²` over `axes`, which disappear. Its gradient is `x/‖x‖`, and 0 where the norm is 0.
    ///
    /// It is computed as `s·√Σ(x/s)²` with `s` the largest magnitude, so that no square overflows or underflows.
    #[track_caller]
    pub fn norm(self, axes: &[usize]) -> Expr<'b> {
        if axes.is_empty() {
            return self.abs();
        }
        let largest = self.abs().reduce_max(axes);
        let one = largest.full_like(1.0);
        // Zeros are divided by 1, and so are infinities, and nothing, whose largest element is −∞.
        let scale = largest.greater(largest.zeros_like()).select(largest, one);
        // The norm does not depend on what it is scaled by, so no gradient flows through that.
        let scale = scale.less(scale.full_like(f64::INFINITY)).select(scale, one).stop_gradient();
        let unit = self / scale.unreduce(axes, self);
        let squares = (unit * unit).sum(axes);
        // At 0 the root is taken of a harmless 1, and nothing flows through it.
        let is_zero = squares.equal(squares.zeros_like());
        let root = is_zero.select(one, squares).sqrt();
        is_zero.select(squares.zeros_like(), root * scale)
    }

    /// The standard deviation `√(Σ(x − m)²/N)` over `axes`, which disappear, about the mean `m`. Its gradient is 0 where
    /// all values are equal.
    #[track_caller]
    pub fn std(self, axes: &[usize]) -> Expr<'b> {
        let centred = |x: Expr<'b>| x - x.mean(axes).unreduce(axes, x);
        // Twice, since a mean is rounded: the differences of equal values are then exactly 0.
        centred(centred(self)).norm(axes) / self.count(axes).sqrt()
    }
}
