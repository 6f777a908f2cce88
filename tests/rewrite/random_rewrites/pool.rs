//! The values that a random graph is built from, and the weights it has.

use crate::common::Random;
use foldgrad::ir::{Role, Value, Weights};
use foldgrad::op::Domain;
use foldgrad::{Builder, DType, Expr, Graph};
use proptest::prelude::*;

/// One step of building: what to apply, and to which values of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub kind: u8,
    pub first: u8,
    pub second: u8,
    pub knob: u8,
}

/// Random lists of instructions with a seed for the weights.
pub fn instructions(most: usize) -> impl Strategy<Value = (Vec<Instruction>, u64)> {
    let instruction = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, first, second, knob)| Instruction { kind, first, second, knob });
    (prop::collection::vec(instruction, 2..most), any::<u64>())
}

/// A graph with a value for each of its weights.
#[derive(Clone, Debug)]
pub struct Made {
    pub graph: Graph,
    pub weights: Weights,
    pub seed: u64,
}

pub struct Pool<'b> {
    pub b: &'b Builder,
    pub weights: Weights,
    pub random: Random,
    values: Vec<Expr<'b>>,
    used: Vec<bool>,
}

impl Pool<'_> {
    /// The graph that `build` builds.
    pub fn run(seed: u64, build: impl for<'b> FnOnce(&mut Pool<'b>)) -> Made {
        let b = Builder::new();
        let mut pool = Pool { b: &b, weights: Weights::new(), random: Random(seed), values: vec![], used: vec![] };
        build(&mut pool);
        let weights = pool.weights;
        Made { graph: b.finish().expect("instructions build a graph"), weights, seed }
    }
}

impl<'b> Pool<'b> {
    /// A value that nobody uses yet, one of the latest, or any.
    pub fn pick(&mut self, pick: u8) -> Expr<'b> {
        let (len, pick) = (self.values.len(), usize::from(pick));
        let unused = self.used.iter().rposition(|used| !used);
        let index = match pick {
            0..150 => unused.unwrap_or(pick % len),
            150..220 => len - 1 - pick % len.min(5),
            _ => pick % len,
        };
        self.used[index] = true;
        self.values[index]
    }

    /// A value of the same type, the same one if there is no other.
    pub fn like(&mut self, x: Expr<'b>, pick: u8) -> Expr<'b> {
        let same: Vec<usize> = (0..self.values.len()).filter(|&at| self.values[at].ty() == x.ty()).collect();
        let Some(&index) = same.get(usize::from(pick) % same.len().max(1)) else { return x };
        self.used[index] = true;
        self.values[index]
    }

    pub fn push(&mut self, value: Expr<'b>) {
        match self.values.iter().position(|known| known.value() == value.value()) {
            Some(known) => self.used[known] = false,
            None => {
                self.values.push(value);
                self.used.push(false);
            }
        }
    }

    /// Names every value after the first few that nothing reads.
    pub fn give_out_what_is_left(&mut self, first: usize) {
        let left = self.left(first);
        for (index, value) in left.iter().enumerate() {
            self.b.output(&format!("y{index}"), *value);
        }
    }

    /// Every value after the first few that nothing reads; at least one.
    pub fn left(&self, first: usize) -> Vec<Expr<'b>> {
        let unused = (first..self.values.len()).filter(|&index| !self.used[index]).map(|index| self.values[index]);
        let left: Vec<Expr<'b>> = unused.collect();
        if left.is_empty() { self.values.last().copied().into_iter().collect() } else { left }
    }

    /// A weight of its own, or the one of that kind and shape.
    pub fn weight(&mut self, kind: &str, shape: &[usize], shared: bool, domain: Domain) -> Expr<'b> {
        let own = if shared { String::new() } else { format!("#{}", self.weights.len()) };
        self.declare(&format!("{kind}{shape:?}{own}"), Role::Parameter, shape, domain)
    }

    pub fn declare(&mut self, name: &str, role: Role, shape: &[usize], domain: Domain) -> Expr<'b> {
        let known = self.b.graph().input(name);
        if let Some(node) = known {
            return self.b.expr(Value { node, output: 0 });
        }
        let tensor = self.random.array(DType::F64, shape, domain).to_tensor(DType::F64).expect("a tensor");
        let weight = self.b.declare(name, role, tensor.ty());
        self.weights.insert(name.to_owned(), tensor);
        weight
    }
}
