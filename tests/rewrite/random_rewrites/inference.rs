//! Random inference graphs: products in every orientation, batch norms over any axis, affine maps written out, and what
//! stands between them, over a symbolic batch, with weights that layers share and values that several nodes read.
//!
//! A graph is a list of instructions over a pool of values. Any part of a list builds a graph, so that proptest can shrink
//! it.

use super::pool::{Instruction, Made, Pool};
use crate::common::Random;
use foldgrad::ir::{Dim, Shape};
use foldgrad::op::Domain;
use foldgrad::{DType, Expr};

const KINDS: usize = 62;
/// Most elements of one value, with a batch of 3.
const ELEMENTS: usize = 200;

/// The graph of these instructions.
pub fn build(instructions: &[Instruction], seed: u64) -> Made {
    Pool::run(seed, |pool| {
        let batch = Dim::symbol("batch");
        for (name, shape) in [
            ("x", Shape::from([batch, 4.into()])),
            ("image", [batch, 2.into(), 3.into()].into()),
            ("square", [batch, 3.into(), 3.into()].into()),
            ("table", [4, 4].into()),
        ] {
            let value = pool.b.input(name, DType::F64, shape);
            pool.push(value);
        }
        for instruction in instructions {
            step(pool, instruction);
        }
        pool.give_out_what_is_left(4);
    })
}

/// Elements with a batch of 3.
fn elements(x: Expr<'_>) -> usize {
    x.shape().iter().map(|dim| dim.known().unwrap_or(3)).product()
}

/// The axes of known size.
fn known(x: Expr<'_>) -> Vec<(usize, usize)> {
    x.shape().iter().enumerate().filter_map(|(axis, dim)| Some((axis, dim.known()?))).collect()
}

fn step(pool: &mut Pool<'_>, &Instruction { kind, first, second, knob }: &Instruction) {
    let x = pool.pick(first);
    let axes = known(x);
    let knob = usize::from(knob);
    if elements(x) > ELEMENTS {
        return pool.push(x.tanh());
    }
    let Some(&(axis, size)) = axes.get(knob % axes.len().max(1)) else { return pool.push(x * 0.5) };
    let last = x.rank() - 1;
    let shared = second.is_multiple_of(4);
    let value = match usize::from(kind) % KINDS {
        0..7 if x.shape()[last].known().is_some() => dense(pool, x, knob, shared),
        7 => product(pool, x, axis, size, knob),
        8 => over_two(pool, x, &axes, knob),
        9..15 => norm(pool, x, axis, size, shared, knob),
        15..23 => map(pool, x, axis, size, &axes, knob, second),
        23..26 => x.relu(),
        26 => x.leaky_relu(0.25),
        27 => x.max(x.zeros_like()),
        28 => [x.tanh(), x.sigmoid(), x.softmax(axis), x.abs(), x.clamp(-1.0, 2.0)][knob % 5],
        29 | 30 => flattened(x, axis),
        31 => unflattened(x, axis, size),
        32 | 33 => x.transpose(&permutation(x.rank(), knob, second)),
        34 => pool.b.concat(&[x, pool.like(x, second)], axis),
        35 => x.sum(&[axis]),
        36 => x.mean(&[axis]),
        37 => {
            if knob.is_multiple_of(2) {
                x.reduce_max(&[axis])
            } else {
                x.reduce_min(&[axis])
            }
        }
        38 => x.pad(axis, knob % 2, 1, 0, pool.b.scalar(DType::F64, 0.0)),
        39 => x.slice(axis, (knob % 2).min(size - 1)..size),
        40..42 => x + pool.like(x, second),
        42 => x * pool.like(x, second),
        43 => -x,
        44 => x.stop_gradient(),
        45..49 => nothing(pool, x, knob, second),
        49 => {
            let name = format!("inner {}", pool.b.graph().len());
            pool.b.output(&name, x);
            x * 1.5
        }
        50..52 if x.shape()[last].known().is_some() => {
            let z = positive_norm(pool, x, shared);
            dense(pool, ramp(z, knob), knob, shared)
        }
        52..54 if x.shape()[last].known().is_some() => {
            let z = dense(pool, x, knob, shared);
            positive_norm(pool, ramp(z, knob), shared)
        }
        54..58 => {
            let z = map(pool, x, axis, size, &axes, knob | 2, second);
            let z = view(pool, z, knob, second);
            let z = if knob.is_multiple_of(2) { flat(z) } else { z };
            last_dense(pool, z, knob, shared)
        }
        58..62 => {
            let z = last_dense(pool, x, knob, shared);
            let units = z.shape()[z.rank() - 1].known();
            let z = units.map_or(z, |units| unflattened(z, z.rank() - 1, units));
            let z = view(pool, z, knob, second);
            let axes = known(z);
            match axes.get(knob / 4 % axes.len().max(1)) {
                Some(&(axis, size)) => map(pool, z, axis, size, &axes, knob | 2, second),
                None => z,
            }
        }
        _ => x + 0.25,
    };
    pool.push(value);
}

