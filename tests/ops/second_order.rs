//! Laws L4 and L5 to second order, and everything that is built from the reverse sweep: gradients of gradients,
//! Hessian–vector products, forward mode, Jacobians.

use crate::common::{
    ExpansionRules, Layout, Magnitude, Oracle, Problem, Random, Trial, UNITS, Worst, check_gradients, check_in_field,
    check_same, check_single, evaluate, feeds_as, for_seeds, gradient_name, random_feeds, trials,
};
use foldgrad::autodiff::{OpRules, ReverseRules, gradients, hvp, jacobian, jvp};
use foldgrad::op::Domain;
use foldgrad::reference::{Array, Dual};
use foldgrad::{Builder, DType, Expr};
use std::cell::RefCell;

const RULES: &dyn ReverseRules = &OpRules;

/// Runs a law over the contiguous trials, or over all.
fn sweep(what: &str, dtype: DType, every_layout: bool, law: impl Fn(&Trial, u64) -> Result<Worst, String>) {
    let worst = RefCell::new(Worst::default());
    for_seeds(1, |seed| {
        let chosen = |trial: &&Trial| every_layout || trial.layout == Layout::Contiguous;
        trials(dtype, seed).iter().filter(chosen).try_for_each(|trial| {
            worst.borrow_mut().add(law(trial, seed)?);
            Ok(())
        })
    });
    println!("{what}: {:?}", worst.into_inner());
}

/// The gradient of a random linear functional of the gradient, with respect to every operand and every cotangent,
/// against dual numbers and complex step over the first gradient's graph. No op is left out.
#[test]
fn every_gradient_can_be_differentiated_again() {
    sweep("second order, f64", DType::F64, true, |trial, seed| {
        check_gradients(&trial.second_problem(RULES, seed)?, &[Oracle::Dual, Oracle::ComplexStep])
    });
    sweep("second order, f32", DType::F32, false, |trial, seed| {
        let in_f64 = Trial { dtype: DType::F64, ..trial.clone() }.second_problem(RULES, seed)?;
        check_single(&trial.second_problem(RULES, seed)?, &in_f64)
    });
}

/// The second derivative along two directions, from the forward graph alone: `Dual<Dual>` knows no gradient graph.
#[test]
fn second_derivatives_equal_nested_dual_numbers() {
    sweep("nested dual numbers", DType::F64, true, |trial, seed| {
        let forward = trial.problem(RULES)?.forward;
        let second = trial.second_problem(RULES, seed)?;
        let found = evaluate(&second.gradient, &second.feeds)?;
        let sizes = evaluate(&second.gradient, &feeds_as::<Magnitude>(&second.feeds))?;
        let mut point = feeds_as::<Dual<Dual>>(&trial.feeds);
        let mut random = Random(seed);
        let (mut along, mut size) = (0.0, 0.0);
        // The first gradient was weighted with `w`, in the order of the float operands.
        let operands = second.wrt.iter().filter(|name| name.starts_with('x'));
        for (index, name) in operands.enumerate() {
            let Some(Array::Real(x)) = point.get_mut(name) else { continue };
            let w = second.feeds[&format!("w{index}")].real();
            let (h, sizes) = (found[&gradient_name(name)].real(), sizes[&gradient_name(name)].real());
            for (entry, x) in x.data.iter_mut().enumerate() {
                let v = random.range(-1.0, 1.0);
                x.re.du = w.data[entry];
                x.du.re = v;
                along += h.data[entry] * v;
                size += sizes.data[entry].size * v.abs();
            }
        }
        let terms = evaluate(&forward, &point)?;
        let expected: f64 = terms.values().flat_map(|output| &output.real().data).map(|term| term.du.du).sum();
        close(&trial.label(), along, expected, size)
    });
}

fn close(label: &str, found: f64, expected: f64, size: f64) -> Result<Worst, String> {
    let (error, unit) = ((found - expected).abs(), f64::EPSILON / 2.0);
    let within = error <= UNITS * unit * size;
    if !within {
        return Err(format!("{label}: {found:e}, expected {expected:e} ({:.1} units)", error / (unit * size)));
    }
    let dual = if error > 0.0 { error / (unit * size) } else { 0.0 };
    Ok(Worst { problems: 1, entries: 1, dual, ..Worst::default() })
}

/// L5 to second order: differentiating a hand-derived rule is differentiating the definition twice.
#[test]
fn hand_derived_rules_equal_the_definition_to_second_order() {
    sweep("hand-derived, second order", DType::F64, true, |trial, seed| {
        if !crate::common::expands(&trial.case.op) {
            return Ok(Worst::default());
        }
        check_same(&trial.second_problem(RULES, seed)?, &trial.second_problem(&ExpansionRules, seed)?)
    });
}

