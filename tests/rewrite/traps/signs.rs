//! What passes an activation, a maximum or a border: a positive scale, and never a shift.

use super::check::{fold, fold_in};
use super::net::Net;
use foldgrad::{DType, Expr};

type Activation = for<'b> fn(Expr<'b>) -> Expr<'b>;

const RAMPS: [Activation; 4] =
    [|x| x.relu(), |x| x.leaky_relu(0.2), |x| x.max(x.zeros_like()), |x| x.zeros_like().max(x)];

/// A scale behind a ramp behind a Dense.
fn behind(n: &Net, ramp: Activation, scale: &[f64]) {
    n.output("y", ramp(n.dense("dense", n.x(&[4]), 3)) * n.given("s", &[3], scale));
}

/// A scale before a ramp before a product.
fn before(n: &Net, ramp: Activation, scale: &[f64]) {
    n.output("y", n.dense("dense", ramp(n.x(&[3]) * n.given("s", &[3], scale)), 4));
}

#[test]
fn a_positive_scale_passes_a_ramp() {
    for ramp in RAMPS {
        fold(|n| behind(n, ramp, &[0.5, 2.0, 1e-3])).leaves(&[("dense", 1), ("mul", 0), ("add", 0)]);
        fold(|n| before(n, ramp, &[0.5, 2.0, 1e-3])).leaves(&[("dense", 1), ("mul", 0), ("add", 0)]);
    }
}

#[test]
fn no_other_scale_passes_a_ramp() {
    let scales = [[-0.5, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [1.0, -1.0, 2.0], [1.0, f64::INFINITY, 1.0]];
    for ramp in RAMPS {
        for scale in scales {
            fold_in(DType::F64, |n| before(n, ramp, &scale)).refused("only where it is known to be positive");
            fold_in(DType::F64, |n| behind(n, ramp, &scale)).refused("only where it is known to be positive");
        }
    }
}

#[test]
fn a_negated_value_does_not_pass_a_ramp() {
    fold(|n| n.output("y", -n.dense("dense", n.x(&[4]), 3).relu())).refused("only where it is known to be positive");
    fold(|n| n.output("y", n.dense("dense", (-n.x(&[4])).relu(), 3))).refused("only where it is known to be positive");
    // Twice negated is positive: x / −2 · −3.
    fold(|n| n.output("y", n.dense("dense", (n.x(&[4]) / -2.0 * -3.0).relu(), 3))).leaves(&[
        ("dense", 1),
        ("mul", 0),
        ("div", 0),
    ]);
}

#[test]
fn a_shift_does_not_pass_a_ramp() {
    for ramp in RAMPS {
        fold_in(DType::F64, |n| n.output("y", n.dense("dense", ramp(n.x(&[3]) + n.weight("t", &[3])), 4)))
            .refused("a shift does not pass");
        fold_in(DType::F64, |n| n.output("y", ramp(n.dense("dense", n.x(&[3]), 4)) + n.weight("t", &[4])))
            .refused("a shift does not pass");
    }
}

#[test]
fn of_a_batch_norm_only_a_positive_scale_passes_a_ramp() {
    for ramp in RAMPS {
        // The scale goes into the Dense, the shift stays where it is.
        fold(|n| n.output("y", n.positive_norm("bn", ramp(n.dense("dense", n.x(&[3]), 4))))).leaves(&[
            ("batch_norm_infer", 0),
            ("dense", 1),
            ("mul", 0),
            ("add", 1),
        ]);
        fold(|n| n.output("y", n.dense("dense", ramp(n.positive_norm("bn", n.x(&[3]))), 4))).leaves(&[
            ("batch_norm_infer", 0),
            ("dense", 1),
            ("mul", 0),
            ("add", 1),
        ]);
        fold(|n| n.output("y", n.norm("bn", ramp(n.dense("dense", n.x(&[3]), 4)), 1)))
            .refused("only where it is known to be positive");
        fold(|n| n.output("y", n.dense("dense", ramp(n.norm("bn", n.x(&[3]), 1)), 4))).refused("positive");
    }
}

#[test]
fn a_batch_norm_between_two_ramps_goes_on_to_the_next_product() {
    // The way back is barred by the shift, the way on is free.
    fold(|n| n.output("y", n.dense("second", n.norm("bn", n.dense("first", n.x(&[3]), 4).relu(), 1), 2).relu()))
        .leaves(&[("batch_norm_infer", 0), ("dense", 2), ("mul", 0), ("add", 0)]);
}

#[test]
fn a_maximum_with_another_number_is_no_ramp() {
    fold(|n| n.output("y", n.dense("dense", (n.x(&[3]) * n.positive("s", &[3])).max(0.5), 4))).untouched();
    fold(|n| n.output("y", n.dense("dense", (n.x(&[3]) * n.positive("s", &[3])).min(0.0), 4))).untouched();
    fold(|n| n.output("y", n.dense("dense", (n.x(&[3]) * n.positive("s", &[3])).max(n.weight("m", &[3])), 4)))
        .untouched();
    fold(|n| n.output("y", n.dense("dense", (n.x(&[3]) * n.positive("s", &[3])).clamp(0.0, 6.0), 4))).untouched();
}

/// A reduction over time between a map along the channels and a product.
fn pooled(n: &Net, pool: Activation, map: impl for<'b> Fn(&'b Net, Expr<'b>) -> Expr<'b>) {
    n.output("y", n.dense("dense", pool(map(n, n.x(&[4, 3]))), 2));
}

#[test]
fn the_largest_of_a_scaled_value() {
    let pools: [Activation; 2] = [|x| x.reduce_max(&[1]), |x| x.reduce_min(&[1])];
    for pool in pools {
        fold(|n| pooled(n, pool, |n, x| n.positive_norm("bn", x))).leaves(&[
            ("batch_norm_infer", 0),
            ("dense", 1),
            ("mul", 0),
            ("add", 0),
        ]);
        fold(|n| pooled(n, pool, |n, x| x + n.weight("t", &[3]))).leaves(&[("dense", 1), ("add", 0)]);
        fold(|n| pooled(n, pool, |n, x| n.norm("bn", x, 2))).refused("only where it is known to be positive");
        fold(|n| pooled(n, pool, |n, x| x * n.given("s", &[3], &[1.0, 0.0, 1.0]))).refused("positive");
    }
    // Behind the pool, back into the Dense before it.
    fold(|n| n.output("y", n.positive_norm("bn", n.dense("dense", n.x(&[4, 3]), 3).reduce_max(&[1])))).leaves(&[
        ("batch_norm_infer", 0),
        ("dense", 1),
        ("mul", 0),
        ("add", 0),
    ]);
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 3]), 3).reduce_max(&[1]), 1))).refused("positive");
}