fn dense<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, shared: bool) -> Expr<'b> {
    let features = x.shape()[x.rank() - 1].known().unwrap_or(1);
    let units = [4, 3, 4, 6][knob % 4];
    let kernel = pool.weight("kernel", &[features, units], shared, SMALL);
    let bias = (!knob.is_multiple_of(3)).then(|| pool.weight("bias", &[units], shared, SMALL));
    x.dense(kernel, bias)
}

/// A Dense where the last axis has a known size.
fn last_dense<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, shared: bool) -> Expr<'b> {
    if x.shape().last().is_some_and(|dim| dim.known().is_some()) { dense(pool, x, knob, shared) } else { x }
}

/// What a map may pass on the way to a product.
fn view<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, second: u8) -> Expr<'b> {
    let axes = known(x);
    let Some(&(axis, size)) = axes.get(knob / 8 % axes.len().max(1)) else { return x };
    match knob % 5 {
        // The batch stays in front, so that a product can follow.
        0 | 1 => {
            let order = permutation(x.rank() - 1, knob, second);
            x.transpose(&[0].into_iter().chain(order.into_iter().map(|axis| axis + 1)).collect::<Vec<_>>())
        }
        2 => x.pad(axis, 1, knob / 8 % 2, 0, pool.b.scalar(DType::F64, 0.0)),
        3 => flattened(x, axis),
        _ => x.slice(axis, (knob / 16 % 2).min(size - 1)..size),
    }
}

const SMALL: Domain = Domain::AwayFromZero(0.1, 0.8);
const FACTOR: Domain = Domain::AwayFromZero(0.6, 1.6);
const POSITIVE: Domain = Domain::Range(0.6, 1.6);

/// A product over one axis, with the weight on either side and in either order.
fn product<'b>(pool: &mut Pool<'b>, x: Expr<'b>, axis: usize, size: usize, knob: usize) -> Expr<'b> {
    let (units, none): (usize, (&[usize], &[usize])) = ([2, 4][knob / 4 % 2], (&[], &[]));
    match knob % 4 {
        0 => x.dot_general(pool.weight("transposed", &[units, size], false, SMALL), (&[axis], &[1]), none),
        1 => pool.weight("left", &[units, size], false, SMALL).dot_general(x, (&[1], &[axis]), none),
        2 => x.dot_general(pool.weight("vector", &[size], false, SMALL), (&[axis], &[0]), none),
        _ => x.dot_general(pool.weight("wide", &[2, size, 2], false, SMALL), (&[axis], &[1]), none),
    }
}

/// A product over two axes at once.
fn over_two<'b>(pool: &mut Pool<'b>, x: Expr<'b>, axes: &[(usize, usize)], knob: usize) -> Expr<'b> {
    let [.., (i, m), (j, n)] = *axes else { return x * 0.5 };
    let none: (&[usize], &[usize]) = (&[], &[]);
    match knob % 3 {
        0 => x.dot_general(pool.weight("both", &[m, n, 3], false, SMALL), (&[i, j], &[0, 1]), none),
        1 => x.dot_general(pool.weight("crossed", &[n, 3, m], false, SMALL), (&[i, j], &[2, 0]), none),
        _ => pool.weight("left both", &[3, n, m], false, SMALL).dot_general(x, (&[1, 2], &[j, i]), none),
    }
}

fn norm<'b>(pool: &mut Pool<'b>, x: Expr<'b>, axis: usize, size: usize, shared: bool, knob: usize) -> Expr<'b> {
    let gamma = if knob.is_multiple_of(2) { POSITIVE } else { FACTOR };
    let moments = [
        pool.weight(if knob.is_multiple_of(2) { "positive gamma" } else { "gamma" }, &[size], shared, gamma),
        pool.weight("beta", &[size], shared, SMALL),
        pool.weight("mean", &[size], shared, SMALL),
        pool.weight("variance", &[size], shared, POSITIVE),
    ];
    x.batch_norm_infer(moments, axis, 1e-3)
}

/// A batch norm of the last axis whose scale passes a ramp.
fn positive_norm<'b>(pool: &mut Pool<'b>, x: Expr<'b>, shared: bool) -> Expr<'b> {
    let axis = x.rank() - 1;
    norm(pool, x, axis, x.shape()[axis].known().unwrap_or(1), shared, 0)
}

