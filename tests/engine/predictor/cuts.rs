//! What is cut into blocks of rows and what is not, case by case; either way the bits are those of one plan for the batch.

use super::{by_executable, random};
use foldgrad::exec::{Options, Predictor};
use foldgrad::ir::{Dim, Shape};
use foldgrad::{Builder, DType, Expr, Tensor};

type Build = for<'b> fn(&'b Builder, Expr<'b>) -> Expr<'b>;

const ROWS: usize = 1000;

fn declared(build: Build) -> Builder {
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["n".into(), Dim::Known(4)]);
    g.output("y", build(&g, x));
    g
}

fn n() -> Dim {
    Dim::symbol("n")
}

/// Checks the outputs for a large batch, and whether it was cut.
#[track_caller]
fn check(name: &str, is_cut: bool, build: Build) {
    let graph = declared(build).finish().unwrap_or_else(|errors| panic!("{name}: {errors}"));
    let states: Vec<(String, Tensor)> = (graph.inputs().filter(|(name, _)| *name != "x"))
        .enumerate()
        .map(|(seed, (name, id))| {
            let ty = &graph.node(id).types()[0];
            (name.to_owned(), random(ty.dtype, &ty.shape.known().unwrap(), 50 + seed as u64))
        })
        .collect();
    let mut given: Vec<Tensor> = states.iter().map(|(_, value)| value.clone()).collect();
    let x = random(DType::F64, &[ROWS, 4], 9);
    let options = Options::default().threads(2);
    let predictor = Predictor::new(graph, states, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = predictor.predict(&[&x]).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(!predictor.planned().contains(&ROWS), is_cut, "{name}: {:?}", predictor.planned());
    assert_eq!(found, by_executable(declared(build), "n", &[&x], &mut given), "{name}");
}

#[test]
fn what_couples_rows_is_not_cut() {
    let cases: &[(&str, Build)] = &[
        ("the size of the batch", |_, x| x * x.count(&[0])),
        ("the size of the whole", |_, x| x / x.count(&[0, 1])),
        ("the size of the batch as an integer", |g, x| x + g.size([n()], DType::I32).cast(DType::F64)),
        ("a size behind other ops", |g, x| x * (g.size([n(), 3.into()], DType::F64) + 1.0).log().tanh()),
        ("a mean over the batch", |_, x| x - x.mean(&[0]).unreduce(&[0], x)),
        ("a sum over the whole", |_, x| x / x.sum_all()),
        ("a maximum over the batch", |_, x| x - x.reduce_max(&[0]).unreduce(&[0], x)),
        ("a softmax over the batch", |_, x| x.softmax(0)),
        ("a log-softmax over the batch", |_, x| x.log_softmax(0)),
        ("places in the batch", |g, x| x + g.iota(DType::F64, x.shape(), 0)),
        ("places in the batch, one-hot", |g, _| g.iota(DType::I32, [n()], 0).one_hot(4, DType::F64)),
        ("the first row, everywhere", |g, x| x.take_along_axis(g.scalar(DType::I32, 0.0).broadcast_to(x.shape()), 0)),
        ("rows added to other rows", |g, x| {
            x.scatter_along_axis(g.scalar(DType::I32, 3.0).broadcast_to(x.shape()), 0, n())
        }),
        ("a place along the batch added to", |g, x| {
            let table = g.parameter("w", DType::F64, [2, 4]);
            table.scatter_along_axis(g.scalar(DType::I32, 3.0).broadcast_to([2, 4]), 0, n()) + x
        }),
        ("the largest row", |_, x| x + x.arg_max(0).cast(DType::F64).unreduce(&[0], x)),
        ("random numbers for each row", |g, x| {
            x * g.random_uniform(g.state("key", DType::I32, [2]), DType::F64, x.shape())
        }),
        ("dropout", |g, x| x.dropout(g.state("key", DType::I32, [2]), 0.5)),
        ("batch norm with statistics of the batch", |g, x| {
            x.batch_norm_train(g.parameter("g", DType::F64, [4]), g.parameter("b", DType::F64, [4]), 1, 1e-3).y
        }),
        ("products of rows with rows", |_, x| x.dot(x.transpose(&[1, 0])).sum(&[1])),
        ("a product over the batch", |_, x| x.dot(x.dot_general(x, (&[0], &[0]), (&[], &[])))),
        ("rows torn apart", |_, x| {
            x.reshape([Dim::Known(2), n(), 2.into()]).transpose(&[1, 0, 2]).reshape([n(), 4.into()])
        }),
        ("the batch beside itself", |_, x| {
            let row = x.sum(&[1]);
            (row.broadcast_in([n(), n()], &[0]) * 0.5).sum(&[1])
        }),
        ("an output without rows", |_, x| x.mean(&[0])),
        ("an output with the batch behind", |_, x| x.transpose(&[1, 0])),
        ("an output that is a weight", |g, _| g.parameter("w", DType::F64, [4])),
    ];
    for &(name, build) in cases {
        check(name, false, build);
    }
}

#[test]
fn what_keeps_rows_apart_is_cut() {
    let cases: &[(&str, Build)] = &[
        ("the input itself", |_, x| x),
        ("a weight for all rows", |g, x| x * g.parameter("w", DType::F64, [4])),
        ("a weight alone, laid along the batch", |g, x| g.parameter("w", DType::F64, [4]).broadcast_to(x.shape())),
        ("a network", |g, x| {
            let k = g.parameter("k", DType::F64, [4, 3]);
            x.dense(k, Some(g.parameter("b", DType::F64, [3]))).relu().softmax(1)
        }),
        ("the size of the features", |_, x| x / x.count(&[1])),
        ("a size that no row depends on, left over", |_, x| {
            let _ = x.count(&[0]);
            x * 2.0
        }),
        ("a mean over the features", |_, x| x - x.mean(&[1]).unreduce(&[1], x)),
        ("places among the features", |g, x| x + g.iota(DType::F64, x.shape(), 1)),
        ("random numbers for all rows alike", |g, x| {
            x * g.random_uniform(g.state("key", DType::I32, [2]), DType::F64, [4])
        }),
        ("features picked by a table for all", |g, x| {
            let index = x.arg_max(1).reshape([n(), 1.into()]);
            g.parameter("w", DType::F64, [4, 1]).take_along_axis(index, 0)
        }),
        ("features picked and added in each row", |_, x| {
            let index = x.arg_max(1).reshape([n(), 1.into()]);
            x.take_along_axis(index, 1).scatter_along_axis(index, 1, 6)
        }),
        ("rows in step with each other", |_, x| x.dot_general(x, (&[1], &[1]), (&[0], &[0]))),
        ("the batch behind, and back", |_, x| x.transpose(&[1, 0]).exp().transpose(&[1, 0])),
        ("features split and joined", |_, x| {
            let split: Shape = [n(), 2.into(), 2.into()].into();
            x.reshape(split).transpose(&[0, 2, 1]).reshape([n(), 4.into()])
        }),
        ("a product with the batch on the right", |g, x| {
            g.parameter("w", DType::F64, [3, 4]).dot_general(x, (&[1], &[1]), (&[], &[])).transpose(&[1, 0])
        }),
        ("each row normed by itself", |_, x| {
            let gamma = x.sum(&[1]);
            x.batch_norm_train(gamma, gamma * 0.5, 0, 0.1).y
        }),
        ("batch norm with given statistics", |g, x| {
            let w = |name| g.parameter(name, DType::F64, [4]);
            x.batch_norm_infer([w("g"), w("b"), w("m"), w("v").abs()], 1, 1e-3)
        }),
        ("features cut, padded and joined", |g, x| {
            let part = x.slice(1, 1..3);
            g.concat(&[part, x.pad(1, 1, 0, 1, g.scalar(DType::F64, 0.5))], 1)
        }),
    ];
    for &(name, build) in cases {
        check(name, true, build);
    }
}

/// The number in each row is that of all rows, and not that of a block.
#[test]
fn a_row_counts_the_whole_batch() {
    let graph = declared(|_, x| x * x.count(&[0])).finish().unwrap();
    for threads in [1, 2, 3] {
        let predictor = Predictor::new(graph.clone(), [], &Options::default().threads(threads)).unwrap();
        for rows in [1, 127, 128, 129, 257, 1000] {
            let y = predictor.predict(&[&Tensor::full(DType::F64, [rows, 4], 1.0)]).unwrap();
            assert_eq!(y, [Tensor::full(DType::F64, [rows, 4], rows as f64)], "{rows} rows, {threads} threads");
        }
    }
}
