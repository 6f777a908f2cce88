//! The reverse sweep: fan-out, several losses, gradients with respect to any value, symbolic zeros, and its mistakes.

use crate::common::{Oracle, Problem, UNITS, check_gradients, evaluate, gradient_name, random_feeds};
use foldgrad::autodiff::{gradients, jacobian, vjp};
use foldgrad::ir::Code;
use foldgrad::op::Cotangent;
use foldgrad::{Builder, DType, Diagnostic, Expr, Graph};
use std::panic::Location;

type Losses = for<'b> fn(&'b Builder) -> (Vec<Expr<'b>>, Vec<Expr<'b>>);

/// Compares the gradient of several losses with every oracle for their sum.
#[track_caller]
fn check(what: &str, build: Losses) {
    let (forward, backward) = (Builder::new(), Builder::new());
    for (index, loss) in build(&forward).0.into_iter().enumerate() {
        forward.output(&format!("loss{index}"), loss);
    }
    let (losses, inputs) = build(&backward);
    let found = gradients(&losses, &inputs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut wrt = Vec::new();
    for (&input, gradient) in inputs.iter().zip(found) {
        let name = backward.graph().as_input(input.value().node).map(|(name, _)| name.to_owned()).unwrap_or_default();
        backward.output(&gradient_name(&name), gradient);
        wrt.push(name);
    }
    let finish = |b: Builder| -> Graph { b.finish().unwrap_or_else(|errors| panic!("{what}: {errors}")) };
    let gradient = finish(backward);
    let feeds = random_feeds(&gradient, 9);
    let problem = Problem { label: what.to_owned(), forward: finish(forward), gradient, feeds, wrt, units: UNITS };
    let oracles = [Oracle::Dual, Oracle::ComplexStep, Oracle::CentralDifferences];
    check_gradients(&problem, &oracles).unwrap_or_else(|error| panic!("{error}"));
}

fn vector<'b>(b: &'b Builder, name: &str) -> Expr<'b> {
    b.input(name, DType::F64, [3])
}

#[test]
fn cotangents_add_up_over_fan_out() {
    check("x·x + x·tanh x + eˣ", |b| {
        let x = vector(b, "x");
        (vec![(x * x + x * x.tanh() + x.exp()).sum_all()], vec![x])
    });
    check("one operand in every slot", |b| {
        let x = b.input("x", DType::F64, [3, 3]);
        (vec![x.dot(x).dot(x.transpose(&[1, 0])).mean_all()], vec![x])
    });
    check("a shared kernel", |b| {
        let (x, kernel) = (b.input("x", DType::F64, [2, 3]), b.input("kernel", DType::F64, [3, 3]));
        (vec![x.dot(kernel).tanh().dot(kernel).sigmoid().dot(kernel).sum_all()], vec![x, kernel])
    });
    check("a long chain of doublings", |b| {
        let x = vector(b, "x");
        ((vec![(0..40).fold(x * 1e-9, |value, _| value + value).sum_all()]), vec![x])
    });
}

#[test]
fn several_losses_add_up() {
    check("two losses", |b| {
        let (x, y) = (vector(b, "x"), vector(b, "y"));
        (vec![(x * y).sum_all(), x.tanh().mean_all()], vec![x, y])
    });
    check("one loss twice", |b| {
        let x = vector(b, "x");
        let loss = (x * x).sum_all();
        (vec![loss, loss], vec![x])
    });
    check("a loss of another", |b| {
        let x = vector(b, "x");
        let loss = (x * x).sum_all();
        (vec![loss, loss.sin()], vec![x])
    });
    check("every result of batch norm", |b| {
        let (x, gamma, beta) = (b.input("x", DType::F64, [5, 3]), vector(b, "gamma"), vector(b, "beta"));
        let normed = x.batch_norm_train(gamma, beta, 1, 1e-1);
        let losses = vec![normed.y.tanh().sum_all(), normed.mean.sin().sum_all(), normed.var.log1p().sum_all()];
        (losses, vec![x, gamma, beta])
    });
}

#[test]
fn gradients_are_taken_with_respect_to_any_value() {
    let b = Builder::new();
    let (x, gamma, beta) = (b.input("x", DType::F64, [5, 3]), vector(&b, "gamma"), vector(&b, "beta"));
    let hidden = x.tanh();
    let normed = hidden.batch_norm_train(gamma, beta, 1, 1e-1);
    let loss = (normed.y * normed.y).sum_all() + (normed.mean * 3.0).sum_all();
    // With respect to an input, values on the way, one result of several, and the loss itself, all at once.
    let found = gradients(&[loss], &[x, hidden, normed.y, normed.mean, loss]).expect("differentiable");
    let chain = found[1] * (1.0 - hidden * hidden);
    let [dx, by_chain, dy, twice, dmean, one] =
        values_of(&b, [found[0], chain, found[2], normed.y * 2.0, found[3], found[4]]);
    assert_close(&dx, &by_chain);
    assert_close(&dy, &twice);
    assert_eq!(dmean, [3.0; 3]);
    assert_eq!(one, [1.0]);
}

