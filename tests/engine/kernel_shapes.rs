//! Law L2 at shapes that no vector, tile or share divides: products, maps, reductions and batch norm of random odd sizes,
//! in every orientation and stride, empty ones and NaNs among them, by every instruction set; and the same bits at every
//! number of threads.

use crate::common::running::{SETS, options, run, same};
use crate::common::{Random, config};
use foldgrad::autodiff::gradients;
use foldgrad::ir::OrderedMap;
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

type Feeds = OrderedMap<String, Tensor>;

fn reference<S: Number>(graph: &Graph, feeds: &Feeds) -> OrderedMap<String, Vec<f64>> {
    let arrays = feeds.iter().map(|(name, tensor)| (name.clone(), Array::<S>::from_tensor(tensor))).collect();
    let outputs = interpret(graph, &arrays).unwrap().outputs;
    outputs.into_iter().map(|(name, array)| (name, array.to_tensor(DType::F64).unwrap().to_f64())).collect()
}

/// The reference in f64, each instruction set within the tolerance of it, and each number of threads equal to one thread.
fn check(graph: &Graph, feeds: &Feeds, tolerance: f64) -> Result<(), String> {
    let expected = reference::<f64>(graph, feeds);
    for instructions in SETS {
        let alone = run(graph, feeds, &options(instructions, 1, false));
        for (name, found) in &alone {
            close(&format!("{instructions:?}: `{name}`"), &found.to_f64(), &expected[name], tolerance)?;
        }
        for threads in [1, 2, 3] {
            let found = run(graph, feeds, &options(instructions, threads, true));
            same(&format!("{instructions:?}, {threads} threads"), &alone, &found)?;
        }
    }
    Ok(())
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} elements, not {}", found.len(), expected.len()));
    }
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1.0f64, |scale, v| scale.max(v.abs()));
    for (at, (&a, &b)) in found.iter().zip(expected).enumerate() {
        if !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale) {
            return Err(format!("{what}[{at}]: {a:e}, reference {b:e}"));
        }
    }
    Ok(())
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 1e-5 } else { 1e-13 }
}

/// Values in ±1, about `bad` of them NaN or infinite.
fn values(random: &mut Random, dtype: DType, shape: &[usize], bad: usize) -> Tensor {
    let len: usize = shape.iter().product();
    let mut values: Vec<f64> = (0..len).map(|_| f64::from(random.range(-1.0, 1.0) as f32)).collect();
    for _ in 0..bad.min(len) {
        let at = random.below(len);
        values[at] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][random.below(3)];
    }
    Tensor::from_f64(dtype, shape, values).unwrap()
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    Packed,
    /// Rows that begin inside of a larger matrix.
    Window,
    /// Every other element of each line.
    Strided,
}

#[derive(Clone, Debug)]
struct Product {
    sizes: [usize; 3],
    batch: usize,
    transposed: [bool; 2],
    lies: [Lies; 2],
    dtype: DType,
    bad: usize,
    // Whether a bias and an activation follow.
    epilogue: bool,
    seed: u64,
}

impl Product {
    fn operand<'b>(&self, g: &'b Builder, feeds: &mut Feeds, side: usize, random: &mut Random) -> Expr<'b> {
        let [m, k, n] = self.sizes;
        let (rows, columns) = [(m, k), (k, n)][side];
        let stored = if self.transposed[side] { [columns, rows] } else { [rows, columns] };
        let mut larger = stored;
        match self.lies[side] {
            Lies::Packed => {}
            Lies::Window => larger = [stored[0] + 3, stored[1] + 5],
            Lies::Strided => larger[1] = 2 * stored[1] + 1,
        }
        // One matrix has no batch axis: a reshape that took it away would pack the matrix.
        let batch = if self.batch == 1 { vec![] } else { vec![self.batch] };
        let (name, shape, first) = (["a", "b"][side], [&batch[..], &larger].concat(), batch.len());
        feeds.insert(name.to_owned(), values(random, self.dtype, &shape, self.bad));
        let whole = g.input(name, self.dtype, shape);
        let matrix = match self.lies[side] {
            Lies::Packed => whole,
            Lies::Window => whole.slice(first, 2..2 + stored[0]).slice(first + 1, 3..3 + stored[1]),
            Lies::Strided => whole.slice_by(first + 1, 1..1 + 2 * stored[1], 2),
        };
        match (self.transposed[side], first) {
            (false, _) => matrix,
            (true, 0) => matrix.transpose(&[1, 0]),
            (true, _) => matrix.transpose(&[0, 2, 1]),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (g, mut feeds, mut random) = (Builder::new(), Feeds::new(), Random(self.seed));
        let a = self.operand(&g, &mut feeds, 0, &mut random);
        let b = self.operand(&g, &mut feeds, 1, &mut random);
        let product = match self.batch {
            1 => a.dot(b),
            _ => a.dot_general(b, (&[2], &[1]), (&[0], &[0])),
        };
        if self.epilogue {
            feeds.insert("bias".to_owned(), values(&mut random, self.dtype, &[self.sizes[2]], 0));
            let bias = g.input("bias", self.dtype, [self.sizes[2]]);
            // A map that keeps the size of the sums, which the tolerance is relative to.
            g.output("y", (product + bias).abs() * 0.5);
        } else {
            g.output("c", product);
        }
        check(&g.finish().unwrap(), &feeds, tolerance(self.dtype)).map_err(|error| format!("{error}; {self:?}"))
    }
}

