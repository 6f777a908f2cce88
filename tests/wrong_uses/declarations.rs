//! Wrong uses of the graph builder: element types, numbers, names, updates, expressions of other graphs.

use super::refused;
use foldgrad::Builder;
use foldgrad::DType::{F32, F64, I32};
use insta::assert_snapshot;

#[test]
fn select_by_numbers() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // X
        g.output("y", x.select(x, -x)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[dtype]: select: mask must be bool, found f32
      --> tests/wrong_uses/declarations.rs:HERE:25
       |
    LL |         g.output("y", x.select(x, -x));
       |                         ^
    note: mask (input `x`): f32[3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    note: on_true (input `x`): f32[3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    note: on_false: f32[3] was made here
      --> tests/wrong_uses/declarations.rs:HERE:35
    help: convert it with `.cast(DType::Bool)`
    "#);
}

#[test]
fn two_float_types() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // X
        let y = g.input("y", F64, [3]); // Y
        g.output("z", x * y); // HERE
    });
    assert_snapshot!(said, @r#"
    error[dtype]: mul: a is f32, but b is f64
      --> tests/wrong_uses/declarations.rs:HERE:23
       |
    LL |         g.output("z", x * y);
       |                       ^
    note: a (input `x`): f32[3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    note: b (input `y`): f64[3] was made here
      --> tests/wrong_uses/declarations.rs:Y:19
    help: convert one of them, for example with `.cast(DType::F32)`
    "#);
}

#[test]
fn function_of_integers() {
    let said = refused(|g| {
        let counts = g.input("counts", I32, [3]); // COUNTS
        g.output("y", counts.exp()); // HERE
    });
    assert_snapshot!(said, @r#"
    error[dtype]: exp: x must be f32 or f64, found i32
      --> tests/wrong_uses/declarations.rs:HERE:30
       |
    LL |         g.output("y", counts.exp());
       |                              ^
    note: x (input `counts`): i32[3] was made here
      --> tests/wrong_uses/declarations.rs:COUNTS:24
    help: convert it with `.cast(DType::F32)`
    "#);
}

#[test]
fn integers_times_a_fraction() {
    let said = refused(|g| {
        let counts = g.input("counts", I32, [3]);
        g.output("y", counts * 0.5); // HERE
    });
    assert_snapshot!(said, @r#"
    error[value]: the number 0.5 is no i32
      --> tests/wrong_uses/declarations.rs:HERE:23
       |
    LL |         g.output("y", counts * 0.5);
       |                       ^
    help: give a whole number of 32 bits, or first convert the expression with `.cast(DType::F32)`
    "#);
}

#[test]
fn input_name_that_is_taken() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // FIRST
        let y = g.parameter("x", F32, [3]); // HERE
        g.output("z", x + y);
    });
    assert_snapshot!(said, @r#"
    error[name]: the name `x` is taken
      --> tests/wrong_uses/declarations.rs:HERE:19
       |
    LL |         let y = g.parameter("x", F32, [3]);
       |                   ^
    note: the first input of that name was declared here
      --> tests/wrong_uses/declarations.rs:FIRST:19
    help: give each input, parameter and state its own name
    "#);
}

#[test]
fn output_name_that_is_taken() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]);
        g.output("y", x.exp()); // FIRST
        g.output("y", x.tanh()); // HERE
    });
    assert_snapshot!(said, @r#"
    error[name]: the output name `y` is taken
      --> tests/wrong_uses/declarations.rs:HERE:11
       |
    LL |         g.output("y", x.tanh());
       |           ^
    note: the value of the first output of that name was made here
      --> tests/wrong_uses/declarations.rs:FIRST:25
    help: give each output its own name
    "#);
}

#[test]
fn update_of_data() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // X
        g.update(x, x + 1.0); // HERE
    });
    assert_snapshot!(said, @r"
    error[graph]: `x` is data, which cannot be updated
      --> tests/wrong_uses/declarations.rs:HERE:11
       |
    LL |         g.update(x, x + 1.0);
       |           ^
    note: `x` was declared here
      --> tests/wrong_uses/declarations.rs:X:19
    help: declare it with `parameter` or `state`
    ");
}

