//! Every pipeline takes every graph, whichever of its sizes are known: it is never an error, each value stays what the
//! reference gives, no rule fires that would have to be taken back, and a second run finds nothing to do.

use crate::common::graphs::{Made, Recipe, recipes, symbolic, symbolic_training};
use crate::common::{Magnitude, Random, config};
use foldgrad::ir::{Dim, OrderedMap, Symbol, Weights};
use foldgrad::op::Domain;
use foldgrad::pass::{Pipeline, fold, fold_weights};
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::rewrite::{Equality, Prover, work};
use foldgrad::{DType, Graph};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;

/// Graphs of a run: forward alone, and with gradients.
const FORWARD: u32 = 2600;
const TRAINING: u32 = 800;

#[derive(Debug, Default)]
struct Seen {
    graphs: usize,
    nodes: usize,
    rewrites: usize,
    folded: usize,
    /// Graphs with a parameter whose size is not known.
    open: usize,
}

/// Random values for every input of the graph, with these sizes.
fn feeds<S: Number>(graph: &Graph, weights: &Weights, seed: u64, sizes: [usize; 2]) -> OrderedMap<String, Array<S>> {
    let mut random = Random(seed);
    let mut feeds = OrderedMap::new();
    let n = Symbol::new("n");
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let size = |dim: &Dim| dim.known().unwrap_or(sizes[usize::from(*dim != Dim::Symbol(n))]);
        let shape: Vec<usize> = ty.shape.iter().map(size).collect();
        // What some graph divides by is positive.
        let domain = if name.starts_with('p') { Domain::Range(0.6, 1.6) } else { Domain::Range(-1.5, 1.5) };
        let drawn = random.array(DType::F64, &shape, domain).to_tensor(DType::F64).expect("a tensor");
        let tensor = weights.get(name).unwrap_or(&drawn);
        feeds.insert(name.to_owned(), Array::from_tensor(tensor));
    }
    feeds
}

/// Sizes of `n` and `m`.
const SIZES: [[usize; 2]; 2] = [[3, 2], [1, 1]];

type Outputs = OrderedMap<String, Array<Magnitude>>;

/// What the reference gives for a graph with these sizes.
fn truth(made: &Made, sizes: [usize; 2]) -> Result<Outputs, String> {
    let given = feeds(&made.graph, &made.weights, made.seed, sizes);
    Ok(interpret(&made.graph, &given).map_err(|error| error.to_string())?.outputs)
}

/// The outputs of `found`, over these weights, are the true ones.
fn same_values(truth: &Outputs, found: &Graph, weights: &Weights, seed: u64, sizes: [usize; 2]) -> Result<(), String> {
    let given = feeds::<f64>(found, weights, seed, sizes);
    let outputs = interpret(found, &given).map_err(|error| error.to_string())?.outputs;
    for (name, truth) in truth {
        for (truth, found) in truth.real().data.iter().zip(&outputs[name].real().data) {
            let is_close = (truth.value - found).abs() <= 1e-11 * truth.size.max(1e-3);
            if !(is_close || (truth.value.is_nan() && found.is_nan())) {
                return Err(format!("`{name}` is {found} instead of {truth:?} with sizes {sizes:?}"));
            }
        }
    }
    Ok(())
}

fn check(made: &Made, seen: &mut Seen) -> Result<(), String> {
    seen.graphs += 1;
    seen.nodes += made.graph.len();
    let [usual, ones] = SIZES;
    let truths = [truth(made, usual)?, truth(made, ones)?];
    for (name, pipeline) in [
        ("training", Pipeline::training()),
        ("inference", Pipeline::inference()),
        ("as_declared", Pipeline::as_declared()),
    ] {
        let failed = |reason: String| format!("{name}: {reason}\n{}", made.graph);
        let pipeline = pipeline.proved(true);
        let run = |graph: &Graph| {
            pipeline.run_with(graph, &made.weights, &mut |_, _| {}).map_err(|error| failed(error.to_string()))
        };
        let outcome = run(&made.graph)?;
        let after = &outcome.graph;
        seen.rewrites += outcome.fired.len();
        if let Some(refused) = outcome.refused.iter().find(|refused| refused.reason.contains("does not pay")) {
            return Err(failed(format!("`{}` at {}: {}", refused.rule.name, refused.subject, refused.reason)));
        }
        if work(after) > work(&made.graph) {
            return Err(failed(format!("more work in\n{after}")));
        }
        let again = run(after)?;
        if !again.fired.is_empty() || again.graph.to_string() != after.to_string() {
            return Err(failed(format!("not at rest:\n{after}\nbecame\n{}", again.graph)));
        }
        let mut prover = Prover::with_weights(&made.graph, &made.weights).map_err(|error| failed(error.to_string()))?;
        if let Err(unequal) = prover.check(&made.graph, after, &[], Equality::Algebraic) {
            // Some rules rest on signs, and are compared below.
            let on_signs = outcome.fired.iter().any(|fired| fired.equality == Equality::Sampled);
            if !on_signs {
                return Err(failed(format!("{unequal} in\n{after}")));
            }
        }
        for (truth, sizes) in truths.iter().zip(SIZES) {
            same_values(truth, after, &made.weights, made.seed, sizes)
                .map_err(|reason| failed(format!("{reason} in\n{after}")))?;
        }
    }
    // A parameter of unknown size has no value to be folded.
    let is_open = |id| {
        made.graph
            .as_input(id)
            .is_some_and(|(name, role)| role != foldgrad::op::Role::Data && !made.weights.contains_key(name))
    };
    if made.graph.inputs().any(|(_, id)| is_open(id)) {
        seen.open += 1;
        return match fold_weights(&made.graph, &made.weights) {
            Ok(_) => Err(format!("folded without a value:\n{}", made.graph)),
            Err(error) if error.to_string().contains("there is no value for") => Ok(()),
            Err(error) => Err(error.to_string()),
        };
    }
    seen.folded += 1;
    let folded = fold(&made.graph, &made.weights).map_err(|error| format!("fold: {error}\n{}", made.graph))?;
    let _ = folded.explanation().to_string();
    same_values(&truths[0], &folded.graph, &folded.weights, made.seed, usual)
        .map_err(|reason| format!("fold: {reason}\n{}\nbecame\n{}", made.graph, folded.graph))
}

#[track_caller]
fn for_graphs(default: u32, most: usize, build: fn(&Recipe) -> Made) -> Seen {
    let seen = RefCell::new(Seen::default());
    let law = |recipe: Recipe| check(&build(&recipe), &mut seen.borrow_mut()).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config(default)).run(&recipes(2..most), law) {
        panic!("{failure}");
    }
    seen.into_inner()
}

#[test]
fn every_pipeline_takes_every_forward_graph() {
    let seen = for_graphs(FORWARD, 12, symbolic);
    println!("{seen:?}");
    assert!(seen.graphs < 500 || (seen.open * 4 > seen.graphs && seen.folded * 8 > seen.graphs), "{seen:?}");
}

#[test]
fn every_pipeline_takes_every_graph_with_gradients() {
    let seen = for_graphs(TRAINING, 8, symbolic_training);
    println!("{seen:?}");
    assert!(seen.graphs < 500 || seen.rewrites > seen.graphs / 4, "{seen:?}");
}
