//! Values for the inputs of an example: tame ones, and the nasty ones at which folds go wrong.
//!
//! | what an input is | drawn from |
//! | --- | --- |
//! | variance of a batch norm | 0, 1e-30, 1e30, [0.1, 3] |
//! | mean of a batch norm | 0, ±1e8 (far more than the deviation), ±2 |
//! | γ of a batch norm | 0, −1, ±2 |
//! | an input with a range | the range and its two ends |
//! | any other weight | 0, 1e-30, ±1e6, ±2 |
//! | data | ±2; one number everywhere; ±1 around 1e6 |

use crate::common::{Feeds, Random};
use foldgrad::ir::{Bindings, Dim, NodeId, OrderedMap, Role, Weights};
use foldgrad::op::Op;
use foldgrad::reference::{Array, NdArray};
use foldgrad::{DType, Graph, Tensor};

/// From the first number up to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range(pub f64, pub f64);

/// What an input is to the batch norms that read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Variance,
    Mean,
    Gamma,
    Other,
}

fn part(graph: &Graph, input: NodeId) -> Part {
    for (_, node) in graph.nodes() {
        let parts: &[Part] = match node.op() {
            Op::BatchNormInfer(_) => &[Part::Other, Part::Gamma, Part::Other, Part::Mean, Part::Variance],
            Op::BatchNormTrain(_) => &[Part::Other, Part::Gamma, Part::Other],
            _ => &[],
        };
        for (operand, &part) in node.operands().iter().zip(parts) {
            if operand.node == input && part != Part::Other {
                return part;
            }
        }
    }
    Part::Other
}

/// The size of every symbol of a graph.
pub fn sizes(graph: &Graph, size: usize) -> Bindings {
    let dims = graph.nodes().flat_map(|(_, node)| node.types()).flat_map(|ty| ty.shape.iter());
    let symbols = dims.filter_map(|dim| if let Dim::Symbol(symbol) = dim { Some(*symbol) } else { None });
    symbols.map(|symbol| (symbol, size)).collect()
}

fn random(label: &str, name: &str, seed: u64) -> Random {
    // FNV-1a: the same numbers on every machine and in every run.
    let bytes = label.bytes().chain([0]).chain(name.bytes());
    let hash =
        bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    Random(hash ^ seed << 56)
}

fn weight(random: &mut Random, part: Part, range: Option<Range>) -> f64 {
    let (kind, tame, sign) = (random.below(4), random.range(-2.0, 2.0), if random.coin() { 1.0 } else { -1.0 });
    match (range, part) {
        (Some(Range(low, high)), _) => [low, high, random.range(low, high), random.range(low, high)][kind],
        (None, Part::Variance) => [0.0, 1e-30, 1e30, random.range(0.1, 3.0)][kind],
        (None, Part::Mean) => [0.0, sign * 1e8, tame, tame][kind],
        (None, Part::Gamma) => [0.0, -1.0, tame, tame][kind],
        (None, Part::Other) => [0.0, 1e-30, sign * 1e6, tame][kind],
    }
}

/// Values for every input. The first draw is tame; the others mix in what is nasty.
pub fn feeds(graph: &Graph, ranges: &OrderedMap<String, Range>, bindings: &Bindings, label: &str, draw: u64) -> Feeds {
    let mut feeds = Feeds::new();
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let shape = ty.shape.resolve(bindings).expect("every symbol has a size");
        let len = shape.iter().product();
        let mut random = random(label, name, draw);
        let role = graph.as_input(id).map_or(Role::Data, |(_, role)| role);
        let (range, part) = (ranges.get(name).copied(), part(graph, id));
        let array = match ty.dtype {
            DType::I32 => Array::Int(NdArray { shape, data: (0..len).map(|_| random.below(2) as i32).collect() }),
            DType::Bool => Array::Bool(NdArray { shape, data: (0..len).map(|_| random.coin()).collect() }),
            DType::F32 | DType::F64 => {
                let (same, far) = (random.range(-2.0, 2.0), random.range(-1e6, 1e6));
                let mut element = || match (role, part, draw) {
                    (_, Part::Variance, 0) => random.range(0.5, 2.0),
                    (Role::Data, ..) if draw % 4 == 2 && part == Part::Other => same,
                    (Role::Data, ..) if draw % 4 == 3 && part == Part::Other => far + random.range(-1.0, 1.0),
                    (_, _, 0) if range.is_none() => random.range(-2.0, 2.0),
                    (Role::Data, Part::Other, _) if range.is_none() => random.range(-2.0, 2.0),
                    _ => weight(&mut random, part, range),
                };
                Array::Real(NdArray { shape, data: (0..len).map(|_| element()).collect() })
            }
        };
        feeds.insert(name.to_owned(), array);
    }
    feeds
}

/// Values for every parameter and state, rounded to their types.
pub fn weights(graph: &Graph, ranges: &OrderedMap<String, Range>, label: &str, draw: u64) -> Weights {
    let feeds = feeds(graph, ranges, &sizes(graph, 2), label, draw);
    let weight = |(name, id): (&str, NodeId)| {
        let role = graph.as_input(id).map(|(_, role)| role)?;
        let tensor = feeds[name].to_tensor(graph.node(id).types()[0].dtype).expect("it has that shape");
        (role != Role::Data).then(|| (name.to_owned(), tensor))
    };
    graph.inputs().filter_map(weight).collect::<OrderedMap<String, Tensor>>()
}
