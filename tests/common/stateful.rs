//! Random graphs that update states: next values that are read again, padded with, swapped, cut out of larger values, and
//! made of each other, over shapes that are shared out and shapes that are not.

use super::Random;
use foldgrad::ir::{Dim, OrderedMap, Shape};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};

/// A graph, with a first value for each of its states.
pub struct Stateful {
    pub graph: Graph,
    pub states: OrderedMap<String, Tensor>,
    pub rows: usize,
    random: Random,
}

struct Pool<'b> {
    b: &'b Builder,
    random: Random,
    float: DType,
    items: Vec<Expr<'b>>,
}

impl Stateful {
    /// The same graph for the same seed, in that float type.
    pub fn of(seed: u64, float: DType) -> Stateful {
        let b = Builder::new();
        let mut pool = Pool { b: &b, random: Random(seed), float, items: Vec::new() };
        let rows = [1, 4, 19, 66][pool.random.below(4)];
        let n = Dim::symbol("n");
        for (name, shape) in [("x", vec![n, Dim::Known(70)]), ("y", vec![n, Dim::Known(5)]), ("z", vec![n])] {
            let input = b.input(name, float, Shape::new(shape));
            pool.items.push(input);
        }
        let shapes: [&[usize]; 9] = [&[], &[70], &[70], &[5], &[130], &[5, 70], &[70, 5], &[70, 5], &[66, 70]];
        let declare = |(index, shape): (usize, &&[usize])| (b.state(&format!("s{index}"), float, *shape), index);
        let states: Vec<(Expr<'_>, usize)> = shapes.iter().enumerate().map(declare).collect();
        pool.items.extend(states.iter().map(|(state, _)| *state));
        let count = b.state("count", DType::I32, Shape::scalar());
        b.update(count, count + b.scalar(DType::I32, 1.0));
        // States that are still to get a next value.
        let mut left = states.clone();
        for _ in 0..6 + pool.random.below(18) {
            if pool.random.below(3) == 0 && !left.is_empty() {
                let (state, _) = left.swap_remove(pool.random.below(left.len()));
                let next = pool.next(state);
                b.update(state, next);
                pool.items.push(next);
            } else {
                pool.step();
            }
        }
        for index in 0..1 + pool.random.below(5) {
            let value = pool.pick();
            b.output(&format!("out{index}"), value);
        }
        let mut random = pool.random;
        let graph = b.finish().expect("each step keeps to the shapes");
        let mut states: OrderedMap<String, Tensor> = OrderedMap::from([("count".to_owned(), Tensor::scalar(41i32))]);
        for (index, shape) in shapes.iter().enumerate() {
            states.insert(format!("s{index}"), tensor(&mut random, float, shape));
        }
        states.retain(|name, _| graph.input(name).is_some());
        Stateful { graph, states, rows, random }
    }

    /// Data for one more run.
    pub fn data(&mut self) -> OrderedMap<String, Tensor> {
        let (graph, rows) = (&self.graph, self.rows);
        let mut fed = OrderedMap::new();
        for name in ["x", "y", "z"] {
            let Some(id) = graph.input(name) else { continue };
            let ty = &graph.node(id).types()[0];
            let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(rows)).collect();
            fed.insert(name.to_owned(), tensor(&mut self.random, ty.dtype, &shape));
        }
        fed
    }
}

fn tensor(random: &mut Random, float: DType, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| random.range(-1.0, 1.0)).collect();
    Tensor::from_f64(float, shape, values).expect("as many as the shape has")
}

