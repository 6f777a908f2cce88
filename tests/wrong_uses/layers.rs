//! Wrong uses of layers. Each message names the layer as `summary` does, and the line that added it.

use super::report;
use foldgrad::DType::{F32, I32};
use foldgrad::Tensor;
use foldgrad::nn::{
    Activation, BatchNormalization, Concatenate, Dense, Dropout, Flatten, Initializer, Input, Lambda, Merge,
    ModelBuilder, Reshape, Sequential,
};
use insta::assert_snapshot;

#[test]
fn dense_of_a_batch_of_scalars() {
    let net = Sequential::new([] as [usize; 0]).add(Dense::new(3)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[shape]: layer `dense` (Dense): its input f32[batch] has a batch axis only
      --> tests/wrong_uses/layers.rs:HERE:49
       |
    LL |     let net = Sequential::new([] as [usize; 0]).add(Dense::new(3));
       |                                                 ^
    help: each example needs at least one axis
    ");
}

#[test]
fn dense_of_an_unknown_size() {
    let net = Sequential::new(["time"]).add(Dense::new(3)); // HERE
    assert_snapshot!(report(net.build()), @r#"
    error[shape]: layer `dense` (Dense): axis -1 of its input f32[batch,time] has no known size
      --> tests/wrong_uses/layers.rs:HERE:41
       |
    LL |     let net = Sequential::new(["time"]).add(Dense::new(3));
       |                                         ^
    help: give the input a size there, since the layer's variables depend on it
    "#);
}

#[test]
fn dense_of_integers() {
    let net = Sequential::new(Input::new([5]).dtype(I32));
    let net = net.add(Dense::new(3)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[dtype]: layer `dense` (Dense): its input is i32[batch,5], but the graph computes in f32
      --> tests/wrong_uses/layers.rs:HERE:19
       |
    LL |     let net = net.add(Dense::new(3));
       |                   ^
    help: convert it in a layer before, or declare another input type
    ");
}

#[test]
fn dense_without_units() {
    let net = Sequential::new([5]).add(Dense::new(0)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `dense` (Dense): it has no units
      --> tests/wrong_uses/layers.rs:HERE:36
       |
    LL |     let net = Sequential::new([5]).add(Dense::new(0));
       |                                    ^
    help: give it at least one unit
    ");
}

#[test]
fn dense_beyond_all_memory() {
    let net = Sequential::new([1 << 40]).add(Dense::new(1 << 40)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[shape]: layer `dense` (Dense): `kernel` has the shape [1099511627776,1099511627776], which no memory can hold
      --> tests/wrong_uses/layers.rs:HERE:42
       |
    LL |     let net = Sequential::new([1 << 40]).add(Dense::new(1 << 40));
       |                                          ^
    help: give the layer a smaller size
    ");
}

#[test]
fn shared_dense_of_two_widths() {
    let m = ModelBuilder::new();
    let (left, right) = (m.input("left", [4]), m.input("right", [5]));
    let encoder = m.layer(Dense::new(2)); // DECLARED
    let encoded = m.call(encoder, left); // FIRST
    let both = m.add(Concatenate::new(), [encoded, m.call(encoder, right)]); // HERE
    assert_snapshot!(report(m.build([left, right], both)), @r"
    error[shape]: layer `dense` (Dense): `kernel` is [4, 2] from its first use, but [5, 2] here
      --> tests/wrong_uses/layers.rs:HERE:54
       |
    LL |     let both = m.add(Concatenate::new(), [encoded, m.call(encoder, right)]);
       |                                                      ^
    note: the layer was declared at tests/wrong_uses/layers.rs:DECLARED:21
    help: a shared layer's inputs have one shape
    ");
}

#[test]
fn kernel_that_starts_in_another_shape() {
    let trained = Initializer::Given(Tensor::zeros(F32, [10, 784]));
    let net = Sequential::new([784]).add(Dense::new(10).kernel_initializer(trained)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[value]: layer `dense` (Dense): `kernel`: the given initial value has shape [10, 784], but the variable has [784, 10]
      --> tests/wrong_uses/layers.rs:HERE:38
       |
    LL |     let net = Sequential::new([784]).add(Dense::new(10).kernel_initializer(trained));
       |                                      ^
    help: give a tensor of the variable's shape
    ");
}

#[test]
fn batch_normalization_of_no_axis() {
    let net = Sequential::new([28, 28]);
    let net = net.add(BatchNormalization::new().axis(3)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `batch_normalization` (BatchNormalization): axis 3 is out of range for its input f32[batch,28,28]
      --> tests/wrong_uses/layers.rs:HERE:19
       |
    LL |     let net = net.add(BatchNormalization::new().axis(3));
       |                   ^
    help: axis 0 is the batch; give 1 to 2, or −1 to −2 from the end
    ");
}

#[test]
fn batch_normalization_along_the_batch() {
    let net = Sequential::new([28, 28]).add(BatchNormalization::new().axis(0)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `batch_normalization` (BatchNormalization): axis 0 is out of range for its input f32[batch,28,28]
      --> tests/wrong_uses/layers.rs:HERE:41
       |
    LL |     let net = Sequential::new([28, 28]).add(BatchNormalization::new().axis(0));
       |                                         ^
    help: axis 0 is the batch; give 1 to 2, or −1 to −2 from the end
    ");
}

#[test]
fn momentum_that_keeps_more_than_all() {
    let net = Sequential::new([3]).add(BatchNormalization::new().momentum(1.1)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `batch_normalization` (BatchNormalization): the momentum is 1.1
      --> tests/wrong_uses/layers.rs:HERE:36
       |
    LL |     let net = Sequential::new([3]).add(BatchNormalization::new().momentum(1.1));
       |                                    ^
    help: it is the share of the old statistics that a step keeps, from 0 up to, not including, 1
    ");
}

#[test]
fn epsilon_of_zero() {
    let net = Sequential::new([3]).add(BatchNormalization::new().epsilon(0.0)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `batch_normalization` (BatchNormalization): epsilon is 0
      --> tests/wrong_uses/layers.rs:HERE:36
       |
    LL |     let net = Sequential::new([3]).add(BatchNormalization::new().epsilon(0.0));
       |                                    ^
    help: it keeps the division by the variance finite; give a positive number such as 1e-3
    ");
}

#[test]
fn reshape_to_another_number_of_elements() {
    let net = Sequential::new([28, 28]).add(Reshape::new([7, 7, 15])); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[shape]: layer `reshape` (Reshape): an example of 784 elements, from f32[batch,28,28], cannot take the shape [7, 7, 15]
      --> tests/wrong_uses/layers.rs:HERE:41
       |
    LL |     let net = Sequential::new([28, 28]).add(Reshape::new([7, 7, 15]));
       |                                         ^
    help: give sizes whose product is that number, or leave one of them to be worked out with −1
    ");
}

#[test]
fn flatten_of_an_unknown_size() {
    let net = Sequential::new(["time", "8"]).add(Flatten); // HERE
    assert_snapshot!(report(net.build()), @r#"
    error[shape]: layer `flatten` (Flatten): one example of its input f32[batch,time,8] has no known size
      --> tests/wrong_uses/layers.rs:HERE:46
       |
    LL |     let net = Sequential::new(["time", "8"]).add(Flatten);
       |                                              ^
    help: give every axis but the batch a size at the model's input
    "#);
}

#[test]
fn concatenate_that_differs_elsewhere() {
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [2, 3]), m.input("b", [4, 3])); // INPUTS
    let joined = m.add(Concatenate::new(), [a, b]); // HERE
    assert_snapshot!(report(m.build([a, b], joined)), @r"
    error[shape]: concat: part 0 is f32[batch,2,3], but part 1 is f32[batch,4,3]
      --> tests/wrong_uses/layers.rs:HERE:20
       |
    LL |     let joined = m.add(Concatenate::new(), [a, b]);
       |                    ^
    note: part (input `a`): f32[batch,2,3] was made here
      --> tests/wrong_uses/layers.rs:INPUTS:21
    note: parts (input `b`): f32[batch,4,3] was made here
      --> tests/wrong_uses/layers.rs:INPUTS:43
    note: this is in layer `concatenate` (Concatenate)
    help: parts may differ in axis 2 only; give another axis, or reshape one
    ");
}

#[test]
fn concatenate_in_a_chain() {
    let net = Sequential::new([4]).add(Dense::new(2)).add(Concatenate::new()); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[graph]: layer `concatenate` (Concatenate): it takes at least two inputs, found 1
      --> tests/wrong_uses/layers.rs:HERE:55
       |
    LL |     let net = Sequential::new([4]).add(Dense::new(2)).add(Concatenate::new());
       |                                                       ^
    help: pass an array of wires: `m.add(layer, [a, b])`
    ");
}

#[test]
fn sum_of_two_widths() {
    let m = ModelBuilder::new();
    let x = m.input("x", [8]);
    let narrow = m.add(Dense::new(4).named("narrow"), x);
    let residual = m.add(Merge::Add, [x, narrow]); // HERE
    assert_snapshot!(report(m.build(x, residual)), @r"
    error[shape]: layer `add` (Add): its inputs are f32[batch,8] and f32[batch,4]
      --> tests/wrong_uses/layers.rs:HERE:22
       |
    LL |     let residual = m.add(Merge::Add, [x, narrow]);
       |                      ^
    help: make their shapes and element types equal; an axis of size 1 stretches
    ");
}

#[test]
fn difference_of_three() {
    let m = ModelBuilder::new();
    let inputs = ["a", "b", "c"].map(|name| m.input(name, [8]));
    let difference = m.add(Merge::Subtract, inputs); // HERE
    assert_snapshot!(report(m.build(inputs, difference)), @r"
    error[graph]: layer `subtract` (Subtract): it takes two inputs, found 3
      --> tests/wrong_uses/layers.rs:HERE:24
       |
    LL |     let difference = m.add(Merge::Subtract, inputs);
       |                        ^
    help: add up what is to be subtracted with `Merge::Add` first
    ");
}

#[test]
fn dropout_of_a_percentage() {
    let net = Sequential::new([8]).add(Dropout::new(20.0)); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[attribute]: layer `dropout` (Dropout): the rate is 20
      --> tests/wrong_uses/layers.rs:HERE:36
       |
    LL |     let net = Sequential::new([8]).add(Dropout::new(20.0));
       |                                    ^
    help: the rate is the chance of an element to be zeroed, from 0 up to, not including, 1
    ");
}

#[test]
fn activation_of_integers() {
    let net = Sequential::new(Input::new([5]).dtype(I32)).add(Activation::Relu); // HERE
    assert_snapshot!(report(net.build()), @r"
    error[dtype]: layer `activation` (Activation): its input is i32[batch,5], but the graph computes in f32
      --> tests/wrong_uses/layers.rs:HERE:59
       |
    LL |     let net = Sequential::new(Input::new([5]).dtype(I32)).add(Activation::Relu);
       |                                                           ^
    help: convert it in a layer before, or declare another input type
    ");
}

#[test]
fn activation_of_an_unknown_name() {
    let activation = Activation::from_name("rely"); // HERE
    assert_snapshot!(report(activation), @r#"
    error[name]: there is no activation `rely`
      --> tests/wrong_uses/layers.rs:HERE:22
       |
    LL |     let activation = Activation::from_name("rely");
       |                      ^
    help: use one of linear, relu, relu6, leaky_relu, elu, selu, gelu, gelu_tanh, silu, swish, softplus, softsign, exponential, tanh, sigmoid, hard_sigmoid, softmax, log_softmax
    "#);
}

#[test]
fn lambda_whose_shapes_do_not_fit() {
    let net = Sequential::new([4]).add(Dense::new(3)); // DENSE
    let net = net.add(Lambda::new(|x| x.dot(x)).named("gram")); // HERE
    assert_snapshot!(report(net.build()), @r#"
    error[shape]: dot: axis 1 of lhs f32[batch,3] has size 3, but axis 0 of rhs f32[batch,3] has size batch
      --> tests/wrong_uses/layers.rs:HERE:19
       |
    LL |     let net = net.add(Lambda::new(|x| x.dot(x)).named("gram"));
       |                   ^
    note: lhs: f32[batch,3] was made here
      --> tests/wrong_uses/layers.rs:DENSE:36
    note: rhs: f32[batch,3] was made here
      --> tests/wrong_uses/layers.rs:DENSE:36
    note: this is in layer `gram` (Lambda)
    help: paired axes must have one size; check the order of the operands, or transpose one
    "#);
}

#[test]
fn layer_with_one_input_given_two() {
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [3]), m.input("b", [3]));
    let y = m.add(Dense::new(2), [a, b]); // HERE
    assert_snapshot!(report(m.build([a, b], y)), @r"
    error[graph]: layer `dense` (Dense): it takes one input, found 2
      --> tests/wrong_uses/layers.rs:HERE:15
       |
    LL |     let y = m.add(Dense::new(2), [a, b]);
       |               ^
    help: join several with `Concatenate` or `Merge`, or call the layer once for each
    ");
}
