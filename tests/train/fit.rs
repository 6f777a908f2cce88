//! The fit loop: short batches, seeds, continuing, saving, several inputs and outputs, stopping.

use foldgrad::nn::{Activation, BatchNormalization, Dense, Dropout, Merge, Model, ModelBuilder, Sequential};
use foldgrad::train::{Adam, Event, Examples, Fit, Loss, Metric, Order, Samples, Sgd, Trainer};
use foldgrad::{DType, Tensor};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Points of three classes around the corners of a triangle.
fn clusters(count: usize) -> Examples {
    let noise = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
    let centre = [[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]];
    let points = (0..count).flat_map(|i| [centre[i % 3][0] + noise(2 * i), centre[i % 3][1] + noise(2 * i + 1)]);
    let x = Samples::new(Tensor::new([count, 2], points.collect()).unwrap()).unwrap();
    let y = Samples::new(Tensor::vector((0..count).map(|i| (i % 3) as i32).collect())).unwrap();
    Examples::new(x, y).unwrap()
}

fn classifier() -> Model {
    Sequential::new([2])
        .add(Dense::new(16).without_bias())
        .add(BatchNormalization::new().momentum(0.9))
        .add(Activation::Relu)
        .add(Dropout::new(0.1))
        .add(Dense::new(3).activation(Activation::Softmax))
        .build()
        .unwrap()
}