/// Over the prime field, where `exp(log x)` is not `x` and a maximum is none of its operands.
#[test]
fn second_order_is_exact_over_a_finite_field() {
    sweep("field", DType::F64, false, |trial, seed| {
        if ["log_softmax", "pow", "reduce_max", "reduce_min", "softmax_cross_entropy"].contains(&trial.case.op.name()) {
            return Ok(Worst::default());
        }
        let entries = check_in_field(&trial.second_problem(RULES, seed)?, seed)?;
        Ok(Worst { problems: 1, entries, ..Worst::default() })
    });
}

/// Forward mode: `J·v` from the reverse sweep of the reverse sweep, entry by entry against dual numbers.
#[test]
fn jvp_equals_dual_numbers() {
    sweep("jvp", DType::F64, true, |trial, seed| {
        let mut random = Random(seed ^ 1);
        let b = Builder::new();
        let (sources, results) = trial.plain(&b);
        let (mut tangents, mut feeds) = (Vec::new(), trial.operand_feeds());
        let mut point = feeds_as::<Dual>(&feeds);
        for (index, source) in sources.iter().enumerate() {
            let name = format!("v{index}");
            let shape = source.shape().known().unwrap_or_default();
            let direction = random.array(DType::F64, &shape, Domain::Range(-1.0, 1.0));
            if let Some(Array::Real(x)) = point.get_mut(&trial.source_names()[index]) {
                x.data.iter_mut().zip(&direction.real().data).for_each(|(x, &v)| x.du = v);
            }
            feeds.insert(name.clone(), direction);
            tangents.push(b.input(&name, DType::F64, source.shape()));
        }
        let before = b.graph().inputs().len();
        for (index, &result) in results.iter().enumerate() {
            b.output(&format!("y{index}"), result);
            b.output(&format!("t{index}"), jvp(result, &sources, &tangents).map_err(|error| error.to_string())?);
        }
        if b.graph().inputs().len() != before {
            return Err(format!("{}: forward mode left an input behind", trial.label()));
        }
        let count = results.len();
        let graph = b.finish().map_err(|errors| errors.to_string())?;
        let pushed = evaluate(&graph, &feeds)?;
        let sizes = evaluate(&graph, &feeds_as::<Magnitude>(&feeds))?;
        // Tangents are inputs too; over dual numbers they are constants that only the primal outputs ignore.
        for (name, direction) in feeds.iter().filter(|(name, _)| name.starts_with('v')) {
            point.insert(name.clone(), Array::Real(direction.real().map(|v| Dual::new(v, 0.0))));
        }
        let expected = evaluate(&graph, &point)?;
        let mut worst = Worst::default();
        for index in 0..count {
            let (found, sizes) = (pushed[&format!("t{index}")].real(), sizes[&format!("t{index}")].real());
            let expected = expected[&format!("y{index}")].real();
            for ((&found, size), expected) in found.data.iter().zip(&sizes.data).zip(&expected.data) {
                worst.add(close(&trial.label(), found, expected.du, size.size)?);
            }
        }
        Ok(worst)
    });
}

/// The Jacobian of each result with respect to each operand, column by column against dual numbers.
#[test]
fn jacobian_equals_dual_numbers() {
    sweep("jacobian", DType::F64, false, |trial, _| {
        let elements: usize = trial.operand_feeds().values().map(|x| x.shape().iter().product::<usize>()).sum();
        if elements > 40 {
            return Ok(Worst::default());
        }
        let b = Builder::new();
        let (sources, results) = trial.plain(&b);
        for (column, &source) in sources.iter().enumerate() {
            for (row, &result) in results.iter().enumerate() {
                let found = jacobian(result, source).map_err(|error| error.to_string())?;
                let shape = [&*result.shape(), &*source.shape()].concat();
                assert_eq!(*found.shape(), *shape, "{}", trial.label());
                b.output(&format!("J {row} {column}"), found);
                b.output(&format!("y{row} for {column}"), result);
            }
        }
        let count = results.len();
        let graph = b.finish().map_err(|errors| errors.to_string())?;
        let feeds = trial.operand_feeds();
        let found = evaluate(&graph, &feeds)?;
        let sizes = evaluate(&graph, &feeds_as::<Magnitude>(&feeds))?;
        let mut worst = Worst::default();
        for (column, name) in trial.source_names().iter().enumerate() {
            for entry in 0..feeds[name].real().data.len() {
                let mut point = feeds_as::<Dual>(&feeds);
                if let Some(Array::Real(x)) = point.get_mut(name) {
                    x.data[entry].du = 1.0;
                }
                let moved = evaluate(&graph, &point)?;
                for row in 0..count {
                    let expected = moved[&format!("y{row} for {column}")].real();
                    let name = format!("J {row} {column}");
                    let (found, sizes, width) = (
                        &found[&name].real().data,
                        &sizes[&name].real().data,
                        feeds[&trial.source_names()[column]].real().data.len(),
                    );
                    for (i, expected) in expected.data.iter().enumerate() {
                        let at = i * width + entry;
                        worst.add(close(&trial.label(), found[at], expected.du, sizes[at].size)?);
                    }
                }
            }
        }
        Ok(worst)
    });
}

