//! The tutorial network against a training run of 200 steps that an independent system made.
//!
//! The trace lies beside the data that it was made from; where it is not found the test says so, and fails in CI.

use crate::common::skip;
use foldgrad::autodiff;
use foldgrad::data::idx;
use foldgrad::data::{FASHION_CLASSES, ImageSet};
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, Symbol};
use foldgrad::nn::Mode;
use foldgrad::train::{Event, Examples, Fit, Loss, Metric, Order, Sgd, Trainer};
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Tensor};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const STEPS: usize = 200;
const BATCH: usize = 32;

struct Golden {
    trace: Value,
    train: ImageSet,
    test: ImageSet,
}

fn golden() -> Option<Golden> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let trace = shared.join("golden/trace_bn_before_relu_f64.json");
    let data = std::env::var_os("FASHION_MNIST_DIR").map_or(shared.join("data/fashion-mnist"), PathBuf::from);
    if !trace.exists() || !data.exists() {
        skip(format!("{} and {} are needed for the golden run", trace.display(), data.display()));
        return None;
    }
    let set = |name: &str, count: usize| {
        let images = idx::read_images(data.join(format!("{name}-images-idx3-ubyte"))).unwrap();
        let labels = idx::read_labels(data.join(format!("{name}-labels-idx1-ubyte"))).unwrap();
        let classes = FASHION_CLASSES.len();
        ImageSet::new(images.pixels, labels, images.rows, images.cols, classes).unwrap().first(count).unwrap()
    };
    let trace = serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    Some(Golden { trace, train: set("train", STEPS * BATCH), test: set("t10k", 1000) })
}

