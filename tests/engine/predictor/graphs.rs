//! Random inference graphs through the predictor: whatever it cuts into blocks, each row is that of the whole batch, by the
//! reference.
//!
//! `PROPTEST_CASES` sets the number of graphs. A failure prints the graph, shrunken.

use super::pool::{Instruction, Made, Pool, instructions};
use crate::common::running::{SETS, options};
use crate::common::{Magnitude, Random, config};
use foldgrad::exec::{BLOCK, Predictor};
use foldgrad::ir::{Dim, OrderedMap, Role, Shape, TensorType, Value};
use foldgrad::op::Domain;
use foldgrad::reference::{Array, interpret};
use foldgrad::{DType, Expr, Tensor};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;

const GRAPHS: u32 = 2000;
const KINDS: usize = 56;
const SMALL: Domain = Domain::AwayFromZero(0.1, 0.8);
const POSITIVE: Domain = Domain::Range(0.6, 1.6);
/// Most elements of one value, for each row.
const ELEMENTS: usize = 24;

/// The graph of these instructions. Some values couple the rows of the batch, in many ways.
fn build(instructions: &[Instruction], seed: u64) -> Made {
    Pool::run(seed, |pool| {
        let n = Dim::symbol("n");
        for (name, shape) in [("x", Shape::from([n, 4.into()])), ("image", [n, 2.into(), 3.into()].into())] {
            let value = pool.b.input(name, DType::F64, shape);
            pool.push(value);
        }
        let index = pool.b.input("index", DType::I32, [n]);
        // How many of the instructions couple rows: in some graphs none, in some any.
        let couples = seed % 3;
        for instruction in instructions {
            step(pool, instruction, index, couples);
        }
        // Most graphs give out what has a row for each of the batch, and there first.
        for (at, value) in pool.left(2).into_iter().enumerate() {
            let first = match batch_axis(value) {
                Some(axis) => {
                    let order: Vec<usize> =
                        [axis].into_iter().chain((0..value.rank()).filter(|&a| a != axis)).collect();
                    value.transpose(&order)
                }
                None if couples == 2 && at % 2 == 1 => value,
                None => value.mean_all().broadcast_to([n]) + index.cast(DType::F64),
            };
            pool.b.output(&format!("y{at}"), first);
        }
    })
}

fn batch_axis(x: Expr<'_>) -> Option<usize> {
    x.shape().iter().position(|dim| dim.known().is_none())
}

/// The axes of known size.
fn known(x: Expr<'_>) -> Vec<(usize, usize)> {
    x.shape().iter().enumerate().filter_map(|(axis, dim)| Some((axis, dim.known()?))).collect()
}

