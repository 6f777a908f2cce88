//! A value that something else reads too, or that is given out, keeps its meaning; a shared weight is never edited.

use super::check::{Folded, fold};
use super::net::{Net, rows};
use foldgrad::Expr;

#[test]
fn two_layers_with_one_kernel() {
    let net = |n: &Net| {
        let (x, w, b) = (n.x(&[4]), n.weight("w", &[4, 4]), n.weight("b", &[4]));
        n.output("first", n.norm("bn1", x.dense(w, Some(b)), 1));
        n.output("second", n.norm("bn2", x.tanh().dense(w, Some(b)), 1));
    };
    let trap = fold(net);
    trap.leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
    for Folded { folded, .. } in &trap.0 {
        let kernels: Vec<Vec<f64>> =
            folded.weights.values().filter(|w| w.shape() == [4, 4]).map(|w| w.to_f64()).collect();
        assert!(
            kernels.len() == 2 && kernels[0] != kernels[1],
            "each layer has its own copy: {:?}",
            folded.weights.keys().collect::<Vec<_>>()
        );
    }
}

#[test]
fn one_of_two_layers_with_one_kernel_is_folded() {
    let net = |n: &Net| {
        let (x, w, b) = (n.x(&[4]), n.weight("w", &[4, 4]), n.weight("b", &[4]));
        n.output("first", n.norm("bn", x.dense(w, Some(b)), 1));
        n.output("second", x.tanh().dense(w, Some(b)));
    };
    let trap = fold(net);
    trap.leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
    for Folded { weights, folded, .. } in &trap.0 {
        assert!(folded.weights.values().any(|w| *w == weights["w"]), "the kernel itself is still there");
        assert!(folded.weights.values().any(|b| *b == weights["b"]), "the bias itself is still there");
    }
}

#[test]
fn one_layer_applied_twice() {
    let net = |n: &Net| {
        let (w, b, moments) = (n.weight("w", &[4, 4]), n.weight("b", &[4]), n.moments("bn", 4));
        for name in ["left", "right"] {
            n.output(&format!("{name} out"), n.data(name, &[4]).dense(w, Some(b)).batch_norm_infer(moments, 1, 1e-3));
        }
    };
    let trap = fold(net);
    trap.leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
    trap.0.iter().for_each(|folded| assert_eq!(folded.folded.weights.len(), 2, "still one kernel and one bias"));
}

#[test]
fn one_layer_applied_to_its_own_result() {
    fold(|n| {
        let (w, b, moments) = (n.weight("w", &[4, 4]), n.weight("b", &[4]), n.moments("bn", 4));
        let layer = |x: Expr<'_>| -> foldgrad::ir::Value {
            let x = n.b.expr(x.value());
            x.dense(w, Some(b)).batch_norm_infer(moments, 1, 1e-3).relu().value()
        };
        let once = n.b.expr(layer(n.x(&[4])));
        n.output("y", n.b.expr(layer(once)));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
}

#[test]
fn tied_weights_of_an_autoencoder() {
    fold(|n| {
        let w = n.weight("w", &[4, 4]);
        let code = n.norm("bn1", n.x(&[4]).dense(w, Some(n.weight("b", &[4]))), 1).relu();
        let back = n.norm("bn2", code, 1).dot_general(w, (&[1], &[1]), (&[], &[]));
        n.output("y", back + n.weight("c", &[4]));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 1), ("dot", 1), ("add", 1), ("mul", 0)]);
}

#[test]
fn a_second_reader_of_the_product() {
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("y", n.norm("bn", z, 1));
        n.output("other", z.tanh());
    })
    .refused("is also used by");
}

#[test]
fn the_value_before_batch_norm_is_an_output() {
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("z", z);
        n.output("y", n.norm("bn", z, 1));
    })
    .refused("is also used by the output `z`");
    fold(|n| {
        let z = n.norm("bn", n.x(&[4]), 1);
        n.output("z", z);
        n.output("y", n.dense("dense", z, 4));
    })
    .refused("is also used by the output `z`");
}

