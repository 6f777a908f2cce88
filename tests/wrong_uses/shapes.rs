//! Wrong uses of ops: shapes and axes that do not fit.

use super::refused;
use foldgrad::DType::{F32, I32};
use foldgrad::Tensor;
use foldgrad::ir::Dim;
use insta::assert_snapshot;

#[test]
fn shapes_that_do_not_stretch() {
    let said = refused(|g| {
        let image = g.input("image", F32, ["batch", "784"]); // IMAGE
        let mean = g.parameter("mean", F32, [28]); // MEAN
        let centred = image - mean; // HERE
        g.output("centred", centred.tanh() * 2.0);
    });
    assert_snapshot!(said, @r"
    error[shape]: shapes [batch,784] and [28] do not broadcast together
      --> tests/wrong_uses/shapes.rs:HERE:23
       |
    LL |         let centred = image - mean;
       |                       ^
    note: the left side, f32[batch,784], was made here
      --> tests/wrong_uses/shapes.rs:IMAGE:23
    note: the right side, f32[28], was made here
      --> tests/wrong_uses/shapes.rs:MEAN:22
    help: axes are aligned from the right and must be equal or 1; use `.reshape` to line them up
    ");
}

#[test]
fn inner_sizes_of_a_product() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 784]); // X
        let w = g.parameter("w", F32, [300, 784]); // W
        g.output("y", x.dot(w)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: dot: axis 1 of lhs f32[32,784] has size 784, but axis 0 of rhs f32[300,784] has size 300
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.dot(w));
       |                         ^
    note: lhs (input `x`): f32[32,784] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: rhs (input `w`): f32[300,784] was made here
      --> tests/wrong_uses/shapes.rs:W:19
    help: paired axes must have one size; check the order of the operands, or transpose one
    "#);
}

#[test]
fn kernel_of_other_features() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "768"]); // X
        let w = g.parameter("w", F32, [784, 10]); // W
        let b = g.parameter("b", F32, [10]); // B
        g.output("y", x.dense(w, Some(b))); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: dense: x has 768 features, but kernel expects 784
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.dense(w, Some(b)));
       |                         ^
    note: x (input `x`): f32[batch,768] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: kernel (input `w`): f32[784,10] was made here
      --> tests/wrong_uses/shapes.rs:W:19
    note: bias (input `b`): f32[10] was made here
      --> tests/wrong_uses/shapes.rs:B:19
    help: give kernel the shape [768,10], or reshape x
    "#);
}

#[test]
fn kernel_of_another_rank() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 784]); // X
        let w = g.parameter("w", F32, [784]); // W
        let b = g.parameter("b", F32, [10]); // B
        g.output("y", x.dense(w, Some(b))); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: dense: kernel must have rank 2, found f32[784]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.dense(w, Some(b)));
       |                         ^
    note: x (input `x`): f32[32,784] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: kernel (input `w`): f32[784] was made here
      --> tests/wrong_uses/shapes.rs:W:19
    note: bias (input `b`): f32[10] was made here
      --> tests/wrong_uses/shapes.rs:B:19
    help: give kernel 2 axes, with `.reshape` say
    "#);
}

#[test]
fn gamma_of_another_length() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 300]); // X
        let gamma = g.parameter("gamma", F32, [32]); // GAMMA
        let beta = g.parameter("beta", F32, [300]); // BETA
        g.output("y", x.batch_norm_train(gamma, beta, 1, 1e-3).y); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: batch_norm_train: gamma must be f32[300], one entry for each channel, found f32[32]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.batch_norm_train(gamma, beta, 1, 1e-3).y);
       |                         ^
    note: x (input `x`): f32[32,300] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: gamma (input `gamma`): f32[32] was made here
      --> tests/wrong_uses/shapes.rs:GAMMA:23
    note: beta (input `beta`): f32[300] was made here
      --> tests/wrong_uses/shapes.rs:BETA:22
    help: give gamma the shape [300] and the element type f32
    "#);
}

#[test]
fn epsilon_below_zero() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 300]); // X
        let gamma = g.parameter("gamma", F32, [300]); // GAMMA
        let beta = g.parameter("beta", F32, [300]); // BETA
        g.output("y", x.batch_norm_train(gamma, beta, 1, -1e-3).y); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: batch_norm_train: eps is -0.001
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.batch_norm_train(gamma, beta, 1, -1e-3).y);
       |                         ^
    note: x (input `x`): f32[32,300] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: gamma (input `gamma`): f32[300] was made here
      --> tests/wrong_uses/shapes.rs:GAMMA:23
    note: beta (input `beta`): f32[300] was made here
      --> tests/wrong_uses/shapes.rs:BETA:22
    help: it is added to the variance under a square root; give a small positive number such as 1e-3
    "#);
}

#[test]
fn reshape_to_another_number_of_elements() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 28, 28]); // X
        g.output("y", x.reshape([32, 748])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: reshape: f32[32,28,28] cannot become [32,748]: 25088 elements are not 23936
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.reshape([32, 748]));
       |                         ^
    note: x (input `x`): f32[32,28,28] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: the known sizes must have one product, and each symbolic dimension must appear on both sides
    "#);
}

#[test]
fn reshape_that_fixes_the_batch() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "28"]); // X
        g.output("y", x.reshape([32, 28])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: reshape: f32[batch,28] cannot become [32,28]: the symbolic dimensions differ
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.reshape([32, 28]));
       |                         ^
    note: x (input `x`): f32[batch,28] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: the known sizes must have one product, and each symbolic dimension must appear on both sides
    "#);
}

