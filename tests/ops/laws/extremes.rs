//! Values far out, degenerate and out of range: what comes out is documented, finite where the mathematics is, and
//! differentiable there.

use crate::common::points::{Function, derivative};
use foldgrad::autodiff::OpRules;
use foldgrad::reference::{Array, NdArray, interpret};
use foldgrad::{Builder, DType, Expr, Tensor};

const INFINITY: f64 = f64::INFINITY;

/// The function's value at these vectors.
fn value(inputs: &[&[f64]], f: Function) -> Vec<f64> {
    let b = Builder::new();
    let xs: Vec<Expr<'_>> =
        inputs.iter().enumerate().map(|(i, x)| b.input(&format!("x{i}"), DType::F64, [x.len()])).collect();
    b.output("y", f(&b, &xs));
    let graph = b.finish().unwrap_or_else(|errors| panic!("{errors}"));
    let feed =
        |(i, x): (usize, &&[f64])| (format!("x{i}"), Array::Real(NdArray { shape: vec![x.len()], data: x.to_vec() }));
    let feeds = inputs.iter().enumerate().map(feed).collect();
    let outputs = interpret(&graph, &feeds).unwrap_or_else(|error| panic!("{error}")).outputs;
    match &outputs["y"] {
        Array::Real(y) => y.data.clone(),
        Array::Int(y) => y.data.iter().map(|&y| f64::from(y)).collect(),
        Array::Bool(y) => y.data.iter().map(|&y| f64::from(u8::from(y))).collect(),
    }
}

/// The function's value, and its gradients of first and second order with respect to the first input, are these;
/// NaN is expected as NaN.
#[track_caller]
fn check(what: &str, inputs: &[&[f64]], f: Function, y: &[f64], first: &[f64], second: &[f64]) {
    let same = |what: &str, found: &[f64], expected: &[f64]| {
        let close = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-15 * b.abs();
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(close), "{what}: {found:?}");
    };
    same(&format!("{what}, value"), &value(inputs, f), y);
    for (order, expected) in [(1, first), (2, second)] {
        let found = derivative(&OpRules, order, inputs, f).unwrap_or_else(|error| panic!("{what}: {error}"));
        same(&format!("{what}, derivative {order}"), &found[0], expected);
    }
}

fn index(b: &Builder, values: Vec<i32>) -> Expr<'_> {
    b.constant(Tensor::vector(values))
}

#[test]
fn softmax_neither_overflows_nor_loses_the_small_ones() {
    let far: &[&[f64]] = &[&[1e4, -1e4, 0.0]];
    let zero = [0.0; 3];
    check("softmax", far, |_, x| x[0].softmax(0), &[1.0, 0.0, 0.0], &zero, &zero);
    let slope = [-2.0, 1.0, 1.0];
    check("log_softmax", far, |_, x| x[0].log_softmax(0), &[0.0, -2e4, -1e4], &slope, &zero);
    let masked: &[&[f64]] = &[&[0.0, -INFINITY, 0.0]];
    check("softmax with −∞", masked, |_, x| x[0].softmax(0), &[0.5, 0.0, 0.5], &zero, &zero);
    // No distribution is left when every entry is masked.
    assert!(value(&[&[-INFINITY, -INFINITY]], |_, x| x[0].softmax(0)).iter().all(|y| y.is_nan()));
}

#[test]
fn cross_entropy_is_finite_however_wrong_the_logits() {
    let far: &[&[f64]] = &[&[1e4, -1e4, 0.0]];
    let loss: Function = |b, x| x[0].softmax_cross_entropy(b.constant(Tensor::scalar(1i32)));
    check("cross entropy", far, loss, &[2e4], &[1.0, -1.0, 0.0], &[0.0; 3]);
    let out_of_range: Function = |b, x| x[0].softmax_cross_entropy(b.constant(Tensor::scalar(7i32)));
    assert!(value(far, out_of_range)[0].is_nan());
}

/// Batch norm of one column of values, with `γ` and `β`.
fn normed<'b>(x: Expr<'b>, gamma: f64, beta: f64, eps: f64) -> Expr<'b> {
    let column = x.reshape([x.shape()[0], 1.into()]);
    let (gamma, beta) = (x.scalar_like(gamma).reshape([1]), x.scalar_like(beta).reshape([1]));
    column.batch_norm_train(gamma, beta, 1, eps).y
}

