//! `x = q · π/2 + r`, `|r| ≤ π/4`: the sine and cosine of `r`, one of them picked and signed by `q` modulo 4.

use super::Function;
use super::lane::Lane;
use crate::ops::Unary;

// (sin(r)/r − 1)/r² in powers of r², over |r| ≤ 0.7858; the error relative to r is below 2^−25.9 and 2^−55.5.
const S32: [f32; 3] = [-0.16666664, 0.008332748, -0.00019587757];
const S64: [f64; 6] = [
    -0.16666666666666666,
    0.00833333333333094,
    -0.00019841269836742975,
    2.7557316094305633e-06,
    -2.505113010131827e-08,
    1.5918002246800965e-10,
];

// ((cos(r) − 1)/r² + ½)/r² in powers of r², over |r| ≤ 0.7858; the error relative to cos r is below 2^−29.4 and 2^−59.4.
const C32: [f32; 3] = [0.041666664, -0.0013888302, 2.4547788e-05];
const C64: [f64; 6] = [
    0.041666666666666664,
    -0.001388888888888739,
    2.480158729875576e-05,
    -2.7557317266493483e-07,
    2.087614516327659e-09,
    -1.1382552019013782e-11,
];

/// How far the reduction is good: 2²⁰.
const REACH: f64 = 1048576.0;

/// The sine of `x` after `more` quarter turns.
#[inline(always)]
fn sine<T: Lane, const FUSED: bool>(x: T, more: u8) -> T {
    let (q, r) = x.quarters();
    let z = r * r;
    let sine = (r * z).times_plus::<FUSED>(z.polynomial::<FUSED>(T::table(&S32, &S64)), r);
    let part = z.times_plus::<FUSED>(z.polynomial::<FUSED>(T::table(&C32, &C64)), T::of(-0.5));
    T::turned(q, more, sine, z.times_plus::<FUSED>(part, T::ONE))
}

/// Sine.
pub(crate) struct Sin;

impl Function for Sin {
    const OP: Unary = Unary::Sin;
    const REACH: f64 = REACH;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        let value = sine::<T, FUSED>(x, 0);
        // Where x³/6 is nothing to x; a zero keeps its sign.
        if x.magnitude() < T::either(1e-4, 1e-9) { x } else { value }
    }
}

/// Cosine.
pub(crate) struct Cos;

impl Function for Cos {
    const OP: Unary = Unary::Cos;
    const REACH: f64 = REACH;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        sine::<T, FUSED>(x, 1)
    }
}
