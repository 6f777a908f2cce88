//! Fused files whose parts do not fit each other: an error that names the file, the weight and the field, and never a tensor
//! of another length than its type says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use foldgrad::exec::{Options, Predictor};
use foldgrad::interchange::fused::{self, FusedError, Unfused};
use foldgrad::interchange::onnx::{self, ExportOptions};
use foldgrad::ir::Weights;
use foldgrad::{Builder, DType, Tensor};
use serde_json::{Value, json};
use std::io::Write;

const DECLARED: &str = "graph {
%x=input(){name=\"x\",role=data,type=f64[batch,4]}
%w=input(){name=\"w\",role=parameter,type=f64[4]}
%b=broadcast(%w){shape=[batch,4],dims=[1]}
%y=add(%x,%b)
output \"y\"=%y
}";

/// The recipe's only weight has one type, and what leads to the file's has another.
fn recipe(dtype: DType) -> String {
    let (cast, result) = match dtype {
        DType::F64 => (String::new(), "%0"),
        _ => ("%1=cast(%0){dtype=f64}\n".to_owned(), "%1"),
    };
    format!("graph {{\n%0=input(){{name=\"w\",role=parameter,type={dtype}[4]}}\n{cast}output \"w\"={result}\n}}")
}

fn packed(entries: &Value, bytes: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(entries.to_string().as_bytes()).unwrap();
    encoder.write_all(b"\n").unwrap();
    encoder.write_all(bytes).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

/// A file with the weight `w`, and what it says of the one that it was made from.
fn unfused(held: &Tensor, recipe: &str, entries: &Value, bytes: &[u8]) -> Result<Unfused, FusedError> {
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["batch".into(), foldgrad::ir::Dim::Known(4)]);
    let w = g.parameter("w", held.dtype(), held.shape());
    let w = if held.dtype() == DType::F64 { w } else { w.cast(DType::F64) };
    g.output("y", x + w.broadcast_to(x.shape()));
    let metadata = [
        ("foldgrad.declared", DECLARED.to_owned()),
        ("foldgrad.recipe", recipe.to_owned()),
        ("foldgrad.originals", packed(entries, bytes)),
        ("foldgrad.explanation", "x".to_owned()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let weights = Weights::from([("w".to_owned(), held.clone())]);
    onnx::save(&path, &g.finish().unwrap(), &weights, &ExportOptions::new().metadata(metadata)).unwrap();
    fused::unfuse(&path)
}

fn entry(changes: &[(&str, Value)]) -> Value {
    let mut entry = json!({ "name": "w", "type": "f64", "shape": [4], "how": "predicted", "from": "w", "bytes": 4 });
    for (key, value) in changes {
        entry[*key] = value.clone();
    }
    json!([entry])
}

#[track_caller]
fn refused(field: &str, outcome: Result<Unfused, FusedError>) {
    let error = outcome.expect_err("the file is wrong");
    let text = error.to_string();
    assert!(matches!(error, FusedError::Damaged { .. }), "{text}");
    for part in ["model.onnx", "foldgrad.originals", "the weight `w`", &format!("`{field}`")] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_file_that_is_right_gives_its_weight() {
    let held = Tensor::vector(vec![1.0f64, -2.0, 3.0, 0.5]);
    let found = unfused(&held, &recipe(DType::F64), &entry(&[]), &[0; 4]).unwrap();
    assert_eq!(found.weights["w"], held);
    let p = Predictor::new(found.graph, found.weights, &Options::default()).unwrap();
    assert_eq!(p.predict(&[&Tensor::zeros(DType::F64, [1, 4])]).unwrap()[0].to_f64(), held.to_f64());
    // A correction of −1 unit.
    let found = unfused(&held, &recipe(DType::F64), &entry(&[]), &[1, 0, 0, 0]).unwrap();
    assert_eq!(found.weights["w"].to_f64()[0], 1.0f64.next_down());
}

#[test]
fn a_weight_that_is_no_float_is_not_predicted() {
    // No element is corrected, so none came of it: a tensor of four elements with a buffer of none.
    for held in [Tensor::vector(vec![1, 1, 1, 1]), Tensor::vector(vec![true; 4])] {
        for bytes in [0, 4] {
            for claimed in ["f64", "f32", "i32", "bool"] {
                let entries = entry(&[("bytes", json!(bytes)), ("type", json!(claimed))]);
                refused("bytes", unfused(&held, &recipe(held.dtype()), &entries, &vec![0; bytes]));
            }
        }
    }
}

#[test]
fn as_many_corrections_as_elements() {
    let held = Tensor::vector(vec![1.0f64, -2.0, 3.0, 0.5]);
    for bytes in [vec![], vec![0; 3], vec![0; 5], vec![0, 0, 0, 0x80], vec![0x80; 40], vec![0xff; 4]] {
        refused("bytes", unfused(&held, &recipe(DType::F64), &entry(&[("bytes", json!(bytes.len()))]), &bytes));
    }
    // More than there are, and more than can be.
    for bytes in [json!(5), json!(1u64 << 40), json!(u64::MAX), json!(-1), json!(null), json!("4")] {
        refused("bytes", unfused(&held, &recipe(DType::F64), &entry(&[("bytes", bytes)]), &[0; 4]));
    }
}

#[test]
fn what_is_stored_fills_its_shape() {
    let held = Tensor::vector(vec![1.0f64, -2.0, 3.0, 0.5]);
    for (claimed, shape, bytes) in [
        ("f64", json!([4]), 0),
        ("f64", json!([4]), 8),
        ("f64", json!([4]), 31),
        ("f64", json!([4]), 40),
        ("f32", json!([4]), 32),
        ("i32", json!([]), 0),
        ("bool", json!([1u64 << 32, 1u64 << 32]), 0),
        ("bool", json!([u64::MAX]), 4),
        ("f64", json!([1u64 << 62]), 8),
    ] {
        let stored = [("how", json!("stored")), ("type", json!(claimed)), ("shape", shape), ("bytes", json!(bytes))];
        refused("bytes", unfused(&held, &recipe(DType::F64), &entry(&stored), &vec![1; bytes]));
    }
}

#[test]
fn what_is_kept_is_of_the_type_that_is_said() {
    for held in [Tensor::vector(vec![1.0f64; 4]), Tensor::vector(vec![3; 4])] {
        for (claimed, shape) in
            [("f32", json!([4])), ("f64", json!([2, 2])), ("f64", json!([4000])), ("bool", json!([4]))]
        {
            let kept = [("how", json!("kept")), ("type", json!(claimed)), ("shape", shape), ("bytes", json!(0))];
            refused("type", unfused(&held, &recipe(held.dtype()), &entry(&kept), &[]));
        }
    }
}

#[test]
fn every_field_of_an_entry_is_looked_at() {
    let held = Tensor::vector(vec![1.0f64; 4]);
    for (field, wrong) in [
        ("how", json!("guessed")),
        ("how", json!(1)),
        ("type", json!("f16")),
        ("type", json!(null)),
        ("shape", json!("[4]")),
        ("shape", json!([4, -1])),
        ("shape", json!([4.5])),
        ("from", json!("another")),
        ("from", json!(null)),
    ] {
        refused(field, unfused(&held, &recipe(DType::F64), &entry(&[(field, wrong)]), &[0; 4]));
    }
    for entries in [json!([{}]), json!([[]]), json!([{ "name": 5 }]), json!({}), json!(7)] {
        let error = unfused(&held, &recipe(DType::F64), &entries, &[]).unwrap_err();
        assert!(matches!(error, FusedError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_weight_of_another_type_than_the_declared_graph_has_is_not_run() {
    // The file is whole, but for the type that its weight has in the declared graph.
    let held = Tensor::vector(vec![1, 2, 3, 4]);
    let kept = [("how", json!("kept")), ("type", json!("i32")), ("bytes", json!(0))];
    let found = unfused(&held, &recipe(DType::I32), &entry(&kept), &[]).unwrap();
    assert_eq!(found.weights["w"], held);
    let error = Predictor::new(found.graph, found.weights, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("`w` is f64[4]"), "{error}");
}
