//! What is written is read back, the same bytes each time, in one file or two, whole or not at all.

use super::networks::tutorials;
use super::runtime::{agree, run};
use foldgrad::interchange::onnx::{self, ExportOptions, OnnxError, OnnxFile, Saved};
use foldgrad::ir::Weights;
use foldgrad::{Builder, DType, Graph, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Weights of every element type, with the bits that a careless copy loses.
pub fn small() -> (Graph, Weights) {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "3"]);
    let (w, v) = (g.parameter("w", DType::F32, [3]), g.state("v", DType::F64, [2]));
    let (count, mask) = (g.state("count", DType::I32, [] as [usize; 0]), g.parameter("mask", DType::Bool, [3]));
    g.output("y", g.scoped("first", || mask.broadcast_to(x.shape()).select(x * w, x)));
    g.output("v and", v + 1.0);
    g.output("next count", count + g.scalar(DType::I32, 1.0));
    let floats = [0x7fc0_0001, 0x8000_0000, 0x3dcc_cccd].map(f32::from_bits);
    let weights = Weights::from([
        ("w".to_owned(), Tensor::vector(floats.to_vec())),
        ("v".to_owned(), Tensor::vector(vec![f64::MIN_POSITIVE, 0.1])),
        ("mask".to_owned(), Tensor::vector(vec![true, false, true])),
        ("count".to_owned(), Tensor::scalar(i32::MIN)),
    ]);
    (g.finish().expect("well typed"), weights)
}

/// Bits, so that NaN equals itself.
fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<u64>) {
    (tensor.dtype(), tensor.shape().to_vec(), tensor.to_f64().into_iter().map(f64::to_bits).collect())
}

fn options() -> ExportOptions {
    let remarks = (0..20).map(|index| (format!("key {index}"), format!("\"{index}\"\n\\ 🦀")));
    ExportOptions::new().metadata(remarks.chain([(String::new(), String::new())])).doc("two\nlines").graph_name("net")
}

fn save(path: &Path, options: &ExportOptions) -> Saved {
    let (graph, weights) = small();
    onnx::save(path, &graph, &weights, options).expect("saved")
}

