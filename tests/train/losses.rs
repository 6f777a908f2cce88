//! Losses and metrics: formulas, large logits, gradients, and wrong uses.

use foldgrad::autodiff::{GradientCheck, check_gradients, gradients};
use foldgrad::ir::{Code, Dim};
use foldgrad::reference::{Array, interpret};
use foldgrad::train::{Loss, Metric};
use foldgrad::{Builder, DType, Diagnostic, Expr, Graph, Tensor};

const CLASSES: Loss = Loss::SparseCategoricalCrossentropy;

/// Where the prediction comes from.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Given,
    Softmax,
    Sigmoid,
}

/// A graph with the outputs `losses`, `mean`, and the gradient of the mean with respect to the input `z`.
fn graph(loss: Loss, from: From, z: &Tensor, target: &Tensor) -> Graph {
    let g = Builder::new();
    let logits = g.input("z", DType::F64, z.shape());
    let prediction = match from {
        From::Given => logits,
        From::Softmax => logits.softmax(z.shape().len() - 1),
        From::Sigmoid => logits.sigmoid(),
    };
    let target = g.input("target", target.dtype(), target.shape());
    let losses = loss.build(prediction, target).unwrap();
    g.output("losses", losses);
    g.output("mean", losses.mean_all());
    g.output("gradient", gradients(&[losses.mean_all()], &[logits]).unwrap()[0]);
    g.finish().unwrap()
}

fn rows(rows: usize, values: &[f64]) -> Tensor {
    Tensor::new([rows, values.len() / rows], values.to_vec()).unwrap()
}

#[track_caller]
fn check(loss: Loss, from: From, z: Tensor, target: Tensor, expected: &[f64]) {
    let graph = graph(loss, from, &z, &target);
    let feeds = [("z", &z), ("target", &target)].map(|(name, t)| (name.to_owned(), Array::<f64>::from_tensor(t)));
    let outputs = interpret(&graph, &feeds.into_iter().collect()).unwrap().outputs;
    let found = &outputs["losses"].real().data;
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-14 * b.abs().max(1.0), "{}: {found:?} is not {expected:?}", loss.name());
    }
    assert!(outputs["gradient"].real().data.iter().all(|entry| entry.is_finite()), "{}", loss.name());
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    assert!((outputs["mean"].real().data[0] - mean).abs() <= 1e-13 * mean.abs().max(1.0));
}

#[test]
fn losses_of_probabilities_are_those_of_keras() {
    let p = rows(3, &[0.1, 0.2, 0.7, 0.5, 0.25, 0.25, 0.0, 0.0, 1.0]);
    // The last label has probability 0, which is clipped to 1e-7 and, as in Keras, scaled by the sum.
    let clipped = -(1e-7f64 / (1.0 - 1e-7 + 2e-7)).ln();
    check(CLASSES, From::Given, p, Tensor::vector(vec![2, 1, 0]), &[-(0.7f64.ln()), -(0.25f64.ln()), clipped]);
    let unscaled = rows(2, &[0.2, 0.4, 0.4, 1.0, 2.0, 1.0]);
    let target = rows(2, &[0.0, 0.5, 0.5, 1.0, 0.0, 0.0]);
    check(Loss::CategoricalCrossentropy, From::Given, unscaled, target, &[-(0.4f64.ln()), -(0.25f64.ln())]);
    let (p, t) = (rows(2, &[0.2, 0.9, 0.0, 1.0]), rows(2, &[0.0, 1.0, 1.0, 1.0]));
    let expected = [-(0.8f64.ln() + 0.9f64.ln()) / 2.0, -(1e-7f64.ln() + (1.0f64 - 1e-7).ln()) / 2.0];
    check(Loss::BinaryCrossentropy, From::Given, p.clone(), t.clone(), &expected);
    check(Loss::MeanSquaredError, From::Given, p, t, &[0.025, 0.5]);
}