const PRIMES: [usize; 6] = [97, 127, 131, 193, 257, 521];

fn dtype() -> impl Strategy<Value = DType> {
    prop_oneof![Just(DType::F32), Just(DType::F64)]
}

fn products() -> impl Strategy<Value = Product> {
    let lies = || prop_oneof![3 => Just(Lies::Packed), 1 => Just(Lies::Window), 1 => Just(Lies::Strided)];
    let size = || prop_oneof![4 => 0usize..=70, 1 => 62usize..=70];
    let large = prop::option::weighted(0.4, (0usize..3, prop::sample::select(PRIMES.to_vec())));
    let sizes = ([size(), size(), size()], large).prop_map(|(mut sizes, large)| {
        large.into_iter().for_each(|(at, size)| sizes[at] = size);
        sizes
    });
    let batch = prop_oneof![3 => Just(1usize), 1 => 2usize..=9];
    let bad = prop_oneof![2 => Just(0usize), 1 => 1usize..4];
    (sizes, batch, any::<[bool; 2]>(), [lies(), lies()], dtype(), bad, any::<bool>(), any::<u64>()).prop_map(
        |(sizes, batch, transposed, lies, dtype, bad, epilogue, seed)| {
            // A batch of large products takes the reference long, and shows nothing more.
            let batch = if sizes.iter().any(|&size| size > 70) { 1 } else { batch };
            Product { sizes, batch, transposed, lies, dtype, bad, epilogue, seed }
        },
    )
}

