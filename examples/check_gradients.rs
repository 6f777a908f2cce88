//! Checking a model of your own: its gradients against central differences and dual numbers, in float64.
//!
//! The model has a layer that the library does not know, an attention-like gate, written as a function of expressions.

use foldgrad::autodiff::{GradientCheck, check_gradients};
use foldgrad::ir::{Diagnostic, Graph};
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

/// A graph whose scalar output `loss` is some smooth function of everything the model computes.
fn loss_graph(g: Builder) -> Result<(Graph, Vec<(String, Tensor)>), Box<dyn Error>> {
    let model = Sequential::new([6]).add(Dense::new(5)).add(BatchNormalization::new()).add(Gate).build()?;
    let x = g.input("x", DType::F64, ["batch".into(), foldgrad::ir::Dim::Known(6)]);
    let applied = model.apply(&g, Mode::Training, DType::F64, &[x])?;
    let y = applied.outputs[0];
    g.output("loss", (y * y.sin()).sum_all());
    let mut feeds: Vec<(String, Tensor)> = model.initial_values_as(1, DType::F64).into_iter().collect();
    let pixels = (0..7 * 6).map(|i| f64::from(i * 37 % 41) / 20.0 - 1.0).collect();
    feeds.push(("x".to_owned(), Tensor::new([7, 6], pixels)?));
    Ok((g.finish()?, feeds))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (graph, feeds) = loss_graph(Builder::new())?;
    let feeds = feeds.iter().map(|(name, tensor)| (name.as_str(), tensor.clone()));
    let report = check_gradients(&graph, "loss", feeds, &GradientCheck::default())?;
    println!("{report}");
    Ok(())
}