/// A small training step: Dense, training batch norm (whose mean and variance enter the loss too), tanh, a product with
/// the same kernel transposed, softmax cross-entropy. Returns the loss and its parameters by name.
fn network<'b>(b: &'b Builder) -> (Expr<'b>, Vec<(&'static str, Expr<'b>)>) {
    let declare = |name, shape: &[usize]| (name, b.parameter(name, DType::F64, shape));
    let parameters = vec![
        declare("x", &[6, 3]),
        declare("kernel", &[3, 4]),
        declare("bias", &[4]),
        declare("gamma", &[4]),
        declare("beta", &[4]),
    ];
    let [x, kernel, bias, gamma, beta] = [0, 1, 2, 3, 4].map(|index| parameters[index].1);
    let normed = x.dense(kernel, Some(bias)).batch_norm_train(gamma, beta, 1, 1e-3);
    let logits = normed.y.tanh().dot(kernel.transpose(&[1, 0]));
    let statistics = (normed.mean * normed.var).sum_all() + normed.var.log1p().sum_all();
    let labels = b.input("labels", DType::I32, [6]);
    (logits.softmax_cross_entropy(labels).mean_all() + statistics, parameters)
}

fn directions<'b>(b: &'b Builder, parameters: &[(&str, Expr<'b>)]) -> Vec<Expr<'b>> {
    parameters.iter().map(|(name, x)| b.input(&format!("along {name}"), DType::F64, x.shape())).collect()
}

#[test]
fn hessian_vector_products_through_training_batch_norm_are_right() {
    for_seeds(20, |seed| {
        // The slope of the loss along the directions, whose gradient is the Hessian–vector product.
        let forward = Builder::new();
        let (loss, parameters) = network(&forward);
        let wrt: Vec<Expr<'_>> = parameters.iter().map(|&(_, x)| x).collect();
        let slopes = gradients(&[loss], &wrt).map_err(|error| error.to_string())?;
        for (slope, direction) in slopes.into_iter().zip(directions(&forward, &parameters)) {
            forward.output(&format!("slope {}", direction.value()), slope * direction);
        }
        let gradient = Builder::new();
        let (loss, parameters) = network(&gradient);
        let wrt: Vec<Expr<'_>> = parameters.iter().map(|&(_, x)| x).collect();
        let products = hvp(loss, &wrt, &directions(&gradient, &parameters)).map_err(|error| error.to_string())?;
        let wrt: Vec<String> = parameters.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, product) in wrt.iter().zip(products) {
            gradient.output(&gradient_name(name), product);
        }
        let gradient = gradient.finish().map_err(|errors| errors.to_string())?;
        let problem = Problem {
            label: "Hessian-vector product".to_owned(),
            forward: forward.finish().map_err(|errors| errors.to_string())?,
            feeds: random_feeds(&gradient, seed),
            gradient,
            wrt,
            units: UNITS,
        };
        check_gradients(&problem, &[Oracle::Dual, Oracle::ComplexStep, Oracle::CentralDifferences]).map(drop)
    });
}

#[test]
fn directions_must_fit_their_values() {
    let b = Builder::new();
    let (x, scalar) = (b.input("x", DType::F64, [3]), b.scalar(DType::F64, 1.0));
    let loss = (x * x).sum_all();
    for (what, outcome) in [
        ("a scalar direction", hvp(loss, &[x], &[scalar]).map(drop)),
        ("no direction", hvp(loss, &[x], &[]).map(drop)),
        ("a scalar tangent", jvp(loss, &[x], &[scalar]).map(drop)),
        ("no tangent", jvp(loss, &[x], &[]).map(drop)),
    ] {
        let mistake = outcome.expect_err(what);
        assert_eq!(mistake.location().map(|place| place.file()), Some(file!()), "{what}: {mistake}");
    }
}
