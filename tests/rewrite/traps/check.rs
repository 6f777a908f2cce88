//! Folds a trap, holds the result to what every folded graph obeys, and lets the trap say the rest.

use super::net::Net;
use crate::common::{Magnitude, Random};
use foldgrad::ir::{OrderedMap, Role, Weights, verify};
use foldgrad::op::Domain;
use foldgrad::pass::{Outcome, Pipeline, Weighted, fold_weights};
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::rewrite::work;
use foldgrad::{DType, Graph};

/// A trap before and after, in one element type.
pub struct Folded {
    pub before: Graph,
    pub weights: Weights,
    pub outcome: Outcome,
    pub folded: Weighted,
}

/// A trap in every element type that it was folded in.
pub struct Trap(pub Vec<Folded>);

/// Folds a graph in f64 and in f32.
#[track_caller]
pub fn fold(build: impl Fn(&Net)) -> Trap {
    Trap([DType::F64, DType::F32].into_iter().flat_map(|dtype| fold_in(dtype, &build).0).collect())
}

#[track_caller]
pub fn fold_in(dtype: DType, build: impl Fn(&Net)) -> Trap {
    let net = Net::new(dtype);
    build(&net);
    let (before, weights) = net.finish();
    Trap(vec![folded(before, weights)])
}

#[track_caller]
pub fn folded(before: Graph, weights: Weights) -> Folded {
    let pipeline = Pipeline::inference().proved(true);
    let run =
        |graph: &Graph| pipeline.run_with(graph, &weights, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let outcome = run(&before);
    let folded = fold_weights(&outcome.graph, &weights).expect("every weight has a value");
    let context = || format!("{before}became {}and {}", outcome.graph, folded.graph);
    for graph in [&outcome.graph, &folded.graph, &folded.recipe] {
        assert!(verify(graph).is_ok(), "{}", context());
    }
    assert!(work(&outcome.graph) <= work(&before), "more work\n{}", context());
    let again = run(&outcome.graph);
    assert!(
        again.fired.is_empty() && again.graph.to_string() == outcome.graph.to_string(),
        "not at rest\n{}",
        context()
    );
    assert_eq!(run(&before).graph.to_string(), outcome.graph.to_string(), "another result the second time");
    let signature = |graph: &Graph| -> Vec<_> {
        graph.outputs().map(|(name, value)| (name.to_owned(), graph.ty(value).clone())).collect()
    };
    assert_eq!(signature(&before), signature(&folded.graph), "{}", context());
    for batch in [3, 1, 0] {
        if let Err(difference) = agree(&before, &weights, &outcome.graph, &folded, batch) {
            panic!("at a batch of {batch}: {difference}\n{}", context());
        }
    }
    Folded { before, weights, outcome, folded }
}

type Feeds<S> = OrderedMap<String, Array<S>>;

/// Random data of that batch size.
pub fn data(graph: &Graph, batch: usize) -> OrderedMap<String, (DType, Array<f64>)> {
    let mut random = Random(0x5EED + batch as u64);
    let mut feeds = OrderedMap::new();
    for (name, id) in graph.inputs().filter(|&(_, id)| graph.as_input(id).is_some_and(|(_, role)| role == Role::Data)) {
        let ty = &graph.node(id).types()[0];
        let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(batch)).collect();
        let domain = match ty.dtype {
            DType::I32 => Domain::Integers(0, 2),
            DType::Bool => Domain::Mask,
            DType::F32 | DType::F64 => Domain::Range(-1.5, 1.5),
        };
        feeds.insert(name.to_owned(), (ty.dtype, random.array(ty.dtype, &shape, domain)));
    }
    feeds
}

/// The inputs of a graph in another number type.
pub fn feeds<S: Number>(data: &OrderedMap<String, (DType, Array<f64>)>, weights: &Weights) -> Feeds<S> {
    let data = data.iter().map(|(name, (dtype, array))| (name, array.to_tensor(*dtype).expect("an array is a tensor")));
    let all = data.chain(weights.iter().map(|(name, tensor)| (name, tensor.clone())));
    all.map(|(name, tensor)| (name.clone(), Array::from_tensor(&tensor))).collect()
}

