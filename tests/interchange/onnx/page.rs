//! The table of docs/ONNX.md is written by this test from exports of every op's cases, and says nothing else.

use super::instances::all;
use super::models::read;
use foldgrad::DType;
use foldgrad::interchange::onnx::{ExportOptions, to_bytes};
use foldgrad::op::Op;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Made = BTreeMap<String, BTreeSet<String>>;

/// For each op that has an export, the ops of ONNX that its cases become: those over floats, if there are any, and none
/// with empty operands.
fn made(dtype: DType) -> Made {
    let mut made: [Made; 2] = Default::default();
    for instance in all(dtype).into_iter().filter(|instance| instance.name.contains("_fed_")) {
        let (feeds, _) = &instance.runs[0];
        if feeds.values().any(|tensor| tensor.is_empty()) {
            continue;
        }
        if let Ok(bytes) = to_bytes(&instance.graph, &instance.weights, &ExportOptions::new()) {
            // What passes a value through for its name is not the op's.
            let ops = read(&bytes).ops.into_keys().filter(|op| op != "Identity");
            let exact = feeds.values().next().is_some_and(|tensor| !tensor.dtype().is_float());
            made[usize::from(exact)].entry(instance.op.to_owned()).or_default().extend(ops);
        }
    }
    let [floats, mut all] = made;
    all.extend(floats);
    all
}

fn rows() -> Vec<String> {
    let (single, double) = (made(DType::F32), made(DType::F64));
    let cell = |made: &Made, op: &str| match made.get(op).map(|ops| ops.iter().cloned().collect::<Vec<_>>()) {
        None => "refused".to_owned(),
        Some(ops) if ops.is_empty() => "no node".to_owned(),
        Some(ops) => ops.join(", "),
    };
    let row = |op: &'static str| match (cell(&single, op), cell(&double, op)) {
        _ if op == "input" => "| `input` | graph input, or initialiser | the same |".to_owned(),
        (single, double) if single == double => format!("| `{op}` | {single} | the same |"),
        (single, double) => format!("| `{op}` | {single} | {double} |"),
    };
    Op::names().map(row).collect()
}

#[test]
fn the_table_is_what_exports_are_made_of() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ONNX.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let is_row = |line: &&str| line.starts_with("| `");
    if std::env::var_os("FOLDGRAD_BLESS").is_some() {
        let head: Vec<&str> = page.lines().take_while(|line| !line.starts_with("| ---")).collect();
        let tail = page.lines().skip(head.len() + 1).skip_while(is_row);
        let rows = rows();
        let all: Vec<&str> = head
            .iter()
            .copied()
            .chain(["| --- | --- | --- |"])
            .chain(rows.iter().map(String::as_str))
            .chain(tail)
            .collect();
        std::fs::write(&path, all.join("\n") + "\n").expect("written");
        return;
    }
    let found: Vec<&str> = page.lines().filter(is_row).collect();
    assert_eq!(found, rows(), "write it anew: FOLDGRAD_BLESS=1 cargo test --test interchange onnx::page");
}
