//! Weights of every shape that broadcasts: what is laid along the channels folds, what is laid along anything else does
//! not, and what makes the value larger is no map of it.

use super::check::fold;
use super::net::{Net, rows};

/// Shapes that are laid along four channels of a value of rank 3.
const CHANNELS: [&[usize]; 5] = [&[], &[1], &[4], &[1, 4], &[1, 1, 4]];

#[test]
fn weights_along_the_channels() {
    for shape in CHANNELS {
        fold(|n| n.output("y", n.dense("dense", n.x(&[4, 4]), 4) * n.weight("s", shape) + n.weight("t", shape)))
            .leaves_only("dense");
        fold(|n| n.output("y", n.dense("dense", (n.x(&[4, 4]) - n.weight("m", shape)) / n.positive("d", shape), 4)))
            .leaves_only("dense");
    }
    for mixed in CHANNELS {
        fold(|n| n.output("y", n.dense("dense", n.x(&[4, 4]), 4) * n.weight("s", mixed) + n.weight("t", &[4])))
            .leaves_only("dense");
    }
}

#[test]
fn weights_along_as_many_time_steps() {
    for shape in [&[4, 1][..], &[1, 4, 1], &[4, 4], &[1, 4, 4]] {
        fold(|n| n.output("y", n.dense("dense", n.x(&[4, 4]), 4) * n.weight("s", shape))).refused("are no columns");
        fold(|n| n.output("y", n.dense("dense", n.x(&[4, 4]) * n.weight("s", shape), 4))).refused("are not what");
    }
}

#[test]
fn weights_along_the_rows() {
    fold(|n| n.output("y", n.dense("dense", n.known("x", &[4, 4]), 4) + n.weight("t", &[4, 1])))
        .refused("are no columns");
    fold(|n| n.output("y", n.dense("dense", n.known("x", &[4, 4]) * n.weight("s", &[4, 1]), 4)))
        .refused("are not what");
    fold(|n| n.output("y", n.dense("dense", n.known("x", &[4, 4]), 4) + n.weight("t", &[4, 4])))
        .refused("are no columns");
}

#[test]
fn one_row_makes_a_row_of_weights_a_vector() {
    // A weight of the full shape [1, 4] is laid along both axes, one of which has size 1.
    fold(|n| n.output("y", n.dense("dense", n.known("x", &[1, 4]), 4) * n.weight("s", &[4]))).leaves_only("dense");
}

#[test]
fn every_pixel_has_its_own_mean_and_deviation() {
    fold(|n| {
        let x = (n.x(&[28, 28]) - n.weight("mean", &[28, 28])) / n.positive("deviation", &[28, 28]);
        n.output("y", n.dense("dense", x.reshape(rows(&[784])), 2));
    })
    .leaves_only("dense");
    fold(|n| {
        let x = (n.x(&[5, 5]) - n.weight("rows", &[5, 1])) * n.positive("columns", &[5]) - 0.5;
        n.output("y", n.dense("dense", x.reshape(rows(&[25])), 3));
    })
    .leaves_only("dense");
    fold(|n| {
        let x = n.x(&[4, 4]).reshape(rows(&[16])) / 255.0 - 0.5;
        n.output("y", n.norm("bn", n.dense("dense", x, 4), 1).relu());
    })
    .leaves_only("dense");
}

#[test]
fn pixels_behind_the_last_dense() {
    // A decoder: units become an image, and the image gets its deviation and mean back.
    fold(|n| {
        let image = n.dense("dense", n.x(&[3]), 20).reshape(rows(&[4, 5]));
        n.output("y", image * n.positive("deviation", &[4, 5]) + n.weight("mean", &[4, 5]));
    })
    .leaves_only("dense");
}

#[test]
fn a_weight_that_makes_the_value_larger() {
    // [batch, 1, 4] + [3, 4] is [batch, 3, 4]: the sum has elements that the product has not.
    let larger = |n: &Net, shape: &[usize]| {
        let z = n.dense("dense", n.x(&[1, 4]), 4);
        n.output("y", z + n.weight("t", shape));
    };
    fold(|n| larger(n, &[3, 4])).untouched();
    fold(|n| larger(n, &[3, 1])).untouched();
    fold(|n| n.output("y", n.dense("dense", n.x(&[1, 4]) * n.weight("s", &[3, 4]), 4))).refused("are not what");
    // One feature that becomes four.
    fold(|n| n.output("y", n.dense("dense", n.x(&[1]) * n.weight("s", &[4]), 4))).leaves(&[("dense", 1)]);
    fold(|n| n.output("y", n.dense("dense", n.x(&[4]), 1) + n.weight("t", &[4]))).untouched();
    // One row of data and four of weights.
    fold(|n| n.output("y", n.dense("dense", n.known("x", &[1, 4]), 4) + n.weight("t", &[4, 4]))).untouched();
}

#[test]
fn weights_that_were_reshaped_and_transposed_themselves() {
    fold(|n| {
        let s = n.weight("s", &[2, 2]).transpose(&[1, 0]).reshape([4]);
        let t = n.weight("t", &[1, 8]).slice(1, 2..6).reshape([4]);
        n.output("y", n.dense("dense", n.x(&[3]), 4) * s + t);
    })
    .leaves_only("dense");
}

#[test]
fn constants_are_weights() {
    fold(|n| {
        let constant = |shape: &[usize], start: f64| {
            let len = shape.iter().product::<usize>();
            let elements = (0..len).map(|i| start + i as f64 * 0.3);
            n.b.constant(foldgrad::Tensor::from_f64(n.dtype, shape, elements).expect("a constant"))
        };
        let z = n.x(&[3]).dense(constant(&[3, 2], -0.7), Some(constant(&[2], 0.2)));
        let moments = [constant(&[2], -1.0), constant(&[2], 0.0), constant(&[2], 3.0), constant(&[2], 0.5)];
        n.output("y", z.batch_norm_infer(moments, 1, 1e-3));
    })
    .leaves_only("dense");
}

#[test]
fn numbers_that_change_nothing() {
    fold(|n| n.output("y", (((n.x(&[4]) + 0.0) * 1.0 - 0.0) / 1.0).reshape(rows(&[4])))).leaves(&[
        ("add", 0),
        ("sub", 0),
        ("mul", 0),
        ("div", 0),
    ]);
    // 0 − x and 1 / x are not x.
    fold(|n| n.output("y", 0.0 - n.x(&[4]))).leaves(&[("sub", 1)]);
    fold(|n| n.output("y", 1.0 / n.x(&[4]))).leaves(&[("div", 1)]);
    // Zeros that are parameters may be trained to be something else, but here they are what they are.
    fold(|n| n.output("y", n.x(&[4]) + n.given("t", &[4], &[0.0; 4])));
}