fn step<'b>(pool: &mut Pool<'b>, instruction: &Instruction, index: Expr<'b>, couples: u64) {
    let &Instruction { kind, first, second, knob } = instruction;
    let x = pool.pick(first);
    let (axes, knob, n) = (known(x), usize::from(knob), Dim::symbol("n"));
    let each: usize = axes.iter().map(|(_, size)| size).product();
    let kind = usize::from(kind) % KINDS;
    let (Some(batch), true) = (batch_axis(x), each <= ELEMENTS) else {
        // What has no rows any more is laid beside what has.
        let mean = x.mean_all();
        let image = pool.pick(255);
        return pool.push(image.tanh() + mean);
    };
    if kind >= 44 && (couples == 2 || couples == 1 && second.is_multiple_of(3)) {
        let value = coupled(pool, x, batch, kind, knob, index);
        return pool.push(value);
    }
    let Some(&(axis, size)) = axes.get(knob % axes.len().max(1)) else {
        // A vector of the batch alone gets an axis.
        let wide = x.reshape([n, 1.into()]) * pool.weight("spread", &[1, 3], false, SMALL);
        return pool.push(wide);
    };
    let value = match kind {
        0..4 => {
            let units = [2, 3, 4, 5][knob / 4 % 4];
            let kernel = pool.weight("kernel", &[size, units], false, SMALL);
            x.dot_general(kernel, (&[axis], &[0]), (&[], &[]))
        }
        4 | 5 if axis + 1 == x.rank() => {
            let kernel = pool.weight("kernel", &[size, 3], false, SMALL);
            x.dense(kernel, Some(pool.weight("bias", &[3], false, SMALL)))
        }
        6 => pool.weight("left", &[2, size], false, SMALL).dot_general(x, (&[1], &[axis]), (&[], &[])),
        // In step with the batch, contracted over the features.
        7 => x.dot_general(pool.like(x, second), (&[axis], &[axis]), (&[batch], &[batch])).tanh(),
        8 => x.softmax(axis),
        9 => x.log_softmax(axis),
        10 => x.sum(&[axis]),
        11 => x.mean(&[axis]),
        12 => x.reduce_max(&[axis]),
        13 => x.reduce_min(&[axis]),
        14 => x.product(&[axis]).tanh(),
        15 => x - x.mean(&[axis]).unreduce(&[axis], x),
        // How many features there are: no matter of the batch.
        16 => x / x.count(&[axis]),
        17 => x + pool.b.iota(DType::F64, x.shape(), axis) * 0.1,
        18 => {
            let labels = (pool.b.iota(DType::I32, x.shape(), axis)).cast(DType::F64);
            x * labels
        }
        19 => {
            rows(x, batch) + index.one_hot(4, DType::F64).dot(pool.weight("table", &[4, 1], false, SMALL)).reshape([n])
        }
        20 => index.one_hot(5, DType::F64),
        21 => {
            let of = rows_of(x, batch, axis);
            let at = index.reshape([n, 1.into()]);
            of.take_along_axis(at, 1)
        }
        22 => {
            // Each row picks from a table that all share.
            let table = pool.weight("shared", &[4, 1], false, SMALL);
            table.take_along_axis(index.reshape([n, 1.into()]), 0)
        }
        23 => {
            let of = rows_of(x, batch, axis);
            let at = index.reshape([n, 1.into()]).broadcast_to([n, size.into()]);
            of.scatter_along_axis(at, 1, 4)
        }
        24 => rows_of(x, batch, axis).softmax_cross_entropy(index.max(index.zeros_like())),
        25..28 => x.transpose(&permutation(x.rank(), knob, second)),
        28 => pool.b.concat(&[x, pool.like(x, second)], axis),
        29 => x.slice(axis, (knob % 2).min(size - 1)..size),
        30 => x.pad(axis, knob % 2, 1, knob / 2 % 2, pool.b.scalar(DType::F64, 0.5)),
        31 => joined(x, axis),
        32 => split(x, axis, size),
        33 => {
            let moments = [
                pool.weight("gamma", &[size], false, SMALL),
                pool.weight("beta", &[size], false, SMALL),
                pool.weight("mean", &[size], false, SMALL),
                pool.weight("variance", &[size], false, POSITIVE),
            ];
            x.batch_norm_infer(moments, axis, 1e-3)
        }
        34 => x + largest(pool, x, batch),
        35 => x.relu(),
        36 => [x.tanh(), x.sigmoid(), x.elu(0.7), x.silu(), x.softplus()][knob % 5],
        37 => x.greater(x.full_like(0.1)).select(x.sin() * 0.0 + 0.25, x.full_like(0.25)) * x,
        38 => x.clamp(-0.5, 0.5),
        39 => x * pool.like(x, second),
        40 => x + pool.like(x, second),
        41 => x / (pool.like(x, second).abs() + 0.5),
        42 => x.cast(DType::F32).cast(DType::F64).stop_gradient() * 0.0 + x,
        // A batch norm of each row by itself: the channel axis is the batch.
        43 => {
            let gamma = rows(x, batch) * 0.0 + 1.0;
            x.batch_norm_train(gamma, gamma * 0.5, batch, 0.1).y
        }
        _ => x * 0.5,
    };
    pool.push(value);
}

/// The place of the largest feature of the input `x`, laid like another value.
fn largest<'b>(pool: &Pool<'b>, like: Expr<'b>, batch: usize) -> Expr<'b> {
    let node = pool.b.graph().input("x").expect("declared");
    let data = pool.b.expr(Value { node, output: 0 });
    data.arg_max(1).cast(DType::F64).along(batch, like)
}

/// One number for each row.
fn rows<'b>(x: Expr<'b>, batch: usize) -> Expr<'b> {
    let others: Vec<usize> = (0..x.rank()).filter(|&axis| axis != batch).collect();
    if others.is_empty() { x } else { x.mean(&others) }
}

