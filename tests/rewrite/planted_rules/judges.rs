//! The two judges: values at sampled points, and the prover of the rewriter.

use super::examples::Example;
use crate::common::{Magnitude, Random};
use foldgrad::ir::{OrderedMap, Role, Weights};
use foldgrad::op::Domain;
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::rewrite::{RewriteError, Rewriter, Rule};
use foldgrad::{DType, Graph};

/// Law R3: a rewritten graph has the values of the graph before, in f64, at every point. The number of rewrites.
pub fn law(example: Example, rules: &[&'static Rule]) -> Result<usize, String> {
    let graph = example.graph();
    let mut fired = 0;
    for (point, batch) in [3, 1, 4].into_iter().enumerate() {
        let feeds = |point| feeds(&graph, point as u64, batch);
        let weights: Weights = (feeds(point).iter())
            .filter(|(name, _)| is_weight(&graph, name))
            .map(|(name, array)| (name.clone(), array.to_tensor(DType::F64).expect("a weight is a tensor")))
            .collect();
        let mut rewriter = Rewriter::new().weights(weights);
        let after = rewriter.run(&graph, rules).map_err(|error| error.to_string())?;
        fired += rewriter.fired().len();
        same(&graph, &after, &feeds(point))?;
    }
    Ok(fired)
}

/// The proof at compile time. The number of rewrites.
pub fn proof(example: Example, rules: &[&'static Rule]) -> Result<usize, RewriteError> {
    let graph = example.graph();
    let weights = (feeds(&graph, 0, 3).iter())
        .filter(|(name, _)| is_weight(&graph, name))
        .map(|(name, array)| (name.clone(), array.to_tensor(DType::F64).expect("a weight is a tensor")))
        .collect();
    let mut rewriter = Rewriter::new().weights(weights).proved(&graph).expect("the example is small");
    rewriter.run(&graph, rules)?;
    Ok(rewriter.fired().len())
}

fn is_weight(graph: &Graph, name: &str) -> bool {
    let role = graph.input(name).and_then(|id| graph.as_input(id)).map(|(_, role)| role);
    role.is_some_and(|role| role != Role::Data)
}

type Feeds = OrderedMap<String, Array<f64>>;

/// What a point feeds: names say which weights must be positive. Channel 0 is nasty at the first point.
fn feeds(graph: &Graph, point: u64, batch: usize) -> Feeds {
    let mut random = Random(0xBAD + point);
    let mut feeds = Feeds::new();
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(batch)).collect();
        let positive = name.contains("var") || name.contains("positive");
        let domain = if positive { Domain::Range(0.3, 2.0) } else { Domain::AwayFromZero(0.3, 2.0) };
        let mut array: Array<f64> = random.array(DType::F64, &shape, domain);
        if let (Array::Real(array), 1, "var" | "gamma") = (&mut array, point, name) {
            array.data[0] = 0.0;
        }
        feeds.insert(name.to_owned(), array);
    }
    feeds
}

fn same(before: &Graph, after: &Graph, feeds: &Feeds) -> Result<(), String> {
    let wide = |array: &Array<f64>| Array::from_tensor(&array.to_tensor(DType::F64).expect("a tensor"));
    let magnitudes: OrderedMap<String, Array<Magnitude>> = feeds.iter().map(|(n, a)| (n.clone(), wide(a))).collect();
    let truth = interpret(before, &magnitudes).map_err(|error| error.to_string())?;
    let found = interpret(after, feeds).map_err(|error| error.to_string())?;
    let truth = truth.outputs.iter().chain(&truth.updates);
    for ((name, truth), found) in truth.zip(found.outputs.values().chain(found.updates.values())) {
        for (truth, found) in truth.real().data.iter().zip(&found.real().data) {
            let is_close = (truth.to_f64() - found).abs() <= 1e-12 * truth.size;
            if !is_close {
                return Err(format!("`{name}` is {found} instead of {}", truth.value));
            }
        }
    }
    Ok(())
}
