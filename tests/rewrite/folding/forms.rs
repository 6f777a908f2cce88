//! What is left of each form of the tutorial network, as goldens, and that it computes the same.

use super::{FORMS, model, trained};
use foldgrad::data::silhouettes;
use foldgrad::ir::Graph;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Mode, Sequential};
use foldgrad::op::Op;
use foldgrad::pass::{self, Folded};
use foldgrad::reference::{Array, interpret};
use foldgrad::train::{Examples, Samples};
use foldgrad::{DType, Tensor};
use std::path::PathBuf;

fn count(graph: &Graph, is: impl Fn(&Op) -> bool) -> usize {
    graph.nodes().filter(|(_, node)| is(node.op())).count()
}

fn test_images() -> Examples {
    let (_, test) = silhouettes::generate(silhouettes::SEED, 1, 10_000);
    Examples::try_from(&test).unwrap()
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "rewrite", "folding", "golden", &format!("{name}.ir")].iter().collect()
}

#[test]
fn nothing_is_left_of_batch_norms_and_dead_biases() {
    let mut wrong = Vec::new();
    for (name, batch_norm, biases) in FORMS {
        let Folded { graph, weights, declared, .. } = trained(model(batch_norm, biases), DType::F32).fold().unwrap();
        assert_eq!(count(&declared, |op| matches!(op, Op::BatchNormInfer(_))), 3, "{name}");
        let products = count(&graph, |op| matches!(op, Op::Dense(_) | Op::Dot(_)));
        assert_eq!(products, if name.starts_with("notebook") { 3 } else { 4 }, "{name}");
        // Products with their biases, activations, a view: nothing is added or multiplied on its own.
        let kinds = ["input", "reshape", "dense", "dot", "relu", "softmax"];
        assert_eq!(count(&graph, |op| !kinds.contains(&op.name())), 0, "{name}:\n{graph}");
        assert!(
            weights.keys().all(|weight| weight.starts_with("dense")),
            "{name}: {:?}",
            weights.keys().collect::<Vec<_>>()
        );
        assert!(graph.inputs().skip(1).map(|(input, _)| input).eq(weights.keys()), "{name}");
        if std::env::var("FOLDGRAD_BLESS").is_ok_and(|value| value == "1") {
            std::fs::create_dir_all(golden(name).parent().unwrap()).unwrap();
            std::fs::write(golden(name), graph.to_string()).unwrap();
        }
        if std::fs::read_to_string(golden(name)).unwrap_or_default() != graph.to_string() {
            wrong.push(format!("{name}:\n{graph}"));
        }
    }
    assert!(wrong.is_empty(), "goldens differ (FOLDGRAD_BLESS=1 rewrites them):\n{}", wrong.join("\n"));
}

/// The 10,000 test images of the built-in set: no class changes, and folding does not take the outputs away from what
/// exact arithmetic gives.
#[test]
fn folded_networks_compute_the_same() {
    let test = test_images();
    for (name, batch_norm, biases) in FORMS {
        let trainer = trained(model(batch_norm, biases), DType::F32);
        let comparison = trainer.compare(&trainer.fold().unwrap(), test.inputs()).unwrap();
        println!("{name}: {comparison:?}");
        assert_eq!((comparison.examples, comparison.agreeing), (10_000, 10_000), "{name}");
        assert!(comparison.difference <= 1e-5, "{name}: {comparison:?}");
        // Rounding is chance in each output; over 100,000 of them, folding must not add to it.
        let [folded, declared] =
            [comparison.folded_error, comparison.declared_error].map(|error| error.root_mean_square);
        assert!(folded <= 1.05 * declared, "{name}: {comparison:?}");
    }
}

/// In f64 there is no rounding to speak of: folded and declared are one function.
#[test]
fn folded_f64_networks_compute_the_same_to_rounding() {
    let (_, test) = silhouettes::generate(silhouettes::SEED, 1, 256);
    let inputs: Vec<Samples> = Examples::try_from(&test).unwrap().inputs().to_vec();
    for (name, batch_norm, biases) in FORMS {
        let trainer = trained(model(batch_norm, biases), DType::F64);
        let comparison = trainer.compare(&trainer.fold().unwrap(), &inputs).unwrap();
        assert!(comparison.difference <= 1e-13, "{name}: {comparison:?}");
    }
}

