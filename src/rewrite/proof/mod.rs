//! The judge of rewrites: two graphs are equal if they agree at random points.
//!
//! [`Equality::Algebraic`] compares in the prime field F_p, p = 2⁶¹ − 1, with no tolerance. Values are rational functions
//! of the inputs there, and a polynomial of degree d that is not zero vanishes at a random point with a chance of at
//! most d/p (Schwartz 1980, Zippel 1979): for d up to 2000, below 1e-15 at the first point already, and the points are
//! independent. Functions that are not algebraic (`exp`, `relu`, comparisons) are keyed hashes: equal arguments give
//! equal results, and nothing else is assumed of them. A comparison has one bit, so points are added where small masks
//! coincide, until a wrong one would have been seen but for a chance of 2⁻³². So a pass is a proof for all float inputs up
//! to that chance; a rewrite that needs more, such as `s·relu(x) = relu(s·x)` for positive `s`, is compared in f64 by
//! [`Equality::Sampled`].
//!
//! **What it cannot see.** Integer inputs are 0 or 1 at every point, so that they are indices into any axis: arithmetic of
//! integer inputs is compared on these only. In f64 a mask `x = y` of sampled values is false everywhere.
//!
//! The cost is one evaluation of each value that the two graphs do not share, at each point.

mod compare;
mod formal;
mod point;
mod unequal;

#[cfg(test)]
mod tests;

pub use unequal::{Difference, ProverError, Unequal, Which};

use crate::ir::{Graph, Value, Weights};
use crate::rewrite::evaluate::Evaluator;
use compare::{compare, exactly, nearly, pairs, unequal};
use formal::Formal;
use point::{Drawn, Space};

/// Two values, of the graph before and of the graph after a rewrite, that the rewrite says are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The value before.
    pub before: Value,
    /// The value after.
    pub after: Value,
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Equality {
    /// Exactly, in the field with 2⁶¹ − 1 elements.
    Algebraic,
    /// In f64, to 1e-12 of the largest element.
    Sampled,
}

/// Points in the field at which algebraic claims are compared, unless [`Prover::points`] says otherwise.
const POINTS: usize = 2;
/// Points in f64 at which the others are.
const SAMPLES: usize = 3;
/// A wrong comparison of n elements looks right at a point once in 2ⁿ times: points are added until there are so many.
const DECISIONS: usize = 32;
/// Once so many elements are remembered at all points together, a point starts afresh.
const REMEMBERED: usize = 1 << 25;

/// Proves graphs equal: exactly in F_p at random points; or, where a step is not algebraic, in f64 at sampled points.
///
/// Points are functions of the inputs' names, so every graph over the inputs of the first one meets the same values, and
/// what was evaluated for one check is known to the next.
///
/// ```
/// use foldgrad::rewrite::{Equality, Prover, Which};
/// use foldgrad::{Builder, DType, Expr};
/// let graph = |f: for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>| {
///     let g = Builder::new();
///     let (x, y) = (g.input("x", DType::F32, ["batch"]), g.input("y", DType::F32, ["batch"]));
///     g.output("z", f(x, y));
///     g.finish()
/// };
/// let square = graph(|x, y| (x - y) * (x - y))?;
/// let mut prover = Prover::new(&square)?;
/// prover.check(&square, &graph(|x, y| x * x - x * y * 2.0 + y * y)?, &[], Equality::Algebraic)?;
/// let wrong = prover.check(&square, &graph(|x, y| x * x + y * y)?, &[], Equality::Algebraic);
/// assert_eq!(wrong.unwrap_err().which, Which::Output("z".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Prover {
    space: Space,
    points: usize,
    samples: usize,
    exact: Vec<Evaluator<Formal>>,
    sampled: Vec<Evaluator<f64>>,
}

impl Prover {
    /// A prover for graphs over the inputs of `first`, or some of them. Weights are sampled.
    ///
    /// # Errors
    /// When the inputs have more elements than can be held.
    pub fn new(first: &Graph) -> Result<Prover, ProverError> {
        Prover::with_weights(first, &Weights::new())
    }

    /// The same, with these values, by input name, where values are compared in f64. Names that `first` does not have
    /// are ignored.
    ///
    /// # Errors
    /// When a weight has another type than its input, or the inputs have more elements than can be held.
    pub fn with_weights(first: &Graph, weights: &Weights) -> Result<Prover, ProverError> {
        let space = Space::new(first, weights)?;
        Ok(Prover { space, points: POINTS, samples: SAMPLES, exact: Vec::new(), sampled: Vec::new() })
    }

    /// The same prover with another number of points in the field; at least 1.
    pub fn points(mut self, points: usize) -> Prover {
        self.points = points.max(1);
        self.exact.clear();
        self
    }

    /// Checks that the graphs have one interface, that every claim holds, and that all outputs and next values of state
    /// are equal. `after` may lack inputs that it does not use.
    ///
    /// # Errors
    /// The first thing that differs: the interface, then claims, outputs and updates in order.
    pub fn check(
        &mut self,
        before: &Graph,
        after: &Graph,
        claims: &[Claim],
        equality: Equality,
    ) -> Result<(), Box<Unequal>> {
        self.declared(before)?;
        self.declared(after)?;
        let pairs = pairs(before, after, claims)?;
        let graphs = [before, after];
        match equality {
            Equality::Algebraic => {
                let mut index = 0;
                while index < self.points {
                    let point = evaluator(&self.space, &mut self.exact, index, self.points);
                    compare(point, graphs, &pairs, exactly::<Formal>, equality)?;
                    self.points = self.points.max(DECISIONS.div_ceil(point.fewest_coincidences()));
                    index += 1;
                }
            }
            Equality::Sampled => {
                let mut index = 0;
                while index < self.samples {
                    let point = evaluator(&self.space, &mut self.sampled, index, self.samples);
                    compare(point, graphs, &pairs, nearly, equality)?;
                    self.samples = self.samples.max(DECISIONS.div_ceil(point.fewest_decisions()));
                    index += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether a graph's inputs are among those of the first one.
    fn declared(&self, graph: &Graph) -> Result<(), Box<Unequal>> {
        for (name, id) in graph.inputs() {
            let unequal = |difference| Err(unequal(Which::InputSpec(name.to_owned()), difference));
            let (Some((_, role)), ty) = (graph.as_input(id), &graph.node(id).types()[0]) else { continue };
            match self.space.input(name) {
                None => return unequal(Difference::New),
                Some(input) if input.ty != *ty => return unequal(Difference::of_types(&input.ty, ty)),
                Some(input) if input.role != role => {
                    return unequal(Difference::Role { before: input.role, after: role });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The evaluator of a point, with little remembered.
fn evaluator<'a, S: Drawn>(
    space: &Space,
    evaluators: &'a mut Vec<Evaluator<S>>,
    index: usize,
    count: usize,
) -> &'a mut Evaluator<S> {
    if evaluators.len() <= index {
        evaluators.push(space.point(index as u64));
    }
    let evaluator = &mut evaluators[index];
    if evaluator.held() > space.elements + REMEMBERED / count.max(1) {
        *evaluator = space.point(index as u64);
    }
    evaluator
}
