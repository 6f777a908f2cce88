//! Law L8: for every case of every op, reached in every way, the export runs and agrees with the reference interpreter,
//! or says why there is none.

use super::instances::{Instance, all};
use super::runtime::{agree, run};
use foldgrad::DType;
use foldgrad::interchange::onnx::{ExportOptions, OnnxError, to_bytes};
use std::collections::BTreeMap;

/// The ops that have no export, and what the refusal says.
const REFUSED: &[(&str, &str)] = &[
    ("batch_norm_grad", "a gradient belongs to training"),
    ("batch_norm_train", "belongs to training"),
    ("dropout", "belongs to training"),
    ("pow", "powers of integers"),
    ("random_uniform", "random numbers"),
];

/// What rten cannot load or run. `.ci/check_onnx.py` runs these as well, in ONNX Runtime.
const NOT_IN_RTEN: &[(&str, &str)] = &[];

#[test]
fn every_op_runs_as_it_should_or_is_refused() {
    let mut refused: BTreeMap<&str, String> = BTreeMap::new();
    let mut elsewhere: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let (mut ran, mut worst) = (0, 0.0f64);
    for dtype in [DType::F32, DType::F64] {
        for instance in all(dtype) {
            match judge(&instance) {
                Ok(Some(difference)) => {
                    ran += 1;
                    worst = worst.max(difference);
                }
                Ok(None) => drop(elsewhere.entry(instance.op.to_owned()).or_default()),
                Err(Fault::Refused(why)) => drop(refused.insert(instance.op, why)),
                Err(Fault::Wrong(why)) => wrong.push(format!("{}: {why}", instance.name)),
            }
        }
    }
    println!("{ran} instances ran, worst difference {worst:e}");
    assert!(wrong.is_empty(), "{} of {ran}:\n{}", wrong.len(), wrong.join("\n"));
    let known: Vec<&str> = REFUSED.iter().map(|(op, _)| *op).collect();
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), known, "{refused:?}");
    for (op, reason) in REFUSED {
        assert!(refused[op].contains(reason), "{op}: {}", refused[op]);
    }
    assert!(ran > 3000, "only {ran} instances ran");
}

enum Fault {
    Refused(String),
    Wrong(String),
}

fn judge(instance: &Instance) -> Result<Option<f64>, Fault> {
    let bytes = match to_bytes(&instance.graph, &instance.weights, &ExportOptions::new()) {
        Ok(bytes) => bytes,
        Err(OnnxError::Unsupported(unsupported)) => return Err(Fault::Refused(unsupported[0].to_string())),
        Err(other) => return Err(Fault::Wrong(other.to_string())),
    };
    let outputs: Vec<&str> = instance.expected.keys().map(String::as_str).collect();
    match run(bytes, &instance.feeds, &outputs) {
        Ok(found) => agree(&found, &instance.expected).map(Some).map_err(Fault::Wrong),
        Err(why) => Err(Fault::Wrong(why)),
    }
}