impl<'b> Pool<'b> {
    fn pick(&mut self) -> Expr<'b> {
        // Late values more often than early ones.
        let len = self.items.len();
        let index = if self.random.coin() { len - 1 - self.random.below(len.min(4)) } else { self.random.below(len) };
        self.items[index]
    }

    fn push(&mut self, value: Expr<'b>) {
        self.items.push(value);
    }

    /// A value of another shape, brought to this one.
    fn fitted(&mut self, like: Expr<'b>) -> Expr<'b> {
        let fitting: Vec<Expr<'b>> = self.items.iter().copied().filter(|item| item.shape() == like.shape()).collect();
        if self.random.below(4) > 0 && !fitting.is_empty() {
            return fitting[self.random.below(fitting.len())];
        }
        let value = self.pick();
        match (value.rank(), like.rank()) {
            // The mean over the rows, one for each column.
            (2, 1) if value.shape()[1] == like.shape()[0] => value.mean(&[0]),
            (2, 1) if value.shape()[0] == like.shape()[0] => value.mean(&[1]),
            (1, 2) if value.shape()[0] == like.shape()[1] => value.along(1, like),
            (1, 2) if value.shape()[0] == like.shape()[0] => value.along(0, like),
            _ => value.mean_all().broadcast_to(like.shape()),
        }
    }

    /// A next value of a state.
    fn next(&mut self, state: Expr<'b>) -> Expr<'b> {
        let other = self.fitted(state);
        match self.random.below(7) {
            0 => other,
            1 => state * 0.5 + 0.25,
            2 => state * 0.9 + other * 0.1,
            3 => (state - other * 0.3).tanh(),
            // The next value of momentum, and what follows from it.
            4 => {
                let moved = state * 0.5 - other * 0.25;
                self.push(moved);
                moved
            }
            5 => state.greater(state.zeros_like()).select(state * 0.5, other * 0.5),
            _ => other * 0.5,
        }
    }

    fn step(&mut self) {
        let x = self.pick();
        let (shape, rank) = (x.shape(), x.rank());
        let last = rank.saturating_sub(1);
        let known = shape.get(last).and_then(|dim| dim.known());
        let value = match self.random.below(22) {
            0 => x.tanh(),
            1 => x.sin() * 0.5,
            2 => x.relu() - 0.1,
            3..6 => {
                let y = self.fitted(x);
                x * y
            }
            6..8 => {
                let y = self.fitted(x);
                (x + y) * 0.5
            }
            8 if rank > 0 => x.sum(&[0]).tanh(),
            9 if rank > 0 => x.mean(&[last]),
            10 if rank > 0 => x.reduce_max(&[last]),
            11 if rank == 2 => x.transpose(&[1, 0]),
            12 if rank == 2 => {
                let partner = self.items.iter().copied().find(|y| y.rank() == 2 && y.shape()[0] == shape[1]);
                match partner {
                    Some(y) => x.dot(y).tanh(),
                    None => x.transpose(&[1, 0]).dot(x).tanh(),
                }
            }
            13 if known.is_some() => {
                let value = self.items.iter().rev().copied().find(|item| item.rank() == 0).unwrap_or(x.mean_all());
                x.pad(last, self.random.below(3), self.random.below(3), self.random.below(2), value)
            }
            14 if known.is_some_and(|size| size > 2) => {
                let size = known.unwrap_or(0);
                let start = self.random.below(size - 1);
                x.slice_by(last, start..size, 1 + self.random.below(2))
            }
            15 if known.is_some_and(|size| size <= 140) => {
                let y = self.fitted(x);
                self.b.concat(&[x, y], last)
            }
            16 if rank == 2 && shape[1].known().is_some_and(|size| size == 70) => {
                let pick = |pool: &mut Self| {
                    let vectors: Vec<Expr<'b>> =
                        pool.items.iter().copied().filter(|v| v.rank() == 1 && v.shape()[0] == 70.into()).collect();
                    vectors[pool.random.below(vectors.len())]
                };
                let (gamma, beta) = (pick(self), pick(self));
                let normed = x.batch_norm_train(gamma, beta, 1, 0.1);
                self.push(normed.mean);
                self.push(normed.var.tanh());
                normed.y.tanh()
            }
            17 if rank > 0 => x.softmax(last),
            18 if rank == 2 && shape.known().is_some() => {
                let len: usize = shape.known().unwrap_or_default().iter().product();
                x.reshape([len])
            }
            19 if known.is_some_and(|size| size > 0) && rank == 2 => {
                let index = x.arg_max(1).reshape([shape[0], Dim::Known(1)]);
                x.take_along_axis(index, 1)
            }
            20 => x.stop_gradient(),
            _ => x * 0.5 + 0.1,
        };
        self.push(value);
    }
}

/// The float type that a seed is tried in.
pub fn float_of(seed: u64) -> DType {
    if seed.is_multiple_of(3) { DType::F32 } else { DType::F64 }
}
