//! Wrong uses of differentiation: never a silent zero.

use super::report;
use foldgrad::DType::{F32, F64, I32};
use foldgrad::op::Cotangent;
use foldgrad::{Builder, autodiff};
use insta::assert_snapshot;

#[test]
fn loss_that_is_no_scalar() {
    let g = Builder::new();
    let w = g.parameter("w", F32, [3]);
    let loss = w * w; // LOSS
    let said = report(autodiff::gradients(&[loss], &[w])); // HERE
    assert_snapshot!(said, @r"
    error[shape]: a loss must be an f32 or f64 scalar, found f32[3]
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::gradients(&[loss], &[w]));
       |                       ^
    note: %1 mul (tests/wrong_uses/gradients.rs:LOSS:16)
    help: reduce it with `.mean_all()` or `.sum_all()`, or use `vjp` with a cotangent of its shape
    ");
}

#[test]
fn loss_of_integers() {
    let g = Builder::new();
    let w = g.parameter("w", F32, [3]);
    let right = w.greater(0.0).cast(I32).slice(0, 0..1).reshape([] as [usize; 0]); // LOSS
    let said = report(autodiff::gradients(&[right], &[w])); // HERE
    assert_snapshot!(said, @r"
    error[dtype]: a loss must be an f32 or f64 scalar, found i32[]
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::gradients(&[right], &[w]));
       |                       ^
    note: %6 reshape (tests/wrong_uses/gradients.rs:LOSS:57)
    help: a count or an index is piecewise constant: take a smooth loss, such as a cross-entropy
    ");
}

#[test]
fn through_the_index_of_the_largest() {
    let g = Builder::new();
    let w = g.parameter("w", F32, [2, 3]);
    let scores = w.tanh(); // SCORES
    let best = scores.arg_max(1); // HERE
    let loss = w.take_along_axis(best.reshape([2, 1]), 1).sum_all() + best.cast(F32).sum_all(); // CAST
    let said = report(autodiff::gradients(&[loss], &[w]));
    assert_snapshot!(said, @r"
    error[not-differentiable]: cast has no derivative
      --> tests/wrong_uses/gradients.rs:CAST:76
       |
    LL |     let loss = w.take_along_axis(best.reshape([2, 1]), 1).sum_all() + best.cast(F32).sum_all();
       |                                                                            ^
    note: a gradient was asked for that flows through %6 cast (tests/wrong_uses/gradients.rs:CAST:76)
    note: its operand i32[2] depends on a value to differentiate by
      --> tests/wrong_uses/gradients.rs:HERE:23
    help: a conversion from or to integers or masks is piecewise constant; wrap it in `.stop_gradient()` if it is meant as a constant, or use `.select` with the mask
    ");
}

#[test]
fn with_respect_to_integers() {
    let g = Builder::new();
    let labels = g.input("labels", I32, ["batch"]); // LABELS
    let logits = g.input("logits", F32, ["batch", "10"]);
    let loss = logits.softmax_cross_entropy(labels).mean_all();
    let said = report(autodiff::gradients(&[loss], &[labels])); // HERE
    assert_snapshot!(said, @r"
    error[dtype]: there is no gradient with respect to i32[batch]
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::gradients(&[loss], &[labels]));
       |                       ^
    note: %0 input `labels` (tests/wrong_uses/gradients.rs:LABELS:20)
    help: gradients exist with respect to f32 and f64 values
    ");
}

#[test]
fn with_respect_to_another_graph() {
    let (other, g) = (Builder::new(), Builder::new());
    for _ in 0..3 {
        other.scalar(F32, 0.5).exp().tanh();
    }
    let w = other.parameter("w", F32, [3]); // W
    let x = g.input("x", F32, [3]);
    let loss = (x * x).sum_all();
    let said = report(autodiff::gradients(&[loss], &[w])); // HERE
    assert_snapshot!(said, @r"
    error[graph]: a gradient was asked for across two graphs
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::gradients(&[loss], &[w]));
       |                       ^
    note: of another graph: %3 input `w` (tests/wrong_uses/gradients.rs:W:19)
    help: differentiate expressions of one builder by expressions of the same one
    ");
}

#[test]
fn cotangent_of_another_type() {
    let g = Builder::new();
    let x = g.input("x", F64, [3]);
    let y = x.exp(); // Y
    let seed = g.input("seed", F64, [1]);
    let said = report(autodiff::vjp(&[y], &[Cotangent::Value(seed)], &[x])); // HERE
    assert_snapshot!(said, @r"
    error[shape]: the cotangent of f64[3] is f64[1]
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::vjp(&[y], &[Cotangent::Value(seed)], &[x]));
       |                       ^
    note: the output is %1 exp (tests/wrong_uses/gradients.rs:Y:15)
    help: give it the type of its output
    ");
}

#[test]
fn cotangents_that_are_too_few() {
    let g = Builder::new();
    let x = g.input("x", F64, [3]);
    let seed = g.input("seed", F64, [3]);
    let said = report(autodiff::vjp(&[x.exp(), x.tanh()], &[Cotangent::Value(seed)], &[x])); // HERE
    assert_snapshot!(said, @r"
    error[graph]: there are 2 outputs, but 1 cotangents
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::vjp(&[x.exp(), x.tanh()], &[Cotangent::Value(seed)], &[x]));
       |                       ^
    help: give one for each, in the same order
    ");
}

#[test]
fn tangents_that_are_too_few() {
    let g = Builder::new();
    let (x, y) = (g.input("x", F64, [3]), g.input("y", F64, [3]));
    let said = report(autodiff::jvp(x * y, &[x, y], &[x])); // HERE
    assert_snapshot!(said, @r"
    error[graph]: there are 2 values, but 1 tangents
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::jvp(x * y, &[x, y], &[x]));
       |                       ^
    help: give one for each, in the same order
    ");
}

#[test]
fn jacobian_over_the_batch() {
    let g = Builder::new();
    let x = g.input("x", F64, ["batch"]);
    let y = x.exp(); // Y
    let said = report(autodiff::jacobian(y, x)); // HERE
    assert_snapshot!(said, @r"
    error[shape]: the Jacobian of f64[batch] has no fixed number of rows
      --> tests/wrong_uses/gradients.rs:HERE:23
       |
    LL |     let said = report(autodiff::jacobian(y, x));
       |                       ^
    note: the output is %1 exp (tests/wrong_uses/gradients.rs:Y:15)
    help: take it of an output of known shape, or use `vjp` and `jvp`
    ");
}
