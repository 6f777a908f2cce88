//! Extreme statistics: no channel is divided by its scale, and none overflows that did not overflow before.

use super::check::{Folded, Trap, fold, fold_in};
use super::net::{EPSILON, Net};
use foldgrad::DType;

/// Three units behind and before a batch norm with these moments.
fn moments(gamma: &[f64; 3], mean: &[f64; 3], var: &[f64; 3], eps: f64) -> [impl Fn(&Net); 2] {
    let (gamma, mean, var) = (*gamma, *mean, *var);
    [false, true].map(|before| {
        move |n: &Net| {
            let moments = [
                n.given("gamma", &[3], &gamma),
                n.weight("beta", &[3]),
                n.given("mean", &[3], &mean),
                n.given("var", &[3], &var),
            ];
            let x = n.x(&[3]);
            let y = match before {
                true => n.dense("dense", x.batch_norm_infer(moments, 1, eps), 4),
                false => n.dense("dense", x, 3).batch_norm_infer(moments, 1, eps),
            };
            n.output("y", y);
        }
    })
}

const ONES: [f64; 3] = [1.0; 3];
const ZEROS: [f64; 3] = [0.0; 3];

fn folds(build: [impl Fn(&Net); 2]) {
    for build in build {
        fold(build).leaves_only("dense");
    }
}

#[test]
fn a_variance_of_zero() {
    folds(moments(&[1.0, -2.0, 0.5], &[0.5, 0.0, -1.0], &ZEROS, EPSILON));
    folds(moments(&[1.0, -2.0, 0.5], &[0.5, 0.0, -1.0], &[0.0, 1.0, 0.0], 1e-5));
}

#[test]
fn a_tiny_variance() {
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1e-38, 1e-37, 1e-30], EPSILON));
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1e-38, 1e-37, 1e-30], 1e-30));
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1e-38, 1e-20, 1.0], 0.0));
}

#[test]
fn a_huge_variance() {
    folds(moments(&ONES, &[0.5, 1e10, -1e15], &[1e30, 1e20, 1e38], EPSILON));
}

#[test]
fn a_tiny_epsilon() {
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1.0, 1e-6, 2.0], 1e-12));
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1.0, 0.0, 2.0], 1e-30));
    folds(moments(&ONES, &[0.5, 0.0, -1.0], &[1.0, 0.5, 2.0], 0.0));
}

#[test]
fn a_mean_far_beyond_the_deviation() {
    folds(moments(&ONES, &[1e6, -1e6, 1e6], &[1e-2, 1.0, 1e-6], EPSILON));
    folds(moments(&ONES, &[1e18, -1e18, 0.0], &ONES, EPSILON));
}

#[test]
fn a_negative_gamma() {
    folds(moments(&[-1.0, -0.5, -2.0], &ONES, &ONES, EPSILON));
}

#[test]
fn a_gamma_of_zero_makes_a_channel_constant() {
    folds(moments(&ZEROS, &ONES, &ONES, EPSILON));
    let [behind, _] = moments(&[0.0, 1.0, -0.0], &[1e3, 0.0, 0.0], &[0.0, 1.0, 1e30], EPSILON);
    for Folded { weights, folded, .. } in &fold(behind).0 {
        let (kernel, bias) = (folded.weights["dense/kernel"].to_f64(), folded.weights["dense/bias"].to_f64());
        for unit in [0, 2] {
            assert!(kernel.iter().skip(unit).step_by(3).all(|&weight| weight == 0.0), "{kernel:?}");
            assert_eq!(bias[unit], weights["beta"].to_f64()[unit], "β alone is left");
        }
    }
}

#[test]
fn a_gamma_of_zero_behind_a_ramp() {
    // Its scale is not positive, and nothing divides by it.
    let net = |n: &Net| {
        let [_, beta, mean, var] = n.moments("bn", 3);
        let gamma = n.given("gamma", &[3], &[1.0, 0.0, 2.0]);
        let z = n.x(&[3]).batch_norm_infer([gamma, beta, mean, var], 1, EPSILON);
        n.output("y", n.dense("dense", z.relu(), 4));
    };
    fold(net).refused("its scale is not known to be positive");
}

/// A batch norm with this scale before a ramp, so that the shift is divided by the scale.
fn divided(scale: f64, var: f64) -> impl Fn(&Net) {
    move |n: &Net| {
        let (gamma, var) = (n.given("gamma", &[3], &[scale; 3]), n.given("var", &[3], &[var; 3]));
        let z = n.x(&[3]).batch_norm_infer([gamma, n.weight("beta", &[3]), n.weight("mean", &[3]), var], 1, 0.0);
        n.output("y", n.dense("dense", z.relu(), 4));
    }
}

fn partly(trap: Trap) {
    trap.leaves(&[("batch_norm_infer", 0), ("dense", 1), ("mul", 0), ("add", 1)]);
}

#[test]
fn a_shift_over_a_tiny_scale() {
    partly(fold(divided(1e-6, 1.0)));
    partly(fold(divided(1e6, 1e-6)));
    partly(fold_in(DType::F64, divided(1e-10, 1e20)));
    partly(fold_in(DType::F64, divided(1e-30, 1e30)));
    // The quotient overflows.
    fold_in(DType::F64, divided(1e-300, 1e30)).refused("its shift is too large for its scale");
    fold_in(DType::F32, divided(1e-20, 1e38)).refused("its shift is too large for its scale");
}

#[test]
fn divisors_that_are_not_numbers_stay_where_they_are_put() {
    // Zeros and infinities of the declared graph are still there.
    let net = |n: &Net, c: f64| n.output("y", n.x(&[2]) * 0.0 + n.given("c", &[2], &[c, 1.0]));
    for c in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        fold(|n| net(n, c));
    }
}

#[test]
fn known_sizes_of_zero_and_one() {
    for rows in [0, 1] {
        fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.known("x", &[rows, 4]), 4), 1))).leaves_only("dense");
        fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.known("x", &[rows, 4]), 1), 4))).leaves_only("dense");
        // Folds that leave as many nodes as they find save nothing where there are no elements.
        fold(|n| n.output("y", n.norm("bn", n.known("x", &[rows, 4]), 1) + n.weight("t", &[4])));
        fold(|n| n.output("y", n.positive_norm("bn", n.dense("dense", n.known("x", &[rows, 4]), 4).relu())));
        fold(|n| n.output("y", n.dense("dense", n.positive_norm("bn", n.known("x", &[rows, 4])).relu(), 4)));
        fold(|n| n.output("y", n.norm("bn", n.known("x", &[rows, 4]).dot(n.weight("w", &[4, 4, 2])), 1)));
        fold(|n| n.output("y", n.norm("bn", n.known("x", &[rows, 4]), 1).dot(n.weight("w", &[4]))));
    }
}

#[test]
fn no_features_and_no_units() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[0]), 3), 1))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[0]), 1), 3))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[3]), 0), 1)));
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[3]), 1), 0)));
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[1]), 1), 1))).leaves_only("dense");
}

#[test]
fn a_mean_of_nothing() {
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[0, 3]), 2).mean(&[1]), 2)));
    fold(|n| n.output("y", n.dense("dense", n.positive_norm("bn", n.x(&[0, 3])).reduce_max(&[1]), 2)));
}
