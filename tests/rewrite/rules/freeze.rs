//! Freezing a training graph gives the inference graph: equal in the field, over the same inputs and outputs, with nothing
//! left of the loss, the targets, dropout's seed and the optimiser. After a bias before batch norm was dropped, the
//! running mean follows `m + b`, and freezing takes the shift off again.

use foldgrad::autodiff::gradients;
use foldgrad::ir::{Dim, Expr, Shape};
use foldgrad::nn::{Activation, BatchNormalization, Dense, Dropout, Mode, Model, Sequential};
use foldgrad::pass::{FreezeError, Pipeline, freeze};
use foldgrad::rewrite::{Equality, Prover, Unequal};
use foldgrad::train::{Loss, Optimizer, Sgd};
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Graph};
use std::collections::BTreeSet;

/// How much of a training step a graph holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Prediction, loss, gradients and running statistics.
    Gradients,
    /// The optimiser too.
    Whole,
}

/// A training graph of the model with its prediction as the output that the inference graph has.
fn training(model: &Model, step: Step) -> Graph {
    let g = Builder::new();
    let inputs: Vec<Expr<'_>> =
        model.input_types(DType::F32).into_iter().map(|(name, ty)| g.input(&name, ty.dtype, ty.shape)).collect();
    let applied = model.apply(&g, Mode::Training, DType::F32, &inputs).expect("well typed");
    let prediction = applied.outputs[0];
    let name = model.output_types(DType::F32).into_keys().next().expect("an output");
    g.output(&name, prediction);
    let ty = Loss::SparseCategoricalCrossentropy.target(&prediction.ty()).expect("class scores");
    let target = g.input("target", ty.dtype, ty.shape);
    let loss = Loss::SparseCategoricalCrossentropy.build(prediction, target).expect("fitting targets").mean_all();
    g.output("loss", loss);
    let wrt: Vec<Expr<'_>> = applied.parameters.values().copied().collect();
    let found = gradients(&[loss], &wrt).expect("differentiable");
    match step {
        Step::Gradients => {
            for (name, gradient) in applied.parameters.keys().zip(found) {
                g.output(&format!("gradient of {name}"), gradient);
            }
        }
        Step::Whole => {
            let optimizer: Optimizer = Sgd::new(0.1).momentum(0.9).into();
            optimizer.update(&g, &applied.parameters, &found).expect("an optimiser");
        }
    }
    applied.carry_states();
    g.finish().expect("well typed")
}

/// Whether the graphs are equal as algebra.
fn equal(one: &Graph, other: &Graph) -> Result<(), Box<Unequal>> {
    Prover::new(one).expect("small inputs").check(one, other, &[], Equality::Algebraic)
}

fn names(graph: &Graph) -> BTreeSet<&str> {
    graph.inputs().map(|(name, _)| name).collect()
}

#[track_caller]
fn assert_frozen(model: &Model, graph: &Graph) {
    let inference = model.graph(Mode::Inference, DType::F32).expect("well typed");
    let outputs: Vec<&str> = inference.outputs().map(|(name, _)| name).collect();
    let frozen = freeze(graph, &outputs).expect("running statistics");
    foldgrad::ir::verify(&frozen).expect("a graph");
    assert_eq!(names(&frozen), names(&inference));
    assert_eq!((frozen.outputs().len(), frozen.updates().len()), (inference.outputs().len(), 0));
    equal(&inference, &frozen).expect("the frozen graph is the inference graph");
    equal(&frozen, &inference).expect("the inference graph is the frozen graph");
}

/// Dense with bias before batch norm, twice, with dropout and one batch norm without a Dense before it.
fn with_biases(momentum: f64) -> Model {
    let norm = || BatchNormalization::new().momentum(momentum);
    Sequential::new([6])
        .add(norm())
        .add(Dense::new(5))
        .add(norm())
        .add(Activation::Relu)
        .add(Dropout::new(0.25))
        .add(Dense::new(4))
        .add(norm().without_center())
        .add(Dropout::new(0.5))
        .add(Dense::new(3).activation(Activation::Softmax))
        .build()
        .expect("well formed")
}

#[test]
fn a_frozen_training_graph_is_the_inference_graph() {
    for batch_norm in [BatchNorm::Before, BatchNorm::After, BatchNorm::None] {
        let model = tutorial(batch_norm).expect("well formed");
        assert_frozen(&model, &training(&model, Step::Whole));
    }
    for (momentum, step) in [(0.99, Step::Gradients), (0.99, Step::Whole), (0.5, Step::Whole), (0.0, Step::Whole)] {
        let model = with_biases(momentum);
        assert_frozen(&model, &training(&model, step));
    }
}

/// The running mean is re-based: it follows `m + b`, and the frozen batch norm takes `S − b`.
#[test]
fn freezing_undoes_the_dropping_of_a_bias() {
    for (momentum, step) in [(0.99, Step::Gradients), (0.99, Step::Whole), (0.0, Step::Whole)] {
        let model = with_biases(momentum);
        let before = training(&model, step);
        let outcome = Pipeline::training().proved(true).run(&before).expect("right rules");
        let dropped = outcome.fired.iter().filter(|fired| fired.rule.name == "bias_before_batch_norm").count();
        assert_eq!(dropped, 2, "{:?}", outcome.fired);
        let denses = |graph: &Graph| graph.nodes().filter(|(_, node)| node.op().name() == "dense").count();
        assert_eq!((denses(&before), denses(&outcome.graph)), (3, 1));
        assert_frozen(&model, &outcome.graph);
    }
}

