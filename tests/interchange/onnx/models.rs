//! Whole models: one file for every batch, sizes from the inputs, and no more nodes than a model needs.

use super::instances::Instance;
use super::networks::{edges, symbolic, tutorials};
use super::runtime::{agree, load, run};
use foldgrad::DType;
use foldgrad::interchange::onnx::{self, Axis, ExportOptions, OnnxFile, to_bytes};
use foldgrad::nn::{Activation, BatchNormalization, Dense, Dropout, Mode, Sequential};
use std::collections::BTreeMap;

fn bytes(instance: &Instance) -> Vec<u8> {
    to_bytes(&instance.graph, &instance.weights, &ExportOptions::new())
        .unwrap_or_else(|error| panic!("{}: {error}", instance.name))
}

pub fn read(bytes: &[u8]) -> OnnxFile {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).expect("written");
    onnx::load(path).expect("what was written is read")
}

fn check(instances: Vec<Instance>) -> usize {
    let mut checked = 0;
    for instance in instances {
        let model = load(bytes(&instance)).unwrap_or_else(|why| panic!("{}: {why}", instance.name));
        for (feeds, expected) in &instance.runs {
            let outputs: Vec<&str> = expected.keys().map(String::as_str).collect();
            let found = run(&model, feeds, &outputs).unwrap_or_else(|why| panic!("{}: {why}", instance.name));
            agree(&found, expected).unwrap_or_else(|why| panic!("{}: {why}", instance.name));
            checked += 1;
        }
    }
    checked
}

#[test]
fn one_file_serves_every_batch() {
    assert_eq!(check(tutorials(DType::F32)) + check(tutorials(DType::F64)), 2 * 3 * 3);
}

#[test]
fn sizes_come_from_the_inputs() {
    assert!(check(symbolic(DType::F32)) + check(symbolic(DType::F64)) > 150);
}

#[test]
fn digits_are_kept_near_zero_and_limits_far_out() {
    assert!(check(edges(DType::F32)) + check(edges(DType::F64)) > 70);
}

fn ops(instance: &Instance) -> BTreeMap<String, usize> {
    read(&bytes(instance)).ops
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.map(|(op, count)| (op.to_owned(), count)).into()
}

/// Batch norm is ONNX's own, the bias is part of `Gemm`, and no node only moves data but for the flattening.
#[test]
fn a_tutorial_has_the_nodes_that_it_needs() {
    let [before, after, none] = &tutorials(DType::F32)[..] else { panic!("there are three") };
    let expected = [("BatchNormalization", 3), ("Gemm", 1), ("MatMul", 3), ("Relu", 3), ("Reshape", 1), ("Softmax", 1)];
    assert_eq!(ops(before), counts(expected));
    assert_eq!(ops(after), counts(expected));
    assert_eq!(ops(none), counts([("Gemm", 4), ("Relu", 3), ("Reshape", 1), ("Softmax", 1)]));
}

#[test]
fn broadcasting_needs_no_node_where_numpy_does_it() {
    let of = |name: &str| {
        let found = symbolic(DType::F32).into_iter().find(|instance| instance.name == format!("symbolic_{name}_f32"));
        ops(&found.expect("there is one of that name"))
    };
    assert_eq!(of("gelu_gate").get("Expand"), None);
    assert_eq!(of("layer_norm").get("Expand"), None);
    assert_eq!(of("normed_last"), {
        let mut ops = counts([("Add", 3), ("Mul", 3), ("Reciprocal", 1), ("Sqrt", 1), ("Sub", 1)]);
        // w² + 0.1, and ε.
        ops.insert("Add".to_owned(), 3);
        ops
    });
    assert_eq!(of("flatten"), counts([("Reshape", 1)]));
    assert_eq!(of("stretched_vector"), counts([("Concat", 1), ("Expand", 1), ("Shape", 1)]));
    assert_eq!(of("clipped"), counts([("Clip", 1)]));
}

#[test]
fn names_and_symbols_are_kept() {
    let instance = &tutorials(DType::F32)[0];
    let bytes = bytes(instance);
    let file = read(&bytes);
    assert_eq!((file.ir_version, file.opset), (onnx::IR_VERSION, onnx::OPSET));
    assert_eq!(file.producer, ("foldgrad".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    let [input] = &file.inputs[..] else { panic!("{:?}", file.inputs) };
    let batch = || Axis::Symbol("batch".to_owned());
    assert_eq!(input.shape, Some(vec![batch(), Axis::Known(28), Axis::Known(28)]));
    assert_eq!(input.element.as_deref(), Some("float"));
    let (name, _) = instance.graph.outputs().next().expect("one output");
    assert_eq!((file.outputs[0].name.as_str(), &file.outputs[0].shape), (name, &Some(vec![batch(), Axis::Known(10)])));
    for (name, weight) in &instance.weights {
        assert_eq!(&file.initializers[name], weight, "{name}");
    }
    for name in ["dense/MatMul", "batch_normalization_2/BatchNormalization", "activation/Relu", "dense_3/Gemm"] {
        let found = bytes.windows(name.len()).filter(|window| *window == name.as_bytes()).count();
        assert!(found > 0, "no node is named {name}");
    }
}

/// A model with dropout exports in inference, whatever state it has in training.
#[test]
fn dropout_and_its_state_are_gone_in_inference() {
    let model = Sequential::new([5])
        .add(Dense::new(4).activation(Activation::Gelu))
        .add(BatchNormalization::new().without_scale())
        .add(Dropout::new(0.5))
        .add(Dense::new(2))
        .build()
        .expect("well declared");
    let graph = model.graph(Mode::Inference, DType::F32).expect("well declared");
    let file = read(&to_bytes(&graph, &model.initial_values(1), &ExportOptions::new()).expect("exported"));
    assert_eq!(file.ops["BatchNormalization"], 1);
    // γ is 1 in full: readers take the vectors of a batch norm for initialisers.
    assert_eq!((file.ops.get("Expand"), file.ops["Gemm"], file.ops["Erf"]), (None, 2, 1));
    assert!(!file.initializers.contains_key("seed_generator/state"));
}
