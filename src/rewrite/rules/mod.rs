//! THE list of rules. A rule lives in the file of its family and in one line of a set here; being in [`all`] puts it under
//! the laws of rules (docs/LAWS.md) and asks for its golden file, `tests/rewrite/rules/golden/NAME.ir`.

mod batch_norm;
mod folds;
mod identities;

use super::Rule;
use batch_norm::*;
use folds::*;
use identities::*;

/// Folds of per-channel affine maps, batch norm among them, into products: nothing of them is left.
pub static FOLDS: &[&Rule] =
    &[&affine_into_product_before, &affine_into_product_behind, &affine_after_affine, &product_after_product];

/// What is left of a map that cannot pass an activation as a whole: its scale goes, its shift stays.
pub static PARTIAL_FOLDS: &[&Rule] = &[&scale_into_product_behind, &scale_into_product_before];

/// A bias before training batch norm.
pub static DEAD_BIAS: &[&Rule] = &[&bias_before_batch_norm, &bias_before_batch_norm_grad, &sum_of_batch_norm_grad];

/// Identities that hold for every number.
pub static IDENTITIES: &[&Rule] = &[
    &add_zero,
    &subtract_zero,
    &multiply_by_one,
    &divide_by_one,
    &negate_twice,
    &transpose_nothing,
    &transpose_twice,
    &reshape_nothing,
    &reshape_twice,
    &slice_everything,
    &cast_nothing,
];

/// Identities of a graph that is not differentiated any more.
pub static AT_REST: &[&Rule] = &[&stop_gradient_at_rest];

/// Identities that are wrong for NaN and infinity: in no preset.
pub static UNSAFE: &[&Rule] = &[&multiply_by_zero, &subtract_itself];

/// Every rule.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [FOLDS, PARTIAL_FOLDS, DEAD_BIAS, IDENTITIES, AT_REST, UNSAFE].into_iter().flatten().copied()
}