/// A matrix of the batch and that axis.
fn rows_of<'b>(x: Expr<'b>, batch: usize, axis: usize) -> Expr<'b> {
    let others: Vec<usize> = (0..x.rank()).filter(|&at| at != batch && at != axis).collect();
    let matrix = if others.is_empty() { x } else { x.mean(&others) };
    if batch < axis { matrix } else { matrix.transpose(&[1, 0]) }
}

/// What a row cannot do by itself.
fn coupled<'b>(pool: &mut Pool<'b>, x: Expr<'b>, batch: usize, kind: usize, knob: usize, index: Expr<'b>) -> Expr<'b> {
    let n = Dim::symbol("n");
    let key = pool.b.graph().input("key").map(|node| pool.b.expr(Value { node, output: 0 }));
    let key = |pool: &mut Pool<'b>| {
        key.unwrap_or_else(|| {
            pool.weights.insert("key".to_owned(), Tensor::vector(vec![3i32, 5]));
            pool.b.declare("key", Role::State, TensorType::new(DType::I32, [2]))
        })
    };
    match (kind, knob % 3) {
        (44, _) => x * pool.b.size([n], DType::F64) * 1e-3,
        (45, _) => x / x.count(&[batch]),
        (46, 0) => x - x.mean(&[batch]).unreduce(&[batch], x),
        (46, _) => x + x.mean_all(),
        (47, 0) => x + x.sum(&[batch]).unreduce(&[batch], x) * 1e-3,
        (47, 1) => x - x.reduce_max(&[batch]).unreduce(&[batch], x),
        (47, _) => x * x.reduce_min(&[batch]).unreduce(&[batch], x),
        (48, _) => x + pool.b.iota(DType::F64, x.shape(), batch) * 1e-3,
        (49, _) => x.softmax(batch) * 100.0,
        (50, _) => {
            // Every row is the first one.
            let first = pool.b.scalar(DType::I32, 0.0).broadcast_to(x.shape());
            x.take_along_axis(first, batch) * 0.5 + x
        }
        (51, _) => {
            let to = index.max(index.zeros_like()).along(batch, x);
            x.scatter_along_axis(to, batch, n)
        }
        (52, 0) => {
            let key = key(pool);
            x.dropout(key, 0.3)
        }
        (52, _) => {
            let key = key(pool);
            x * pool.b.random_uniform(key, DType::F64, x.shape())
        }
        (53, _) => {
            let pairs = x.dot_general(x, (&[batch], &[batch]), (&[], &[]));
            x + pairs.mean_all() * 1e-3
        }
        (54, _) => {
            // Rows beside all rows, and back.
            let row = rows(x, batch);
            let table = row.reshape([n, 1.into()]) * 1.0 + row.broadcast_in([n, n], &[1]);
            table.mean(&[1]).along(batch, x) + x
        }
        _ => {
            let axis = (0..x.rank()).rfind(|&axis| axis != batch);
            let Some(axis) = axis else { return x.sum_all() * 1e-3 + x };
            let size = x.shape()[axis].known().unwrap_or(1);
            let [gamma, beta] = ["gamma", "beta"].map(|kind| pool.weight(kind, &[size], false, SMALL));
            x.batch_norm_train(gamma, beta, axis, 0.1).y
        }
    }
}

