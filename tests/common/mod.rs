//! What the law tests share: sampled instances of every op, gradient problems, and the oracles they are checked with.
//!
//! A [`Problem`] is a graph with a scalar `loss` beside a graph with its gradients. One function,
//! [`check_gradients`], compares the two; it judges single ops, gradients of gradients and random whole graphs alike,
//! and the planted mistakes must fail in it too.

// Each test target uses its own part of this module.
#![allow(dead_code, unused_imports)]

pub mod graphs;
mod layout;
mod magnitude;
pub mod mistakes;
pub mod points;
mod problem;
mod random;
mod rules;
pub mod running;
mod skip;
mod trial;

pub use graphs::{Whole, wholes};
pub use layout::Layout;
pub use magnitude::Magnitude;
pub use problem::{
    FINITE_DIFFERENCE, Feeds, Oracle, Problem, UNITS, WHOLE_UNITS, Worst, assert_close, check_direction,
    check_gradients, check_in_field, check_same, check_single, evaluate, feeds_as, gradient_name, slope,
};
pub use random::{Random, random_feeds};
pub use rules::{ExpansionRules, expands};
pub use skip::skip;
pub use trial::{Seeded, Trial, cases, is_differentiable, trials};

use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// How many random cases: `PROPTEST_CASES`, or `default`. Failures are printed, never written to files.
pub fn config(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Runs a law that sweeps over every op on `default` random seeds, more when `PROPTEST_CASES` asks for thousands.
#[track_caller]
pub fn for_seeds(default: u32, law: impl Fn(u64) -> Result<(), String>) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let cases = default.max(asked / 1000);
    // A seed has no simpler form to shrink to.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let outcome = TestRunner::new(config).run(&proptest::num::u64::ANY, |seed| law(seed).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
