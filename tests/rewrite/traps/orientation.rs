//! `x·W + b` in every form in which it can be written, with a batch norm on either side.

use super::check::fold;
use super::net::{Net, size};
use foldgrad::Expr;

const NONE: (&[usize], &[usize]) = (&[], &[]);

#[test]
fn dense_takes_in_the_batch_norm_behind_it() {
    let trap = fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4), 1)));
    trap.leaves_only("dense").fired("affine_into_product_before", 1);
    for folded in &trap.0 {
        // The bias is scaled too: s⊙(b − μ) + β.
        let before = |name: &str| folded.weights[name].to_f64();
        let [b, gamma, beta] = ["dense/bias", "bn/gamma", "bn/beta"].map(before);
        let [mean, var] = ["bn/mean", "bn/var"].map(before);
        let bias = folded.folded.weights["dense/bias"].to_f64();
        for c in 0..4 {
            let expected = gamma[c] / (var[c] + 1e-3).sqrt() * (b[c] - mean[c]) + beta[c];
            assert!((bias[c] - expected).abs() < 1e-6, "{} is not {expected}", bias[c]);
        }
    }
}

#[test]
fn dense_takes_in_the_batch_norm_before_it() {
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4]), 1), 4))).leaves_only("dense");
}

#[test]
fn a_product_without_a_bias_gets_one() {
    fold(|n| n.output("y", n.norm("bn", n.x(&[4]).dot(n.weight("w", &[4, 4])), 1))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.x(&[4]), 1).dot(n.weight("w", &[4, 4])))).leaves_only("dense");
}

#[test]
fn a_bias_that_is_added_apart_is_scaled() {
    let apart = |n: &Net, sign: f64| {
        let z = n.x(&[3]).dot(n.weight("w", &[3, 5]));
        let b = n.weight("b", &[5]);
        n.output("y", n.norm("bn", if sign > 0.0 { z + b } else { z - b }, 1));
    };
    fold(|n| apart(n, 1.0)).leaves_only("dense");
    fold(|n| apart(n, -1.0)).leaves_only("dense");
}

/// `W·x` with the batch last: the channels of the result are its first axis.
fn turned<'b>(n: &'b Net, w: Expr<'b>, x: Expr<'b>) -> Expr<'b> {
    n.b.scoped("turned", || w.dot_general(x, (&[1], &[0]), NONE))
}

#[test]
fn a_weight_on_the_left() {
    let behind = fold(|n| n.output("y", n.norm("bn", turned(n, n.weight("w", &[4, 4]), columns(n)), 0)));
    behind.leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
    let before = fold(|n| n.output("y", turned(n, n.weight("w", &[4, 4]), n.norm("bn", columns(n), 0))));
    before.leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
}

fn columns(n: &Net) -> Expr<'_> {
    n.b.input("x", n.dtype, [foldgrad::ir::Dim::Known(4), "batch".into()])
}

#[test]
fn a_weight_on_the_left_and_channels_of_the_data() {
    // All sizes are equal, and the batch norm is over the columns, which are the data's.
    fold(|n| n.output("y", n.norm("bn", turned(n, n.weight("w", &[4, 4]), n.known("x", &[4, 4])), 1)))
        .refused("its channels are no columns of the weights of");
    fold(|n| n.output("y", turned(n, n.weight("w", &[4, 4]), n.norm("bn", n.known("x", &[4, 4]), 1))))
        .refused("its channels are not what");
}

#[test]
fn a_transposed_weight() {
    // [out, in]: the columns of the result are the rows of the weight.
    fold(|n| n.output("y", n.norm("bn", transposed(n.x(&[4]), n.weight("w", &[4, 4])), 1))).leaves(&[
        ("batch_norm_infer", 0),
        ("dot", 1),
        ("mul", 0),
        ("add", 1),
    ]);
    fold(|n| n.output("y", transposed(n.norm("bn", n.x(&[4]), 1), n.weight("w", &[4, 4])))).leaves(&[
        ("batch_norm_infer", 0),
        ("dot", 1),
        ("mul", 0),
        ("add", 1),
    ]);
}

fn transposed<'b>(x: Expr<'b>, w: Expr<'b>) -> Expr<'b> {
    x.dot_general(w, (&[1], &[1]), NONE)
}

/// The product over both axes of an image, the weight's axes in either order.
fn over_both<'b>(n: &'b Net, x: Expr<'b>, crossed: bool) -> Expr<'b> {
    let (h, w) = (size(x, 1), size(x, 2));
    let shape = if crossed { [w, h, 4] } else { [h, w, 4] };
    x.dot_general(n.weight("w", &shape), (&[1, 2], if crossed { &[1, 0] } else { &[0, 1] }), NONE)
}

#[test]
fn several_contracted_axes() {
    for crossed in [false, true] {
        for axis in [1, 2] {
            fold(|n| n.output("y", over_both(n, n.norm("bn", n.x(&[3, 3]), axis), crossed))).leaves(&[
                ("batch_norm_infer", 0),
                ("dot", 1),
                ("mul", 0),
                ("add", 1),
            ]);
            fold(|n| n.output("y", over_both(n, n.norm("bn", n.x(&[2, 3]), axis), crossed))).leaves(&[
                ("batch_norm_infer", 0),
                ("dot", 1),
                ("mul", 0),
                ("add", 1),
            ]);
        }
        // One number for each pixel, laid along both contracted axes.
        fold(|n| {
            n.output("y", over_both(n, (n.x(&[3, 3]) - n.weight("m", &[3, 3])) / n.positive("s", &[3, 3]), crossed))
        })
        .leaves(&[("dot", 1), ("sub", 0), ("div", 0), ("mul", 0), ("add", 1)]);
        fold(|n| n.output("y", n.norm("bn", over_both(n, n.x(&[3, 3]), crossed), 1))).leaves(&[
            ("batch_norm_infer", 0),
            ("dot", 1),
            ("mul", 0),
            ("add", 1),
        ]);
    }
}