#[test]
fn means_take_a_map_along_and_sums_only_a_scale() {
    fold(|n| pooled(n, |x| x.mean(&[1]), |n, x| n.norm("bn", x, 2))).leaves_only("dense");
    fold(|n| pooled(n, |x| x.sum(&[1]), |n, x| x * n.weight("s", &[3]))).leaves_only("dense");
    fold(|n| pooled(n, |x| x.sum(&[1]), |n, x| x + n.weight("t", &[3]))).refused("a shift is summed by");
    fold(|n| pooled(n, |x| x.product(&[1]), |n, x| x * n.weight("s", &[3]))).untouched();
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4).mean(&[1]), 1))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.x(&[4, 4]), 4).sum(&[1]) * n.weight("s", &[4]))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4).sum(&[1]), 1)))
        .because("a shift is summed by");
}

#[test]
fn a_mean_over_the_channels() {
    // [batch, 4, 4] over axis 1: the channels that are left are axis 2.
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), 1).mean(&[1]), 4)))
        .refused("reduces the channels");
    // Behind it, axis 1 is what was axis 2, or what was axis 1.
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4).mean(&[2]), 1))).refused("are no columns");
}

/// A border of one zero on each side of the time axis.
fn bordered<'b>(n: &'b Net, x: Expr<'b>, border: f64) -> Expr<'b> {
    x.pad(1, 1, 1, 0, n.b.scalar(n.dtype, border))
}

