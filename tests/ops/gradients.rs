//! The gradient proof. Laws L4, L5 and L6: every differentiable op, in f64 and f32, in every layout, against central
//! differences, dual numbers, complex step, and the prime field; hand-derived rules against the differentiated
//! definition.

use crate::common::ExpansionRules;
use crate::common::{
    Layout, Oracle, Problem, Seeded, Trial, Worst, cases, check_direction, check_gradients, check_in_field, check_same,
    check_single, evaluate, expands, for_seeds, trials,
};
use foldgrad::DType;
use foldgrad::autodiff::{OpRules, ReverseRules};
use foldgrad::op::{Case, Op, Sample, Scalar};
use foldgrad::ops::BatchNormTrain;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

const RULES: &dyn ReverseRules = &OpRules;

/// Ops that have no case from floats to floats: what they compute is piecewise constant, random or no function of a
/// float at all. `stop_gradient` cuts on purpose. Everything else has to be proven.
const NO_GRADIENT: &[&str] = &[
    "arg_max",
    "constant",
    "equal",
    "greater",
    "greater_equal",
    "input",
    "iota",
    "less",
    "less_equal",
    "not_equal",
    "one_hot",
    "random_uniform",
    "size",
    "stop_gradient",
];

/// Where the prime field cannot follow, for it knows neither that `exp` inverts `log` nor that `log 1 = 0`, and a
/// maximum is no longer one of its operands.
const BEYOND_ALGEBRA: &[&str] = &["log_softmax", "pow", "reduce_max", "reduce_min"];

fn sweep(what: &str, default: u32, dtype: DType, law: impl Fn(&Trial) -> Result<Worst, String>) {
    let worst = RefCell::new(Worst::default());
    for_seeds(default, |seed| {
        trials(dtype, seed).iter().try_for_each(|trial| {
            worst.borrow_mut().add(law(trial)?);
            Ok(())
        })
    });
    println!("{what}: {:?}", worst.into_inner());
}

#[test]
fn every_op_name_has_a_case_and_every_case_with_a_gradient_is_proven() {
    let seen: BTreeSet<&str> = cases().iter().map(|case| case.op.name()).collect();
    let missing: Vec<&str> = Op::names().filter(|name| *name != "input" && !seen.contains(name)).collect();
    assert!(missing.is_empty(), "ops without a case: {missing:?}");
    let proven: BTreeSet<&str> = trials(DType::F64, 0).iter().map(|trial| trial.case.op.name()).collect();
    let without: Vec<&str> =
        Op::names().filter(|name| !proven.contains(name)).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(without, NO_GRADIENT, "ops that the gradient proof does not reach");
}

#[test]
fn every_layout_and_extent_is_tried() {
    let trials = trials(DType::F64, 0);
    for layout in Layout::ALL {
        assert!(trials.iter().any(|trial| trial.layout == layout), "{layout:?}");
    }
    let shapes: BTreeSet<Vec<usize>> =
        trials.iter().flat_map(|trial| &trial.case.operands).filter_map(|sample| sample.ty.shape.known()).collect();
    let has = |what: &str, want: fn(&[usize]) -> bool| assert!(shapes.iter().any(|shape| want(shape)), "{what}");
    has("rank 0", |shape| shape.is_empty());
    has("empty", |shape| shape.contains(&0));
    has("size 1", |shape| shape == [1]);
    has("prime", |shape| shape == [13, 11]);
    has("rank 4", |shape| shape.len() == 4);
}

#[test]
fn every_op_agrees_with_differences_dual_numbers_and_complex_step() {
    sweep("f64", 1, DType::F64, |trial| {
        check_gradients(&trial.problem(RULES)?, &[Oracle::Dual, Oracle::ComplexStep, Oracle::CentralDifferences])
    });
}

