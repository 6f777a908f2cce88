//! Products in a row are multiplied out where that takes fewer multiply-adds, and nowhere else.

use super::check::fold;
use super::net::Net;

fn in_a_row(n: &Net, shape: &[usize], units: &[usize]) {
    let mut x = n.x(shape);
    for (index, &units) in units.iter().enumerate() {
        x = n.dense(&format!("dense{index}"), x, units);
    }
    n.output("y", x);
}

#[test]
fn a_wide_layer_in_the_middle_is_multiplied_out() {
    fold(|n| in_a_row(n, &[4], &[8, 4])).leaves(&[("dense", 1), ("dot", 0)]).fired("product_after_product", 1);
    fold(|n| in_a_row(n, &[4], &[4, 4])).leaves(&[("dense", 1), ("dot", 0)]);
    fold(|n| in_a_row(n, &[5, 4], &[8, 4])).leaves(&[("dense", 1), ("dot", 0)]);
    fold(|n| in_a_row(n, &[4], &[4, 4, 4, 4])).leaves(&[("dense", 1), ("dot", 0)]);
}

#[test]
fn a_bottleneck_is_left_alone() {
    fold(|n| in_a_row(n, &[8], &[2, 8])).refused("takes 64 multiply-adds a row instead of 32");
    // As many as before is no gain.
    fold(|n| in_a_row(n, &[4], &[2, 4])).refused("takes 16 multiply-adds a row instead of 16");
}

#[test]
fn only_the_part_that_pays() {
    // 8 → 2 → 8 → 2: the last two become 2 → 2, and then all of it 8 → 2.
    fold(|n| in_a_row(n, &[8], &[2, 8, 2])).leaves(&[("dense", 1), ("dot", 0)]);
    // 2 → 8 → 2 → 8: the first two become 2 → 2, and then all of it 2 → 8.
    fold(|n| in_a_row(n, &[2], &[8, 2, 8])).leaves(&[("dense", 1), ("dot", 0)]);
}

#[test]
fn products_without_biases() {
    let net = |n: &Net, first: bool, second: bool| {
        let bias = |name: &str, is: bool| if is { Some(n.weight(name, &[4])) } else { None };
        let hidden = n.x(&[4]).dense(n.weight("w1", &[4, 4]), bias("b1", first));
        n.output("y", hidden.dense(n.weight("w2", &[4, 4]), bias("b2", second)));
    };
    fold(|n| net(n, true, true)).leaves(&[("dense", 1), ("dot", 0), ("add", 0)]);
    fold(|n| net(n, true, false)).leaves(&[("dense", 1), ("dot", 0), ("add", 0)]);
    fold(|n| net(n, false, true)).leaves(&[("dense", 1), ("dot", 0), ("add", 0)]);
    fold(|n| net(n, false, false)).leaves(&[("dense", 0), ("dot", 1), ("add", 0)]);
}

#[test]
fn a_hidden_value_with_another_reader() {
    fold(|n| {
        let hidden = n.dense("first", n.x(&[4]), 8);
        n.output("hidden", hidden);
        n.output("y", n.dense("second", hidden, 4));
    })
    .refused("is also used by the output `hidden`");
    fold(|n| {
        let hidden = n.dense("first", n.x(&[4]), 8);
        n.output("other", hidden.tanh());
        n.output("y", n.dense("second", hidden, 4));
    })
    .refused("is also used by");
}

#[test]
fn an_activation_between_products() {
    fold(|n| n.output("y", n.dense("second", n.dense("first", n.x(&[4]), 8).relu(), 4))).untouched();
}

#[test]
fn a_batch_norm_between_products() {
    // Whether or not the products are multiplied out, the batch norm is gone.
    fold(|n| n.output("y", n.dense("second", n.norm("bn", n.dense("first", n.x(&[4]), 8), 1), 4)))
        .leaves(&[("dense", 1), ("batch_norm_infer", 0)]);
    fold(|n| n.output("y", n.dense("second", n.norm("bn", n.dense("first", n.x(&[8]), 2), 1), 8)))
        .leaves(&[("dense", 2), ("batch_norm_infer", 0)])
        .because("multiply-adds a row instead of");
}

#[test]
fn a_product_over_another_axis_is_not_the_next_one() {
    // All sizes are equal; the second product is over time.
    fold(|n| {
        let z = n.dense("first", n.x(&[4, 4]), 4);
        n.output("y", z.dot_general(n.weight("w", &[4, 4]), (&[1], &[0]), (&[], &[])));
    })
    .untouched();
    fold(|n| {
        let z = n.dense("first", n.x(&[4, 4]), 4).transpose(&[0, 2, 1]);
        n.output("y", n.dense("second", z, 4));
    })
    .untouched();
}

#[test]
fn one_layer_twice_in_a_row() {
    // W·W is no square of anything but itself: the order of the factors shows in the bias.
    fold(|n| {
        let (w, b) = (n.weight("w", &[4, 4]), n.weight("b", &[4]));
        n.output("y", n.x(&[4]).dense(w, Some(b)).dense(w, Some(b)));
    })
    .leaves(&[("dense", 1), ("dot", 0), ("add", 0)]);
}
