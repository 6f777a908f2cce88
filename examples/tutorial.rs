//! The Fashion-MNIST tutorial: declare a network, train it, measure it.

use foldgrad::data::fashion_mnist;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Flatten, Sequential};
use foldgrad::train::{Examples, Fit, Loss, Metric, Sgd, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fashion = fashion_mnist::load(&fashion_mnist::LoadOptions::from_env())?;
    println!("{}", fashion.source.notice().unwrap_or_default());
    let mut net = Sequential::new([28, 28]).add(Flatten::new());
    for units in [300, 200, 100] {
        net = net.add(Dense::new(units).without_bias()).add(BatchNormalization::new()).add(Activation::Relu);
    }
    let model = net.add(Dense::new(10).activation(Activation::Softmax)).build()?;
    println!("{}", model.summary());
    let optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
    let mut trainer = Trainer::new(model, optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .seed(42)
        .compile()?;
    let validation = Examples::try_from(&fashion.train.first(5000)?)?;
    trainer.fit(&Examples::try_from(&fashion.train)?, &Fit::new().epochs(5).validation(validation))?;
    let test = trainer.evaluate(&Examples::try_from(&fashion.test)?)?;
    println!("test loss {:.4}  test accuracy {:.4}", test.loss, test.metrics["accuracy"]);
    let folded = trainer.fold()?;
    println!("{}", folded.explanation());
    trainer.export("tutorial.onnx", &folded, &Default::default())?;
    Ok(())
}