/// The result is what the declared graph says: before and after the weights are folded, and in f32 arithmetic as well.
fn agree(before: &Graph, weights: &Weights, after: &Graph, folded: &Weighted, batch: usize) -> Result<(), String> {
    let data = data(before, batch);
    let truth = values::<Magnitude>(before, &feeds(&data, weights))?;
    let unfolded = values::<f64>(after, &feeds(&data, weights))?;
    let wide = values::<f64>(&folded.graph, &feeds(&data, &folded.weights))?;
    let narrow = values::<f32>(&folded.graph, &feeds(&data, &folded.weights))?;
    for (name, value) in before.outputs() {
        let single = before.ty(value).dtype == DType::F32;
        let units = 16.0 * f64::from(f32::EPSILON);
        close(&format!("`{name}` before the weights are folded"), &truth[name], &unfolded[name], 1e-12)?;
        close(&format!("`{name}`"), &truth[name], &wide[name], if single { units } else { 1e-12 })?;
        if single {
            close(&format!("`{name}` in f32"), &truth[name], &narrow[name], units)?;
        }
    }
    Ok(())
}

pub fn values<S: Number>(graph: &Graph, feeds: &Feeds<S>) -> Result<Feeds<S>, String> {
    Ok(interpret(graph, feeds).map_err(|error| error.to_string())?.outputs)
}

/// Whether two values differ by rounding alone: by so much of the magnitudes that are summed into each element.
pub fn close<S: Number>(what: &str, truth: &Array<Magnitude>, found: &Array<S>, tolerance: f64) -> Result<(), String> {
    if truth.shape() != found.shape() {
        return Err(format!("{what} has the shape {:?} instead of {:?}", found.shape(), truth.shape()));
    }
    let (truth, found) = match (truth, found) {
        (Array::Real(truth), Array::Real(found)) => (truth, found),
        (Array::Int(truth), Array::Int(found)) if truth == found => return Ok(()),
        (Array::Bool(truth), Array::Bool(found)) if truth == found => return Ok(()),
        _ => return Err(format!("{what} differs")),
    };
    for (at, (truth, found)) in truth.data.iter().zip(&found.data).enumerate() {
        let found = found.to_f64();
        let same = truth.value == found || (truth.value.is_nan() && found.is_nan());
        let is_close = (truth.value - found).abs() <= tolerance * truth.size;
        if !same && !is_close {
            return Err(format!("{what} is {found} at {at} instead of {} of size {}", truth.value, truth.size));
        }
    }
    Ok(())
}

/// How many nodes of an op there are.
pub fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes().filter(|(_, node)| node.op().name() == op).count()
}

impl Trap {
    /// The folded graph has so many nodes of these ops.
    #[track_caller]
    pub fn leaves(&self, expected: &[(&str, usize)]) -> &Trap {
        for Folded { folded, outcome, .. } in &self.0 {
            for &(op, expected) in expected {
                let refused: Vec<&str> = outcome.refused.iter().map(|refused| &*refused.reason).collect();
                assert_eq!(count(&folded.graph, op), expected, "{op}\n{}{refused:#?}", folded.graph);
            }
        }
        self
    }

    /// No product has a batch norm or any other arithmetic beside it: this op is all that is left.
    #[track_caller]
    pub fn leaves_only(&self, op: &str) -> &Trap {
        self.leaves(&[("batch_norm_infer", 0), ("add", 0), ("sub", 0), ("mul", 0), ("div", 0), ("neg", 0), (op, 1)])
    }

    /// Some rule was refused with these words, and nothing fired.
    #[track_caller]
    pub fn refused(&self, words: &str) -> &Trap {
        self.untouched().because(words)
    }

    /// Some rule was refused with these words.
    #[track_caller]
    pub fn because(&self, words: &str) -> &Trap {
        for Folded { outcome, .. } in &self.0 {
            let named = outcome.refused.iter().any(|refused| refused.reason.contains(words));
            assert!(named, "no reason says `{words}`: {:#?}\n{}", outcome.refused, outcome.graph);
        }
        self
    }

    /// The graph is as it was declared.
    #[track_caller]
    pub fn untouched(&self) -> &Trap {
        for Folded { before, outcome, .. } in &self.0 {
            assert!(outcome.fired.is_empty(), "{:#?}", outcome.fired);
            let declared = Pipeline::as_declared().run(before).expect("a pipeline");
            assert_eq!(outcome.graph.to_string(), declared.graph.to_string());
        }
        self
    }

    /// This rule fired so often.
    #[track_caller]
    pub fn fired(&self, rule: &str, times: usize) -> &Trap {
        for Folded { outcome, .. } in &self.0 {
            let names: Vec<&str> = outcome.fired.iter().map(|fired| fired.rule.name).collect();
            assert_eq!(names.iter().filter(|&&name| name == rule).count(), times, "{names:?}");
        }
        self
    }
}
