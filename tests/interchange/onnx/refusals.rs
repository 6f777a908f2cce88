//! What has no equal in ONNX is named, all of it at once, with its layer, its line and a way out.

use foldgrad::interchange::onnx::{ExportOptions, OnnxError, Unsupported, to_bytes};
use foldgrad::ir::Weights;
use foldgrad::nn::{BatchNormalization, Dense, Dropout, Mode, Sequential};
use foldgrad::{Builder, DType, Graph, Tensor};

fn refused(graph: &Graph, weights: &Weights) -> OnnxError {
    to_bytes(graph, weights, &ExportOptions::new()).expect_err("it has no export")
}

fn unsupported(graph: &Graph, weights: &Weights) -> Vec<Unsupported> {
    match refused(graph, weights) {
        OnnxError::Unsupported(unsupported) => unsupported,
        other => panic!("{other}"),
    }
}

#[test]
fn a_training_graph_is_refused_with_everything_in_the_way() {
    let model = Sequential::new([4])
        .add(Dense::new(3))
        .add(BatchNormalization::new())
        .add(Dropout::new(0.5))
        .add(Dense::new(2))
        .add(BatchNormalization::new())
        .build()
        .expect("well declared");
    let graph = model.graph(Mode::Training, DType::F32).expect("well declared");
    let found = unsupported(&graph, &model.initial_values(1));
    let ops: Vec<&str> = found.iter().map(|part| part.op).collect();
    let updates = ["update"; 5];
    assert_eq!(ops, [&["batch_norm_train", "dropout", "batch_norm_train"][..], &updates].concat());
    for (part, layer) in found.iter().zip(["batch_normalization", "dropout", "batch_normalization_1"]) {
        assert!(part.node.contains(&format!("in layer `{layer}`")), "{}", part.node);
        assert!(part.node.contains("tests/interchange/onnx/refusals.rs:"), "{}", part.node);
        assert!(part.help.contains("Mode::Inference"), "{}", part.help);
    }
    let message = refused(&graph, &model.initial_values(1)).to_string();
    assert!(message.starts_with("ONNX cannot hold 8 parts of this graph:\n"), "{message}");
    assert_eq!(message.lines().count(), 9, "{message}");
}

#[test]
fn what_follows_a_refused_node_is_judged_as_well() {
    let g = Builder::new();
    let (x, key) = (g.input("x", DType::F32, [3]), g.input("key", DType::I32, [2]));
    let kept = x.dropout(key, 0.5);
    let power = kept.cast(DType::I32).pow(g.scalar(DType::I32, 2.0).broadcast_to([3]));
    g.output("y", power);
    g.output("counted", g.iota(DType::F32, ["unbound"], 0));
    let found = unsupported(&g.finish().expect("well typed"), &Weights::new());
    assert_eq!(found.iter().map(|part| part.op).collect::<Vec<_>>(), ["dropout", "pow", "iota"]);
    assert!(found[2].why.contains("`unbound`"), "{}", found[2]);
}

#[test]
fn weights_that_are_missing_or_wrong_are_named() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "3"]);
    let parameter = |name, shape: [usize; 2]| g.parameter(name, DType::F32, shape);
    let (a, b, c) = (parameter("a", [3, 2]), parameter("b", [2, 2]), parameter("c", [2, 2]));
    parameter("unused", [1, 1]);
    g.output("y", x.dot(a).dot(b).dot(c));
    let graph = g.finish().expect("well typed");
    let weights = Weights::from([
        ("b".to_owned(), Tensor::zeros(DType::F64, [2, 2])),
        ("c".to_owned(), Tensor::zeros(DType::F32, [2, 3])),
        ("more".to_owned(), Tensor::zeros(DType::F32, [1])),
    ]);
    let error = refused(&graph, &weights);
    let OnnxError::Weights(problems) = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 3, "{error}");
    for (problem, parts) in problems.iter().zip([&["`a`", "missing"], &["`b`", "f64[2,2]"], &["`c`", "f32[2,3]"]]) {
        assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
    }
}

#[test]
fn names_that_onnx_would_misread_are_refused() {
    let name = |input: &str, output: &str| {
        let g = Builder::new();
        g.output(output, g.input(input, DType::F32, [2]).relu());
        let error = refused(&g.finish().expect("well typed"), &Weights::new());
        let OnnxError::Name { what, .. } = error else { panic!("{error}") };
        what
    };
    assert_eq!(name("x", "x"), "output");
    assert_eq!(name("x", ""), "output");
    assert_eq!(name("", "y"), "input");
}