#[track_caller]
fn for_cases<T: std::fmt::Debug>(default: u32, cases: impl Strategy<Value = T>, law: impl Fn(T) -> Result<(), String>) {
    let outcome = TestRunner::new(config(default)).run(&cases, |case| law(case).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn products_of_random_shapes() {
    for_cases(250, products(), |product| product.check());
}

/// Rows far apart and many of them (packed panels), more rows than a panel has, one row, one column, wide and joined with
/// their map: each in all four orientations.
#[test]
fn products_at_the_edges_of_the_methods() {
    let shapes =
        [[67, 130, 521], [65, 1031, 37], [1, 521, 521], [521, 67, 1], [66, 1, 521], [8, 70, 24], [257, 33, 131]];
    for sizes in shapes {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            for (dtype, bad, epilogue) in [(DType::F32, 0, false), (DType::F32, 2, true), (DType::F64, 0, true)] {
                let lies = [Lies::Packed, Lies::Window];
                Product { sizes, batch: 1, transposed, lies, dtype, bad, epilogue, seed: 3 }.check().unwrap();
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Block {
    shape: [usize; 3],
    dtype: DType,
    bad: usize,
    seed: u64,
}

fn blocks(least: usize) -> impl Strategy<Value = Block> {
    let axis = move || prop_oneof![4 => least..=19, 1 => 20usize..=67, 1 => prop::sample::select(PRIMES.to_vec())];
    let shape = [axis(), axis(), axis()].prop_map(|mut shape| {
        // At most one axis is large, so that the reference is quick.
        for at in 1..3 {
            if shape[..at].iter().any(|&size| size > 19) {
                shape[at] = shape[at].min(7);
            }
        }
        shape
    });
    let bad = prop_oneof![2 => Just(0usize), 1 => 1usize..6];
    (shape, dtype(), bad, any::<u64>()).prop_map(|(shape, dtype, bad, seed)| Block { shape, dtype, bad, seed })
}

impl Block {
    fn check(&self, build: impl for<'b> Fn(&'b Builder, [Expr<'b>; 2], [Expr<'b>; 3])) -> Result<(), String> {
        self.check_within(tolerance(self.dtype), build)
    }

    /// A graph over `x` and `z` of the block's shape, and a vector `v` along each axis.
    fn check_within(
        &self,
        tolerance: f64,
        build: impl for<'b> Fn(&'b Builder, [Expr<'b>; 2], [Expr<'b>; 3]),
    ) -> Result<(), String> {
        let (g, mut feeds, mut random) = (Builder::new(), Feeds::new(), Random(self.seed));
        let mut input = |name: &str, shape: &[usize], bad: usize| {
            feeds.insert(name.to_owned(), values(&mut random, self.dtype, shape, bad));
            g.input(name, self.dtype, shape)
        };
        let blocks = [input("x", &self.shape, self.bad), input("z", &self.shape, 0)];
        let vectors = [("u", 0), ("v", 1), ("w", 2)].map(|(name, axis)| input(name, &self.shape[axis..=axis], 0));
        build(&g, blocks, vectors);
        let graph = g.finish().unwrap();
        check(&graph, &feeds, tolerance).map_err(|error| format!("{error}; {self:?}"))
    }
}

#[test]
fn maps_of_random_shapes() {
    for_cases(150, blocks(0), |block| {
        block.check(|g, [x, z], [u, v, w]| {
            let (u, v, w) = (u.along(0, x), v.along(1, x), w.along(2, x));
            g.output("sum", x * z + w);
            g.output("mixed", (x * u - v) * w + z * 0.5);
            g.output("functions", (x * 0.5).exp() + z.tanh() * u.sigmoid() + (z * z + 1.0).log());
            g.output("relu", x.relu() + z);
            g.output("larger", x.greater(z).select(x, w));
            g.output("turned", (x.transpose(&[2, 0, 1]) + z.transpose(&[2, 0, 1])) * 2.0);
        })
    });
}

#[test]
fn reductions_of_random_shapes() {
    for_cases(150, blocks(0), |block| {
        // Terms up to 1 that add up to 0 are rounded all the same: by the root of their number, when it comes to chance.
        let terms = block.shape.iter().product::<usize>() as f64;
        block.check_within(tolerance(block.dtype) * (terms / 100.0).sqrt().max(1.0), |g, [x, z], _| {
            for axis in 0..3 {
                g.output(&format!("sum {axis}"), x.sum(&[axis]));
                g.output(&format!("sum of a map {axis}"), (x * z).sum(&[axis]) * 0.5);
                g.output(&format!("largest {axis}"), z.reduce_max(&[axis]));
                g.output(&format!("least {axis}"), z.reduce_min(&[axis]));
            }
            g.output("first two", x.sum(&[0, 1]));
            g.output("last two", x.sum(&[1, 2]));
            g.output("ends", x.sum(&[0, 2]));
            g.output("all", x.sum_all());
        })
    });
}

#[test]
fn softmax_and_picking_of_random_shapes() {
    for_cases(60, blocks(1), |block| {
        block.check(|g, [x, z], _| {
            for axis in 0..3 {
                g.output(&format!("softmax {axis}"), z.softmax(axis));
                let index = z.arg_max(axis);
                g.output(&format!("largest {axis}"), index);
                let kept = index.unreduce(&[axis], z);
                g.output(&format!("picked {axis}"), x.take_along_axis(kept, axis));
            }
        })
    });
}

#[test]
fn batch_norm_of_random_shapes() {
    for_cases(100, blocks(1), |block| {
        // A block of one value a channel has variance 0, and differences that are all rounding.
        let block = Block { shape: block.shape.map(|size| size.max(2)), bad: block.bad / 3, ..block };
        block.check(|g, [x, z], vectors| {
            for (axis, &vector) in vectors.iter().enumerate() {
                let gamma = vector + 2.0;
                let normed = x.batch_norm_train(gamma, vector, axis, 0.1);
                g.output(&format!("y {axis}"), normed.y);
                g.output(&format!("mean {axis}"), normed.mean);
                g.output(&format!("var {axis}"), normed.var);
                let loss = (normed.y * z).sum_all() + normed.var.sum_all();
                for (slope, name) in gradients(&[loss], &[x, vector]).unwrap().into_iter().zip(["x", "vector"]) {
                    g.output(&format!("slope by {name} {axis}"), slope);
                }
            }
        })
    });
}

/// ReLU behind batch norm and its gradient are computed in the same visits; a NaN neither passes the gate nor is lost.
#[test]
fn batch_norm_with_relu_of_random_shapes() {
    for_cases(100, blocks(1), |block| {
        let [outer, inner, channels] = block.shape.map(|size| size.max(2));
        let block = Block { shape: [outer, inner, channels], bad: block.bad / 3, ..block };
        block.check(|g, [x, z], [.., vector]| {
            let (x, kernel) = (x.reshape([outer * inner, channels]), z.reshape([channels, outer * inner]));
            let rectified = x.batch_norm_train(vector + 1.0, vector, 1, 0.1).y.relu();
            let loss = (rectified.dot(kernel) * 0.1).tanh().sum_all();
            g.output("rectified", rectified);
            for (slope, name) in gradients(&[loss], &[x, vector]).unwrap().into_iter().zip(["x", "vector"]) {
                g.output(&format!("slope by {name}"), slope);
            }
        })
    });
}
