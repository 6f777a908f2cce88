//! Each network of the zoo learns: twenty steps over the same examples lower its loss, in f32 and in f64.

use foldgrad::ir::Diagnostics;
use foldgrad::nn::Model;
use foldgrad::train::{Examples, Fit, Loss, Samples, Sgd, Trainer};
use foldgrad::{DType, Tensor, zoo};

const INPUTS: usize = 12;
const EXAMPLES: usize = 40;

/// Examples in which feature `label` stands out.
fn examples() -> Examples {
    let labels: Vec<i32> = (0..EXAMPLES as i32).map(|index| index * 7 % 10).collect();
    let value = |at: usize| {
        let (row, column) = (at / INPUTS, at % INPUTS);
        let noise = ((at * 2_654_435_761) % 1000) as f32 / 1000.0;
        if column == labels[row] as usize { 2.0 + noise } else { noise }
    };
    let x = Tensor::new([EXAMPLES, INPUTS], (0..EXAMPLES * INPUTS).map(value).collect::<Vec<f32>>()).unwrap();
    Examples::new(Samples::new(x).unwrap(), Samples::new(Tensor::vector(labels)).unwrap()).unwrap()
}

/// Mean losses of twenty epochs of one batch each.
fn losses(model: Model, float: DType) -> Vec<f64> {
    let optimizer = Sgd::new(0.02).momentum(0.9).nesterov();
    let mut trainer =
        Trainer::new(model, optimizer, Loss::SparseCategoricalCrossentropy).float(float).compile().unwrap();
    let fit = Fit::new().epochs(20).batch_size(EXAMPLES).silent();
    trainer.fit(&examples(), &fit).unwrap().epochs.iter().map(|epoch| epoch.loss).collect()
}

#[track_caller]
fn learns(build: fn() -> Result<Model, Diagnostics>) {
    let model = build().unwrap();
    let (_, output) = model.output_types(DType::F32).into_iter().next_back().unwrap();
    assert_eq!(output.to_string(), "f32[batch,10]");
    let [single, double] = [DType::F32, DType::F64].map(|float| losses(build().unwrap(), float));
    let (first, last) = (double[0], double[19]);
    assert!((1.0..6.0).contains(&first) && last < 0.7 * first, "{double:?}");
    for (step, (single, double)) in single.iter().zip(&double).enumerate() {
        assert!((single - double).abs() < 1e-3 * first, "step {step}: {single} in f32, {double} in f64");
    }
}

#[test]
fn batch_norm_behind_gelu_learns() {
    learns(|| zoo::deep(INPUTS, 4, 16));
}

#[test]
fn residual_blocks_with_layer_norm_learn() {
    learns(|| zoo::residual(INPUTS, 3, 16));
}

#[test]
fn self_normalising_layers_learn() {
    learns(|| zoo::self_normalising(INPUTS, 4, 16));
}

#[test]
fn plain_layers_learn() {
    learns(|| zoo::plain(INPUTS, 2, 32));
}

/// Deep without any norm, the values keep their size from layer to layer.
#[test]
fn self_normalising_layers_keep_the_variance() {
    let model = zoo::self_normalising(64, 16, 64).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0), Loss::SparseCategoricalCrossentropy).compile().unwrap();
    for (name, kernel) in trainer.values().filter(|(name, _)| name.ends_with("/kernel")) {
        let values = kernel.to_f64();
        let variance = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        assert!((0.8..1.25).contains(&(variance * 64.0)), "{name}: variance {variance}");
    }
}

/// By hand, from the initial weights: `LN` of a row has mean 0 and variance 1 when it starts.
#[test]
fn a_residual_network_without_blocks_is_a_layer_norm_between_two_products() {
    let model = zoo::residual(INPUTS, 0, 16).unwrap();
    let mut trainer =
        Trainer::new(model, Sgd::new(0.1), Loss::SparseCategoricalCrossentropy).float(DType::F64).compile().unwrap();
    let value = |name: &str| trainer.value(name).unwrap().to_f64();
    let (first, last) = (value("dense/kernel"), value("dense_1/kernel"));
    let x: Vec<f64> = (0..INPUTS).map(|column| (column * column % 7) as f64 / 7.0).collect();
    let hidden: Vec<f64> = (0..16).map(|unit| (0..INPUTS).map(|row| x[row] * first[row * 16 + unit]).sum()).collect();
    let mean = hidden.iter().sum::<f64>() / 16.0;
    let variance = hidden.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / 16.0;
    let normed: Vec<f64> = hidden.iter().map(|h| (h - mean) / (variance + 1e-5).sqrt()).collect();
    let logits: Vec<f64> =
        (0..10).map(|class| (0..16).map(|unit| normed[unit] * last[unit * 10 + class]).sum()).collect();
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let samples = Samples::new(Tensor::new([1, INPUTS], x).unwrap()).unwrap();
    let found = trainer.predict(&[samples]).unwrap()[0].to_f64();
    for (found, logit) in found.iter().zip(&logits) {
        assert!((found - logit.exp() / total).abs() < 1e-12, "{found} is not {}", logit.exp() / total);
    }
}
