//! Every case of every op as a small graph, reached in several ways, with what the reference interpreter makes of it.

use foldgrad::ir::{Dim, OrderedMap, Role, Shape, TensorType};
use foldgrad::op::{Case, Domain, Op, Sample};
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};
use std::collections::HashMap;

/// How an operand reaches the op. An export decides differently for constants, for symbolic axes and for stretched
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As an input.
    Fed,
    /// As a parameter, but for the first operand.
    Stored,
    /// As an input whose axes of the size of the first operand's first axis are a symbol.
    Symbolic,
    /// As an input that lacks the leading axis.
    Broadcast,
    /// As an input that has size 1 in its last axis.
    Stretched,
    /// As a constant, stretched.
    Constant,
    /// As an input with its axes reversed.
    Transposed,
}

impl Way {
    pub const ALL: [Way; 7] =
        [Way::Fed, Way::Stored, Way::Symbolic, Way::Broadcast, Way::Stretched, Way::Constant, Way::Transposed];
}

/// Tensors by name.
pub type Values = OrderedMap<String, Tensor>;

/// A graph with all that its runs need and give.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Fit for a file.
    pub name: String,
    pub op: &'static str,
    pub graph: Graph,
    pub weights: Values,
    /// Inputs and outputs of each run.
    pub runs: Vec<(Values, Values)>,
}

/// Every instance that is well typed.
pub fn all(dtype: DType) -> Vec<Instance> {
    let mut instances = Vec::new();
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for (number, case) in Op::cases().into_iter().enumerate() {
        // What is drawn for an op stays the same when another one is added.
        let of_op = seen.entry(case.op.name()).or_default();
        *of_op += 1;
        let mut draws =
            Draws(case.op.name().bytes().fold(*of_op, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)));
        for way in Way::ALL {
            instances.extend(instance(number, &case, way, dtype, &mut draws));
        }
    }
    instances
}

fn instance(number: usize, case: &Case, way: Way, dtype: DType, draws: &mut Draws) -> Option<Instance> {
    let first = case.operands.first().and_then(|sample| sample.ty.shape.first().copied());
    let is_distinct = match way {
        Way::Fed => true,
        Way::Stored => case.operands.len() > 1,
        Way::Symbolic => first.is_some(),
        Way::Constant => !case.operands.is_empty(),
        Way::Broadcast | Way::Stretched => first.is_some(),
        Way::Transposed => case.operands.iter().any(|sample| sample.ty.rank() > 1),
    };
    if !is_distinct {
        return None;
    }
    let g = Builder::new();
    let mut all = OrderedMap::new();
    let mut operands = Vec::new();
    for (slot, sample) in case.operands.iter().enumerate() {
        let name = format!("x{slot}");
        let element = if sample.ty.dtype.is_float() { dtype } else { sample.ty.dtype };
        let (operand, shape) = reach(&g, &name, sample, element, way, slot, first, draws);
        if let Some(shape) = shape {
            all.insert(name, draws.tensor(&shape, element, sample.domain));
        }
        operands.push(operand);
    }
    for (index, result) in g.push_all(case.op.clone(), &operands).into_iter().enumerate() {
        g.output(&format!("y{index}"), result);
    }
    let graph = g.finish().ok()?;
    let expected = match dtype {
        DType::F32 => reference::<f32>(&graph, &all),
        _ => reference::<f64>(&graph, &all),
    };
    let is_data =
        |name: &str| graph.input(name).and_then(|id| graph.as_input(id)).is_some_and(|(_, r)| r == Role::Data);
    let (feeds, weights) = all.into_iter().partition(|(name, _)| is_data(name));
    let name = format!("{number:03}_{}_{way:?}_{dtype}", case.op.name()).to_lowercase();
    Some(Instance { name, op: case.op.name(), graph, weights, runs: vec![(feeds, expected)] })
}

/// The operand, and the shape of the input beneath it, if there is one.
#[allow(clippy::too_many_arguments)]
fn reach<'b>(
    g: &'b Builder,
    name: &str,
    sample: &Sample,
    element: DType,
    way: Way,
    slot: usize,
    first: Option<Dim>,
    draws: &mut Draws,
) -> (Expr<'b>, Option<Vec<usize>>) {
    let shape = sample.ty.shape.known().unwrap_or_default();
    let rank = shape.len();
    match way {
        Way::Stored if slot > 0 => (g.parameter(name, element, shape.clone()), Some(shape)),
        Way::Symbolic => {
            let symbol = |&dim: &Dim| if Some(dim) == first { Dim::symbol("n") } else { dim };
            (g.input(name, element, sample.ty.shape.iter().map(symbol).collect::<Shape>()), Some(shape))
        }
        Way::Broadcast if rank > 0 => {
            (g.input(name, element, shape[1..].to_vec()).broadcast_to(shape.clone()), Some(shape[1..].to_vec()))
        }
        Way::Stretched if rank > 0 => {
            let mut source = shape.clone();
            source[rank - 1] = 1;
            (g.input(name, element, source.clone()).broadcast_to(shape), Some(source))
        }
        Way::Constant => (g.constant(draws.tensor(&[], element, sample.domain)).broadcast_to(shape), None),
        Way::Transposed if rank > 1 => {
            let source: Vec<usize> = shape.iter().rev().copied().collect();
            let order: Vec<usize> = (0..rank).rev().collect();
            (g.input(name, element, source.clone()).transpose(&order), Some(source))
        }
        _ => (g.input(name, element, shape.clone()), Some(shape)),
    }
}

/// What the interpreter makes of a graph.
pub fn reference<S: Number>(graph: &Graph, feeds: &Values) -> Values {
    let arrays: OrderedMap<String, Array<S>> =
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    let outputs = interpret(graph, &arrays).expect("every input is fed").outputs;
    let types: OrderedMap<&str, &TensorType> = graph.outputs().map(|(name, value)| (name, graph.ty(value))).collect();
    let tensor = |(name, array): (String, Array<S>)| {
        let tensor = array.to_tensor(types[name.as_str()].dtype).expect("of the type that was inferred");
        (name, tensor)
    };
    outputs.into_iter().map(tensor).collect()
}

/// splitmix64: the same values on every machine.
pub struct Draws(pub u64);

impl Draws {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn tensor(&mut self, shape: &[usize], dtype: DType, domain: Domain) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f64> = match domain {
            Domain::Range(low, high) => (0..count).map(|_| low + (high - low) * self.unit()).collect(),
            Domain::AwayFromZero(low, high) => (0..count)
                .map(|_| (low + (high - low) * self.unit()) * if self.unit() < 0.5 { -1.0 } else { 1.0 })
                .collect(),
            Domain::Distinct(step) => {
                let mut values: Vec<f64> = (0..count).map(|index| step * index as f64).collect();
                (1..count).rev().for_each(|index| values.swap(index, (self.unit() * (index + 1) as f64) as usize));
                values
            }
            Domain::Integers(low, high) => {
                (0..count).map(|_| f64::from(low) + (f64::from(high - low) * self.unit()).floor()).collect()
            }
            Domain::Mask => (0..count).map(|_| f64::from(u8::from(self.unit() < 0.5))).collect(),
        };
        Tensor::from_f64(dtype, shape, values).expect("as many values as the shape has")
    }
}
