//! `ln x = e · ln 2 + ln(1 + f)` with `x = 2ᵉ(1 + f)`, and `ln(1 + f) = 2 artanh s = f − s(f − R)`, `s = f/(2 + f)`.

use super::Function;
use super::lane::Lane;
use crate::ops::Unary;

// (2 artanh s − 2s)/s³ in powers of s², over s² ≤ 0.02948; the error relative to 2s is below 2^−28.3 and 2^−57.5.
const L32: [f32; 3] = [0.66666687, 0.39988685, 0.2958359];
const L64: [f64; 7] = [
    0.666666666666667,
    0.3999999999989759,
    0.28571428626787276,
    0.2222221100964686,
    0.181828978131422,
    0.1533144454121683,
    0.1461975324228306,
];

/// `e · ln 2 + ln(1 + f) + rest`.
#[inline(always)]
fn combine<T: Lane, const FUSED: bool>(e: T, f: T, rest: T) -> T {
    let [high, low] = T::ln_2();
    let s = f / (T::of(2.0) + f);
    let z = s * s;
    // ln(1 + f) = f − (h − s(h + z L(z))): what is subtracted from f is small, and so are its roundings.
    let h = T::of(0.5) * f * f;
    let small =
        s * z.times_plus::<FUSED>(z.polynomial::<FUSED>(T::table(&L32, &L64)), h) + e.times_plus::<FUSED>(low, rest);
    e.times_plus::<FUSED>(high, f - (h - small))
}

/// `value` for an operand above `pole` and below ∞, else the limit at the pole, NaN below it, and ∞ or NaN as they are.
#[inline(always)]
fn limits<T: Lane>(x: T, pole: T, value: T) -> T {
    let at_pole = if x == pole { T::of(f64::NEG_INFINITY) } else { x };
    let outside = if x < pole { T::of(f64::NAN) } else { at_pole };
    if (x > pole) & (x < T::of(f64::INFINITY)) { value } else { outside }
}

/// `ln x`.
pub(crate) struct Log;

impl Function for Log {
    const OP: Unary = Unary::Log;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        // Subnormals are multiplied into the normal range.
        let subnormal = x < T::either(f32::MIN_POSITIVE, f64::MIN_POSITIVE);
        let normal = if subnormal { x * T::either(33554432.0, 18014398509481984.0) } else { x };
        let (e, m) = normal.exponent_and_mantissa();
        let e = e - if subnormal { T::either(25.0, 54.0) } else { T::ZERO };
        limits(x, T::ZERO, combine::<T, FUSED>(e, m - T::ONE, T::ZERO))
    }
}

/// `ln(1 + x)`.
pub(crate) struct Log1p;

impl Function for Log1p {
    const OP: Unary = Unary::Log1p;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        // 1 + x = u + lost, exactly.
        let u = T::ONE + x;
        let added = u - x;
        let lost = (x - (u - added)) + (T::ONE - added);
        let (e, m) = u.exponent_and_mantissa();
        let near = e == T::ZERO;
        let f = if near { x } else { m - T::ONE };
        // What was lost, at the scale of m; next to a large u it is nothing.
        let lost = if near { T::ZERO } else { lost * (-e.within(T::of(-64.0), T::of(64.0))).power_of_two() };
        // Its share in the logarithm is lost/(1 + f), of which two terms are enough.
        let rest = lost * (T::ONE - f * (T::ONE - f));
        let value = limits(x, -T::ONE, combine::<T, FUSED>(e, f, rest));
        if x.magnitude() < T::either(2.9e-8, 5.4e-17) { x } else { value }
    }
}
