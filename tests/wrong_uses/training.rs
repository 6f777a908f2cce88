//! Wrong uses of training: settings, data that does not fit, losses that are not finite.

use super::{report, report_in};
use foldgrad::DType::{F32, I32};
use foldgrad::Tensor;
use foldgrad::data::ImageSet;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Flatten, Input, Model, ModelBuilder, Sequential};
use foldgrad::train::{Adam, Clip, Examples, Fit, Loss, Metric, Optimizer, Samples, Sgd, Trainer};
use insta::assert_snapshot;

/// Two features, three classes.
fn classifier() -> Model {
    let net = Sequential::new([2]).add(Dense::new(4)).add(BatchNormalization::new()); // NORM
    net.add(Dense::new(3).activation(Activation::Softmax)).build().expect("a model")
}

fn trainer(learning_rate: f64) -> Trainer {
    let trainer = Trainer::new(classifier(), Sgd::new(learning_rate), Loss::SparseCategoricalCrossentropy); // TRAINER
    trainer.metric(Metric::Accuracy).compile().expect("a trainer")
}

fn rows(count: usize, value: f32) -> Samples {
    Samples::new(Tensor::new([count, 2], vec![value; 2 * count]).expect("that many")).expect("rows")
}

fn labels(labels: &[i32]) -> Samples {
    Samples::new(Tensor::vector(labels.to_vec())).expect("rows")
}

fn four() -> Examples {
    Examples::new(rows(4, 0.5), labels(&[0, 1, 2, 0])).expect("examples")
}