fn is_what_was_saved(file: &OnnxFile) {
    for (name, weight) in small().1 {
        assert_eq!(bits(&file.initializers[&name]), bits(&weight), "{name}");
    }
    let expected: BTreeMap<String, String> =
        (0..20).map(|index| (format!("key {index}"), format!("\"{index}\"\n\\ 🦀"))).collect();
    assert_eq!(file.metadata.get(""), Some(&String::new()));
    assert_eq!(file.metadata.iter().filter(|(key, _)| !key.is_empty()).count(), expected.len());
    assert!(expected.iter().all(|(key, value)| file.metadata[key] == *value));
    assert_eq!((file.doc.as_str(), file.graph_name.as_str()), ("two\nlines", "net"));
    assert_eq!(file.inputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!(file.outputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["y", "v and", "next count"]);
}

#[test]
fn everything_is_read_back() {
    let folder = folder();
    let path = folder.path().join("model.onnx");
    let saved = save(&path, &options());
    let file = onnx::load(&path).expect("loaded");
    is_what_was_saved(&file);
    assert_eq!(saved.bytes, fs::metadata(&path).expect("there").len());
    assert_eq!((saved.external, saved.external_bytes), (None, 0));
    assert_eq!(saved.nodes, file.ops.values().sum::<usize>());
    assert_eq!(saved.initializers, file.initializers.len() + file.others.len());
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
}

#[test]
fn equal_graphs_are_equal_bytes() {
    let (graph, weights) = small();
    let first = onnx::to_bytes(&graph, &weights, &options()).expect("exported");
    for _ in 0..8 {
        let (graph, weights) = small();
        let weights = weights.into_iter().rev().collect();
        assert_eq!(onnx::to_bytes(&graph, &weights, &options()).expect("exported"), first);
    }
    let folder = folder();
    let path = folder.path().join("model.onnx");
    save(&path, &options());
    assert_eq!(fs::read(&path).expect("there"), first);
    for dtype in [DType::F32, DType::F64] {
        for (one, two) in tutorials(dtype).into_iter().zip(tutorials(dtype)) {
            let bytes = |graph, weights| onnx::to_bytes(graph, weights, &options()).expect("exported");
            assert_eq!(bytes(&one.graph, &one.weights), bytes(&two.graph, &two.weights), "{}", one.name);
        }
    }
}

#[test]
fn large_weights_go_beside_the_model() {
    let folder = folder();
    let path = folder.path().join("net.onnx");
    for instance in tutorials(DType::F32) {
        let options = options().external_data_above(10_000);
        let saved = onnx::save(&path, &instance.graph, &instance.weights, &options).expect("saved");
        let beside = folder.path().join("net.onnx.data");
        assert_eq!(saved.external.as_deref(), Some(beside.as_path()));
        let data = fs::read(&beside).expect("there");
        assert_eq!(saved.external_bytes, data.len() as u64);
        assert!(saved.bytes < 20_000, "the weights are still in the model: {} bytes", saved.bytes);
        let model = fs::read(&path).expect("there");
        assert_eq!(model.windows(12).filter(|window| window == b"net.onnx.dat").count(), offsets(&model).len());
        assert!(offsets(&model).iter().all(|offset| offset % 64 == 0), "{:?}", offsets(&model));

        let file = onnx::load(&path).expect("loaded");
        for (name, weight) in &instance.weights {
            assert_eq!(&file.initializers[name], weight, "{name}");
        }
        let runtime = rten::Model::load_file(&path).expect("rten reads it");
        for (feeds, expected) in &instance.runs {
            let outputs: Vec<&str> = expected.keys().map(String::as_str).collect();
            agree(&run(&runtime, feeds, &outputs).expect("it runs"), expected).expect("the same numbers");
        }
        let again = onnx::save(&path, &instance.graph, &instance.weights, &options).expect("saved");
        assert_eq!((again, fs::read(&path).expect("there")), (saved, model));
        assert_eq!(fs::read(&beside).expect("there"), data);
    }
}

/// The `offset` entries of a model's external data.
fn offsets(model: &[u8]) -> Vec<u64> {
    let key = b"\x0a\x06offset\x12";
    let entry = |at: usize| {
        let len = usize::from(model[at + key.len()]);
        let text = &model[at + key.len() + 1..at + key.len() + 1 + len];
        std::str::from_utf8(text).expect("digits").parse().expect("a number")
    };
    model.windows(key.len()).enumerate().filter(|(_, window)| window == key).map(|(at, _)| entry(at)).collect()
}

#[test]
fn the_threshold_is_what_it_says() {
    let folder = folder();
    let path = folder.path().join("net.onnx");
    let instance = &tutorials(DType::F32)[2];
    let (graph, weights) = (&instance.graph, &instance.weights);
    let file = {
        onnx::save(&path, graph, weights, &ExportOptions::new()).expect("saved");
        onnx::load(&path).expect("loaded")
    };
    // The shape of the flattening is the only constant: two 64-bit integers.
    let bytes: u64 = file.initializers.values().map(|tensor| 4 * tensor.len() as u64).sum::<u64>() + 16;
    let save = |above| {
        let options = ExportOptions::new().external_data_above(above);
        onnx::save(&path, graph, weights, &options).expect("saved").external.is_some()
    };
    assert_eq!([save(bytes - 1), save(bytes), save(0), save(u64::MAX)], [true, false, true, false]);
    let options = ExportOptions::new().external_data_above(bytes - 1);
    let error = onnx::to_bytes(graph, weights, &options).expect_err("it needs a data file");
    assert!(matches!(error, OnnxError::TooLarge { bytes: found, limit } if found == bytes && limit == bytes - 1));
    assert!(error.to_string().contains("`save`"), "{error}");
}

#[test]
fn a_failure_leaves_the_old_file() {
    let folder = folder();
    let path = folder.path().join("model.onnx");
    save(&path, &options());
    let before = fs::read(&path).expect("there");
    let (graph, _) = small();
    onnx::save(&path, &graph, &Weights::new(), &options()).expect_err("no weights");
    assert_eq!(fs::read(&path).expect("there"), before);
    let (graph, weights) = small();
    let error = onnx::save(folder.path(), &graph, &weights, &options()).expect_err("a folder");
    assert!(matches!(error, OnnxError::NotAFile { .. }), "{error}");
    let error = onnx::save(folder.path().join("no/where"), &graph, &weights, &options()).expect_err("no folder");
    assert!(matches!(error, OnnxError::Io { action: "write", .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
}
