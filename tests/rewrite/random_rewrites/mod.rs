//! Random graphs through every pass alone, through the passes in random order, and through whole pipelines: the meaning
//! stays, exactly; the work never rises; what is at rest stays at rest; and the same graph gives the same graph.
//!
//! `PROPTEST_CASES` sets the number of graphs. A failure prints the graph, shrunken, and the passes.

mod pipelines;

use crate::common::graphs::{Made, Recipe, inference, recipes, training};
use crate::common::{Magnitude, Random, config};
use foldgrad::DType;
use foldgrad::ir::{OrderedMap, Weights, verify};
use foldgrad::pass::{Outcome, Pass, Pipeline, fold_weights};
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::rewrite::{Equality, Prover, Rule, rules, work};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Graphs of a run of all tests here: so many of inference, the rest of training.
const INFERENCE: u32 = 4000;
const TRAINING: u32 = 1000;

#[derive(Debug, Default)]
struct Seen {
    graphs: usize,
    nodes: usize,
    largest: usize,
    rewrites: usize,
    /// Graphs whose whole pipeline was no algebra.
    by_samples: usize,
    fired: BTreeMap<&'static str, usize>,
    refused: BTreeMap<&'static str, usize>,
}

/// Sends random graphs through a pipeline and its parts.
#[track_caller]
fn for_graphs(default: u32, most: usize, build: fn(&Recipe) -> Made, pipeline: fn() -> Pipeline) -> Seen {
    let seen = RefCell::new(Seen::default());
    let law = |recipe: Recipe| check(&build(&recipe), &pipeline(), &mut seen.borrow_mut()).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config(default)).run(&recipes(2..most), law) {
        panic!("{failure}");
    }
    seen.into_inner()
}

fn check(made: &Made, pipeline: &Pipeline, seen: &mut Seen) -> Result<(), String> {
    seen.graphs += 1;
    seen.nodes += made.graph.len();
    seen.largest = seen.largest.max(made.graph.len());
    let failed = |passes: &[Pass], reason: String| {
        let names: Vec<&str> = passes.iter().map(|pass| pass.name).collect();
        format!("after {}: {reason}\n{}", names.join(", "), made.graph)
    };
    let mut prover = Prover::with_weights(&made.graph, &made.weights).map_err(|error| error.to_string())?;
    let all = pipeline.passes();
    let mut order = all.to_vec();
    let mut random = Random(made.seed);
    (1..order.len()).for_each(|i| order.swap(i, random.below(i + 1)));
    for pass in all {
        let alone = std::slice::from_ref(pass);
        let (outcome, _) = sent(made, alone, &mut prover).map_err(|reason| failed(alone, reason))?;
        at_rest(made, alone, &outcome).map_err(|reason| failed(alone, reason))?;
    }
    sent(made, &order, &mut prover).map_err(|reason| failed(&order, reason))?;
    let (outcome, equality) = sent(made, all, &mut prover).map_err(|reason| failed(all, reason))?;
    at_rest(made, all, &outcome).map_err(|reason| failed(all, reason))?;
    if made.graph.updates().len() == 0 {
        folded(made, &outcome).map_err(|reason| failed(all, reason))?;
    }
    seen.by_samples += usize::from(equality == Equality::Sampled);
    seen.rewrites += outcome.fired.len();
    outcome.fired.iter().for_each(|fired| *seen.fired.entry(fired.rule.name).or_default() += 1);
    outcome.refused.iter().for_each(|refused| *seen.refused.entry(refused.rule.name).or_default() += 1);
    Ok(())
}

/// Sends a graph through passes, each proved, and compares the ends once more.
fn sent(made: &Made, passes: &[Pass], prover: &mut Prover) -> Result<(Outcome, Equality), String> {
    let pipeline = Pipeline::new(passes).proved(true);
    let run = || pipeline.run_with(&made.graph, &made.weights, &mut |_, _| {}).map_err(|error| error.to_string());
    let outcome = run()?;
    let (before, after) = (&made.graph, &outcome.graph);
    let became = |what: &str| format!("{what}: it became\n{after}");
    verify(after).map_err(|errors| became(&errors.to_string()))?;
    if work(after) > work(before) {
        return Err(became(&format!("the work rose from {:?} to {:?}", work(before), work(after))));
    }
    let steps = outcome.passes.iter().all(|record| record.work[1] <= record.work[0]);
    if !steps {
        return Err(became("the work rose on the way"));
    }
    if run()?.graph.to_string() != after.to_string() {
        return Err(became("another graph the second time"));
    }
    // Signs and orders are no algebra: rules that lean on them are compared in f64.
    if let Err(unequal) = prover.check(before, after, &[], Equality::Algebraic) {
        if !outcome.fired.iter().any(|fired| leans_on_signs(fired.rule)) {
            return Err(became(&unequal.to_string()));
        }
        prover.check(before, after, &[], Equality::Sampled).map_err(|unequal| became(&unequal.to_string()))?;
        return Ok((outcome, Equality::Sampled));
    }
    Ok((outcome, Equality::Algebraic))
}

