//! Random inference graphs through the predictor: whatever it cuts into blocks, each row is that of the whole batch, by the
//! reference.
//!
//! `PROPTEST_CASES` sets the number of graphs. A failure prints the graph, shrunken.

use crate::common::graphs::{Made, Recipe, recipes, rows};
use crate::common::running::{SETS, options};
use crate::common::{Magnitude, Random, config};
use foldgrad::exec::{BLOCK, Predictor};
use foldgrad::ir::OrderedMap;
use foldgrad::op::Domain;
use foldgrad::reference::{Array, interpret};
use foldgrad::{DType, Tensor};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;

const GRAPHS: u32 = 2000;

/// Around the edges of blocks, or any number.
fn row_count(random: &mut Random, threads: usize) -> usize {
    let most = BLOCK * threads;
    let edges = [1, 2, 3, 127, 128, 129, 255, 256, 257, most - 1, most, most + 1, most + 2, 2 * most + 1, 999, 1000];
    if random.below(3) == 0 { 1 + random.below(1000) } else { edges[random.below(edges.len())].min(1000) }
}

#[derive(Debug, Default)]
struct Seen {
    graphs: usize,
    nodes: usize,
    /// Batches of more than a block a thread: those that were cut, and those that were not.
    cut: usize,
    whole: usize,
}

fn check(made: &Made, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random(!made.seed);
    // With eight threads no batch here is long enough to be cut.
    let threads = [1, 1, 2, 2, 3, 8][random.below(6)];
    let set = SETS[random.below(SETS.len())];
    let count = row_count(&mut random, threads);
    let mut feeds: OrderedMap<String, Array<f64>> = OrderedMap::new();
    for (name, id) in made.graph.inputs().filter(|(name, _)| !made.weights.contains_key(*name)) {
        let ty = &made.graph.node(id).types()[0];
        let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(count)).collect();
        let domain = if ty.dtype == DType::I32 { Domain::Integers(0, 3) } else { Domain::Range(-1.5, 1.5) };
        feeds.insert(name.to_owned(), random.array(ty.dtype, &shape, domain));
    }
    let inputs: Vec<Tensor> = feeds
        .iter()
        .map(|(name, array)| {
            let id = made.graph.input(name).expect("an input");
            array.to_tensor(made.graph.node(id).types()[0].dtype).expect("a tensor")
        })
        .collect();
    let failed = |reason: String| format!("{count} rows, {threads} threads, {set:?}: {reason}\n{}", made.graph);
    let options = options(set, threads, false);
    let predictor = Predictor::new(made.graph.clone(), made.weights.clone(), &options)
        .map_err(|error| failed(error.to_string()))?;
    let found = predictor.predict(&inputs.iter().collect::<Vec<_>>()).map_err(|error| failed(error.to_string()))?;
    if count > BLOCK * threads {
        let is_cut = !predictor.planned().contains(&count);
        seen.cut += usize::from(is_cut);
        seen.whole += usize::from(!is_cut);
    }
    seen.graphs += 1;
    seen.nodes += made.graph.len();
    let of_tensor = |(name, tensor): (&String, &Tensor)| (name.clone(), Array::<Magnitude>::from_tensor(tensor));
    let given = feeds.keys().zip(&inputs).chain(&made.weights).map(of_tensor).collect();
    let truth = interpret::<Magnitude>(&made.graph, &given).map_err(|error| failed(error.to_string()))?;
    for ((name, truth), found) in truth.outputs.iter().zip(&found) {
        if truth.shape() != found.shape() {
            return Err(failed(format!("`{name}` has the shape {:?}", found.shape())));
        }
        for (at, (truth, found)) in truth.real().data.iter().zip(found.to_f64()).enumerate() {
            let is_close = (truth.value - found).abs() <= 1e-12 * truth.size.max(1e-3);
            if !(is_close || (truth.value.is_nan() && found.is_nan())) {
                return Err(failed(format!("element {at} of `{name}` is {found} instead of {truth:?}")));
            }
        }
    }
    Ok(())
}

#[test]
fn random_graphs_predict_what_the_reference_gives_for_the_whole_batch() {
    let seen = RefCell::new(Seen::default());
    let law = |recipe: Recipe| check(&rows(&recipe), &mut seen.borrow_mut()).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config(GRAPHS)).run(&recipes(2..11), law) {
        panic!("{failure}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.graphs < 500 || (seen.cut * 8 > seen.graphs && seen.whole * 8 > seen.graphs), "{seen:?}");
}
