//! The order of operands: `f(x) − c` is no `c − f(x)`, and `c / f(x)` is no affine map at all.

use super::check::{Trap, fold};
use super::net::Net;
use foldgrad::Expr;

/// A map behind a Dense, and the same map before one.
fn both(map: impl for<'b> Fn(&'b Net, Expr<'b>) -> Expr<'b>) -> Trap {
    let behind = fold(|n| n.output("y", map(n, n.dense("dense", n.x(&[4]), 4))));
    let before = fold(|n| n.output("y", n.dense("dense", map(n, n.x(&[4])), 4)));
    Trap(behind.0.into_iter().chain(before.0).collect())
}

#[test]
fn a_weight_is_subtracted() {
    both(|n, x| x - n.weight("c", &[4])).leaves_only("dense");
}

#[test]
fn a_value_is_subtracted_from_a_weight() {
    both(|n, x| n.weight("c", &[4]) - x).leaves_only("dense");
    both(|_, x| 1.0 - x).leaves_only("dense");
}

#[test]
fn a_value_is_divided_by_a_weight() {
    both(|n, x| x / n.weight("c", &[4])).leaves_only("dense");
    both(|_, x| x / 3.0).leaves_only("dense");
}

#[test]
fn a_weight_is_divided_by_a_value() {
    both(|n, x| n.weight("c", &[4]) / x).untouched();
    both(|_, x| 1.0 / x).untouched();
}

#[test]
fn a_weight_on_the_left_of_a_sum_or_product() {
    both(|n, x| n.weight("c", &[4]) + x).leaves_only("dense");
    both(|n, x| n.weight("c", &[4]) * x).leaves_only("dense");
}

#[test]
fn a_negated_value() {
    both(|_, x| -x).leaves_only("dense");
}

#[test]
fn a_negated_product_that_is_negated_again() {
    // −z goes into the product; whoever reads −(−z) in the meantime must not keep the old product alive.
    for rows in [1, 4] {
        fold(|n| {
            let z = n.known("x", &[rows, 4]).relu().dot(n.weight("w", &[4, 4]));
            n.output("negated", (-z).dot(n.weight("v", &[4, 4])));
            n.output("as it was", -(-z));
        })
        .leaves(&[("dot", 2)]);
    }
}

#[test]
fn a_long_chain() {
    both(|n, x| {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| n.weight(name, &[4]));
        a - -(b - x * c) / d + 2.0
    })
    .leaves_only("dense");
    // The chain is one map only up to where it is no map.
    both(|n, x| n.weight("a", &[4]) - n.weight("b", &[4]) / (x * 2.0 + 7.0)).leaves(&[("div", 1)]);
}

#[test]
fn other_functions_of_two_operands() {
    both(|n, x| x.max(n.weight("c", &[4]))).untouched();
    both(|n, x| x.min(n.weight("c", &[4]))).untouched();
    both(|n, x| (x * x + 1.0).pow(n.weight("c", &[4])) + 0.0 * x.zeros_like()).leaves(&[("pow", 1)]);
    both(|n, x| n.positive("c", &[4]).pow(x)).untouched();
}

#[test]
fn a_value_with_itself() {
    both(|_, x| x + x).untouched();
    both(|_, x| x - x * 2.0).untouched();
    both(|_, x| x * x).untouched();
}
