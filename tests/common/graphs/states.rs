//! Graphs that update states: next values that are read again, padded with, swapped, cut out of larger values, and made of
//! each other, over shapes that are shared out and shapes that are not.

use super::super::Random;
use super::menu::{Drawn, Recipe, Turn};
use super::menus::STATEFUL;
use super::pool::Pool;
use foldgrad::ir::{OrderedMap, Shape};
use foldgrad::{Builder, DType, Graph, Tensor};

/// A graph, with a first value for each of its states.
pub struct Stateful {
    pub graph: Graph,
    pub states: OrderedMap<String, Tensor>,
    pub rows: usize,
    random: Random,
}

const SHAPES: [&[usize]; 9] = [&[], &[70], &[70], &[5], &[130], &[5, 70], &[70, 5], &[70, 5], &[66, 70]];

impl Stateful {
    /// The same graph for the same recipe, in that float type.
    pub fn of(recipe: &Recipe, float: DType) -> Stateful {
        let b = Builder::new();
        let mut pool = Pool::new(&STATEFUL, &b, float, recipe.seed);
        for (index, shape) in SHAPES.iter().enumerate() {
            let state = b.state(&format!("s{index}"), float, *shape);
            pool.states.push(state);
            pool.push((state, 2.0));
        }
        let count = b.state("count", DType::I32, Shape::scalar());
        b.update(count, count + b.scalar(DType::I32, 1.0));
        recipe.draw_in(&mut pool, |_| true);
        for index in 0..1 + pool.random.below(5) {
            let pick = pool.random.below(256) as u8;
            let (value, _) = pool.pick(pick);
            b.output(&format!("out{index}"), value);
        }
        let mut random = pool.random;
        let rows = [1, 4, 19, 66][random.below(4)];
        let graph = b.finish().expect("each step keeps to the shapes");
        let mut states: OrderedMap<String, Tensor> = OrderedMap::from([("count".to_owned(), Tensor::scalar(41i32))]);
        for (index, shape) in SHAPES.iter().enumerate() {
            states.insert(format!("s{index}"), tensor(&mut random, float, shape));
        }
        for (name, id) in graph.inputs().filter(|(name, _)| !STATEFUL.inputs.iter().any(|(data, _)| data == name)) {
            let ty = &graph.node(id).types()[0];
            if !states.contains_key(name) {
                states.insert(name.to_owned(), tensor(&mut random, float, &ty.shape.known().unwrap_or_default()));
            }
        }
        states.retain(|name, _| graph.input(name).is_some());
        Stateful { graph, states, rows, random }
    }

    /// Data for one more run.
    pub fn data(&mut self) -> OrderedMap<String, Tensor> {
        let (graph, rows) = (&self.graph, self.rows);
        let mut fed = OrderedMap::new();
        for (name, _) in STATEFUL.inputs {
            let Some(id) = graph.input(name) else { continue };
            let ty = &graph.node(id).types()[0];
            let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(rows)).collect();
            fed.insert((*name).to_owned(), tensor(&mut self.random, ty.dtype, &shape));
        }
        fed
    }
}

fn tensor(random: &mut Random, float: DType, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| random.range(-1.0, 1.0)).collect();
    Tensor::from_f64(float, shape, values).expect("as many as the shape has")
}

/// A next value for a state that has none.
pub fn update<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let left = pool.states.len();
    if left == 0 {
        return None;
    }
    let state = pool.states.swap_remove(usize::from(t.second) % left);
    let (other, bound) = pool.fitted(state, t.second / 4);
    let next = match t.knob % 7 {
        0 => (other, bound),
        1 => (state * 0.5 + 0.25, 2.0),
        2 => (state * 0.9 + other * 0.1, bound + 2.0),
        3 => ((state - other * 0.3).tanh(), 1.0),
        // The next value of momentum, and what follows from it.
        4 => {
            let moved = state * 0.5 - other * 0.25;
            pool.push((moved, bound + 1.0));
            (moved, bound + 1.0)
        }
        5 => (state.greater(state.zeros_like()).select(state * 0.5, other * 0.5), bound + 1.0),
        _ => (other * 0.5, bound),
    };
    pool.b.update(state, next.0);
    Some(next)
}

/// Padded with a value that is no number before a run.
pub fn pad_with_value<'b>(pool: &mut Pool<'b>, t: &Turn<'b>) -> Option<Drawn<'b>> {
    let (axis, _) = t.last()?;
    let (value, bound) = pool.latest(|value| value.rank() == 0).unwrap_or((t.x.mean_all(), t.bound));
    Some((t.x.pad(axis, t.knob % 3, t.knob / 3 % 3, t.knob / 9 % 2, value), t.bound.max(bound)))
}

/// The float type that a seed is tried in.
pub fn float_of(seed: u64) -> DType {
    if seed.is_multiple_of(3) { DType::F32 } else { DType::F64 }
}