/// `(2u − 1)·√(6/(in + out))`, `u = splitmix64(layer·2³² + k)` in [0, 1).
fn kernel(layer: u64, inputs: usize, outputs: usize, float: DType) -> Tensor {
    let limit = (6.0 / (inputs + outputs) as f64).sqrt();
    let value = |k: usize| {
        let mut z = (layer << 32 | k as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let u = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        (2.0 * u - 1.0) * limit
    };
    Tensor::from_f64(float, [inputs, outputs], (0..inputs * outputs).map(value)).unwrap()
}

fn trainer(float: DType) -> Trainer {
    let optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
    let mut trainer =
        Trainer::new(tutorial(BatchNorm::Before).unwrap(), optimizer, Loss::SparseCategoricalCrossentropy)
            .metric(Metric::Accuracy)
            .float(float)
            .compile()
            .unwrap();
    let sizes = [784, 300, 200, 100, 10];
    for (layer, name) in ["dense", "dense_1", "dense_2", "dense_3"].into_iter().enumerate() {
        let value = kernel(layer as u64, sizes[layer], sizes[layer + 1], float);
        trainer.set_value(&format!("{name}/kernel"), value).unwrap();
    }
    trainer
}

/// Losses of 200 steps in file order.
fn losses(trainer: &mut Trainer, train: &ImageSet) -> Vec<f64> {
    let mut losses = Vec::new();
    let fit = Fit::new().batch_size(BATCH).order(Order::AsGiven).silent();
    trainer
        .fit_with(&Examples::try_from(train).unwrap(), &fit, |event| {
            if let Event::Step { loss, .. } = event {
                losses.push(loss);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    losses
}

#[track_caller]
fn close(what: &str, found: f64, expected: f64, scale: f64, tolerance: f64) {
    let error = (found - expected).abs() / scale;
    assert!(error <= tolerance, "{what}: {found:.17e}, golden {expected:.17e}, off by {error:.1e}");
}

/// Sum and norm; the sum may cancel, so both are measured against the norm times the root of the count.
#[track_caller]
fn close_tensor(what: &str, found: &Tensor, expected: &Value) {
    let values = found.to_f64();
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let want = |key: &str| expected[key].as_f64().unwrap();
    close(&format!("{what} norm"), norm, want("l2"), want("l2"), 1e-9);
    close(&format!("{what} sum"), values.iter().sum(), want("sum"), want("sum").abs().max(want("l2")), 1e-9);
}

/// Graph name of a golden tensor.
fn name_of(layer: usize, field: &str) -> String {
    let base = if matches!(field, "kernel" | "bias") { "dense" } else { "batch_normalization" };
    let count = if layer == 0 { String::new() } else { format!("_{layer}") };
    format!("{base}{count}/{field}")
}

#[test]
fn float64_run_agrees_to_nine_digits() {
    let Some(Golden { trace, train, test }) = golden() else { return };
    let mut trainer = trainer(DType::F64);
    check_first_gradients(&trainer, &train, &trace);
    let found = losses(&mut trainer, &train);
    assert_eq!(found.len(), STEPS);
    for (step, (found, expected)) in found.iter().zip(trace["losses"].as_array().unwrap()).enumerate() {
        let expected = expected.as_f64().unwrap();
        close(&format!("loss of step {step}"), *found, expected, expected, 1e-9);
    }
    for key in ["final_parameters", "final_statistics"] {
        for (layer, fields) in trace[key].as_array().unwrap().iter().enumerate() {
            for (field, expected) in fields.as_object().unwrap() {
                let name = name_of(layer, field);
                close_tensor(&name, trainer.value(&name).unwrap(), expected);
            }
        }
    }
    let evaluation = trainer.evaluate(&Examples::try_from(&test).unwrap()).unwrap();
    let expected = trace["eval_loss_first_1000_test"].as_f64().unwrap();
    close("evaluation loss", evaluation.loss, expected, expected, 1e-9);
    let correct = (evaluation.metrics["accuracy"] * 1000.0).round();
    assert_eq!(correct, trace["eval_correct_first_1000_test"].as_f64().unwrap());
}

fn check_first_gradients(trainer: &Trainer, train: &ImageSet, trace: &Value) {
    let builder = Builder::new();
    let x = builder.input("x", DType::F64, [BATCH, 28, 28]);
    let y = builder.input("y", DType::I32, [BATCH]);
    let applied = trainer.model().apply(&builder, Mode::Training, DType::F64, &[x]).unwrap();
    let loss = Loss::SparseCategoricalCrossentropy.build(applied.outputs[0], y).unwrap().mean_all();
    let wrt: Vec<_> = applied.parameters.values().copied().collect();
    for (name, gradient) in applied.parameters.keys().zip(autodiff::gradients(&[loss], &wrt).unwrap()) {
        builder.output(name, gradient);
    }
    let mut run = Executable::new(builder.finish().unwrap(), &Bindings::from([(Symbol::new("batch"), BATCH)])).unwrap();
    let pixels = train.images()[..BATCH * 784].iter().map(|&byte| f64::from(byte) / 255.0).collect();
    let labels = train.labels()[..BATCH].iter().map(|&label| i32::from(label)).collect();
    let feeds = [Tensor::new([BATCH, 28, 28], pixels).unwrap(), Tensor::vector(labels)];
    let mut states: Vec<Tensor> =
        run.plan().states().iter().map(|port| trainer.value(&port.name).unwrap().clone()).collect();
    run.run(&[&feeds[0], &feeds[1]], &mut states).unwrap();
    let found: Vec<(String, Tensor)> = run
        .plan()
        .outputs()
        .enumerate()
        .map(|(index, port)| (port.name.clone(), run.output_tensor(index).unwrap()))
        .collect();
    for (layer, fields) in trace["first_gradient"].as_array().unwrap().iter().enumerate() {
        for (field, expected) in fields.as_object().unwrap() {
            let name = name_of(layer, field);
            let (_, gradient) = found.iter().find(|(have, _)| *have == name).unwrap();
            close_tensor(&format!("gradient of {name}"), gradient, expected);
        }
    }
}

#[test]
fn float32_run_agrees_to_rounding() {
    let Some(Golden { trace, train, .. }) = golden() else { return };
    let found = losses(&mut trainer(DType::F32), &train);
    let mut worst = 0.0f64;
    for (step, (found, expected)) in found.iter().zip(trace["losses"].as_array().unwrap()).enumerate() {
        let expected = expected.as_f64().unwrap();
        close(&format!("loss of step {step}"), *found, expected, expected, 2e-4);
        worst = worst.max((found - expected).abs() / expected);
    }
    println!("largest relative difference of a float32 loss: {worst:.1e}");
}
