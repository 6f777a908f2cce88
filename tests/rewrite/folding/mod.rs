//! From a trained network to the smallest equal inference graph: what is left of the tutorial network in all its forms,
//! that training without dead biases is the same training, and that a fused file leads back to the trained weights.

mod dead_bias;
mod engine;
mod forms;
mod unfuse;

use foldgrad::DType;
use foldgrad::data::silhouettes;
use foldgrad::nn::Model;
use foldgrad::train::{Examples, Fit, Loss, Metric, Sgd, Trainer};
use foldgrad::zoo::{self, BatchNorm};

/// Every form of the tutorial network that has batch norms.
const FORMS: [(&str, BatchNorm, bool); 6] = [
    ("before", BatchNorm::Before, false),
    ("before_with_biases", BatchNorm::Before, true),
    ("after", BatchNorm::After, false),
    ("after_with_biases", BatchNorm::After, true),
    ("notebook", BatchNorm::Notebook, false),
    ("notebook_with_biases", BatchNorm::Notebook, true),
];

fn model(batch_norm: BatchNorm, biases: bool) -> Model {
    let build = if biases { zoo::tutorial_with_biases } else { zoo::tutorial };
    build(batch_norm).unwrap()
}

/// A network after an epoch on the built-in images: no weight, scale or statistic is at its start.
fn trained(model: Model, float: DType) -> Trainer {
    let (train, _) = silhouettes::generate(silhouettes::SEED, 1600, 1);
    let optimizer = Sgd::new(0.02).momentum(0.9).nesterov();
    let mut trainer = Trainer::new(model, optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .float(float)
        .seed(3)
        .compile()
        .unwrap();
    trainer.fit(&Examples::try_from(&train).unwrap(), &Fit::new().silent()).unwrap();
    trainer
}
