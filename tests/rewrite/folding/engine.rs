//! Exported files in an engine that is not ours: folded and declared, on the 10,000 test images of the built-in set.

use super::{FORMS, model, trained};
use foldgrad::data::silhouettes;
use foldgrad::interchange::onnx::{self, ExportOptions};
use foldgrad::ir::Weights;
use foldgrad::nn::Mode;
use foldgrad::{DType, Tensor};
use rten::Model;
use rten_tensor::{AsView, Layout};

/// Images at a time.
const BATCH: usize = 1000;

/// The first output of a model, all images one after the other.
fn run(model: &Model, images: &[f32]) -> Vec<f32> {
    let (input, output) = (model.input_ids()[0], model.output_ids()[0]);
    let run = |batch: &[f32]| {
        let x: rten::Value = rten_tensor::Tensor::from_data(&[batch.len() / 784, 28, 28], batch.to_vec()).into();
        let outputs = model.run(vec![(input, x.into())], &[output], None).unwrap();
        let Some(rten::Value::FloatTensor(y)) = outputs.into_iter().next() else { panic!("a float output") };
        assert_eq!(y.shape(), [batch.len() / 784, 10]);
        y.to_vec()
    };
    images.chunks(BATCH * 784).flat_map(run).collect()
}

fn classes(outputs: &[f32]) -> Vec<usize> {
    let best = |row: &[f32]| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    outputs.chunks(10).map(best).collect()
}

/// The declared model in f64, by our own kernels.
fn truth(trainer: &foldgrad::train::Trainer, images: &[f32]) -> Vec<f64> {
    use foldgrad::exec::Executable;
    use foldgrad::ir::{Bindings, Symbol};
    let graph = trainer.model().graph(Mode::Inference, DType::F64).unwrap();
    let mut run = Executable::new(graph, &Bindings::from([(Symbol::new("batch"), BATCH)])).unwrap();
    let weights = trainer.model_weights();
    let mut states: Vec<Tensor> = run.plan().states().iter().map(|port| weights[&port.name].cast(DType::F64)).collect();
    let each = |batch: &[f32]| {
        let x = batch.iter().map(|&pixel| f64::from(pixel)).collect();
        run.run(&[&Tensor::new([BATCH, 28, 28], x).unwrap()], &mut states).unwrap();
        run.output::<f64>(0).unwrap().to_vec()
    };
    images.chunks(BATCH * 784).flat_map(each).collect()
}

fn root_mean_square(outputs: &[f32], truth: &[f64]) -> f64 {
    let square = outputs.iter().zip(truth).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>();
    (square / truth.len() as f64).sqrt()
}

#[test]
fn exported_files_agree_in_another_engine() {
    let (_, test) = silhouettes::generate(silhouettes::SEED, 1, 10_000);
    let images: Vec<f32> = test.images().iter().map(|&byte| f32::from(byte) / 255.0).collect();
    for (name, batch_norm, biases) in FORMS {
        let trainer = trained(model(batch_norm, biases), DType::F32);
        let folded = trainer.fold().unwrap();
        let options = ExportOptions::new();
        let load = |graph, weights: &Weights| Model::load(onnx::to_bytes(graph, weights, &options).unwrap()).unwrap();
        let ours = run(&load(&folded.graph, &folded.weights), &images);
        let declared = run(&load(trainer.inference_graph(), &trainer.model_weights()), &images);
        assert_eq!(classes(&ours), classes(&declared), "{name}");
        let difference = ours.iter().zip(&declared).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-5, "{name}: {difference:e}");
        let truth = truth(&trainer, &images);
        let [folded, declared] = [&ours, &declared].map(|outputs| root_mean_square(outputs, &truth));
        println!("{name}: within {difference:.1e}; from f64 {folded:.2e} folded, {declared:.2e} declared");
        assert!(folded <= 1.05 * declared, "{name}: {folded:e} {declared:e}");
    }
}