#[test]
fn every_op_agrees_in_f32() {
    sweep("f32", 2, DType::F32, |trial| {
        // At the same f32 values, the f64 gradient is right, and the f32 gradient is that to rounding.
        let in_f64 = Trial { dtype: DType::F64, ..trial.clone() }.problem(RULES)?;
        let mut worst = check_gradients(&in_f64, &[Oracle::Dual])?;
        worst.add(check_single(&trial.problem(RULES)?, &in_f64)?);
        Ok(worst)
    });
}

#[test]
fn every_op_agrees_exactly_over_a_finite_field() {
    for_seeds(1, |seed| {
        let algebraic = |trial: &&Trial| !BEYOND_ALGEBRA.contains(&trial.case.op.name());
        trials(DType::F64, seed).iter().filter(algebraic).try_for_each(|trial| {
            check_in_field(&trial.problem(RULES)?, seed)?;
            check_in_field(&trial.problem(&ExpansionRules)?, seed).map(drop)
        })
    });
}

/// L5: a rule that was derived by hand is the derivative of the definition.
#[test]
fn hand_derived_rules_equal_the_differentiated_definition() {
    sweep("hand-derived", 2, DType::F64, |trial| {
        if !expands(&trial.case.op) {
            return Ok(Worst::default());
        }
        check_same(&trial.problem(RULES)?, &trial.problem(&ExpansionRules)?)
    });
}

fn batch_norm(shape: &[usize], axis: usize, eps: f64) -> Case {
    let channels = [shape[axis]];
    let op = BatchNormTrain { axis, eps: Scalar(eps) };
    Case::new(op, [Sample::any(shape), Sample::any(&channels), Sample::any(&channels)])
}

/// The largest difference of any entry of two gradients, relative to the largest entry.
fn relative_difference(found: &Problem, expected: &Problem) -> Result<f64, String> {
    let (left, right) = (evaluate(&found.gradient, &found.feeds)?, evaluate(&expected.gradient, &found.feeds)?);
    let mut worst = 0.0f64;
    for (name, left) in &left {
        let (left, right) = (&left.real().data, &right[name].real().data);
        let scale = right.iter().fold(0.0f64, |scale, entry| scale.max(entry.abs()));
        for (a, b) in left.iter().zip(right) {
            let error = (a - b).abs();
            let within = error <= 1e-12 * scale;
            if !within {
                return Err(format!("{}: {name}: {a:e} by hand, {b:e} by definition", found.label));
            }
            worst = worst.max(if scale > 0.0 { error / scale } else { 0.0 });
        }
    }
    Ok(worst)
}

/// The closed form of the batch-statistics backward, with cotangents on y, mean and variance together and alone.
#[test]
fn batch_norm_backward_equals_the_differentiated_definition() {
    let worst = Cell::new(0.0f64);
    // N values a channel: 2, 16 and 4096, the last over one batch axis and over three.
    // N values a channel: 2, 16 and 4096, over one batch axis and over several. Over two values y is ±1 but for ε, so a
    // small ε would leave nothing of the gradient to be relative to.
    let shapes: [(&[usize], usize, f64); 6] = [
        (&[2, 3], 1, 1e-1),
        (&[3, 2], 0, 1e-1),
        (&[16, 5], 1, 1e-3),
        (&[2, 3, 4, 2], 1, 1e-3),
        (&[4096, 3], 1, 1e-3),
        (&[16, 2, 16, 16], 1, 1e-3),
    ];
    for_seeds(2, |seed| {
        for (shape, axis, eps) in shapes {
            for seeded in [Seeded::All, Seeded::Only(0), Seeded::Only(1), Seeded::Only(2)] {
                let trial = Trial::new(&batch_norm(shape, axis, eps), DType::F64, Layout::Contiguous, seeded, seed);
                let (mut hand, definition) = (trial.problem(RULES)?, trial.problem(&ExpansionRules)?);
                worst.set(worst.get().max(relative_difference(&hand, &definition)?));
                // Sums of 4096 terms, in index order, round more than a few times.
                hand.units = 1e-12 / (f64::EPSILON / 2.0);
                check_direction(&hand, seed)?;
            }
        }
        Ok(())
    });
    println!("batch norm backward: {:.1e}", worst.into_inner());
}