#[test]
fn losses_of_a_softmax_or_sigmoid_stay_finite_at_large_logits() {
    let z = rows(3, &[1000.0, -1000.0, 0.0, -1000.0, 0.0, 1000.0, 0.3, -0.2, 0.1]);
    let sum: f64 = [0.3f64, -0.2, 0.1].iter().map(|v| v.exp()).sum();
    check(CLASSES, From::Softmax, z.clone(), Tensor::vector(vec![1, 2, 0]), &[2000.0, 0.0, sum.ln() - 0.3]);
    let target = rows(3, &[0.0, 1.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 1.0]);
    check(Loss::CategoricalCrossentropy, From::Softmax, z, target, &[2000.0, 1000.0, sum.ln() - 0.1]);
    let z = rows(2, &[1000.0, -1000.0, 0.0, 2.0]);
    let t = rows(2, &[0.0, 0.0, 1.0, 0.25]);
    let mixed = (2f64.ln() + (2.0 + (-2f64).exp().ln_1p() - 0.5)) / 2.0;
    check(Loss::BinaryCrossentropy, From::Sigmoid, z, t, &[500.0, mixed]);
}

#[test]
fn losses_average_over_every_axis_but_the_batch() {
    let p = Tensor::new([2, 2, 2], vec![1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 2.0]).unwrap();
    let t = Tensor::zeros(DType::F64, [2, 2, 2]);
    check(Loss::MeanSquaredError, From::Given, p.clone(), t, &[7.5, 1.0]);
    let labels = Tensor::new([2, 2], vec![0, 1, 0, 1]).unwrap();
    let softplus = |v: f64| v.exp().ln_1p();
    let expected = [(softplus(1.0) + softplus(-1.0)) / 2.0, (softplus(0.0) + softplus(-2.0)) / 2.0];
    check(CLASSES, From::Softmax, p, labels, &expected);
}

#[test]
fn gradients_of_losses_are_right() {
    let z = rows(2, &[0.3, -1.2, 0.7, 2.0, 0.1, -0.4]);
    let inside = rows(2, &[0.3, 0.2, 0.7, 0.5, 0.1, 0.9]);
    let dense = rows(2, &[0.2, 0.3, 0.5, 0.0, 1.0, 0.0]);
    let labels = Tensor::vector(vec![2, 0]);
    for (loss, from, z, target) in [
        (CLASSES, From::Softmax, &z, &labels),
        (CLASSES, From::Given, &inside, &labels),
        (Loss::CategoricalCrossentropy, From::Softmax, &z, &dense),
        (Loss::CategoricalCrossentropy, From::Given, &inside, &dense),
        (Loss::BinaryCrossentropy, From::Sigmoid, &z, &dense),
        (Loss::BinaryCrossentropy, From::Given, &inside, &dense),
        (Loss::MeanSquaredError, From::Sigmoid, &z, &dense),
    ] {
        let feeds = [("z", z.clone()), ("target", target.clone())];
        let report = check_gradients(&graph(loss, from, z, target), "mean", feeds, &GradientCheck::default());
        let compared = report.unwrap_or_else(|error| panic!("{}: {error}", loss.name())).entries;
        assert_eq!(compared, if target.dtype().is_float() { 12 } else { 6 });
    }
}

#[test]
fn a_softmax_over_another_axis_is_no_softmax_over_classes() {
    let g = Builder::new();
    let z = g.input("z", DType::F64, [3, 2]);
    let labels = g.input("target", DType::I32, [3]);
    g.output("losses", CLASSES.build(z.softmax(0), labels).unwrap());
    let graph = g.finish().unwrap();
    let z = rows(3, &[0.0; 6]);
    let feeds =
        [("z", &z), ("target", &Tensor::vector(vec![0, 1, 0]))].map(|(n, t)| (n.to_owned(), Array::from_tensor(t)));
    let found = interpret::<f64>(&graph, &feeds.into_iter().collect()).unwrap().outputs["losses"].clone();
    assert!(found.real().data.iter().all(|v| (v - 2f64.ln()).abs() < 1e-14), "{found:?}");
}