#[test]
fn batch_norm_of_equal_values_is_beta() {
    let equal: &[&[f64]] = &[&[5.0; 4]];
    check("variance 0", equal, |_, x| normed(x[0], 2.0, 0.5, 1e-3), &[0.5; 4], &[0.0; 4], &[0.0; 4]);
    check("one value", &[&[5.0]], |_, x| normed(x[0], 2.0, 0.5, 1e-3), &[0.5], &[0.0], &[0.0]);
    // Alone, entry 0 has the slope γ/√ε·(1 − 1/N).
    let first: Function = |_, x| normed(x[0], 2.0, 0.5, 0.25).slice(0, 0..1);
    check("variance 0, one entry", equal, first, &[0.5], &[3.0, -1.0, -1.0, -1.0], &[0.0; 4]);
    // Without ε there is no slope at variance 0, and none is made up.
    assert!(value(equal, |_, x| normed(x[0], 2.0, 0.5, 0.0)).iter().all(|y| y.is_nan()));
}

#[test]
fn statistics_of_large_values_do_not_cancel() {
    // Two passes: the variance of values around 1e8 is right to the last digits, which E[x²] − E[x]² would lose.
    let variance: Function = |_, x| {
        let column = x[0].reshape([4, 1]);
        let one = x[0].scalar_like(1.0).reshape([1]);
        column.batch_norm_train(one, one, 1, 1e-3).var
    };
    assert_eq!(value(&[&[1e8 + 1.0, 1e8 - 1.0, 1e8 + 1.0, 1e8 - 1.0]], variance), [1.0]);
}

#[test]
fn an_index_out_of_range_adds_nothing_and_gets_nothing() {
    let x: &[&[f64]] = &[&[1.0, 2.0, 4.0, 8.0]];
    let scatter: Function = |b, x| x[0].scatter_along_axis(index(b, vec![-1, 0, 2, 0]), 0, 2);
    check("scatter", x, scatter, &[10.0, 0.0], &[0.0, 1.0, 0.0, 1.0], &[0.0; 4]);
    let squares: Function = |b, x| {
        let y = x[0].scatter_along_axis(index(b, vec![-1, 0, 2, 0]), 0, 2);
        y * y
    };
    check("scatter, squared", x, squares, &[100.0, 0.0], &[0.0, 20.0, 0.0, 20.0], &[0.0, 4.0, 0.0, 4.0]);
    let take: Function = |b, x| x[0].take_along_axis(index(b, vec![3, 0, 3]), 0);
    check("take twice", x, take, &[8.0, 1.0, 8.0], &[1.0, 0.0, 0.0, 2.0], &[0.0; 4]);
    let taken = value(x, |b, x| x[0].take_along_axis(index(b, vec![4, -1]), 0));
    assert!(taken.iter().all(|y| y.is_nan()), "{taken:?}");
    let hot = value(&[&[1.0]], |b, _| index(b, vec![-1, 1, 3]).one_hot(3, DType::F64));
    assert_eq!(hot, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn reductions_over_nothing_are_their_identities() {
    let nothing: &[&[f64]] = &[&[]];
    check("sum", nothing, |_, x| x[0].sum(&[0]), &[0.0], &[], &[]);
    check("product", nothing, |_, x| x[0].product(&[0]), &[1.0], &[], &[]);
    check("reduce_max", nothing, |_, x| x[0].reduce_max(&[0]), &[-INFINITY], &[], &[]);
    check("reduce_min", nothing, |_, x| x[0].reduce_min(&[0]), &[INFINITY], &[], &[]);
    check("mean", nothing, |_, x| x[0].mean(&[0]), &[f64::NAN], &[], &[]);
}

#[test]
fn not_a_number_is_never_lost() {
    let x: &[&[f64]] = &[&[1.0, f64::NAN, 3.0]];
    for (what, f) in [
        ("reduce_max", (|_, x| x[0].reduce_max(&[0])) as Function),
        ("reduce_min", |_, x| x[0].reduce_min(&[0])),
        ("sum", |_, x| x[0].sum(&[0])),
        ("max", |_, x| x[0].max(2.0).slice(0, 1..2)),
        ("min", |_, x| x[0].min(2.0).slice(0, 1..2)),
        ("relu", |_, x| x[0].relu().slice(0, 1..2)),
        ("clamp", |_, x| x[0].clamp(0.0, 1.0).slice(0, 1..2)),
        ("sign", |_, x| x[0].sign().slice(0, 1..2)),
        ("softplus", |_, x| x[0].softplus().slice(0, 1..2)),
    ] {
        assert!(value(x, f)[0].is_nan(), "{what}");
    }
    assert_eq!(value(x, |_, x| x[0].arg_max(0)), [1.0], "a NaN counts as the largest");
    assert_eq!(value(&[&[2.0, 5.0, 5.0]], |_, x| x[0].arg_max(0)), [1.0], "the first of several");
}