#[test]
fn transpose_by_no_permutation() {
    let said = refused(|g| {
        let x = g.input("x", F32, [2, 3, 4]); // X
        g.output("y", x.transpose(&[0, 2, 2])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: transpose: [0, 2, 2] is no permutation of the axes of f32[2,3,4]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.transpose(&[0, 2, 2]));
       |                         ^
    note: x (input `x`): f32[2,3,4] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: name each of the axes 0..3 once
    "#);
}

#[test]
fn slice_past_the_end() {
    let said = refused(|g| {
        let x = g.input("x", F32, [32, 10]); // X
        g.output("y", x.slice(1, 5..11)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: slice: the range 5..11 does not lie in axis 1 of size 10
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.slice(1, 5..11));
       |                         ^
    note: x (input `x`): f32[32,10] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: give a range within 0..10, its start not after its end
    "#);
}

#[test]
fn slice_of_the_batch() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "features"]); // X
        g.output("y", x.slice(0, 0..16)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: slice: axis 0 is the symbolic dimension `batch`
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.slice(0, 0..16));
       |                         ^
    note: x (input `x`): f32[batch,features] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: only an axis of known size can be cut; cut the data before it is fed
    "#);
}

#[test]
fn concat_of_parts_that_differ() {
    let said = refused(|g| {
        let a = g.input("a", F32, [32, 3]); // A
        let b = g.input("b", F32, [16, 4]); // B
        g.output("y", g.concat(&[a, b], 1)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: concat: part 0 is f32[32,3], but part 1 is f32[16,4]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", g.concat(&[a, b], 1));
       |                         ^
    note: part (input `a`): f32[32,3] was made here
      --> tests/wrong_uses/shapes.rs:A:19
    note: parts (input `b`): f32[16,4] was made here
      --> tests/wrong_uses/shapes.rs:B:19
    help: parts may differ in axis 1 only; give another axis, or reshape one
    "#);
}

#[test]
fn concat_of_nothing() {
    let said = refused(|g| g.output("y", g.concat(&[], 0))); // HERE
    assert_snapshot!(said, @r#"
    error[attribute]: concat: takes at least 1 operands (part, parts...), found 0
      --> tests/wrong_uses/shapes.rs:HERE:44
       |
    LL |     let said = refused(|g| g.output("y", g.concat(&[], 0)));
       |                                            ^
    help: give each of them, in that order
    "#);
}

#[test]
fn sum_over_an_axis_that_is_not_there() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "features"]); // X
        g.output("y", x.sum(&[2])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: reduce_sum: axis 2 is out of range for x f32[batch,features]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.sum(&[2]));
       |                         ^
    note: x (input `x`): f32[batch,features] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: axes are counted from 0; x has 2
    "#);
}

#[test]
fn axis_that_is_named_twice() {
    let said = refused(|g| {
        let x = g.input("x", F32, [2, 3]); // X
        g.output("y", x.mean(&[1, 1])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: mean: axes [1, 1] must be ascending, without repetition
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.mean(&[1, 1]));
       |                         ^
    note: x (input `x`): f32[2,3] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: name each axis once
    "#);
}

#[test]
fn count_along_an_axis_that_is_not_there() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "3"]); // X
        g.output("y", x.sum_all() / x.count(&[0, 2])); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: count: axis 2 is out of range for f32[batch,3]
      --> tests/wrong_uses/shapes.rs:HERE:39
       |
    LL |         g.output("y", x.sum_all() / x.count(&[0, 2]));
       |                                       ^
    note: f32[batch,3] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: axes are counted from 0; there are 2; name each at most once
    "#);
}

#[test]
fn concat_of_one_part_along_an_axis_that_is_not_there() {
    let said = refused(|g| {
        let x = g.input("x", F32, [2, 3]); // X
        g.output("y", g.concat(&[x], 2)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: concat: axis 2 is out of range for f32[2,3]
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", g.concat(&[x], 2));
       |                         ^
    note: f32[2,3] was made here
      --> tests/wrong_uses/shapes.rs:X:19
    help: axes are counted from 0; there are 2; name each at most once
    "#);
}

#[test]
fn size_beyond_its_type() {
    let said = refused(|g| {
        let size = g.size([Dim::from(1 << 20), Dim::from(1 << 12)], I32); // HERE
        g.output("y", size);
    });
    assert_snapshot!(said, @r#"
    error[shape]: size: [1048576,4096] has more elements than i32 counts
      --> tests/wrong_uses/shapes.rs:HERE:22
       |
    LL |         let size = g.size([Dim::from(1 << 20), Dim::from(1 << 12)], I32);
       |                      ^
    help: ask for f64, or take the size of a smaller shape
    "#);
}

#[test]
fn constant_of_another_shape() {
    let said = refused(|g| {
        let x = g.input("x", F32, [2, 3]); // X
        let shift = g.constant(Tensor::vector(vec![1.0f32, 2.0])); // SHIFT
        g.output("y", x.plus(shift)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: shapes [2,3] and [2] do not broadcast together
      --> tests/wrong_uses/shapes.rs:HERE:25
       |
    LL |         g.output("y", x.plus(shift));
       |                         ^
    note: the left side, f32[2,3], was made here
      --> tests/wrong_uses/shapes.rs:X:19
    note: the right side, f32[2], was made here
      --> tests/wrong_uses/shapes.rs:SHIFT:23
    help: axes are aligned from the right and must be equal or 1; use `.reshape` to line them up
    "#);
}
