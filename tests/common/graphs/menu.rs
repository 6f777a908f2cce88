//! What may be drawn, and how a list of instructions becomes a graph.

use super::pool::Pool;
use foldgrad::ir::{Dim, Shape};
use foldgrad::op::Domain;
use foldgrad::{Builder, DType, Expr};
use proptest::prelude::*;
use std::ops::Range;

/// One step of building: what to apply, and to which values of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    kind: u8,
    first: u8,
    second: u8,
    knob: u8,
}

/// What a graph is drawn from: with one menu, always the same graph.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub instructions: Vec<Instruction>,
    /// What weights and indices follow from.
    pub seed: u64,
}

/// Recipes with so many instructions, shrinking to fewer.
pub fn recipes(count: Range<usize>) -> impl Strategy<Value = Recipe> {
    let instruction = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, first, second, knob)| Instruction { kind, first, second, knob });
    (prop::collection::vec(instruction, count), any::<u64>())
        .prop_map(|(instructions, seed)| Recipe { instructions, seed })
}

/// A value with a bound on its size.
pub type Drawn<'b> = (Expr<'b>, f64);

/// What an instruction does to a value, if it can be done to it.
pub type Step = for<'b> fn(&mut Pool<'b>, &Turn<'b>) -> Option<Drawn<'b>>;

/// A size of an input.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Of(usize),
    Named(&'static str),
}

impl From<Size> for Dim {
    fn from(size: Size) -> Dim {
        match size {
            Size::Of(size) => size.into(),
            Size::Named(name) => Dim::symbol(name),
        }
    }
}

/// How a product gets its bias.
#[derive(Clone, Copy, Debug)]
pub enum Bias {
    None,
    /// By the op `dense`.
    Dense,
    Plus,
    Minus,
    /// The product is taken from it.
    From,
}

/// What a test wants of its graphs.
pub struct Menu {
    pub inputs: &'static [(&'static str, &'static [Size])],
    /// Each step with how often it is drawn, among the sum.
    pub steps: &'static [(usize, Step)],
    /// What becomes of a value to which the step that was drawn cannot be applied.
    pub stuck: Step,
    /// What becomes of a value of more elements than `most`, with 3 for each size that has a name.
    pub large: Step,
    pub most: usize,
    /// Of 256 picks, how many take a value that nothing reads yet.
    pub fresh: u8,
    /// Whether a value that could grow too large is squashed.
    pub bounded: bool,
    /// One in so many weights is that of its kind and shape; with 1, all weights of a shape are one.
    pub shares: u8,
    pub units: &'static [Size],
    pub biases: &'static [Bias],
    /// What weights that are multiplied by may be.
    pub factors: &'static [Domain],
    /// Whether weights may lie along axes of unknown size; they have no value before a run.
    pub open: bool,
    /// Added to variances.
    pub epsilon: f64,
    /// Whether training batch norm updates running statistics.
    pub running: bool,
}

/// An instruction, with the value that it picked.
pub struct Turn<'b> {
    pub x: Expr<'b>,
    pub bound: f64,
    /// The axes of known size.
    pub known: Vec<(usize, usize)>,
    pub knob: usize,
    pub second: u8,
}

impl<'b> Turn<'b> {
    pub fn new(x: Expr<'b>, bound: f64, knob: usize, second: u8) -> Turn<'b> {
        let known = x.shape().iter().enumerate().filter_map(|(axis, dim)| Some((axis, dim.known()?))).collect();
        Turn { x, bound, known, knob, second }
    }

    /// The same instruction for another value.
    pub fn of(&self, (x, bound): Drawn<'b>) -> Turn<'b> {
        Turn::new(x, bound, self.knob, self.second)
    }

    pub fn even(&self) -> bool {
        self.knob.is_multiple_of(2)
    }

    /// An axis of known size.
    pub fn axis(&self) -> Option<(usize, usize)> {
        self.known.get(self.knob % self.known.len().max(1)).copied()
    }

    /// Any axis, also of unknown size.
    pub fn any_axis(&self) -> Option<usize> {
        self.knob.checked_rem(self.x.rank())
    }

    pub fn last(&self) -> Option<(usize, usize)> {
        self.known.last().copied().filter(|(axis, _)| axis + 1 == self.x.rank())
    }

    /// The axis of the batch.
    pub fn batch(&self) -> Option<usize> {
        self.x.shape().iter().position(|dim| dim.known().is_none())
    }

    /// How many elements, with 3 for each size that has a name.
    pub fn elements(&self) -> usize {
        elements(self.x.shape())
    }
}

pub fn elements(shape: Shape) -> usize {
    shape.iter().map(|dim| dim.known().unwrap_or(3)).product()
}

impl Menu {
    fn step(&self, kind: u8) -> Step {
        let total: usize = self.steps.iter().map(|(count, _)| count).sum();
        let mut left = usize::from(kind) % total.max(1);
        for (count, step) in self.steps {
            if left < *count {
                return *step;
            }
            left -= count;
        }
        self.stuck
    }
}

impl Recipe {
    /// The pool after these instructions, as long as `more` says so.
    pub fn draw<'b>(
        &self,
        menu: &'static Menu,
        b: &'b Builder,
        float: DType,
        more: impl Fn(&Pool<'b>) -> bool,
    ) -> Pool<'b> {
        let mut pool = Pool::new(menu, b, float, self.seed);
        self.draw_in(&mut pool, more);
        pool
    }

    /// Adds the inputs of the menu to the pool, and applies the instructions to what is in it.
    pub fn draw_in<'b>(&self, pool: &mut Pool<'b>, more: impl Fn(&Pool<'b>) -> bool) {
        for (name, sizes) in pool.menu.inputs {
            let shape: Shape = sizes.iter().map(|&size| Dim::from(size)).collect();
            pool.push((pool.b.input(name, pool.float, shape), 1.5));
        }
        pool.inputs = pool.menu.inputs.len();
        for &Instruction { kind, first, second, knob } in &self.instructions {
            if !more(pool) {
                break;
            }
            let (x, bound) = pool.pick(first);
            let turn = Turn::new(x, bound, usize::from(knob), second);
            let step = if turn.elements() > pool.menu.most { pool.menu.large } else { pool.menu.step(kind) };
            let drawn = step(pool, &turn).or_else(|| (pool.menu.stuck)(pool, &turn));
            pool.push(drawn.unwrap_or_else(|| (x * 0.5, bound)));
        }
    }
}