#[test]
fn a_value_on_the_way_is_an_output() {
    fold(|n| {
        let z = n.norm("bn", n.x(&[4, 4]), 1).reshape(rows(&[16]));
        n.output("z", z);
        n.output("y", n.dense("dense", z, 4));
    })
    .refused("is also used by the output `z`");
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4).relu();
        n.output("z", z);
        n.output("y", z * 2.0);
    })
    .refused("is also used by the output `z`");
}

#[test]
fn the_normalised_value_is_an_output_and_goes_on() {
    fold(|n| {
        let z = n.norm("bn", n.dense("first", n.x(&[4]), 4), 1);
        n.output("z", z);
        n.output("y", n.dense("second", z, 4));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
}

#[test]
fn a_batch_norm_behind_an_activation_with_two_readers() {
    fold(|n| {
        let z = n.norm("bn", n.dense("trunk", n.x(&[4]), 4).relu(), 1);
        n.output("left", n.dense("head1", z, 3));
        n.output("right", n.dense("head2", z, 3));
    })
    .because("is also used by");
}

#[test]
fn two_batch_norms_on_one_product() {
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("left", n.norm("bn1", z, 1));
        n.output("right", n.norm("bn2", z, 1));
    })
    .refused("is also used by");
}

#[test]
fn residuals() {
    // The sum needs the product as it was.
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("y", z + n.norm("bn", z, 1));
    })
    .refused("is also used by");
    // The sum needs the input alone.
    fold(|n| {
        let x = n.x(&[4]);
        n.output("y", x + n.norm("bn", n.dense("dense", x, 4), 1));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 1), ("add", 1), ("mul", 0)]);
    // Batch norm of a sum of two values is no business of either product.
    fold(|n| {
        let x = n.x(&[4]);
        n.output("y", n.norm("bn", n.dense("left", x, 4) + n.dense("right", x.tanh(), 4), 1));
    })
    .leaves(&[("batch_norm_infer", 1), ("dense", 2)]);
}

#[test]
fn both_operands_of_one_node() {
    fold(|n| {
        let z = n.norm("bn", n.dense("dense", n.x(&[4]), 4), 1);
        n.output("y", z * z);
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 1), ("add", 0), ("mul", 1)]);
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("y", n.norm("bn", z * z, 1));
    })
    .leaves(&[("batch_norm_infer", 1), ("dense", 1), ("mul", 1)]);
}

#[test]
fn a_weight_that_is_an_output() {
    let trap = fold(|n| {
        let (w, b) = (n.weight("w", &[4, 4]), n.weight("b", &[4]));
        n.output("y", n.norm("bn", n.x(&[4]).dense(w, Some(b)), 1));
        n.output("kernel", w);
        n.output("doubled", b * 2.0);
    });
    trap.leaves(&[("batch_norm_infer", 0), ("dense", 1)]);
}

#[test]
fn moments_that_two_batch_norms_share() {
    fold(|n| {
        let moments = n.moments("bn", 4);
        let first = n.dense("first", n.x(&[4]), 4).batch_norm_infer(moments, 1, 1e-3).relu();
        n.output("y", n.dense("second", first, 4).batch_norm_infer(moments, 1, 1e-3));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 2), ("add", 0), ("mul", 0)]);
}

#[test]
fn one_vector_in_many_roles() {
    // γ, μ and the bias are one parameter, and the variance is its square.
    fold(|n| {
        let v = n.weight("v", &[4]);
        let z = n.x(&[4]).dense(n.weight("w", &[4, 4]), Some(v));
        n.output("y", z.batch_norm_infer([v, v, v, v * v], 1, 1e-3));
    })
    .leaves_only("dense");
}

#[test]
fn a_reader_that_no_output_needs() {
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("y", n.norm("bn", z, 1));
        let _dead = z.tanh() + n.weight("unused", &[4]);
    })
    .leaves_only("dense")
    .leaves(&[("tanh", 0)]);
}
