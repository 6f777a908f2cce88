//! Checking a model of your own: its gradients against central differences and dual numbers, in float64.
//!
//! The model has a layer that the library does not know, an attention-like gate, written as a function of expressions.

use foldgrad::autodiff::{GradientCheck, check_gradients};
use foldgrad::ir::Diagnostic;
use foldgrad::nn::{BatchNormalization, Dense, Initializer, Layer, LayerCx, Mode, Sequential};
use foldgrad::{Builder, DType, Expr, Tensor};
use std::error::Error;

/// `y = x ⊙ softmax(x·W)`.
#[derive(Clone, Debug)]
struct Gate;

impl Layer for Gate {
    fn kind(&self) -> &str {
        "Gate"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let x = cx.only_float(inputs)?;
        let (axis, features) = cx.last_axis(x)?;
        let kernel = cx.parameter("kernel", [features, features], &Initializer::GlorotUniform)?;
        Ok(x * x.dot(kernel).softmax(axis))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = Sequential::new([6]).add(Dense::new(5)).add(BatchNormalization::new()).add(Gate).build()?;
    let g = Builder::new();
    let x = g.input("x", DType::F64, [7, 6]);
    let applied = model.apply(&g, Mode::Training, DType::F64, &[x])?;
    let y = applied.outputs[0];
    // Any smooth scalar will do: a wrong gradient anywhere shows in it.
    g.output("loss", (y * y.sin()).sum_all());
    let graph = g.finish()?;

    let values = (0..7 * 6).map(|i| f64::from(i * 37 % 41) / 20.0 - 1.0).collect();
    let mut feeds = model.initial_values_as(1, DType::F64);
    feeds.insert("x".to_owned(), Tensor::new([7, 6], values)?);
    let feeds = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.clone()));
    println!("{}", check_gradients(&graph, "loss", feeds, &GradientCheck::default())?);
    Ok(())
}
