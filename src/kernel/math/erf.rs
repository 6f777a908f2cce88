//! `erf x = x + x p(x²)` up to 1, and beyond `1 − e^g(x)`, where `g` is the logarithm of the complement.

use super::Function;
use super::exp::{Reduced, reduce};
use super::lane::Lane;
use crate::ops::Unary;

// erf(x)/x − 1 in powers of x², over x² ≤ 1; the error relative to erf x is below 2^−28.6 and 2^−56.3.
const P32: [f32; 7] = [0.12837917, -0.37612626, 0.112835854, -0.026853813, 0.0051883277, -0.0008010194, 7.8538644e-05];
const P64: [f64; 13] = [
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954857,
    -0.026866170645072896,
    0.00522397762478087,
    -0.0008548326978742346,
    0.0001205533103690354,
    -1.4925593506956103e-05,
    1.6460972817658876e-06,
    -1.635002522533538e-07,
    1.465787983636041e-08,
    -1.1365665859163723e-09,
    5.945261459424723e-11,
];

// ln(1 − erf(1 + t)) over −0.001 ≤ t ≤ 3 and 5, where the error that counts is that of 1 − e^g relative to erf: below
// 2^−26.6 and 2^−56.0.
const G32: [f32; 7] = [-1.8496056, -2.6389668, -0.8431174, -0.041504025, 0.0098962365, -0.0018298936, 0.00018650085];
const G64: [f64; 18] = [
    -1.8496055099332482,
    -2.638967514234779,
    -0.8431072563592767,
    -0.04156109802751377,
    0.010033825202301175,
    -0.001977901348942494,
    0.0002373169327553388,
    2.6295052091299005e-05,
    -2.7196664003587325e-05,
    9.668355506307233e-06,
    -2.1290469388987978e-06,
    2.027773381441347e-07,
    5.9058156775653026e-08,
    -3.377927727219985e-08,
    8.619464836456429e-09,
    -1.3364187686687516e-09,
    1.2109491154952063e-10,
    -4.9461474294323144e-12,
];

/// The error function.
pub(crate) struct Erf;

impl Function for Erf {
    const OP: Unary = Unary::Erf;

    #[inline(always)]
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T {
        let a = x.magnitude();
        let near = a.times_plus::<FUSED>((a * a).polynomial::<FUSED>(T::table(&P32, &P64)), a);
        // From the bound on, the result is 1; below 1, `near` is taken.
        let t = a.within(T::ONE, T::either(4.0, 6.0)) - T::ONE;
        let g = t.polynomial::<FUSED>(T::table(&G32, &G64));
        let Reduced { k, r, rest } = reduce::<T, FUSED>(g);
        let scale = k.power_of_two();
        let far = (-scale).times_plus::<FUSED>(r + rest, T::ONE - scale);
        let magnitude = if a < T::ONE { near } else { far };
        magnitude.with_sign_of(x)
    }
}