fn accuracy(prediction: Tensor, target: Tensor) -> f64 {
    let g = Builder::new();
    let p = g.input("p", DType::F64, prediction.shape());
    let t = g.input("t", target.dtype(), target.shape());
    g.output("sum", Metric::Accuracy.build(p, t).unwrap());
    let feeds = [("p", prediction), ("t", target)].map(|(name, t)| (name.to_owned(), Array::from_tensor(&t)));
    interpret::<f64>(&g.finish().unwrap(), &feeds.into_iter().collect()).unwrap().outputs["sum"].real().data[0]
}

#[test]
fn accuracy_counts_the_right_rows() {
    let p = rows(3, &[0.1, 0.2, 0.7, 0.5, 0.25, 0.25, 0.3, 0.4, 0.3]);
    assert_eq!(accuracy(p.clone(), Tensor::vector(vec![2, 1, 1])), 2.0);
    assert_eq!(accuracy(p.clone(), rows(3, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])), 2.0);
    assert_eq!(accuracy(rows(4, &[0.2, 0.5, 0.51, 0.9]), rows(4, &[0.0, 0.0, 1.0, 0.0])), 3.0);
    // Two rows an example count half each.
    let p = Tensor::new([1, 2, 2], vec![0.9, 0.1, 0.9, 0.1]).unwrap();
    assert_eq!(accuracy(p, Tensor::new([1, 2], vec![0, 1]).unwrap()), 0.5);
    assert_eq!(accuracy(rows(1, &[f64::NAN, 1.0]), Tensor::vector(vec![1])), 0.0);
}

type Made<'b> = Result<Expr<'b>, Diagnostic>;

#[track_caller]
fn refused(
    prediction: (DType, &[usize]),
    target: (DType, &[usize]),
    make: for<'b> fn(Expr<'b>, Expr<'b>) -> Made<'b>,
    code: Code,
    texts: [&str; 2],
) {
    let g = Builder::new();
    let batch = |shape: &[usize]| -> Vec<Dim> { shape.iter().map(|&size| Dim::Known(size)).collect() };
    let p = g.input("p", prediction.0, foldgrad::ir::Shape::new(batch(prediction.1)));
    let t = g.input("t", target.0, foldgrad::ir::Shape::new(batch(target.1)));
    let error = make(p, t).unwrap_err();
    assert_eq!((error.code(), error.location().unwrap().file()), (code, file!()), "{error}");
    for text in texts {
        assert!(error.to_string().contains(text), "{error}\nlacks: {text}");
    }
}

#[test]
fn predictions_and_targets_that_do_not_go_together_are_refused() {
    let (float, int) = (DType::F32, DType::I32);
    refused(
        (float, &[4, 3]),
        (float, &[4, 3]),
        |p, t| CLASSES.build(p, t),
        Code::DType,
        ["loss `sparse_categorical_crossentropy`: the target is f32[4,3]", "one-hot rows"],
    );
    refused(
        (float, &[4, 3]),
        (int, &[4]),
        |p, t| Loss::CategoricalCrossentropy.build(p, t),
        Code::DType,
        ["needs f32[4,3]", "class indices: use `Loss::Sparse"],
    );
    refused((float, &[4, 3]), (int, &[4, 1]), |p, t| CLASSES.build(p, t), Code::Shape, ["needs i32[4]", "reshape"]);
    refused((float, &[4, 1]), (int, &[4]), |p, t| CLASSES.build(p, t), Code::Shape, ["always 0", "BinaryCross"]);
    refused((float, &[4]), (int, &[4]), |p, t| CLASSES.build(p, t), Code::Shape, ["f32[4]", "a class axis"]);
    refused((int, &[4]), (int, &[4]), |p, t| Loss::MeanSquaredError.build(p, t), Code::DType, ["is i32[4]", "cast"]);
    let accuracy: for<'b> fn(Expr<'b>, Expr<'b>) -> Made<'b> = |p, t| Metric::Accuracy.build(p, t);
    refused((float, &[4, 3]), (int, &[4, 3]), accuracy, Code::Shape, ["metric `accuracy`", "one i32 label"]);
    refused((int, &[4]), (int, &[4]), accuracy, Code::Shape, ["metric `accuracy`", "i32[4]"]);
    refused((float, &[]), (float, &[]), accuracy, Code::Shape, ["metric `accuracy`", "f32[]"]);
}
