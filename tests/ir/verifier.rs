//! The verifier accepts whatever the builder makes; that each check fires is tested beside it, on broken graphs.

use crate::graphs;
use foldgrad::plan::PLAN_CHECKS;
use foldgrad::{Builder, DType, Graph, ir};
use std::collections::HashSet;
use std::time::{Duration, Instant};

#[test]
fn every_built_graph_is_valid() {
    for sample in graphs::all() {
        ir::verify(&sample.graph).unwrap_or_else(|errors| panic!("{}: {errors}", sample.name));
        let parsed = ir::parse(&ir::print(&sample.graph)).expect("law L7");
        ir::verify(&parsed).unwrap_or_else(|errors| panic!("{} parsed: {errors}", sample.name));
        let resumed = Builder::resume(sample.graph).finish().expect("nothing was added");
        ir::verify(&resumed).unwrap_or_else(|errors| panic!("{} resumed: {errors}", sample.name));
    }
    ir::verify(&Graph::default()).expect("the empty graph is valid");
}

#[test]
fn checks_are_published_under_stable_labels() {
    let labels: Vec<&str> = ir::CHECKS.iter().map(|check| check.label).collect();
    let expected: Vec<String> = (1..=labels.len()).map(|number| format!("V{number}")).collect();
    assert_eq!(labels, expected);
    let abouts: HashSet<&str> = ir::CHECKS.iter().map(|check| check.about).collect();
    assert_eq!(abouts.len(), labels.len());
}

/// The bound is loose enough for a busy machine and an unoptimised build, and far below what a quadratic check needs.
#[track_caller]
fn verify_quickly(graph: &Graph) {
    let start = Instant::now();
    ir::verify(graph).expect("valid");
    let elapsed = start.elapsed();
    println!("{} nodes verified in {elapsed:?}", graph.len());
    assert!(elapsed < Duration::from_secs(10), "{} nodes took {elapsed:?}", graph.len());
}

#[test]
fn a_long_chain_takes_linear_time() {
    let g = Builder::new();
    let mut x = g.input("x", DType::F32, ["batch", "features"]);
    for step in 0..100_000 {
        x = if step % 2 == 0 { x.tanh() } else { x.exp() };
    }
    g.output("y", x);
    verify_quickly(&g.finish().expect("well typed"));
}

#[test]
fn a_wide_join_takes_linear_time() {
    let g = Builder::new();
    let parts: Vec<_> = (0..100_000).map(|index| g.input(&format!("x{index}"), DType::F32, [1])).collect();
    g.output("joined", g.concat(&parts, 0));
    g.output("shared", g.concat(&vec![parts[0]; 100_000], 0));
    verify_quickly(&g.finish().expect("well typed"));
}

/// The list that docs/ARCHITECTURE.md publishes is the list that runs.
#[test]
fn the_published_list_is_the_real_one() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ARCHITECTURE.md")).unwrap();
    let published: Vec<&str> = page.lines().filter(|line| line.starts_with("| V")).collect();
    let real: Vec<String> = ir::CHECKS.iter().map(|check| format!("| {} | {} |", check.label, check.about)).collect();
    assert_eq!(published, real);
    let published: Vec<&str> = page.lines().filter(|line| line.starts_with("| P")).collect();
    let real: Vec<String> = PLAN_CHECKS.iter().map(|check| format!("| {} | {} |", check.label, check.about)).collect();
    assert_eq!(published, real);
}