/// This axis joined with the next one of known size.
fn joined(x: Expr<'_>, axis: usize) -> Expr<'_> {
    let shape = x.shape();
    let Some(both) = shape.get(axis + 1).and_then(|next| Some(next.known()? * shape[axis].known()?)) else {
        return x * 0.75;
    };
    let dim = |at: usize| if at == axis { Dim::Known(both) } else { shape[at] };
    x.reshape((0..x.rank()).filter(|&at| at != axis + 1).map(dim).collect::<Shape>())
}

/// This axis split in two, or its factor moved over the batch, which tears rows apart.
fn split(x: Expr<'_>, axis: usize, size: usize) -> Expr<'_> {
    let factor = [2, 3].into_iter().find(|factor| size.is_multiple_of(*factor)).unwrap_or(1);
    let split = |(at, &dim): (usize, &Dim)| match at == axis {
        true => vec![Dim::Known(size / factor), Dim::Known(factor)],
        false => vec![dim],
    };
    x.reshape(x.shape().iter().enumerate().flat_map(split).collect::<Shape>())
}

fn permutation(rank: usize, knob: usize, second: u8) -> Vec<usize> {
    let mut random = Random((knob as u64) << 8 | u64::from(second));
    let mut order: Vec<usize> = (0..rank).collect();
    (1..rank).for_each(|i| order.swap(i, random.below(i + 1)));
    order
}

/// Around the edges of blocks, or any number.
fn row_count(random: &mut Random, threads: usize) -> usize {
    let most = BLOCK * threads;
    let edges = [1, 2, 3, 127, 128, 129, 255, 256, 257, most - 1, most, most + 1, most + 2, 2 * most + 1, 999, 1000];
    if random.below(3) == 0 { 1 + random.below(1000) } else { edges[random.below(edges.len())].min(1000) }
}

#[derive(Debug, Default)]
struct Seen {
    graphs: usize,
    nodes: usize,
    /// Batches of more than a block a thread: those that were cut, and those that were not.
    cut: usize,
    whole: usize,
}

fn check(made: &Made, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random(!made.seed);
    // With eight threads no batch here is long enough to be cut.
    let threads = [1, 1, 2, 2, 3, 8][random.below(6)];
    let set = SETS[random.below(SETS.len())];
    let count = row_count(&mut random, threads);
    let mut feeds: OrderedMap<String, Array<f64>> = OrderedMap::new();
    for (name, id) in made.graph.inputs().filter(|(name, _)| !made.weights.contains_key(*name)) {
        let ty = &made.graph.node(id).types()[0];
        let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(count)).collect();
        let domain = if ty.dtype == DType::I32 { Domain::Integers(0, 3) } else { Domain::Range(-1.5, 1.5) };
        feeds.insert(name.to_owned(), random.array(ty.dtype, &shape, domain));
    }
    let inputs: Vec<Tensor> = feeds
        .iter()
        .map(|(name, array)| {
            let id = made.graph.input(name).expect("an input");
            array.to_tensor(made.graph.node(id).types()[0].dtype).expect("a tensor")
        })
        .collect();
    let failed = |reason: String| format!("{count} rows, {threads} threads, {set:?}: {reason}\n{}", made.graph);
    let options = options(set, threads, false);
    let predictor = Predictor::new(made.graph.clone(), made.weights.clone(), &options)
        .map_err(|error| failed(error.to_string()))?;
    let found = predictor.predict(&inputs.iter().collect::<Vec<_>>()).map_err(|error| failed(error.to_string()))?;
    if count > BLOCK * threads {
        let is_cut = !predictor.planned().contains(&count);
        seen.cut += usize::from(is_cut);
        seen.whole += usize::from(!is_cut);
    }
    seen.graphs += 1;
    seen.nodes += made.graph.len();
    let of_tensor = |(name, tensor): (&String, &Tensor)| (name.clone(), Array::<Magnitude>::from_tensor(tensor));
    let given = feeds.keys().zip(&inputs).chain(&made.weights).map(of_tensor).collect();
    let truth = interpret::<Magnitude>(&made.graph, &given).map_err(|error| failed(error.to_string()))?;
    for ((name, truth), found) in truth.outputs.iter().zip(&found) {
        if truth.shape() != found.shape() {
            return Err(failed(format!("`{name}` has the shape {:?}", found.shape())));
        }
        for (at, (truth, found)) in truth.real().data.iter().zip(found.to_f64()).enumerate() {
            let is_close = (truth.value - found).abs() <= 1e-12 * truth.size.max(1e-3);
            if !(is_close || (truth.value.is_nan() && found.is_nan())) {
                return Err(failed(format!("element {at} of `{name}` is {found} instead of {truth:?}")));
            }
        }
    }
    Ok(())
}

#[test]
fn random_graphs_predict_what_the_reference_gives_for_the_whole_batch() {
    let seen = RefCell::new(Seen::default());
    let law = |(instructions, seed): (Vec<Instruction>, u64)| {
        check(&build(&instructions, seed), &mut seen.borrow_mut()).map_err(TestCaseError::fail)
    };
    if let Err(failure) = TestRunner::new(config(GRAPHS)).run(&instructions(11), law) {
        panic!("{failure}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.graphs < 500 || (seen.cut * 8 > seen.graphs && seen.whole * 8 > seen.graphs), "{seen:?}");
}
