//! The gradient laws have teeth: each planted mistake fails in the very checks that the right rules pass.

use crate::common::mistakes::{Mistake, mistakes};
use crate::common::{Layout, Oracle, Problem, Trial, check_direction, check_gradients, points, trials, wholes};
use foldgrad::DType;
use foldgrad::autodiff::{OpRules, ReverseRules};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

/// The laws of one op: first order in every layout, second order, and the chosen points.
fn laws(rules: &dyn ReverseRules, op: &str, trials: &[Trial], oracle: Oracle) -> Result<(), String> {
    let of_op = || trials.iter().filter(|trial| trial.case.op.name() == op);
    for trial in of_op() {
        check_gradients(&trial.problem(rules)?, &[oracle])?;
    }
    for trial in of_op().filter(|trial| trial.layout == Layout::Contiguous) {
        check_gradients(&trial.second_problem(rules, 1)?, &[oracle])?;
    }
    points::stop_gradient_blocks(rules)?;
    points::no_derivative_is_an_error(rules)?;
    points::ties_are_shared(rules)?;
    points::products_with_zeros_are_exact(rules)?;
    points::whole_powers_are_polynomials(rules)?;
    points::kinks_follow_the_convention(rules)?;
    points::derivatives_far_out_are_limits(rules)
}

fn uncaught(oracle: Oracle) -> Vec<String> {
    let trials = trials(DType::F64, 5);
    let escaped = |mistake: &&Mistake| laws(*mistake, mistake.op, &trials, oracle).is_ok();
    mistakes().filter(escaped).map(describe).collect()
}

fn describe(mistake: &Mistake) -> String {
    format!("{}: {}", mistake.op, mistake.what)
}

#[test]
fn the_right_rules_pass() {
    let trials = trials(DType::F64, 5);
    let ops: BTreeSet<&str> = mistakes().map(|mistake| mistake.op).collect();
    for op in ops {
        for oracle in [Oracle::Dual, Oracle::CentralDifferences] {
            if let Err(reason) = laws(&OpRules, op, &trials, oracle) {
                panic!("{reason}");
            }
        }
    }
}

#[test]
fn dual_numbers_catch_every_mistake() {
    println!("{} planted mistakes", mistakes().count());
    assert!(mistakes().count() >= 70);
    assert_eq!(uncaught(Oracle::Dual), [""; 0]);
}

#[test]
fn central_differences_catch_every_mistake() {
    assert_eq!(uncaught(Oracle::CentralDifferences), [""; 0]);
}

/// Random whole graphs, which aim at no op in particular, catch most mistakes too.
#[test]
fn random_graphs_catch_most_mistakes() {
    let mut runner = TestRunner::deterministic();
    let graphs: Vec<_> =
        (0..400).filter_map(|_| wholes().new_tree(&mut runner).ok()).map(|tree| tree.current()).collect();
    let passes = |mistake: &Mistake| {
        let right = |problem: &Problem| check_direction(problem, 1).is_ok();
        graphs.iter().all(|whole| whole.problem(Some(mistake)).is_ok_and(|(problem, _)| right(&problem)))
    };
    let escaped: Vec<String> = mistakes().filter(|mistake| passes(mistake)).map(describe).collect();
    assert!(escaped.len() * 4 <= mistakes().count(), "{escaped:#?}");
}
