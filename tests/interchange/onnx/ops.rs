//! Law L8: for every case of every op, reached in every way, the export runs and agrees with the reference interpreter,
//! or says why there is none.

use super::instances::{Instance, all};
use super::runtime::{agree, load, run};
use foldgrad::DType;
use foldgrad::interchange::onnx::{ExportOptions, OnnxError, to_bytes};
use std::collections::{BTreeMap, BTreeSet};

/// The ops that have no export, and what the refusal says.
const REFUSED: &[(&str, &str)] = &[
    ("batch_norm_grad", "a gradient belongs to training"),
    ("batch_norm_train", "belongs to training"),
    ("dropout", "belongs to training"),
    ("pow", "powers of integers"),
    ("random_uniform", "random numbers"),
];

/// What rten does not do; ONNX Runtime runs these as well, by `.ci/check_onnx.py`, and does.
const NOT_IN_RTEN: &[(&str, &str, &str)] = &[
    ("selu", "Selu operator not supported", "it lacks the op"),
    ("batch_norm_infer", "it panics", "it divides by the size of an empty batch"),
    ("arg_max", "y0 differs", "of equal entries it takes the last one, and ONNX means the first"),
];

#[test]
fn every_op_runs_as_it_should_or_is_refused() {
    let mut refused: BTreeMap<&str, String> = BTreeMap::new();
    let mut elsewhere: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    let (mut ran, mut worst) = (0, 0.0f64);
    for instance in [DType::F32, DType::F64].into_iter().flat_map(all) {
        match judge(&instance) {
            Ok(difference) => {
                ran += 1;
                worst = worst.max(difference);
            }
            Err(Fault::Refused(why)) => drop(refused.insert(instance.op, why)),
            Err(Fault::Wrong(why)) if is_known(&instance, &why) => drop(elsewhere.insert(instance.op)),
            Err(Fault::Wrong(why)) => wrong.push(format!("{}: {why}", instance.name)),
        }
    }
    println!("{ran} instances ran, the largest difference is {worst:e}");
    assert!(wrong.is_empty(), "{} instances of {ran} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let known: Vec<&str> = REFUSED.iter().map(|(op, _)| *op).collect();
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), known, "{refused:?}");
    for (op, reason) in REFUSED {
        assert!(refused[op].contains(reason), "{op}: {}", refused[op]);
    }
    assert_eq!(elsewhere.len(), NOT_IN_RTEN.len(), "rten does {elsewhere:?} now: take the others off the list");
    assert!(ran > 4000, "only {ran} instances ran");
}

enum Fault {
    Refused(String),
    Wrong(String),
}

fn is_known(instance: &Instance, why: &str) -> bool {
    let known = NOT_IN_RTEN.iter().any(|(op, message, _)| *op == instance.op && why.contains(message));
    let ties = ["_broadcast_", "_stretched_", "_constant_"].iter().any(|way| instance.name.contains(way));
    known && (instance.op != "arg_max" || ties)
}

fn judge(instance: &Instance) -> Result<f64, Fault> {
    let bytes = match to_bytes(&instance.graph, &instance.weights, &ExportOptions::new()) {
        Ok(bytes) => bytes,
        Err(OnnxError::Unsupported(unsupported)) => return Err(Fault::Refused(unsupported[0].to_string())),
        Err(other) => return Err(Fault::Wrong(other.to_string())),
    };
    let model = load(bytes).map_err(Fault::Wrong)?;
    let mut worst = 0.0f64;
    for (feeds, expected) in &instance.runs {
        let outputs: Vec<&str> = expected.keys().map(String::as_str).collect();
        let found = run(&model, feeds, &outputs).map_err(Fault::Wrong)?;
        worst = worst.max(agree(&found, expected).map_err(Fault::Wrong)?);
    }
    Ok(worst)
}
