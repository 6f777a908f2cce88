//! The number types agree: over dual numbers and complex numbers, a function has the value that it has over f64, at NaN
//! and infinity too. Otherwise an oracle would judge another function.

use crate::common::Magnitude;
use foldgrad::ops::{Binary, Compare, Unary};
use foldgrad::reference::{ComplexStep, Dual, Fp, Number};

const NASTY: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -3.0,
    30.0,
    -30.0,
    700.0,
    1e-300,
    1e200,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

#[track_caller]
fn check(what: &str, found: f64, expected: f64, tolerance: f64) {
    let same = found == expected || found.is_nan() && expected.is_nan();
    assert!(same || (found - expected).abs() <= tolerance * expected.abs().max(1.0), "{what}: {found}, not {expected}");
}

#[test]
fn functions_have_one_value_over_every_number_type() {
    for &op in Unary::ALL {
        for x in NASTY {
            let (what, expected) = (format!("{op:?}({x})"), op.apply(x));
            check(&what, op.apply(Dual::new(x, 1.0)).re, expected, 0.0);
            check(&what, op.apply(Dual::new(Dual::new(x, 1.0), Dual::new(1.0, 0.0))).re.re, expected, 0.0);
            check(&what, op.apply(Magnitude::from_f64(x)).value, expected, 0.0);
            check(&what, op.apply(ComplexStep::new(x, 1.0)).re, expected, 1e-15);
        }
    }
    for &op in Binary::ALL {
        for (a, b) in NASTY.into_iter().flat_map(|a| NASTY.map(|b| (a, b))) {
            let (what, expected) = (format!("{op:?}({a}, {b})"), op.apply(a, b));
            check(&what, op.apply(Dual::new(a, 1.0), Dual::new(b, 1.0)).re, expected, 0.0);
            check(&what, op.apply(Magnitude::from_f64(a), Magnitude::from_f64(b)).value, expected, 0.0);
            check(&what, op.apply(ComplexStep::new(a, 1.0), ComplexStep::new(b, 1.0)).re, expected, 1e-15);
        }
    }
}

#[test]
fn comparisons_look_at_the_primal_part() {
    for &op in Compare::ALL {
        for (a, b) in NASTY.into_iter().flat_map(|a| NASTY.map(|b| (a, b))) {
            let expected = op.apply(a, b);
            assert_eq!(op.apply(Dual::new(a, 1.0), Dual::new(b, 2.0)), expected, "{op:?}({a}, {b})");
            assert_eq!(op.apply(ComplexStep::new(a, 1.0), ComplexStep::new(b, 2.0)), expected, "{op:?}({a}, {b})");
            let (p, q) = (Fp::from_f64(a), Fp::from_f64(b));
            let (lifted, other) = (Dual::new(p, q), Dual::new(q, p));
            assert_eq!(op.apply(lifted, other), op.apply(p, q), "{op:?} over the field");
        }
    }
}

/// Derivatives by dual numbers and by complex step, where the function is smooth.
#[test]
fn exact_oracles_agree() {
    for &op in Unary::ALL {
        for x in [0.1, 0.7, 1.0, 2.5] {
            let (dual, complex) = (op.apply(Dual::new(x, 1.0)).du, op.apply(ComplexStep::new(x, 1.0)).tangent());
            check(&format!("{op:?}′({x})"), complex, dual, 1e-14);
        }
    }
    for &op in Binary::ALL {
        for (a, b) in [(0.3, 0.7), (1.5, -2.0), (2.0, 3.0)] {
            let dual = op.apply(Dual::new(a, 0.4), Dual::new(b, -0.9)).du;
            let complex = op.apply(ComplexStep::new(a, 0.4), ComplexStep::new(b, -0.9)).tangent();
            check(&format!("{op:?}′({a}, {b})"), complex, dual, 1e-14);
        }
    }
}
