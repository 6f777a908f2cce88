//! `eˣ = 2ᵏ · eʳ` with `x = k · ln 2 + r`, `|r| ≤ ½ ln 2`, and `eʳ = 1 + r + r² q(r)`.

use super::Function;
use super::lane::Lane;
use crate::ops::Unary;

// q = (eʳ − 1 − r)/r² over ±0.34675; the error of r² q relative to eʳ − 1 is below 2^−25.3 and 2^−54.5.
const Q32: [f32; 5] = [0.5, 0.16666576, 0.041666374, 0.008363208, 0.0013941163];
const Q64: [f64; 10] = [
    0.5000000000000001,
    0.16666666666666674,
    0.04166666666662398,
    0.008333333333322172,
    0.0013888888917285545,
    0.00019841269886699926,
    2.4801521185224727e-05,
    2.755724221351069e-06,
    2.7620140796145187e-07,
    2.511009630403349e-08,
];

/// `eˣ = 2ᵏ · (1 + r + rest)`, with `r` a float and `rest` what is beyond it.
pub(super) struct Reduced<T> {
    pub k: T,
    pub r: T,
    pub rest: T,
}

/// The parts of `eˣ`, for an `x` that [`bounded`] gives.
#[inline(always)]
pub(super) fn reduce<T: Lane, const FUSED: bool>(x: T) -> Reduced<T> {
    let k = x.round_product::<FUSED>(T::of(std::f64::consts::LOG2_E));
    let [first, second] = T::ln_2();
    let high = (-k).times_plus::<FUSED>(first, x);
    let low = k * second;
    let r = high - low;
    let lost = (high - r) - low;
    let rest = (r * r).times_plus::<FUSED>(r.polynomial::<FUSED>(T::table(&Q32, &Q64)), lost);
    Reduced { k, r, rest }
}

/// `x`, moved to where `eˣ` is already infinite or zero if it is farther out.
#[inline(always)]
pub(super) fn bounded<T: Lane>(x: T) -> T {
    x.within(T::either(-104.0, -746.0), T::either(89.0, 710.0))
}

/// `[2^(k/2), 2^(k − k/2)]`: 2ᵏ itself may be beyond the normal exponents.
#[inline(always)]
pub(super) fn halves<T: Lane>(k: T) -> [T; 2] {
    let half = k.round_product::<false>(T::of(0.5));
    [half.power_of_two(), (k - half).power_of_two()]
}

/// `eˣ`.
pub(crate) struct Exp;

impl Function for Exp {
    const OP: Unary = Unary::Exp;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        let Reduced { k, r, rest } = reduce::<T, FUSED>(bounded(x));
        let [a, b] = halves(k);
        // The first product is exact; only the second can leave the normal range.
        (T::ONE + (r + rest)) * a * b
    }
}

/// `eˣ − 1`.
pub(crate) struct Expm1;

impl Function for Expm1 {
    const OP: Unary = Unary::Expm1;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        // From the lower bound on, the result is −1.
        let bounded = x.within(T::either(-20.0, -40.0), T::either(89.0, 710.0));
        let Reduced { k, r, rest } = reduce::<T, FUSED>(bounded);
        // Half of everything, since 2ᵏ may overflow where the result does not: ½(2ᵏ(1 + r + rest) − 1).
        let scale = (k - T::ONE).power_of_two();
        let most = scale.times_plus::<FUSED>(r, scale - T::of(0.5));
        let half = scale.times_plus::<FUSED>(rest, most);
        // Where x²/2 is nothing to x; a zero keeps its sign, a subnormal its last bit.
        if x.magnitude() < T::either(2.9e-8, 5.4e-17) { x } else { half + half }
    }
}
