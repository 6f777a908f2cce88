//! Laws at chosen points; what each says stands with it in `common::points`.

use crate::common::points;
use foldgrad::autodiff::{OpRules, ReverseRules};

#[track_caller]
fn check(law: fn(&dyn ReverseRules) -> Result<(), String>) {
    if let Err(reason) = law(&OpRules) {
        panic!("{reason}");
    }
}

#[test]
fn stop_gradient_blocks() {
    check(points::stop_gradient_blocks);
}

#[test]
fn no_derivative_is_an_error() {
    check(points::no_derivative_is_an_error);
}

#[test]
fn ties_are_shared() {
    check(points::ties_are_shared);
}

#[test]
fn products_with_zeros_are_exact() {
    check(points::products_with_zeros_are_exact);
}

#[test]
fn whole_powers_are_polynomials() {
    check(points::whole_powers_are_polynomials);
}

#[test]
fn kinks_follow_the_convention() {
    check(points::kinks_follow_the_convention);
}

#[test]
fn derivatives_far_out_are_limits() {
    check(points::derivatives_far_out_are_limits);
}
