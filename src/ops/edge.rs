//! Gradients at the edge of a domain: what reverse rules give at poles and where there is no value.
//!
//! Each is linear in its first argument, as a cotangent is: forward mode and second derivatives rely on it. So nothing
//! here compares a cotangent with 0; that 0 stays 0 comes from factors that are all finite.

use crate::ir::{DType, Expr};

/// `z`; at a `pole` 0 for a `z` of 0, and an infinity of its sign for any other.
pub(super) fn infinite_at<'b>(pole: Expr<'b>, z: Expr<'b>) -> Expr<'b> {
    let largest = if z.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    // Three times the largest number carries the smallest beyond it.
    let factor = pole.select(z.full_like(largest), z.full_like(1.0));
    z * factor * factor * factor
}

/// `z`; `outside` 0 for a `z` of 0, and NaN for any other.
pub(super) fn undefined_at<'b>(outside: Expr<'b>, z: Expr<'b>) -> Expr<'b> {
    infinite_at(outside, z) * outside.select(z.zeros_like(), z.full_like(1.0))
}

/// 0 where `y` is a number, NaN where it is not: what the loser of a comparison gets.
pub(super) fn zero_or_nan<'b>(y: Expr<'b>) -> Expr<'b> {
    y.equal(y).select(y.zeros_like(), y.full_like(f64::NAN))
}
