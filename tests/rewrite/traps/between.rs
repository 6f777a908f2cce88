//! Something stands between batch norm and product: it lets the map pass, or the reason is told.

use super::check::fold;
use super::net::{Net, rows};
use foldgrad::Expr;
use foldgrad::ops::GeluForm;

type Activation = for<'b> fn(Expr<'b>) -> Expr<'b>;

const CURVES: [Activation; 8] = [
    |x| x.softmax(1),
    |x| x.log_softmax(1),
    |x| x.gelu(GeluForm::Exact),
    |x| x.tanh(),
    |x| x.sigmoid(),
    |x| x.silu(),
    |x| x.elu(1.0),
    |x| x.abs(),
];

#[test]
fn curves_let_nothing_pass() {
    for curve in CURVES {
        fold(|n| n.output("y", n.dense("dense", curve(n.norm("bn", n.x(&[4]), 1)), 4))).refused("does not pass");
        fold(|n| n.output("y", n.norm("bn", curve(n.dense("dense", n.x(&[4]), 4)), 1))).refused("does not pass");
        fold(|n| n.output("y", n.dense("dense", curve(n.x(&[4]) * n.positive("s", &[4])), 4))).refused("does not pass");
    }
}

#[test]
fn values_that_are_joined() {
    fold(|n| {
        let x = n.x(&[4]);
        let joined = n.b.concat(&[n.dense("left", x, 4), n.dense("right", x.tanh(), 4)], 1);
        n.output("y", n.norm("bn", joined, 1));
    })
    .refused("does not pass");
    fold(|n| {
        let x = n.x(&[4]);
        let joined = n.b.concat(&[n.norm("bn", x, 1), x.tanh()], 1);
        n.output("y", n.dense("dense", joined, 4));
    })
    .refused("does not pass");
    // Beside the join everything folds.
    fold(|n| {
        let x = n.x(&[4]);
        let left = n.norm("bn1", n.dense("left", x, 4), 1);
        n.output("y", n.dense("top", n.b.concat(&[left.relu(), n.norm("bn2", n.dense("right", x, 4), 1)], 1), 4));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 3), ("add", 0), ("mul", 0)]);
}

#[test]
fn a_part_of_the_channels() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 8).slice(1, 0..4), 1)))
        .refused("takes a part of the channels");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[8]), 1).slice(1, 4..8), 4)))
        .refused("takes a part of the channels");
}

#[test]
fn a_part_of_the_time_steps() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4).slice(1, 1..3), 2))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), 2).slice_by(1, 0..4, 2), 4)))
        .leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), 1).slice(1, 0..2), 4)))
        .refused("takes a part of the channels");
}

#[test]
fn all_of_the_channels() {
    // A slice of everything and a transpose of nothing are not in the way.
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4).slice(1, 0..4).transpose(&[0, 1]), 1)))
        .leaves_only("dense")
        .leaves(&[("slice", 0), ("transpose", 0)]);
}

#[test]
fn a_barrier_to_gradients() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4).stop_gradient(), 1)))
        .leaves_only("dense")
        .leaves(&[("stop_gradient", 0)]);
}

#[test]
fn another_element_type() {
    use foldgrad::DType::{F32, F64};
    let cast = |n: &Net, before: bool| {
        let other = if n.dtype == F32 { F64 } else { F32 };
        let (x, bn) =
            (n.x(&[4]), |x: Expr<'_>| -> foldgrad::ir::Value { n.norm("bn", n.b.expr(x.value()), 1).value() });
        let y = match before {
            // Rounding is no map: f64 → f32 → f64 loses what the scale would have kept.
            true => n.dense("dense", n.b.expr(bn(x)).cast(other).cast(n.dtype), 4),
            false => n.b.expr(bn(n.dense("dense", x, 4).cast(other).cast(n.dtype))),
        };
        n.output("y", y);
    };
    for before in [false, true] {
        let net = Net::new(F32);
        cast(&net, before);
        let (graph, weights) = net.finish();
        let trap = super::check::Trap(vec![super::check::folded(graph, weights)]);
        trap.leaves(&[("batch_norm_infer", 1), ("dense", 1), ("cast", 2)]);
    }
}

#[test]
fn a_batch_norm_on_the_input() {
    fold(|n| n.output("y", n.norm("bn", n.x(&[4]), 1))).untouched();
    fold(|n| n.output("y", n.norm("bn", n.x(&[4]), 1).tanh())).untouched();
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4]), 1), 4).relu())).leaves_only("dense");
}

#[test]
fn batch_norms_in_a_row() {
    fold(|n| n.output("y", n.norm("bn2", n.norm("bn1", n.dense("dense", n.x(&[4]), 4), 1), 1))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn2", n.norm("bn1", n.x(&[4]), 1), 1), 4))).leaves_only("dense");
    // Without a product, two maps are still one.
    fold(|n| n.output("y", n.norm("bn2", n.norm("bn1", n.x(&[4]), 1), 1))).leaves(&[
        ("batch_norm_infer", 0),
        ("mul", 1),
        ("add", 1),
    ]);
    // Over different axes, they are one map along both.
    fold(|n| n.output("y", n.norm("bn2", n.norm("bn1", n.x(&[4, 4]), 1), 2))).leaves(&[
        ("batch_norm_infer", 0),
        ("mul", 1),
        ("add", 1),
    ]);
    fold(|n| {
        let z = n.norm("bn2", n.norm("bn1", n.x(&[4, 4]), 1), 2).reshape(rows(&[16]));
        n.output("y", n.dense("dense", z, 4));
    })
    .leaves_only("dense");
}

#[test]
fn a_batch_norm_on_either_side() {
    fold(|n| n.output("y", n.norm("bn2", n.dense("dense", n.norm("bn1", n.x(&[4]), 1), 4), 1))).leaves_only("dense");
}

#[test]
fn a_whole_classifier() {
    let net = |n: &Net| {
        let mut x = n.x(&[4, 4]).reshape(rows(&[16])) / 255.0;
        for (index, units) in [8, 8, 8].into_iter().enumerate() {
            x = n.dense(&format!("dense{index}"), x, units);
            x = if index == 1 { n.norm("bn1", x, 1).relu() } else { n.norm(&format!("bn{index}"), x.relu(), 1) };
        }
        n.output("probabilities", n.dense("top", x, 3).softmax(1));
    };
    fold(net).leaves(&[("batch_norm_infer", 0), ("dense", 4), ("mul", 0), ("div", 0), ("add", 0), ("relu", 3)]);
}