/// A bias that is subtracted, channels first, and shared by nothing.
#[test]
fn freezing_undoes_the_dropping_of_a_subtracted_bias() {
    let shape = Shape::new([Dim::from("batch"), 4.into(), 5.into()]);
    let g = Builder::new();
    let x = g.input("x", DType::F32, shape);
    let [b, gamma, beta] = ["b", "gamma", "beta"].map(|name| g.parameter(name, DType::F32, [4]));
    let [mean, var] = ["mean", "var"].map(|name| g.state(name, DType::F32, [4]));
    let shifted = x - b.along(1, x);
    let normed = shifted.batch_norm_train(gamma, beta, 1, 1e-3);
    g.output("y", normed.y);
    // The new value comes first here.
    g.update(mean, normed.mean * 0.1 + mean * 0.9);
    g.update(var, normed.var * 0.1 + var * 0.9);
    let training = g.finish().expect("well typed");
    let outcome = Pipeline::training().proved(true).run(&training).expect("right rules");
    assert_eq!(outcome.fired.len(), 1);
    let frozen = freeze(&outcome.graph, &["y"]).expect("running statistics");
    let direct = freeze(&training, &["y"]).expect("running statistics");
    equal(&direct, &frozen).expect("the same graph, frozen before and after");
}

/// `bn(x·W)` whose running mean follows `m + sign·b`, as if the bias had been dropped.
fn rebased(sign: Option<f64>) -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "3"]);
    let w = g.parameter("dense/kernel", DType::F32, [3, 4]);
    let b = g.parameter("dense/bias", DType::F32, [4]);
    let gamma = g.parameter("batch_normalization/gamma", DType::F32, [4]);
    let beta = g.parameter("batch_normalization/beta", DType::F32, [4]);
    let mean = g.state("batch_normalization/moving_mean", DType::F32, [4]);
    let var = g.state("batch_normalization/moving_variance", DType::F32, [4]);
    let normed = x.dot(w).batch_norm_train(gamma, beta, 1, 1e-3);
    let follows = sign.map_or(normed.mean, |sign| normed.mean + if sign < 0.0 { -b } else { b });
    g.output("y", normed.y);
    g.update(mean, mean * 0.99 + follows * 0.01);
    g.update(var, var * 0.99 + normed.var * 0.01);
    g.finish().expect("well typed")
}

/// The inference graph with the bias.
fn with_bias() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "3"]);
    let w = g.parameter("dense/kernel", DType::F32, [3, 4]);
    let b = g.parameter("dense/bias", DType::F32, [4]);
    let gamma = g.parameter("batch_normalization/gamma", DType::F32, [4]);
    let beta = g.parameter("batch_normalization/beta", DType::F32, [4]);
    let mean = g.state("batch_normalization/moving_mean", DType::F32, [4]);
    let var = g.state("batch_normalization/moving_variance", DType::F32, [4]);
    g.output("y", x.dense(w, Some(b)).batch_norm_infer([gamma, beta, mean, var], 1, 1e-3));
    g.finish().expect("well typed")
}

/// A shift of the wrong sign, or a forgotten one, is told from the right one.
#[test]
fn a_wrongly_rebased_running_mean_is_caught() {
    let inference = with_bias();
    let frozen = |sign| freeze(&rebased(sign), &["y"]).expect("running statistics");
    equal(&inference, &frozen(Some(1.0))).expect("S follows m + b");
    equal(&inference, &frozen(Some(-1.0))).expect_err("S follows m − b");
    equal(&inference, &frozen(None)).expect_err("S follows m");
}

#[test]
fn mistakes_are_explained() {
    let model = with_biases(0.99);
    let graph = training(&model, Step::Gradients);
    let error = freeze(&graph, &["loss", "prediction"]).expect_err("no such output");
    let FreezeError::NoOutput { name, known } = &error else { panic!("{error}") };
    assert_eq!(name, "prediction");
    assert!(known.contains("`loss`") && error.to_string().contains("`prediction`"), "{error}");

    for follows in 0..3 {
        let g = Builder::new();
        let x = g.input("x", DType::F32, ["batch", "4"]);
        let [gamma, beta] = ["gamma", "beta"].map(|name| g.parameter(name, DType::F32, [4]));
        let [mean, var] = ["mean", "var"].map(|name| g.state(name, DType::F32, [4]));
        let normed = g.scoped("norm", || x.batch_norm_train(gamma, beta, 1, 1e-3));
        g.output("y", normed.y);
        if follows > 0 {
            g.update(mean, mean * 0.9 + normed.mean * 0.1);
        }
        if follows > 1 {
            // A sum of variances is no running variance.
            g.update(var, var + normed.var);
        }
        let graph = g.finish().expect("well typed");
        let error = freeze(&graph, &["y"]).expect_err("no running statistics");
        let FreezeError::NoStatistics { what, node } = &error else { panic!("{error}") };
        assert_eq!(*what, if follows == 0 { "mean" } else { "variance" });
        assert!(node.contains("batch_norm_train in layer `norm` (") && node.contains("freeze.rs:"), "{node}");
        // What does not need the batch norm can be frozen all the same.
        freeze(&graph, &[]).expect("nothing is asked for");
    }
}
