//! The formulas of batch norm, each for one vector of elements. Sums and products are rounded one by one, so that a formula
//! gives the same bits for one lane as for many.

use crate::kernel::Real;
use pulp::Simd;

/// The terms of `K` sums, of `a`, `b` and a coefficient of the channel.
pub(in crate::kernel) trait Sums<const K: usize> {
    fn terms<S: Simd, T: Real>(simd: S, of: [T::Vector<S>; 3]) -> [T::Vector<S>; K];
}

/// An element of a result, of `a`, `b` and four coefficients of the channel.
pub(in crate::kernel) trait Each {
    fn value<S: Simd, T: Real>(simd: S, of: [T::Vector<S>; 2], by_channel: [T::Vector<S>; 4]) -> T::Vector<S>;
}

macro_rules! sums {
    ($name:ident, $count:literal, $equation:literal, $simd:ident, $of:pat => $terms:expr) => {
        #[doc = $equation]
        pub(in crate::kernel) struct $name;

        impl Sums<$count> for $name {
            #[inline(always)]
            fn terms<S: Simd, T: Real>($simd: S, $of: [T::Vector<S>; 3]) -> [T::Vector<S>; $count] {
                $terms
            }
        }
    };
}

macro_rules! each {
    ($name:ident, $equation:literal, $simd:ident, $of:pat, $by_channel:pat => $value:expr) => {
        #[doc = $equation]
        pub(in crate::kernel) struct $name;

        impl Each for $name {
            #[inline(always)]
            fn value<S: Simd, T: Real>(
                $simd: S,
                $of: [T::Vector<S>; 2],
                $by_channel: [T::Vector<S>; 4],
            ) -> T::Vector<S> {
                $value
            }
        }
    };
}

sums!(Plain, 1, "`a`", _simd, [a, ..] => [a]);
sums!(Deviations, 2, "`a − p` and `(a − p)²`", simd, [a, _, p] => {
    let deviation = T::vector_sub(simd, a, p);
    [deviation, T::vector_mul(simd, deviation, deviation)]
});
sums!(Gradients, 3, "`b`, `b·(a − p)` and `a − p`", simd, [a, b, p] => {
    let deviation = T::vector_sub(simd, a, p);
    [b, T::vector_mul(simd, b, deviation), deviation]
});
each!(Normalised, "`(a − p)·q + r`", simd, [a, _], [p, q, r, _] => {
    T::vector_add(simd, T::vector_mul(simd, T::vector_sub(simd, a, p), q), r)
});
each!(Rectified, "`max((a − p)·q + r, 0)`", simd, of, by_channel => {
    T::vector_relu(simd, Normalised::value::<S, T>(simd, of, by_channel))
});
each!(Backward, "`b·q + (a − p)·r + s`", simd, [a, b], [p, q, r, s] => {
    let centred = T::vector_mul(simd, T::vector_sub(simd, a, p), r);
    T::vector_add(simd, T::vector_add(simd, T::vector_mul(simd, b, q), centred), s)
});