#[test]
fn contracted_axes_named_backwards() {
    let product = |n: &Net, axis| {
        let x = n.norm("bn", n.x(&[3, 3]), axis);
        n.output("y", x.dot_general(n.weight("w", &[3, 4, 3]), (&[2, 1], &[0, 2]), NONE));
    };
    for axis in [1, 2] {
        fold(|n| product(n, axis)).leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
    }
}

#[test]
fn a_weight_with_two_free_axes() {
    for axis in [1, 2] {
        // [batch, 3] · [3, 4, 4] = [batch, 4, 4].
        fold(|n| n.output("y", n.norm("bn", n.x(&[3]).dot(n.weight("w", &[3, 4, 4])), axis))).leaves(&[
            ("batch_norm_infer", 0),
            ("dot", 1),
            ("mul", 0),
            ("add", 1),
        ]);
        // The weight's contracted axis lies between its free ones.
        fold(|n| {
            n.output("y", n.norm("bn", n.x(&[3]).dot_general(n.weight("w", &[4, 3, 4]), (&[1], &[1]), NONE), axis))
        })
        .leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
    }
    // A result so much larger than the operand that adding the shift there costs more than the batch norm.
    fold(|n| n.output("y", n.norm("bn", n.x(&[3]), 1).dot(n.weight("w", &[3, 4, 4]))))
        .refused("cannot add its shift for less than it takes now");
    fold(|n| n.output("y", n.norm("bn", n.x(&[3]), 1).dot_general(n.weight("w", &[7, 3]), (&[1], &[1]), NONE)))
        .refused("cannot add its shift for less than it takes now");
    fold(|n| n.output("y", n.norm("bn", n.x(&[3]), 1).dot(n.weight("w", &[3, 7]))))
        .refused("cannot add its shift for less than it takes now");
    fold(|n| n.output("y", n.norm("bn", n.x(&[3]), 1).dot(n.weight("w", &[3, 6])))).leaves_only("dense");
    // A shift alone moves to where there are fewer elements.
    fold(|n| n.output("y", (n.x(&[8]) - n.weight("m", &[8])).dot_general(n.weight("w", &[2, 8]), (&[1], &[1]), NONE)))
        .leaves(&[("sub", 0), ("add", 1), ("dot", 1)]);
}

#[test]
fn a_weight_vector() {
    let vector = |n: &Net| {
        let y = n.norm("bn", n.x(&[4]), 1).dot(n.weight("w", &[4]));
        n.output("y", y * n.weight("scale", &[]) + n.weight("shift", &[]));
    };
    fold(vector).leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
}

#[test]
fn an_outer_product() {
    let outer = |n: &Net| {
        let y = n.x(&[2]).dot_general(n.weight("w", &[4]), NONE, NONE);
        n.output("y", n.norm("bn", y, 2));
    };
    fold(outer).leaves(&[("batch_norm_infer", 0), ("dot", 1), ("mul", 0), ("add", 1)]);
}

#[test]
fn a_vector_through_dense() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.known("x", &[4]), 4), 0))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.known("x", &[4]), 0), 4))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.known("x", &[4]).dot(n.weight("w", &[4, 4])), 0))).leaves_only("dense");
}

#[test]
fn a_batch_of_products() {
    let batched = |n: &Net, before: bool| {
        let (x, w) = (n.known("x", &[4, 3, 4]), n.weight("w", &[4, 4, 4]));
        let x = if before { n.norm("bn", x, 2) } else { x };
        let y = x.dot_general(w, (&[2], &[1]), (&[0], &[0]));
        n.output("y", if before { y } else { n.norm("bn", y, 2) });
    };
    fold(|n| batched(n, false)).refused("is a batch of products");
    fold(|n| batched(n, true)).refused("is a batch of products");
}

#[test]
fn a_product_of_data_with_data() {
    let gram = |n: &Net| {
        let x = n.x(&[4]);
        n.output("y", n.norm("bn", x.dot_general(x, (&[0], &[0]), NONE), 1));
    };
    fold(gram).untouched();
}

#[test]
fn weights_that_are_computed_from_data() {
    let kernel = |n: &Net| {
        let kernel = n.known("context", &[4, 4]).tanh();
        n.output("y", n.norm("bn", n.x(&[4]).dense(kernel, Some(n.weight("b", &[4]))), 1));
    };
    fold(kernel).refused("is computed from data");
    let bias = |n: &Net| {
        let bias = n.known("context", &[4]).tanh();
        n.output("y", n.norm("bn", n.x(&[4]).dense(n.weight("w", &[4, 4]), Some(bias)), 1));
    };
    fold(bias).refused("the bias of");
    let statistics = |n: &Net| {
        let [gamma, beta, mean, _] = n.moments("bn", 4);
        let var = n.known("context", &[4]).exp();
        n.output("y", n.dense("dense", n.x(&[4]), 4).batch_norm_infer([gamma, beta, mean, var], 1, 1e-3));
    };
    fold(statistics).refused("are computed from data");
}

#[test]
fn weights_that_are_computed_from_weights() {
    // Weight normalisation: the kernel is v/|v| scaled by g.
    let normalised = |n: &Net| {
        let v = n.weight("v", &[4, 3]);
        let kernel = v / (v * v).sum(&[0]).sqrt() * n.weight("g", &[3]);
        n.output("y", n.norm("bn", n.x(&[4]).dense(kernel, Some(n.weight("b", &[3]))), 1));
    };
    fold(normalised).leaves_only("dense");
}