#[test]
fn one_line_for_each_layer() {
    for (name, batch_norm, biases) in FORMS {
        let model = model(batch_norm, biases);
        let layers = model.summary().matches(") ").count();
        let folded = trained(model, DType::F32).fold().unwrap();
        let explanation = folded.explanation();
        assert!(explanation.layers.len() >= 10 && layers > 0, "{name}");
        for fate in &explanation.layers {
            let batch_norm = fate.layer.starts_with("batch_normalization");
            assert_eq!(
                batch_norm,
                fate.fate.starts_with("gone: folded into the weights of `dense"),
                "{name}: {fate:?}"
            );
            assert!(!batch_norm || (fate.place.is_some() && !fate.rules.is_empty()), "{name}: {fate:?}");
        }
        let text = explanation.to_string();
        assert!(
            explanation.layers.iter().all(|fate| text.matches(&format!("\n{} ", fate.layer)).count() == 1),
            "{text}"
        );
        let [before, after] = explanation.cost;
        assert_eq!(before.multiply_adds, 316_200);
        assert_eq!(after.multiply_adds, if name.starts_with("notebook") { 177_800 } else { 316_200 });
    }
}

/// Folded weights are what the slow interpreter makes of the recipe in f64, rounded once: to the last bit.
#[test]
fn folded_weights_are_right_to_the_last_bit() {
    for float in [DType::F32, DType::F64] {
        let model = Sequential::new([12])
            .add(Dense::new(11))
            .add(BatchNormalization::new())
            .add(Dense::new(9))
            .add(Activation::Relu)
            .add(BatchNormalization::new())
            .add(Dense::new(7))
            .build()
            .unwrap();
        let mut weights = model.initial_values_as(4, float);
        for (index, (name, tensor)) in weights.iter_mut().enumerate() {
            let low = if name.ends_with("variance") { 0.01 } else { -1.0 };
            let draw = |i: usize| low + ((i * 7919 + index * 104_729) % 1009) as f64 / 700.0;
            *tensor = Tensor::from_f64(float, tensor.shape(), (0..tensor.len()).map(draw)).unwrap();
        }
        let folded = pass::fold(&model.graph(Mode::Inference, float).unwrap(), &weights).unwrap();
        assert_eq!(folded.weights.len(), 4);
        let feeds =
            folded.recipe.inputs().map(|(name, _)| (name.to_owned(), Array::from_tensor(&weights[name]))).collect();
        let exact = interpret::<f64>(&folded.recipe, &feeds).unwrap().outputs;
        for (name, tensor) in &folded.weights {
            let Array::Real(array) = &exact[name] else { panic!("{name} is a float") };
            let rounded = Tensor::from_f64(float, array.shape.clone(), array.data.iter().copied()).unwrap();
            assert!(
                tensor.to_f64().iter().map(|x| x.to_bits()).eq(rounded.to_f64().iter().map(|x| x.to_bits())),
                "{name}"
            );
        }
    }
}

/// A kernel that two layers share: the one that is scaled gets a weight of its own, and the other keeps the name.
#[test]
fn a_weight_that_stays_as_it_was_keeps_its_name() {
    use foldgrad::Builder;
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "3"]);
    let w = g.parameter("dense/kernel", DType::F32, [3, 3]);
    let [gamma, beta, mean] = ["gamma", "beta", "mean"].map(|name| g.parameter(name, DType::F32, [3]));
    let var = g.state("var", DType::F32, [3]);
    let scaled = g.scoped("dense", || x.dot(w)).batch_norm_infer([gamma, beta, mean, var], 1, 1e-3);
    g.output("scaled", scaled);
    g.output("plain", g.scoped("dense", || x.relu().dot(w)));
    let graph = g.finish().unwrap();
    let weights = graph
        .inputs()
        .skip(1)
        .map(|(name, id)| {
            let sizes = graph.node(id).types()[0].shape.known().unwrap();
            let count = sizes.iter().product::<usize>();
            (name.to_owned(), Tensor::from_f64(DType::F32, sizes, (0..count).map(|i| 0.5 + i as f64)).unwrap())
        })
        .collect();
    let folded = pass::fold(&graph, &weights).unwrap();
    assert_eq!(folded.weights["dense/kernel"], weights["dense/kernel"]);
    let names: Vec<&str> = folded.weights.keys().map(String::as_str).collect();
    assert_eq!(names, ["dense/kernel_1", "dense/bias", "dense/kernel"]);
}