#[test]
fn learning_rate_below_zero() {
    let sgd = Sgd::new(-0.01); // HERE
    let trainer = Trainer::new(classifier(), sgd, Loss::SparseCategoricalCrossentropy);
    assert_snapshot!(report(trainer.compile()), @r"
    error[attribute]: optimiser `sgd`: the learning rate is -0.01
      --> tests/wrong_uses/training.rs:HERE:15
       |
    LL |     let sgd = Sgd::new(-0.01);
       |               ^
    help: give a finite number, not negative
    ");
}

#[test]
fn nesterov_without_momentum() {
    let sgd = Sgd::new(0.01).nesterov(); // HERE
    let trainer = Trainer::new(classifier(), sgd, Loss::SparseCategoricalCrossentropy);
    assert_snapshot!(report(trainer.compile()), @r"
    error[attribute]: optimiser `sgd`: Nesterov's form without momentum
      --> tests/wrong_uses/training.rs:HERE:15
       |
    LL |     let sgd = Sgd::new(0.01).nesterov();
       |               ^
    help: add `.momentum(0.9)`, or leave `.nesterov()` out
    ");
}

#[test]
fn share_of_more_than_all() {
    let adam = Adam::new(0.001).beta2(1.0); // HERE
    let trainer = Trainer::new(classifier(), adam, Loss::SparseCategoricalCrossentropy);
    assert_snapshot!(report(trainer.compile()), @r"
    error[attribute]: optimiser `adam`: the beta2 is 1
      --> tests/wrong_uses/training.rs:HERE:16
       |
    LL |     let adam = Adam::new(0.001).beta2(1.0);
       |                ^
    help: give a share, from 0 up to, not including, 1
    ");
}

#[test]
fn clip_at_zero() {
    let clipped = Optimizer::from(Sgd::new(0.01)).clip(Clip::GlobalNorm(0.0));
    let trainer = Trainer::new(classifier(), clipped, Loss::SparseCategoricalCrossentropy); // HERE
    assert_snapshot!(report(trainer.compile()), @r"
    error[attribute]: gradients cannot be clipped at 0
      --> tests/wrong_uses/training.rs:HERE:19
       |
    LL |     let trainer = Trainer::new(classifier(), clipped, Loss::SparseCategoricalCrossentropy);
       |                   ^
    help: give a finite positive number
    ");
}

#[test]
fn classes_of_a_single_unit() {
    let model = Sequential::new([2]).add(Dense::new(1)).build().expect("a model");
    let trainer = Trainer::new(model, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy); // HERE
    assert_snapshot!(report(trainer.compile()), @r"
    error[shape]: loss `sparse_categorical_crossentropy`: the prediction f32[batch,1] has one class, so the loss is always 0
      --> tests/wrong_uses/training.rs:HERE:19
       |
    LL |     let trainer = Trainer::new(model, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy);
       |                   ^
    help: give the last layer a unit for each class, or use `Loss::BinaryCrossentropy` with a sigmoid
    ");
}

#[test]
fn losses_that_are_too_few() {
    let m = ModelBuilder::new();
    let x = m.input("x", [2]);
    let outputs = [m.add(Dense::new(2).named("class"), x), m.add(Dense::new(1).named("age"), x)];
    let model = m.build(x, outputs).expect("a model");
    let trainer = Trainer::new(model, Sgd::new(0.01), Loss::MeanSquaredError); // HERE
    assert_snapshot!(report(trainer.compile()), @r"
    error[graph]: losses: 1 for a model with 2 outputs (`class`, `age`)
      --> tests/wrong_uses/training.rs:HERE:19
       |
    LL |     let trainer = Trainer::new(model, Sgd::new(0.01), Loss::MeanSquaredError);
       |                   ^
    help: give one for each output, in that order, with `.losses([..])`
    ");
}

#[test]
fn metric_that_is_measured_twice() {
    let trainer = Trainer::new(classifier(), Sgd::new(0.01), Loss::SparseCategoricalCrossentropy); // HERE
    let trainer = trainer.metric(Metric::Accuracy).metric(Metric::Accuracy);
    assert_snapshot!(report(trainer.compile()), @r"
    error[name]: the metric `accuracy` is asked for twice
      --> tests/wrong_uses/training.rs:HERE:19
       |
    LL |     let trainer = Trainer::new(classifier(), Sgd::new(0.01), Loss::SparseCategoricalCrossentropy);
       |                   ^
    help: leave one of the two out
    ");
}

#[test]
fn weights_of_integers() {
    let trainer = Trainer::new(classifier(), Sgd::new(0.01), Loss::SparseCategoricalCrossentropy); // HERE
    assert_snapshot!(report(trainer.float(I32).compile()), @r"
    error[dtype]: a model cannot be trained in i32
      --> tests/wrong_uses/training.rs:HERE:19
       |
    LL |     let trainer = Trainer::new(classifier(), Sgd::new(0.01), Loss::SparseCategoricalCrossentropy);
       |                   ^
    help: give `.float` DType::F32 or DType::F64
    ");
}

#[test]
fn no_examples() {
    let none = Samples::new(Tensor::zeros(F32, [0, 2])).expect("no rows");
    assert_snapshot!(report(Examples::new(none, labels(&[]))), @"there are no examples; give at least one input and its target");
}

#[test]
fn images_without_pixels() {
    assert_snapshot!(report(ImageSet::new(vec![], vec![], 28, 28, 10)), @"the images: the number of images is 0, expected at least 1; an empty set teaches nothing: name another");
}

#[test]
fn inputs_without_their_targets() {
    assert_snapshot!(report(Examples::new(rows(5, 0.5), labels(&[0, 1]))), @"inputs and targets hold [5, 2] examples; give each input its target");
}

#[test]
fn bytes_of_other_images() {
    assert_snapshot!(report(Samples::bytes(vec![0; 1000], &[28, 28], 255.0)), @"1000 bytes do not divide into examples of shape [28, 28]; give whole examples, or the shape that they have");
}

#[test]
fn bytes_divided_by_zero() {
    assert_snapshot!(report(Samples::bytes(vec![0; 4], &[2, 2], 0.0)), @"the divisor of the bytes is 0; give a finite number other than 0, such as 255.0");
}

#[test]
fn images_of_another_size() {
    let net = Sequential::new(Input::new([28, 28]).named("image")).add(Flatten).add(Dense::new(10));
    let model = net.build().expect("a model");
    let mut trainer = Trainer::new(model, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy).compile().expect("ok");
    let images = ImageSet::new(vec![0; 2 * 32 * 32], vec![3, 4], 32, 32, 10).expect("two images");
    let examples = Examples::try_from(&images).expect("two examples");
    assert_snapshot!(report(trainer.fit(&examples, &Fit::new().silent())), @"`image` is f32[batch,28,28] in the model, but bytes[2,32,32] was given; give each example the shape [28,28], or change the model");
}

#[test]
fn labels_that_are_floats() {
    let floats = Samples::new(Tensor::vector(vec![0.0f32, 1.0, 2.0, 0.0])).expect("rows");
    let examples = Examples::new(rows(4, 0.5), floats).expect("examples");
    assert_snapshot!(report(trainer(0.1).fit(&examples, &Fit::new().silent())), @"`target of dense_1` is i32[batch] in the model, but f32[4] was given; convert the data to i32");
}

#[test]
fn labels_that_are_one_hot() {
    let one_hot = Samples::new(Tensor::zeros(F32, [4, 3])).expect("rows");
    let examples = Examples::new(rows(4, 0.5), one_hot).expect("examples");
    assert_snapshot!(report(trainer(0.1).evaluate(&examples)), @"`target of dense_1` is i32[batch] in the model, but f32[4,3] was given; give i32 class indices; for one-hot rows, train with `Loss::CategoricalCrossentropy`");
}

#[test]
fn label_beyond_the_last_class() {
    let examples = Examples::new(rows(4, 0.5), labels(&[0, 1, 3, 2])).expect("examples");
    assert_snapshot!(report(trainer(0.1).fit(&examples, &Fit::new().silent())), @"the label of example 2 is 3, but `dense_1` has 3 classes, counted from 0 to 2; mend the label or give the last layer more units");
}

#[test]
fn two_targets_for_one_output() {
    let examples = Examples::many(vec![rows(1, 0.5)], vec![labels(&[0]), labels(&[1])]).expect("examples");
    assert_snapshot!(report(trainer(0.1).fit(&examples, &Fit::new().silent())), @"the data has 2 targets for a model with 1 (`dense_1`); give one for each, in that order");
}

#[test]
fn batches_of_nothing() {
    assert_snapshot!(report(trainer(0.1).fit(&four(), &Fit::new().batch_size(0).silent())), @"the batch size is 0; a batch holds at least one example");
}

#[test]
fn last_batch_of_one() {
    assert_snapshot!(report(trainer(0.1).fit(&four(), &Fit::new().batch_size(3).silent())), @"a batch of 1 gives %11 batch_norm_train in layer `batch_normalization` (tests/wrong_uses/training.rs:NORM:55) one value a channel: its variance would be 0 and nothing before it would learn; 4 examples in batches of 3 leave that batch, choose another batch size");
}

#[test]
fn inputs_of_different_numbers() {
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [2]), m.input("b", [2]));
    let model = m.build([a, b], m.add(foldgrad::nn::Merge::Add, [a, b])).expect("a model");
    let mut trainer = Trainer::new(model, Sgd::new(0.1), Loss::MeanSquaredError).compile().expect("a trainer");
    assert_snapshot!(report(trainer.predict(&[rows(3, 0.5), rows(2, 0.5)])), @"the inputs hold [3, 2] examples; give as many of each");
}

#[test]
fn value_of_an_unknown_name() {
    assert_snapshot!(report(trainer(0.1).set_value("dense/kernal", Tensor::zeros(F32, [2, 4]))), @"there is no variable `dense/kernal`; there are dense/kernel, dense/bias, batch_normalization/gamma, batch_normalization/beta, batch_normalization/moving_mean, batch_normalization/moving_variance, dense_1/kernel, dense_1/bias, sgd/learning_rate, sgd/iterations");
}

#[test]
fn value_of_another_shape() {
    assert_snapshot!(report(trainer(0.1).set_value("dense/kernel", Tensor::zeros(F32, [4, 2]))), @"`dense/kernel` is f32[2,4] in the model, but f32[4,2] was given; give a tensor of that element type and shape");
}

/// Weights, states and slots: what a failed step must leave as it was.
fn state(trainer: &Trainer) -> Vec<(String, Vec<u64>)> {
    let bits = |tensor: &Tensor| tensor.to_f64().iter().map(|value| value.to_bits()).collect();
    trainer.values().map(|(name, tensor)| (name.to_owned(), bits(tensor))).collect()
}

#[test]
fn input_that_is_no_number() {
    let mut trainer = trainer(0.1);
    let before = state(&trainer);
    let mut values = vec![0.5f32; 8];
    values[5] = f32::NAN;
    let inputs = Samples::new(Tensor::new([4, 2], values).expect("eight")).expect("rows");
    let examples = Examples::new(inputs, labels(&[0, 1, 2, 0])).expect("examples");
    let said = report(trainer.fit(&examples, &Fit::new().silent()));
    assert_eq!(state(&trainer), before);
    assert_snapshot!(said, @"training stopped in epoch 1 at step 1 of 1, with the weights as before that step: example 2 of `input_layer` holds NaN; mend the example, or leave it out");
}

#[test]
fn loss_that_explodes() {
    let model = Sequential::new([2]).add(Dense::new(1)).build().expect("a model");
    let mut trainer = Trainer::new(model, Sgd::new(1e30), Loss::MeanSquaredError).compile().expect("ok"); // HERE
    let targets = Samples::new(Tensor::new([4, 1], vec![0.0f32, 1.0, 2.0, 3.0]).expect("four")).expect("rows");
    let examples = Examples::new(rows(4, 0.5), targets).expect("examples");
    let mut before = state(&trainer);
    let said = report(trainer.fit_with(&examples, &Fit::new().batch_size(2).silent(), |event| {
        println!("{event:?}");
        std::ops::ControlFlow::Continue(())
    }));
    let after = state(&trainer);
    // One step was good: weights and counter have moved, and are finite.
    assert!(after != before && after.iter().flat_map(|(_, bits)| bits).all(|&bits| f64::from_bits(bits).is_finite()));
    before = after;
    assert!(trainer.fit(&examples, &Fit::new().batch_size(2).silent()).is_err());
    assert_eq!(state(&trainer), before);
    assert_snapshot!(said, @"training stopped in epoch 1 at step 2 of 2, with the weights as before that step: `loss` is inf: the first value that is not finite is inf, made by %6 mul in layer `loss` (tests/wrong_uses/training.rs:HERE:23) from %5 in [8.174e30, 8.174e30], %5 in [8.174e30, 8.174e30]; a lower learning rate may help");
}

#[test]
fn weights_of_another_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    let other = Sequential::new([2]).add(Dense::new(3).named("head")).build().expect("a model");
    let other = Trainer::new(other, Sgd::new(0.1), Loss::SparseCategoricalCrossentropy).compile().expect("a trainer");
    other.save(&path, &Default::default()).expect("saved");
    let mut trainer = trainer(0.1);
    let before = state(&trainer);
    let said = report_in(folder.path(), trainer.load(&path));
    assert_eq!(state(&trainer), before);
    assert_snapshot!(said, @"`FOLDER/weights.safetensors`, tensor `dense/kernel`, name: expected f32[2,4], as in the model, found no tensor of that name; it was saved from another model: load the weights of this one");
}

#[test]
fn weights_of_another_width() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    let net = Sequential::new([2]).add(Dense::new(5)).add(BatchNormalization::new());
    let other = net.add(Dense::new(3).activation(Activation::Softmax)).build().expect("a model");
    let other = Trainer::new(other, Sgd::new(0.1), Loss::SparseCategoricalCrossentropy).compile().expect("a trainer");
    other.save(&path, &Default::default()).expect("saved");
    let mut trainer = trainer(0.1);
    let before = state(&trainer);
    let said = report_in(folder.path(), trainer.load(&path));
    assert_eq!(state(&trainer), before);
    assert_snapshot!(said, @"`FOLDER/weights.safetensors`, tensor `batch_normalization/beta`, shape: expected f32[4], as in the model, found f32[5]; it was saved from another model: load the weights of this one");
}
