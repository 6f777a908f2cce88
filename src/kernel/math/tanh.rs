//! `tanh x = 1 − 2/(e²ˣ + 1)`, or `x + x³ p(x²)` for a small `x`; `σ(x) = 1/(1 + e⁻ˣ)`.

use super::Function;
use super::exp::{Reduced, bounded, halves, reduce};
use super::lane::Lane;
use crate::ops::Unary;

// (tanh(x)/x − 1)/x² in powers of x², over x² ≤ 0.36; the error relative to x is below 2^−27.5 and 2^−56.9.
const P32: [f32; 6] = [-0.33333334, 0.13333313, -0.053961754, 0.021789888, -0.008415031, 0.0023762677];
const P64: [f64; 12] = [
    -0.3333333333333333,
    0.13333333333333214,
    -0.05396825396809294,
    0.02186948852769814,
    -0.008863235300124088,
    0.003592124344760477,
    -0.001455796650210963,
    0.0005897720626690531,
    -0.00023796521066299841,
    9.335161050825138e-05,
    -3.211850326763338e-05,
    6.950139903978829e-06,
];

/// Hyperbolic tangent.
pub(crate) struct Tanh;

impl Function for Tanh {
    const OP: Unary = Unary::Tanh;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        let a = x.magnitude();
        let z = a * a;
        let near = (a * z).times_plus::<FUSED>(z.polynomial::<FUSED>(T::table(&P32, &P64)), a);
        // From the bound on, the result is 1.
        let doubled = (a + a).within(T::ZERO, T::either(20.0, 40.0));
        let Reduced { k, r, rest } = reduce::<T, FUSED>(doubled);
        let scale = k.power_of_two();
        // e²ᵃ + 1 = (2ᵏ + 1) + 2ᵏ(r + rest), of which the first sum is exact while it matters.
        let far = T::ONE - T::of(2.0) / scale.times_plus::<FUSED>(r + rest, scale + T::ONE);
        let magnitude = if a < T::of(0.6) { near } else { far };
        magnitude.with_sign_of(x)
    }
}

/// `1/(1 + e⁻ˣ)`.
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    const OP: Unary = Unary::Sigmoid;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        let Reduced { k, r, rest } = reduce::<T, FUSED>(bounded(-x.magnitude()));
        let [a, b] = halves(k);
        // e^−|x| and 1 + e^−|x|, each with what its rounding lost.
        let part = r + rest;
        let sum = T::ONE + part;
        let e = sum * a * b;
        let e_lost = (part - (sum - T::ONE)) * a * b;
        let d = T::ONE + e;
        let d_lost = (e - (d - T::ONE)) + e_lost;
        let negative = x < T::ZERO;
        let (n, n_lost) = if negative { (e, e_lost) } else { (T::ONE, T::ZERO) };
        // (n + n')/(d + d') = q + (n' − q d')/d, where a rough 1/d is enough: 1 − ⅚e + ⅓e².
        let q = n / d;
        let rough = T::ONE - e * (T::of(5.0 / 6.0) - e * T::of(1.0 / 3.0));
        q + (n_lost - q * d_lost) * rough
    }
}
