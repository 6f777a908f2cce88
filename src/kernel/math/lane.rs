//! What the functions need of a float type: arithmetic, and the bits of an exponent.

use crate::kernel::Real;

/// `f32` or `f64`, with every method inlined and free of branches.
pub(crate) trait Lane: Real + std::ops::Neg<Output = Self> {
    /// The nearest float to a number.
    fn of(value: f64) -> Self;
    /// The constant of this type.
    fn either(single: f32, double: f64) -> Self;
    /// The table of this type.
    fn table(single: &'static [f32], double: &'static [f64]) -> &'static [Self];

    /// ln 2 in two parts, of which an exponent times the first is exact.
    #[inline(always)]
    fn ln_2() -> [Self; 2] {
        [Self::either(0.69314575, 0.6931471805598903), Self::either(1.4286068e-06, 5.497923018708371e-14)]
    }

    /// `self · by + plus`, rounded once if `FUSED`.
    fn times_plus<const FUSED: bool>(self, by: Self, plus: Self) -> Self;
    /// `|self|`.
    fn magnitude(self) -> Self;
    /// The magnitude of `self`, the sign of `sign`.
    fn with_sign_of(self, sign: Self) -> Self;

    /// The nearest whole number to `self · by`, for a product below 2²¹.
    fn round_product<const FUSED: bool>(self, by: Self) -> Self;
    /// `2^self` for a whole `self` in the range of normal exponents.
    fn power_of_two(self) -> Self;
    /// `(e, m)` with `self = m · 2ᵉ` and `m` in [√½, √2), for a positive normal `self`.
    fn exponent_and_mantissa(self) -> (Self, Self);

    /// Quarter turns, modulo more than four of them.
    type Quarters: Copy;
    /// `(q, r)` with `self = q · π/2 + r` and `|r|` at most π/4 and a rounding, for `|self|` up to 2²⁰.
    fn quarters(self) -> (Self::Quarters, Self);
    /// `sin(q · π/2 + r)` of the sine and cosine of `r`, after `more` further quarter turns.
    fn turned(q: Self::Quarters, more: u8, sine: Self, cosine: Self) -> Self;

    /// `self` if it is within the bounds or NaN, else the bound.
    #[inline(always)]
    fn within(self, low: Self, high: Self) -> Self {
        let below = if self > high { high } else { self };
        if below < low { low } else { below }
    }

    /// `Σ coefficients[i] · selfⁱ`, by Horner's rule.
    #[inline(always)]
    fn polynomial<const FUSED: bool>(self, coefficients: &[Self]) -> Self {
        let (&last, rest) = match coefficients.split_last() {
            Some(split) => split,
            None => return Self::ZERO,
        };
        rest.iter().rev().fold(
            last,
            #[inline(always)]
            |sum, &c| sum.times_plus::<FUSED>(self, c),
        )
    }
}

macro_rules! lane {
    ($ty:ident, $bits:ident, fraction $fraction:literal, bias $bias:literal,
        either |$single:ident, $double:ident| $either:expr, { $($reduction:tt)* }) => {
        impl Lane for $ty {
            #[inline(always)]
            fn of(value: f64) -> Self { value as $ty }
            #[inline(always)]
            fn either($single: f32, $double: f64) -> Self { $either }
            #[inline(always)]
            fn table($single: &'static [f32], $double: &'static [f64]) -> &'static [Self] { $either }

            #[inline(always)]
            fn times_plus<const FUSED: bool>(self, by: Self, plus: Self) -> Self {
                // Without the instruction, mul_add is a call that works it out in integers.
                if FUSED { self.mul_add(by, plus) } else { self * by + plus }
            }
            #[inline(always)]
            fn magnitude(self) -> Self { <$ty>::abs(self) }
            #[inline(always)]
            fn with_sign_of(self, sign: Self) -> Self { self.copysign(sign) }

            #[inline(always)]
            fn round_product<const FUSED: bool>(self, by: Self) -> Self {
                // Next to 1.5 · 2^fraction, floats are the whole numbers.
                const WHOLE: $ty = 1.5 * ((1 as $bits) << $fraction) as $ty;
                self.times_plus::<FUSED>(by, WHOLE) - WHOLE
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                // The low bits of the sum are the biased exponent; the shift drops the others.
                const BIASED: $ty = 1.5 * ((1 as $bits) << $fraction) as $ty + $bias;
                <$ty>::from_bits((self + BIASED).to_bits() << $fraction)
            }
            #[inline(always)]
            fn exponent_and_mantissa(self) -> (Self, Self) {
                const ROOT_HALF: $bits = std::$ty::consts::FRAC_1_SQRT_2.to_bits();
                const SHIFTED: $bits = (1.0 as $ty).to_bits() - ROOT_HALF;
                const WHOLE: $ty = ((1 as $bits) << $fraction) as $ty;
                let bits = self.to_bits().wrapping_add(SHIFTED);
                let e = <$ty>::from_bits((bits >> $fraction) | WHOLE.to_bits()) - (WHOLE + $bias);
                let m = (bits & ((1 << $fraction) - 1)) + ROOT_HALF;
                (e, <$ty>::from_bits(m))
            }

            type Quarters = $bits;
            #[inline(always)]
            fn turned(q: $bits, more: u8, sine: Self, cosine: Self) -> Self {
                let q = q.wrapping_add($bits::from(more));
                let value = if q & 1 == 0 { sine } else { cosine };
                <$ty>::from_bits(value.to_bits() ^ ((q & 2) << ($bits::BITS - 2)))
            }
            $($reduction)*
        }
    };
}

/// 1.5 · 2⁵².
const WHOLE: f64 = 6755399441055744.0;
// π/2 in three parts, of which the first two have 33 bits, so that 2²⁰ times each is exact.
const HALF_PI: [f64; 3] = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21];
/// π/2 without its first part.
const HALF_PI_TAIL: f64 = 6.077100506506192e-11;

lane!(f32, u32, fraction 23, bias 127.0, either |single, _double| single, {
    // In f64, where two parts are enough: r has 40 good bits even for the float nearest to a multiple of π/2.
    #[inline(always)]
    fn quarters(self) -> (u32, f32) {
        let x = f64::from(self);
        let shifted = x * std::f64::consts::FRAC_2_PI + WHOLE;
        let q = shifted - WHOLE;
        let r = (x - q * HALF_PI[0]) - q * HALF_PI_TAIL;
        (shifted.to_bits() as u32, r as f32)
    }
});

lane!(f64, u64, fraction 52, bias 1023.0, either |_single, double| double, {
    // The first two products and the first difference are exact; what the second loses joins the third.
    #[inline(always)]
    fn quarters(self) -> (u64, f64) {
        let shifted = self * std::f64::consts::FRAC_2_PI + WHOLE;
        let q = shifted - WHOLE;
        let high = self - q * HALF_PI[0];
        let middle = q * HALF_PI[1];
        let r = high - middle;
        let lost = (high - r) - middle;
        (shifted.to_bits(), r + (lost - q * HALF_PI[2]))
    }
});
