//! The channel axis is tracked, never guessed from its size: wherever two axes can have one size, they do.

use super::check::fold;
use super::net::{Net, rows};

#[test]
fn rows_of_a_square_product() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.known("x", &[4, 4]), 4), 0)))
        .refused("its channels are no columns of the weights of");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.known("x", &[4, 4]), 0), 4)))
        .refused("its channels are not what");
}

#[test]
fn time_steps_as_many_as_channels() {
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4), 2))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4, 4]), 4), 1))).refused("are no columns");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), 2), 4))).leaves_only("dense");
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), 1), 4))).refused("are not what");
}

#[test]
fn flatten_between_batch_norm_and_dense() {
    for axis in [1, 2] {
        // Axis 1 repeats each scale four times in a row, axis 2 repeats the row of scales.
        fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), axis).reshape(rows(&[16])), 3)))
            .leaves_only("dense");
    }
    for axis in [1, 2, 3] {
        fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.x(&[2, 2, 2]), axis).reshape(rows(&[8])), 2)))
            .leaves_only("dense");
    }
}

#[test]
fn flatten_with_an_activation_in_between() {
    let net = |n: &Net, axis| {
        let z = n.dense("first", n.x(&[4, 4]), 4).relu();
        n.output("y", n.dense("second", n.norm("bn", z, axis).reshape(rows(&[16])), 3));
    };
    fold(|n| net(n, 1)).leaves(&[("batch_norm_infer", 0), ("dense", 2), ("mul", 0), ("add", 0)]);
    fold(|n| net(n, 2)).leaves(&[("batch_norm_infer", 0), ("dense", 2), ("mul", 0), ("add", 0)]);
}

#[test]
fn channels_first_behind_a_transpose() {
    let net = |n: &Net, axis| {
        let z = n.dense("dense", n.x(&[4, 4]), 4).transpose(&[0, 2, 1]);
        n.output("y", n.norm("bn", z, axis));
    };
    fold(|n| net(n, 1)).leaves_only("dense");
    fold(|n| net(n, 2)).refused("are no columns");
}

#[test]
fn channels_first_before_a_transpose() {
    let net =
        |n: &Net, axis| n.output("y", n.dense("dense", n.norm("bn", n.x(&[4, 4]), axis).transpose(&[0, 2, 1]), 4));
    fold(|n| net(n, 1)).leaves_only("dense");
    fold(|n| net(n, 2)).refused("are not what");
}

#[test]
fn a_cycle_of_three_axes_is_no_swap() {
    // [1, 2, 0] is not its own inverse.
    for axis in 0..3 {
        let trap = fold(|n| {
            let z = n.dense("dense", n.known("x", &[4, 4, 4]), 4).transpose(&[1, 2, 0]);
            n.output("y", n.norm("bn", z, axis));
        });
        // The units are axis 2 before and axis 1 behind it.
        if axis == 1 {
            trap.leaves_only("dense")
        } else {
            trap.refused("are no columns")
        };
        let trap = fold(|n| {
            let z = n.norm("bn", n.known("x", &[4, 4, 4]), axis).transpose(&[1, 2, 0]);
            n.output("y", n.dense("dense", z, 4));
        });
        if axis == 0 {
            trap.leaves_only("dense")
        } else {
            trap.refused("are not what")
        };
    }
}

#[test]
fn units_unfolded_into_an_image() {
    for axis in [1, 2] {
        fold(|n| {
            let z = n.dense("dense", n.x(&[3]), 9).reshape(rows(&[3, 3]));
            n.output("y", n.norm("bn", z, axis));
        })
        .leaves_only("dense");
    }
}

#[test]
fn a_reshape_that_takes_channels_from_the_batch() {
    // Of [2, 3, 4] as [6, 4], rows mix examples and channels.
    fold(|n| n.output("y", n.dense("dense", n.norm("bn", n.known("x", &[2, 3, 4]), 1).reshape([6, 4]), 4)))
        .refused("are not what");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.known("x", &[2, 3, 4]), 4).reshape([6, 4]), 0)))
        .refused("are no columns");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.known("x", &[6, 4]), 4).reshape([2, 3, 4]), 2)))
        .leaves_only("dense");
}

#[test]
fn a_reshape_that_moves_a_boundary() {
    // [6, 4] and [4, 6] have no axis in common, though the sizes are the same.
    let net = |n: &Net, axis| {
        let z = n.norm("bn", n.x(&[6, 4]), axis).reshape(rows(&[4, 6]));
        n.output("y", n.dense("dense", z, 6));
    };
    fold(|n| net(n, 1)).refused("are not what");
    fold(|n| net(n, 2)).refused("are not what");
}

#[test]
fn a_reshape_across_the_batch() {
    let net = |n: &Net| {
        let z = n.norm("bn", n.x(&[3, 4]), 1).reshape([3.into(), "batch".into(), foldgrad::ir::Dim::Known(4)]);
        n.output("y", n.dense("dense", z, 4));
    };
    fold(net).refused("do not fall into groups of equal size");
}

#[test]
fn axes_of_size_one() {
    let ones = || rows(&[1, 4, 1]);
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4).reshape(ones()), 2))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.x(&[4]).reshape(ones()), 2).reshape(rows(&[4])).dot(n.weight("w", &[4, 4]))))
        .leaves_only("dense");
    // One channel beside four features: its one scale is everyone's.
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4).reshape(ones()), 3))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4).reshape(ones()), 1))).leaves_only("dense");
    fold(|n| n.output("y", n.norm("bn", n.dense("dense", n.x(&[1]), 1), 1))).leaves_only("dense");
}

#[test]
fn transposes_and_reshapes_in_a_row() {
    // [batch, 2, 3, 4] → [batch, 4, 2, 3] → [batch, 24]: channels first, then flat.
    for axis in [1, 2, 3] {
        fold(|n| {
            let z = n.norm("bn", n.x(&[2, 3, 4]), axis).transpose(&[0, 3, 1, 2]).reshape(rows(&[24]));
            n.output("y", n.dense("dense", z, 2));
        })
        .leaves_only("dense");
        fold(|n| {
            let z = n.dense("dense", n.x(&[2]), 24).reshape(rows(&[4, 2, 3]));
            n.output("y", n.norm("bn", z.transpose(&[0, 2, 3, 1]), axis));
        })
        .leaves_only("dense");
    }
}

#[test]
fn per_pixel_weights_behind_a_transpose() {
    // A weight laid along two axes is itself transposed.
    fold(|n| {
        let x = (n.x(&[3, 3]) * n.weight("s", &[3, 3]) + n.weight("t", &[3, 3])).transpose(&[0, 2, 1]);
        n.output("y", n.dense("dense", x.reshape(rows(&[9])), 2));
    })
    .leaves_only("dense");
}
