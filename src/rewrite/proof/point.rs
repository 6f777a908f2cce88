//! Points at which graphs are compared: a value for every input, a function of its name and the point's number alone.
//!
//! | element type | field | sampled |
//! | --- | --- | --- |
//! | float, data or parameter | any element | uniform in ±2; a parameter is its weight if there is one |
//! | float, state | any element | uniform in [0.5, 2], since variances must be positive; its weight if there is one |
//! | integer | 0 or 1, an index into any axis | the same |
//! | mask | random bits | the same |
//!
//! A symbol has a small size of its own, never 1: 3, 2, 5, 7, … in the order in which the graph mentions them.

use super::formal::Formal;
use super::unequal::ProverError;
use crate::ir::{Bindings, DType, Dim, Graph, Role, TensorType, Weights};
use crate::op::Op;
use crate::random::Stream;
use crate::reference::{Array, EvalError, Fp, MOST_ELEMENTS, NdArray};
use crate::rewrite::evaluate::{Evaluator, Exact};
use indexmap::IndexMap;
use std::sync::Arc;

/// An input as the first graph declares it.
#[derive(Clone, Debug)]
pub(super) struct InputSpec {
    pub(super) role: Role,
    pub(super) ty: TensorType,
    shape: Vec<usize>,
    weight: Option<Arc<Array<f64>>>,
}

/// The inputs of a graph, and the sizes of its symbols.
#[derive(Clone, Debug)]
pub(super) struct Space {
    inputs: IndexMap<String, InputSpec>,
    /// Elements of all inputs.
    pub(super) elements: usize,
    bindings: Bindings,
}

/// A number type that inputs can be drawn from.
pub(super) trait Drawn: Exact {
    /// A random float input.
    fn draw(stream: &mut Stream, role: Role) -> Self;
    /// The value of a weight, where this type uses weights.
    fn weight(input: &InputSpec) -> Option<Arc<Array<Self>>>;
}

impl Drawn for Formal {
    fn draw(stream: &mut Stream, _: Role) -> Formal {
        Formal(Fp::new(stream.next()))
    }
    // A proof in the field holds for all weights.
    fn weight(_: &InputSpec) -> Option<Arc<Array<Formal>>> {
        None
    }
}

impl Drawn for f64 {
    fn draw(stream: &mut Stream, role: Role) -> f64 {
        let (low, high) = if role == Role::State { (0.5, 2.0) } else { (-2.0, 2.0) };
        low + (high - low) * stream.uniform()
    }
    fn weight(input: &InputSpec) -> Option<Arc<Array<f64>>> {
        input.weight.clone()
    }
}

impl Space {
    pub(super) fn new(graph: &Graph, weights: &Weights) -> Result<Space, ProverError> {
        let bindings = sizes(graph);
        let mut room = MOST_ELEMENTS;
        let mut inputs = IndexMap::new();
        for (name, id) in graph.inputs() {
            let Some((_, role)) = graph.as_input(id) else { continue };
            let ty = graph.node(id).types()[0].clone();
            let shape = ty.shape.resolve(&bindings).map_err(EvalError::from)?;
            let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
            room = match len.and_then(|len| room.checked_sub(len)) {
                Some(room) => room,
                None => return Err(EvalError::TooLarge { ty: Box::new(ty), limit: MOST_ELEMENTS }.into()),
            };
            let weight = match weights.get(name) {
                Some(tensor) if tensor.dtype() == ty.dtype && tensor.shape() == shape => {
                    Some(Arc::new(Array::from_tensor(tensor)))
                }
                Some(tensor) => {
                    let expected = Box::new(ty.with_shape(shape));
                    return Err(ProverError::Weight { name: name.to_owned(), expected, found: Box::new(tensor.ty()) });
                }
                None => None,
            };
            inputs.insert(name.to_owned(), InputSpec { role, ty, shape, weight });
        }
        Ok(Space { inputs, elements: MOST_ELEMENTS - room, bindings })
    }

    pub(super) fn input(&self, name: &str) -> Option<&InputSpec> {
        self.inputs.get(name)
    }

    /// An evaluator with every input fed at that point.
    pub(super) fn point<S: Drawn>(&self, point: u64) -> Evaluator<S> {
        let mut evaluator = Evaluator::new(self.bindings.clone());
        for (name, input) in &self.inputs {
            let array = S::weight(input).unwrap_or_else(|| Arc::new(input.draw(Stream::new(point, name))));
            evaluator.feed(name, array);
        }
        evaluator
    }
}

impl InputSpec {
    fn draw<S: Drawn>(&self, mut stream: Stream) -> Array<S> {
        let (len, shape) = (self.shape.iter().product::<usize>(), self.shape.clone());
        match self.ty.dtype {
            DType::F32 | DType::F64 => {
                Array::Real(NdArray { data: (0..len).map(|_| S::draw(&mut stream, self.role)).collect(), shape })
            }
            DType::I32 => Array::Int(NdArray { data: (0..len).map(|_| stream.below(2) as i32).collect(), shape }),
            DType::Bool => Array::Bool(NdArray { data: (0..len).map(|_| stream.below(2) == 1).collect(), shape }),
        }
    }
}

/// A size for every symbol of the graph.
fn sizes(graph: &Graph) -> Bindings {
    let mut bindings = Bindings::new();
    let mut next = [3, 2].into_iter().chain((5..).step_by(2));
    let mut bind = |dims: &[Dim]| {
        for dim in dims {
            if let Dim::Symbol(symbol) = *dim
                && !bindings.contains_key(&symbol)
            {
                bindings.insert(symbol, next.next().unwrap_or(3));
            }
        }
    };
    let inputs = graph.inputs().map(|(_, id)| graph.node(id));
    for node in inputs.chain(graph.nodes().map(|(_, node)| node)) {
        node.types().iter().for_each(|ty| bind(&ty.shape));
        if let Op::Size(size) = node.op() {
            bind(size.dims());
        }
    }
    bindings
}