fn leans_on_signs(rule: &Rule) -> bool {
    rules::FOLDS.iter().chain(rules::PARTIAL_FOLDS).any(|fold| fold.name == rule.name)
}

/// A second time, the same passes find nothing to do.
fn at_rest(made: &Made, passes: &[Pass], outcome: &Outcome) -> Result<(), String> {
    let pipeline = Pipeline::new(passes).proved(true);
    let again = pipeline.run_with(&outcome.graph, &made.weights, &mut |_, _| {}).map_err(|error| error.to_string())?;
    let rules: Vec<&str> = again.fired.iter().map(|fired| fired.rule.name).collect();
    if !rules.is_empty() || again.graph.to_string() != outcome.graph.to_string() {
        return Err(format!("not at rest, {rules:?} from\n{}", outcome.graph));
    }
    Ok(())
}

/// With its weights folded, the graph has the outputs that the reference interpreter finds for the one before.
fn folded(made: &Made, outcome: &Outcome) -> Result<(), String> {
    let folded = fold_weights(&outcome.graph, &made.weights).map_err(|error| error.to_string())?;
    let truth = interpret(&made.graph, &feeds::<Magnitude>(made, &made.weights)).map_err(|error| error.to_string())?;
    let mut given = feeds::<f64>(made, &folded.weights);
    given.retain(|name, _| folded.graph.input(name).is_some());
    let found = interpret(&folded.graph, &given).map_err(|error| error.to_string())?;
    for (name, truth) in &truth.outputs {
        for (truth, found) in truth.real().data.iter().zip(&found.outputs[name].real().data) {
            let is_close = (truth.value - found).abs() <= 1e-12 * truth.size.max(1e-3);
            if !is_close {
                return Err(format!("`{name}` is {found} instead of {truth:?} in\n{}", folded.graph));
            }
        }
    }
    Ok(())
}

/// Random data for a batch of 2, and weights.
fn feeds<S: Number>(made: &Made, weights: &Weights) -> OrderedMap<String, Array<S>> {
    let mut random = Random(!made.seed);
    let mut feeds = OrderedMap::new();
    for (name, id) in made.graph.inputs().filter(|(name, _)| !made.weights.contains_key(*name)) {
        let shape: Vec<usize> =
            made.graph.node(id).types()[0].shape.iter().map(|dim| dim.known().unwrap_or(2)).collect();
        let array = random.array(DType::F64, &shape, foldgrad::op::Domain::Range(-1.5, 1.5));
        feeds.insert(name.to_owned(), Array::from_tensor(&array.to_tensor(DType::F64).expect("a tensor")));
    }
    feeds.extend(weights.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))));
    feeds
}

/// Each of these rules fired in at least one of so many graphs.
#[track_caller]
fn covers<'r>(seen: &Seen, rules: impl IntoIterator<Item = &'r &'static Rule>, one_in: usize) {
    for rule in rules {
        let fired = seen.fired.get(rule.name).copied().unwrap_or(0);
        assert!(seen.graphs < 1000 || fired * one_in >= seen.graphs, "`{}` fired {fired} times: {seen:#?}", rule.name);
    }
}

#[test]
fn random_inference_graphs_keep_their_meaning() {
    let seen = for_graphs(INFERENCE, 16, inference, Pipeline::inference);
    println!("{seen:#?}");
    covers(&seen, rules::FOLDS, 50);
    covers(&seen, rules::PARTIAL_FOLDS, 200);
    covers(&seen, rules::AT_REST, 50);
    covers(&seen, rules::IDENTITIES, 200);
}

#[test]
fn random_training_graphs_keep_their_meaning() {
    let seen = for_graphs(TRAINING, 9, training, Pipeline::training);
    println!("{seen:#?}");
    covers(&seen, rules::DEAD_BIAS, 20);
}