fn trainer(seed: u64) -> Trainer {
    let optimizer = Sgd::new(0.05).momentum(0.9).nesterov();
    Trainer::new(classifier(), optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .seed(seed)
        .compile()
        .unwrap()
}

fn weights(trainer: &Trainer) -> Vec<(String, Tensor)> {
    trainer.values().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

fn fit(epochs: usize) -> Fit {
    Fit::new().epochs(epochs).batch_size(16).silent()
}

#[test]
fn a_classifier_learns_and_reports_what_it_did() {
    let mut trainer = trainer(1);
    let history = trainer.fit(&clusters(150), &fit(20).validation(clusters(60))).unwrap();
    assert_eq!(history.epochs.len(), 20);
    let last = history.last().unwrap();
    assert_eq!((last.epoch, last.steps), (20, 10));
    assert!(last.loss < 0.2 && last.metrics["accuracy"] > 0.95, "{last:?}");
    let validation = last.validation.as_ref().unwrap();
    let evaluation = trainer.evaluate(&clusters(60)).unwrap();
    assert_eq!((evaluation.loss, &evaluation.metrics), (validation.loss, &validation.metrics));
}

/// 41 examples in batches of 16 are three steps, the last of 9.
#[test]
fn a_short_last_batch_is_trained_on() {
    let mut trainer = trainer(0);
    let mut steps = Vec::new();
    let history = trainer
        .fit_with(&clusters(41), &fit(1), |event| {
            if let Event::Step { step, loss, mean_loss, .. } = event {
                steps.push((step, loss, mean_loss));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(trainer.value("sgd/iterations"), Some(&Tensor::scalar(3i32)));
    // The epoch's loss weighs each batch by its size.
    let expected = (16.0 * steps[0].1 + 16.0 * steps[1].1 + 9.0 * steps[2].1) / 41.0;
    assert!((history.last().unwrap().loss - expected).abs() < 1e-12);
    assert!((steps[2].2 - expected).abs() < 1e-12);
}

#[test]
fn one_seed_repeats_bit_for_bit_and_fits_continue() {
    let data = clusters(75);
    let run = |seed: u64, fits: &[usize]| {
        let mut trainer = trainer(seed);
        fits.iter().for_each(|&epochs| drop(trainer.fit(&data, &fit(epochs)).unwrap()));
        weights(&trainer)
    };
    let once = run(7, &[3]);
    assert_eq!(once, run(7, &[3]));
    assert_eq!(once, run(7, &[1, 2]), "two fits are one long one");
    assert_ne!(once, run(8, &[3]));
}

#[test]
fn predictions_agree_with_the_evaluation() {
    let mut trainer = trainer(3);
    // More than one batch of the evaluation, and a rest.
    let data = clusters(600);
    trainer.fit(&data, &fit(2)).unwrap();
    let points: Vec<f32> = (0..600 * 2).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let inputs = |range: std::ops::Range<usize>| {
        let rows = points[range.start * 2..range.end * 2].to_vec();
        [Samples::new(Tensor::new([range.len(), 2], rows).unwrap()).unwrap()]
    };
    let all = &trainer.predict(&inputs(0..600)).unwrap()[0];
    assert_eq!(all.shape(), [600, 3]);
    let all = all.to_f64();
    assert!(all.chunks(3).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
    let some = trainer.predict(&inputs(250..263)).unwrap()[0].to_f64();
    let largest = all[750..789].iter().zip(&some).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest < 1e-6, "a row's prediction depends on its batch by {largest}");
}

#[test]
fn saved_weights_give_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let data = clusters(90);
    let mut first = trainer(5);
    first.fit(&data, &fit(2)).unwrap();
    let metadata = BTreeMap::from([("note".to_owned(), "two epochs".to_owned())]);
    first.save(&path, &metadata).unwrap();
    let mut second = trainer(6);
    assert_eq!(second.load(&path).unwrap(), metadata);
    assert_eq!(weights(&first), weights(&second));
    let evaluate = |trainer: &mut Trainer| trainer.evaluate(&data).unwrap().loss;
    assert_eq!(evaluate(&mut first), evaluate(&mut second));
}

/// Two inputs through one shared layer, two outputs with a loss each.
#[test]
fn several_inputs_and_outputs_are_trained_together() {
    let m = ModelBuilder::new();
    let (left, right) = (m.input("left", [2]), m.input("right", [2]));
    let shared = m.layer(Dense::new(8).activation(Activation::Tanh));
    let (a, b) = (m.call(shared, left), m.call(shared, right));
    let class = m.add(Dense::new(3).activation(Activation::Softmax).named("class"), a);
    let sum = m.add(Merge::Add, [a, b]);
    let height = m.add(Dense::new(1).named("height"), sum);
    let model = m.build([left, right], [class, height]).unwrap();
    let data = clusters(120);
    let points = |seed: usize| (0..240).map(|i| ((i * 31 + seed) % 97) as f32 / 97.0 - 0.5).collect::<Vec<f32>>();
    let x = [3, 4].map(|seed| Samples::new(Tensor::new([120, 2], points(seed)).unwrap()).unwrap());
    let classes = Samples::new(Tensor::vector((0..120).map(|i| i % 3).collect())).unwrap();
    let heights = points(3).chunks(2).zip(points(4).chunks(2)).map(|(a, b)| a[0] - b[1]).collect();
    let heights = Samples::new(Tensor::new([120, 1], heights).unwrap()).unwrap();
    assert_eq!(data.len(), 120);
    let examples = Examples::many(x.to_vec(), vec![classes, heights]).unwrap();
    let mut trainer = Trainer::new(model, Adam::new(0.02), Loss::SparseCategoricalCrossentropy)
        .losses([Loss::SparseCategoricalCrossentropy, Loss::MeanSquaredError])
        .float(DType::F64)
        .compile()
        .unwrap();
    let history = trainer.fit(&examples, &fit(30)).unwrap();
    let losses: Vec<f64> = history.losses().collect();
    assert!(losses[29] < losses[0] * 0.8, "{losses:?}");
    assert_eq!(
        trainer.predict(&x).unwrap().iter().map(|t| t.shape().to_vec()).collect::<Vec<_>>(),
        [[120, 3], [120, 1]]
    );
}

#[test]
fn an_observer_can_stop_the_training() {
    let mut trainer = trainer(0);
    let stop_after_two = |event: Event<'_>| match event {
        Event::EpochEnded(record) if record.epoch == 2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let history = trainer.fit_with(&clusters(60), &fit(10).order(Order::AsGiven), stop_after_two).unwrap();
    assert_eq!(history.epochs.len(), 2);
}

/// Feeding the learning rate's state changes it without compiling anew.
#[test]
fn the_learning_rate_is_state() {
    let mut trainer = trainer(0);
    trainer.set_value("sgd/learning_rate", Tensor::scalar(0.0f32)).unwrap();
    let before = trainer.value("dense/kernel").unwrap().clone();
    trainer.fit(&clusters(60), &fit(1)).unwrap();
    assert_eq!(trainer.value("dense/kernel"), Some(&before));
}