/// These values of a graph, at a random point.
#[track_caller]
fn values_of<const N: usize>(b: &Builder, of: [Expr<'_>; N]) -> [Vec<f64>; N] {
    let copy = Builder::resume(b.graph().clone());
    for (index, expr) in of.iter().enumerate() {
        copy.output(&format!("value {index}"), copy.expr(expr.value()));
    }
    let graph = copy.finish().expect("well typed");
    let outputs = evaluate(&graph, &random_feeds(&graph, 4)).expect("every input is fed");
    std::array::from_fn(|index| outputs[&format!("value {index}")].real().data.clone())
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    crate::common::assert_close("values", found, expected, 1e-14);
}

/// A template of a composite's derivative is spliced in without meeting the user's own nodes: `sigmoid(x)` inside `silu`
/// is not the user's `sigmoid(x)`, with respect to which a gradient is asked.
#[test]
fn the_inside_of_a_composite_is_its_own() {
    let b = Builder::new();
    let x = vector(&b, "x");
    let s = x.sigmoid();
    let loss = (x.silu() + s).sum_all();
    let found = gradients(&[loss], &[x, s]).expect("differentiable");
    let expected = s + x * s * (1.0 - s) + s * (1.0 - s);
    let [dx, ds, expected] = values_of(&b, [found[0], found[1], expected]);
    assert_close(&dx, &expected);
    assert_eq!(ds, [1.0; 3]);
}

#[test]
fn zeros_are_symbolic() {
    let b = Builder::new();
    let (x, y) = (vector(&b, "x"), vector(&b, "y"));
    let loss = (y * y).sum_all();
    let unused = x.exp().tanh();
    let before = b.graph().len();
    let found = vjp(&[loss, unused], &[Cotangent::Zero, Cotangent::Zero], &[x, y]).expect("differentiable");
    assert!(found.iter().all(|cotangent| matches!(cotangent, Cotangent::Zero)), "{found:?}");
    assert_eq!(b.graph().len(), before, "a zero was written out");
    let found = vjp(&[loss], &[loss.scalar_like(1.0).into()], &[x, y]).expect("differentiable");
    assert!(matches!(found[..], [Cotangent::Zero, Cotangent::Value(_)]), "{found:?}");
    // Only the end of the sweep writes a zero for who asked.
    let found = gradients(&[loss], &[x]).expect("differentiable");
    assert_eq!(values_of(&b, [found[0]]), [vec![0.0; 3]]);
}

#[test]
fn a_symbolic_batch_stays_symbolic() {
    let b = Builder::new();
    let (x, kernel, bias) = (
        b.input("x", DType::F64, ["batch", "three"]),
        b.input("kernel", DType::F64, ["three", "two"]),
        b.input("bias", DType::F64, ["two"]),
    );
    let normed = x.dense(kernel, Some(bias)).batch_norm_train(bias, bias, 1, 1e-3);
    let loss = normed.y.tanh().mean_all() + normed.var.sum_all();
    let found = gradients(&[loss], &[x, kernel, bias]).expect("differentiable");
    let again = gradients(&[(found[1] * found[1]).sum_all()], &[x, kernel, bias]).expect("twice differentiable");
    for (gradients, x) in [&found, &again].into_iter().flat_map(|g| g.iter().zip([x, kernel, bias])) {
        assert_eq!(gradients.ty(), x.ty());
    }
    assert!(b.errors().is_none());
}

/// The error has that code and points at this file's line.
#[track_caller]
fn reported<T: std::fmt::Debug>(what: &str, outcome: Result<T, Diagnostic>, code: Code) {
    let error = outcome.expect_err(what);
    assert_eq!(error.code(), code, "{what}: {error}");
    let here = Location::caller();
    let place = error.location().map(|place| (place.file(), place.line()));
    assert_eq!(place, Some((here.file(), here.line())), "{what}: {error}");
}

#[test]
fn mistakes_are_reported_at_the_line_that_asks() {
    let b = Builder::new();
    let (x, label) = (vector(&b, "x"), b.input("label", DType::I32, [3]));
    let loss = x.sum_all();
    let seed = Cotangent::Value(loss.scalar_like(1.0));
    reported("a loss that is no scalar", gradients(&[x], &[x]), Code::Shape);
    reported("a loss that is no float", gradients(&[loss.cast(DType::I32)], &[x]), Code::DType);
    reported("a loss that is a mask", gradients(&[loss.greater(0.0)], &[x]), Code::DType);
    reported("a gradient by an integer", gradients(&[loss], &[label]), Code::DType);
    reported("a cotangent of another shape", vjp(&[x], &[seed], &[x]), Code::Shape);
    reported("a cotangent too few", vjp(&[x, loss], &[seed], &[x]), Code::Graph);
    let symbolic = b.input("batch", DType::F64, ["n"]);
    reported("a Jacobian without a number of rows", jacobian(symbolic, symbolic), Code::Shape);
    // What is wrong already is not reported twice.
    let wrong = x + b.input("other", DType::F64, [4]);
    assert!(gradients(&[wrong.sum_all()], &[x]).is_ok());
    assert_eq!(b.errors().map(|errors| errors.iter().count()), Some(1));
}

/// The error names the op without a derivative and the line on which it stands, not the line that asks.
#[test]
fn an_op_without_a_derivative_is_named_with_its_line() {
    let b = Builder::new();
    let x = vector(&b, "x");
    let (line, hard) = (line!(), x.arg_max(0).cast(DType::F64));
    let error = gradients(&[hard], &[x]).expect_err("no derivative");
    assert_eq!(error.code(), Code::NotDifferentiable);
    assert_eq!(error.location().map(|place| (place.file(), place.line())), Some((file!(), line)), "{error}");
    assert!(error.to_string().contains("stop_gradient"), "it says how to mend it: {error}");
}