fn ramp(x: Expr<'_>, knob: usize) -> Expr<'_> {
    [x.relu(), x.leaky_relu(0.5), x.max(x.zeros_like())][knob / 4 % 3]
}

/// A sum, difference, product or quotient with a weight, laid along one axis, two axes, or all.
fn map<'b>(
    pool: &mut Pool<'b>,
    x: Expr<'b>,
    axis: usize,
    size: usize,
    axes: &[(usize, usize)],
    knob: usize,
    second: u8,
) -> Expr<'b> {
    let domain = if knob.is_multiple_of(2) { POSITIVE } else { FACTOR };
    let weight = match (knob / 2 % 4, axes) {
        (0, _) => pool.b.scalar(DType::F64, if knob.is_multiple_of(2) { 0.75 } else { -1.25 }).broadcast_to(x.shape()),
        (1, [.., (i, m), (j, n)]) => pool.weight("pixels", &[*m, *n], false, domain).broadcast_in(x.shape(), &[*i, *j]),
        _ => pool.weight("factor", &[size], second.is_multiple_of(4), domain).along(axis, x),
    };
    match second % 8 {
        0 => x + weight,
        1 => weight + x,
        2 => x - weight,
        3 => weight - x,
        4 => x * weight,
        5 => weight * x,
        6 => x / weight,
        _ => weight / (x * x + 0.5),
    }
}

/// This axis joined with the next one of known size.
fn flattened(x: Expr<'_>, axis: usize) -> Expr<'_> {
    let shape = x.shape();
    let Some(both) = shape.get(axis + 1).and_then(|next| Some(next.known()? * shape[axis].known()?)) else {
        return x.relu();
    };
    let joined = |at: usize| if at == axis { Dim::Known(both) } else { shape[at] };
    x.reshape((0..x.rank()).filter(|&at| at != axis + 1).map(joined).collect::<Shape>())
}

/// Rows of all that follows the first axis.
fn flat(x: Expr<'_>) -> Expr<'_> {
    let shape = x.shape();
    let sizes = shape.iter().skip(1).map(|dim| dim.known());
    let size = sizes.reduce(|a, b| Some(a? * b?)).flatten();
    size.map_or(x, |size| x.reshape([shape[0], size.into()]))
}

/// This axis split in two.
fn unflattened(x: Expr<'_>, axis: usize, size: usize) -> Expr<'_> {
    let factor = [2, 3].into_iter().find(|factor| size.is_multiple_of(*factor) && size > *factor).unwrap_or(1);
    let split = |(at, &dim): (usize, &Dim)| {
        if at == axis { vec![size / factor, factor].into_iter().map(Dim::Known).collect() } else { vec![dim] }
    };
    x.reshape(x.shape().iter().enumerate().flat_map(split).collect::<Shape>())
}

fn permutation(rank: usize, knob: usize, second: u8) -> Vec<usize> {
    let mut random = Random((knob as u64) << 8 | u64::from(second));
    let mut order: Vec<usize> = (0..rank).collect();
    (1..rank).for_each(|i| order.swap(i, random.below(i + 1)));
    order
}

/// What changes nothing, in many ways.
fn nothing<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, second: u8) -> Expr<'b> {
    let order = permutation(x.rank(), knob, second);
    let size = x.shape().iter().enumerate().find_map(|(axis, dim)| Some((axis, dim.known()?)));
    match knob % 12 {
        0 => x + 0.0,
        1 => 0.0 + x,
        2 => x - 0.0,
        3 => x * 1.0,
        4 => x / 1.0,
        5 => -(-x),
        7 => x.transpose(&order).transpose(&order),
        8 | 9 => match size {
            Some((axis, size)) => flattened(unflattened(x, axis, size), axis),
            None => x,
        },
        6 | 10 => size.map_or(x, |(axis, size)| x.slice(axis, 0..size)),
        _ => written(pool, x, usize::from(second)),
    }
}

/// Nodes that the expressions' own sugar leaves out, as a file may have them.
fn written<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize) -> Expr<'b> {
    let (ty, axes) = (x.ty(), (0..x.rank()).map(|axis| axis.to_string()).collect::<Vec<_>>().join(","));
    let node = match knob % 3 {
        0 => format!("cast(%0) {{dtype={}}}", ty.dtype),
        1 => format!("transpose(%0) {{permutation=[{axes}]}}"),
        _ => format!("reshape(%0) {{shape={}}}", ty.shape),
    };
    let text =
        format!("graph {{\n  %0 = input() {{name=\"x\", role=data, type={ty}}} : {ty}\n  %1 = {node} : {ty}\n}}\n");
    let graph = foldgrad::ir::parse(&text).expect("a graph in text form");
    let op = graph.nodes().last().map(|(_, node)| node.op().clone()).expect("two nodes");
    pool.b.push(op, &[x])
}