#[test]
fn a_shift_does_not_pass_a_border_of_zeros() {
    fold(|n| n.output("y", n.dense("dense", bordered(n, n.x(&[2, 3]) + n.weight("t", &[3]), 0.0), 4)))
        .refused("the border would be shifted too");
    fold(|n| n.output("y", n.dense("dense", bordered(n, n.norm("bn", n.x(&[2, 3]), 2), 0.0), 4)))
        .because("the border would be shifted too");
    fold(|n| n.output("y", n.norm("bn", bordered(n, n.dense("dense", n.x(&[2, 3]), 4), 0.0), 2)))
        .because("the border would be shifted too");
    fold(|n| n.output("y", n.dense("dense", bordered(n, n.positive_norm("bn", n.x(&[2, 3])), 0.0), 4))).leaves(&[
        ("batch_norm_infer", 0),
        ("dense", 1),
        ("mul", 0),
        ("add", 1),
    ]);
}

#[test]
fn any_scale_passes_a_border_of_zeros() {
    fold(|n| n.output("y", n.dense("dense", bordered(n, n.x(&[2, 3]) * n.weight("s", &[3]), 0.0), 4)))
        .leaves(&[("dense", 1), ("mul", 0)]);
    fold(|n| n.output("y", bordered(n, n.dense("dense", n.x(&[2, 3]), 3), 0.0) * n.weight("s", &[3])))
        .leaves(&[("dense", 1), ("mul", 0)]);
    // Zeros between the elements are a border too.
    fold(|n| {
        let zero = n.b.scalar(n.dtype, 0.0);
        n.output("y", n.dense("dense", (n.x(&[2, 3]) + n.weight("t", &[3])).pad(1, 0, 0, 1, zero), 4));
    })
    .refused("the border would be shifted too");
}

#[test]
fn one_operation_that_is_scale_and_shift_is_not_split() {
    // t − pad(x·W): with −W it would be an addition, which is no less than a subtraction.
    fold(|n| n.output("y", n.weight("t", &[4]) - bordered(n, n.dense("dense", n.x(&[2, 3]), 4), 0.0)))
        .because("the border would be shifted too")
        .leaves(&[("sub", 1), ("add", 0), ("dense", 1)]);
    fold(|n| n.output("y", n.weight("t", &[4]) - n.dense("dense", n.x(&[2, 3]), 4).sum(&[1])))
        .because("a shift is summed by")
        .leaves(&[("sub", 1), ("add", 0), ("dense", 1)]);
}

#[test]
fn no_scale_passes_another_border() {
    fold(|n| n.output("y", n.dense("dense", bordered(n, n.x(&[2, 3]) * n.weight("s", &[3]), 1.0), 4)))
        .refused("pads with other numbers than 0");
    fold(|n| {
        let border = n.b.input("border", n.dtype, foldgrad::ir::Shape::scalar());
        n.output("y", n.dense("dense", (n.x(&[2, 3]) * n.weight("s", &[3])).pad(1, 1, 0, 0, border), 4));
    })
    .refused("pads with other numbers than 0");
    fold(|n| {
        let zero = n.b.scalar(n.dtype, 0.0);
        n.output("y", n.dense("dense", (n.x(&[2, 2]) * n.weight("s", &[2])).pad(2, 0, 2, 0, zero), 4));
    })
    .refused("pads the channels");
}

#[test]
fn signs_that_nobody_knows() {
    // Without weights, a positive parameter is not known to be positive.
    let net = Net::new(DType::F64);
    before(&net, RAMPS[0], &[1.0, 2.0, 3.0]);
    let (graph, _) = net.finish();
    let outcome = foldgrad::pass::Pipeline::inference().proved(true).run(&graph).expect("a pipeline");
    assert!(outcome.fired.is_empty(), "{:?}", outcome.fired);
    assert!(outcome.refused.iter().any(|refused| refused.reason.contains("known to be positive")));
    // A number is what it is, whether or not the weights are known.
    let net = Net::new(DType::F64);
    net.output("y", net.dense("dense", (net.x(&[3]) * 0.5).relu(), 4));
    let (graph, _) = net.finish();
    let outcome = foldgrad::pass::Pipeline::inference().proved(true).run(&graph).expect("a pipeline");
    assert_eq!(super::check::count(&outcome.graph, "relu"), 1);
    assert_eq!(outcome.fired.len(), 1, "{:?}", outcome.fired);
}
