//! The formulas of batch norm, each for one vector of elements. Sums and products are rounded one by one, so that a formula
//! gives the same bits for one lane as for many.

use crate::kernel::Real;
use pulp::Simd;

/// A term of a sum, of `a`, `b` and two coefficients of the channel.
pub(super) trait Sum {
    fn term<S: Simd, T: Real>(simd: S, of: [T::Vector<S>; 4]) -> T::Vector<S>;
}

/// An element of a result, of `a`, `b` and four coefficients of the channel.
pub(super) trait Each {
    fn value<S: Simd, T: Real>(simd: S, of: [T::Vector<S>; 2], by_channel: [T::Vector<S>; 4]) -> T::Vector<S>;
}

macro_rules! sum {
    ($name:ident, $equation:literal, $simd:ident, $of:pat => $value:expr) => {
        #[doc = $equation]
        pub(super) struct $name;

        impl Sum for $name {
            #[inline(always)]
            fn term<S: Simd, T: Real>($simd: S, $of: [T::Vector<S>; 4]) -> T::Vector<S> {
                $value
            }
        }
    };
}

macro_rules! each {
    ($name:ident, $equation:literal, $simd:ident, $of:pat, $by_channel:pat => $value:expr) => {
        #[doc = $equation]
        pub(super) struct $name;

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

sum!(Plain, "`a`", _simd, [a, ..] => a);
sum!(Other, "`b`", _simd, [_, b, ..] => b);
sum!(SquaredDistance, "`(a − p)²`", simd, [a, _, p, _] => {
    let distance = T::vector_sub(simd, a, p);
    T::vector_mul(simd, distance, distance)
});
sum!(ByNormalised, "`b·((a − p)·q)`", simd, [a, b, p, q] => {
    T::vector_mul(simd, b, T::vector_mul(simd, T::vector_sub(simd, a, p), q))
});
each!(Normalised, "`(a − p)·q + r`", simd, [a, _], [p, q, r, _] => {
    T::vector_add(simd, T::vector_mul(simd, T::vector_sub(simd, a, p), q), r)
});
each!(Backward, "`b·q + (a − p)·r + s`", simd, [a, b], [p, q, r, s] => {
    let centred = T::vector_mul(simd, T::vector_sub(simd, a, p), r);
    T::vector_add(simd, T::vector_add(simd, T::vector_mul(simd, b, q), centred), s)
});