#[test]
fn update_of_another_type() {
    let said = refused(|g| {
        let x = g.input("x", F32, ["batch", "3"]);
        let mean = g.state("mean", F32, [1, 3]); // MEAN
        g.update(mean, x.mean(&[0])); // HERE
    });
    assert_snapshot!(said, @r"
    error[shape]: the next value of `mean` is f32[3], but `mean` is f32[1,3]
      --> tests/wrong_uses/declarations.rs:HERE:11
       |
    LL |         g.update(mean, x.mean(&[0]));
       |           ^
    note: `mean` was declared here
      --> tests/wrong_uses/declarations.rs:MEAN:22
    help: give it that type, with `.cast`, `.reshape` or `.broadcast_to`
    ");
}

#[test]
fn update_of_one_state_twice() {
    let said = refused(|g| {
        let steps = g.state("steps", I32, [] as [usize; 0]); // STEPS
        g.update(steps, steps + 1.0); // FIRST
        g.update(steps, steps + 2.0); // HERE
    });
    assert_snapshot!(said, @r"
    error[graph]: `steps` is updated twice
      --> tests/wrong_uses/declarations.rs:HERE:11
       |
    LL |         g.update(steps, steps + 2.0);
       |           ^
    note: its first next value was made here
      --> tests/wrong_uses/declarations.rs:FIRST:25
    help: a parameter or state has one next value: combine the two
    ");
}

#[test]
fn expression_of_another_graph() {
    let other = Builder::new();
    let w = other.parameter("w", F32, [3]).exp(); // THERE
    let said = refused(|g| {
        let x = g.input("x", F32, [3]);
        g.output("y", x * w); // HERE
    });
    assert_snapshot!(said, @r#"
    error[graph]: this expression belongs to another graph
      --> tests/wrong_uses/declarations.rs:HERE:23
       |
    LL |         g.output("y", x * w);
       |                       ^
    note: it was made here
      --> tests/wrong_uses/declarations.rs:THERE:44
    help: combine only expressions of one builder; carry values between graphs as named inputs
    "#);
}

#[test]
fn labels_that_are_no_indices() {
    let said = refused(|g| {
        let logits = g.input("logits", F32, ["batch", "10"]); // LOGITS
        let one_hot = g.input("labels", F32, ["batch", "10"]); // LABELS
        g.output("loss", logits.softmax_cross_entropy(one_hot)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[dtype]: softmax_cross_entropy: labels must be i32 class indices, found f32[batch,10]
      --> tests/wrong_uses/declarations.rs:HERE:33
       |
    LL |         g.output("loss", logits.softmax_cross_entropy(one_hot));
       |                                 ^
    note: logits (input `logits`): f32[batch,10] was made here
      --> tests/wrong_uses/declarations.rs:LOGITS:24
    note: labels (input `labels`): f32[batch,10] was made here
      --> tests/wrong_uses/declarations.rs:LABELS:25
    help: if these are one-hot rows, take `.arg_max(1)` of them
    "#);
}

#[test]
fn labels_of_another_shape() {
    let said = refused(|g| {
        let logits = g.input("logits", F32, ["batch", "10"]); // LOGITS
        let labels = g.input("labels", I32, ["batch", "1"]); // LABELS
        g.output("loss", logits.softmax_cross_entropy(labels)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: softmax_cross_entropy: logits are f32[batch,10], but labels are i32[batch,1]
      --> tests/wrong_uses/declarations.rs:HERE:33
       |
    LL |         g.output("loss", logits.softmax_cross_entropy(labels));
       |                                 ^
    note: logits (input `logits`): f32[batch,10] was made here
      --> tests/wrong_uses/declarations.rs:LOGITS:24
    note: labels (input `labels`): i32[batch,1] was made here
      --> tests/wrong_uses/declarations.rs:LABELS:24
    help: labels have the shape of logits without the last axis, one class index a row
    "#);
}

#[test]
fn dropout_of_everything() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // X
        let key = g.input("key", I32, [2]); // KEY
        g.output("y", x.dropout(key, 1.0)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[attribute]: dropout: the rate is 1
      --> tests/wrong_uses/declarations.rs:HERE:25
       |
    LL |         g.output("y", x.dropout(key, 1.0));
       |                         ^
    note: x (input `x`): f32[3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    note: key (input `key`): i32[2] was made here
      --> tests/wrong_uses/declarations.rs:KEY:21
    help: the rate is the chance of an element to be zeroed, from 0 up to, not including, 1
    "#);
}

#[test]
fn dropout_without_a_key() {
    let said = refused(|g| {
        let x = g.input("x", F32, [3]); // X
        let seed = g.input("seed", I32, [] as [usize; 0]); // SEED
        g.output("y", x.dropout(seed, 0.5)); // HERE
    });
    assert_snapshot!(said, @r#"
    error[shape]: dropout: key must be i32[2], a seed and a counter; found i32[]
      --> tests/wrong_uses/declarations.rs:HERE:25
       |
    LL |         g.output("y", x.dropout(seed, 0.5));
       |                         ^
    note: x (input `x`): f32[3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    note: key (input `seed`): i32[] was made here
      --> tests/wrong_uses/declarations.rs:SEED:22
    help: declare it with `.state("key", DType::I32, [2])`, and update its second element at each step
    "#);
}

#[test]
fn two_mistakes_and_what_follows_from_them() {
    let said = refused(|g| {
        let x = g.input("x", F32, [2, 3]); // X
        let wrong = x.softmax(2); // FIRST
        let follows = (wrong * x).sum_all().exp();
        g.output("y", follows + x.reshape([7]).sum_all()); // SECOND
    });
    assert_snapshot!(said, @r#"
    error[attribute]: softmax: axis 2 is out of range for x f32[2,3]
      --> tests/wrong_uses/declarations.rs:FIRST:23
       |
    LL |         let wrong = x.softmax(2);
       |                       ^
    note: x (input `x`): f32[2,3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    help: axes are counted from 0; x has 2

    error[shape]: reshape: f32[2,3] cannot become [7]: 6 elements are not 7
      --> tests/wrong_uses/declarations.rs:SECOND:35
       |
    LL |         g.output("y", follows + x.reshape([7]).sum_all());
       |                                   ^
    note: x (input `x`): f32[2,3] was made here
      --> tests/wrong_uses/declarations.rs:X:19
    help: the known sizes must have one product, and each symbolic dimension must appear on both sides
    "#);
}
