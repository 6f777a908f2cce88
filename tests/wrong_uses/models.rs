//! Wrong uses of models: names, wires, inputs and outputs, models inside models.

use super::report;
use foldgrad::Builder;
use foldgrad::DType::{F32, I32};
use foldgrad::nn::{Concatenate, Dense, Merge, Mode, ModelBuilder, Sequential};
use insta::assert_snapshot;

#[test]
fn chain_without_layers() {
    let net = Sequential::new([8]);
    let model = net.build(); // HERE
    assert_snapshot!(report(model), @r"
    error[graph]: the model `sequential` has no layers
      --> tests/wrong_uses/models.rs:HERE:21
       |
    LL |     let model = net.build();
       |                     ^
    help: append at least one layer with `.add(…)`
    ");
}

#[test]
fn layer_name_that_is_taken() {
    let net = Sequential::new([8]).add(Dense::new(4).named("hidden")); // FIRST
    let net = net.add(Dense::new(4).named("hidden")); // HERE
    assert_snapshot!(report(net.build()), @r#"
    error[name]: the name `hidden` is taken
      --> tests/wrong_uses/models.rs:HERE:19
       |
    LL |     let net = net.add(Dense::new(4).named("hidden"));
       |                   ^
    note: the first of that name was declared at tests/wrong_uses/models.rs:FIRST:36
    help: give each input and layer its own name; unnamed layers are counted
    "#);
}

#[test]
fn layer_name_with_a_slash() {
    let net = Sequential::new([8]).add(Dense::new(4).named("block/dense")); // HERE
    assert_snapshot!(report(net.build()), @r#"
    error[name]: `block/dense` cannot be the name of a layer
      --> tests/wrong_uses/models.rs:HERE:36
       |
    LL |     let net = Sequential::new([8]).add(Dense::new(4).named("block/dense"));
       |                                    ^
    help: use a name that is not empty, has no `/`, and is not `seed_generator`
    "#);
}

#[test]
fn model_name_with_a_slash() {
    let net = Sequential::new([8]).named("my/net").add(Dense::new(4));
    let model = net.build(); // HERE
    assert_snapshot!(report(model), @r"
    error[name]: `my/net` cannot be the name of a model
      --> tests/wrong_uses/models.rs:HERE:21
       |
    LL |     let model = net.build();
       |                     ^
    help: use a name that is not empty, has no `/`, and is not `seed_generator`
    ");
}

#[test]
fn wire_of_another_model() {
    let (m, other) = (ModelBuilder::new(), ModelBuilder::new());
    let (x, foreign) = (m.input("x", [4]), other.input("x", [4]));
    let sum = m.add(Merge::Add, [x, foreign]); // HERE
    assert_snapshot!(report(m.build(x, sum)), @r"
    error[graph]: this wire belongs to another model builder
      --> tests/wrong_uses/models.rs:HERE:17
       |
    LL |     let sum = m.add(Merge::Add, [x, foreign]);
       |                 ^
    help: build a model from its parts, and add the whole model as a layer
    ");
}

#[test]
fn input_that_is_left_out() {
    let m = ModelBuilder::new();
    let (image, age) = (m.input("image", [4]), m.input("age", [1]));
    let joined = m.add(Concatenate::new(), [image, age]);
    let model = m.build(image, joined); // HERE
    assert_snapshot!(report(model), @r"
    error[graph]: the outputs depend on `age`, which is not among the model's inputs
      --> tests/wrong_uses/models.rs:HERE:19
       |
    LL |     let model = m.build(image, joined);
       |                   ^
    help: add it to the inputs given to `build`
    ");
}

#[test]
fn input_that_nothing_uses() {
    let m = ModelBuilder::new();
    let image = m.input("image", [4]);
    let age = m.input("age", [1]); // HERE
    let y = m.add(Dense::new(2), image);
    assert_snapshot!(report(m.build([image, age], y)), @r#"
    error[graph]: the input `age` is not used by any output
      --> tests/wrong_uses/models.rs:HERE:17
       |
    LL |     let age = m.input("age", [1]);
       |                 ^
    help: leave it out, or connect it to an output
    "#);
}

#[test]
fn model_with_two_outputs_as_a_layer() {
    let m = ModelBuilder::new().named("twins");
    let x = m.input("x", [4]);
    let outputs = [m.add(Dense::new(2), x), m.add(Dense::new(3), x)];
    let twins = m.build(x, outputs).expect("a model");
    let net = Sequential::new([4]).add(twins); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[graph]: layer `twins` (Functional): it has 2 outputs
      --> tests/wrong_uses/models.rs:HERE:36
       |
    LL |     let net = Sequential::new([4]).add(twins);
       |                                    ^
    help: only a model with one output can be a layer
    ");
}

#[test]
fn model_over_an_input_of_another_shape() {
    let encoder = Sequential::new([784]).named("encoder").add(Dense::new(16)).build().expect("a model");
    let net = Sequential::new([28, 28]);
    let net = net.add(encoder); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[shape]: layer `encoder` (Sequential): its input `input_layer` is f32[batch,784], found f32[batch,28,28]
      --> tests/wrong_uses/models.rs:HERE:19
       |
    LL |     let net = net.add(encoder);
       |                   ^
    help: put a layer between that gives it this shape
    ");
}

#[test]
fn model_twice_in_one_graph() {
    let model = Sequential::new([4]).add(Dense::new(2)).build().expect("a model"); // DECLARED
    let g = Builder::new();
    let x = g.input("x", F32, [16, 4]);
    model.apply(&g, Mode::Training, F32, &[x]).expect("applied");
    let again = model.apply(&g, Mode::Training, F32, &[x]); // HERE
    assert_snapshot!(report(again), @r#"
    error[name]: layer `dense` (Dense): the graph already has an input `dense/kernel`
      --> tests/wrong_uses/models.rs:DECLARED:38
       |
    LL |     let model = Sequential::new([4]).add(Dense::new(2)).build().expect("a model");
       |                                      ^
    note: the model `sequential` was applied at tests/wrong_uses/models.rs:HERE:23
    help: name the layers, or one of the models, so that their variables differ
    "#);
}

#[test]
fn model_that_computes_in_integers() {
    let model = Sequential::new([4]).add(Dense::new(2)).build().expect("a model");
    let graph = model.graph(Mode::Inference, I32); // HERE
    assert_snapshot!(report(graph), @r"
    error[dtype]: a model cannot compute in i32
      --> tests/wrong_uses/models.rs:HERE:23
       |
    LL |     let graph = model.graph(Mode::Inference, I32);
       |                       ^
    help: ask for DType::F32 or DType::F64; integer inputs are declared with `Input::dtype`
    ");
}
