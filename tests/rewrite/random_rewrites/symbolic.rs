//! Random graphs with sizes that are not known: parameters along symbolic axes, several symbols, batch norm of vectors and
//! of batches of one, empty axes, inputs that nothing reads, outputs that are inputs; forward alone or with gradients.

use super::pool::{Instruction, Made, Pool};
use foldgrad::autodiff::gradients;
use foldgrad::ir::{Dim, Role, Shape, TensorType, Value};
use foldgrad::op::Domain;
use foldgrad::{DType, Expr};

const KINDS: usize = 34;
const SMALL: Domain = Domain::AwayFromZero(0.1, 0.8);
const POSITIVE: Domain = Domain::Range(0.6, 1.6);
/// Most elements of one value, with 3 for each symbol.
const ELEMENTS: usize = 150;

/// The forward graph of these instructions.
pub fn forward(instructions: &[Instruction], seed: u64) -> Made {
    Pool::run(seed, |pool| {
        declare(pool, instructions);
        let given = pool.left(6);
        for (index, value) in given.iter().enumerate() {
            pool.b.output(&format!("y{index}"), *value);
        }
        match seed % 8 {
            // What is given out may be an input, and a weight.
            0 => pool.b.output("as given", named(pool, "x")),
            1 => pool.b.output("weight", pool.b.parameter("p given", DType::F64, ["n", "4"])),
            2 => drop(pool.b.input("read by nobody", DType::F64, ["n", "k"])),
            _ => {}
        }
    })
}

/// The graph of these instructions with a loss, and its gradients.
pub fn training(instructions: &[Instruction], seed: u64) -> Made {
    Pool::run(seed, |pool| {
        declare(pool, instructions);
        let losses = pool.left(6).into_iter().map(|y| (y * y).sum_all() * 0.1);
        let loss = losses.reduce(|a, b| a + b).expect("a value is left");
        pool.b.output("loss", loss);
        let names: Vec<String> = {
            let graph = pool.b.graph();
            let is_trained = |id| graph.as_input(id).is_some_and(|(_, role)| role == Role::Parameter);
            graph.inputs().filter(|&(_, id)| is_trained(id)).map(|(name, _)| name.to_owned()).collect()
        };
        let wrt: Vec<Expr<'_>> = names.iter().map(|name| named(pool, name)).chain([named(pool, "x")]).collect();
        let found = gradients(&[loss], &wrt).expect("every op here has a gradient");
        for (index, gradient) in found.into_iter().enumerate() {
            pool.b.output(&format!("gradient {index}"), gradient);
        }
    })
}

fn named<'b>(pool: &Pool<'b>, name: &str) -> Expr<'b> {
    let node = pool.b.graph().input(name).expect("declared");
    pool.b.expr(Value { node, output: 0 })
}

fn declare(pool: &mut Pool<'_>, instructions: &[Instruction]) {
    let (n, m) = (Dim::symbol("n"), Dim::symbol("m"));
    for (name, shape) in [
        ("x", Shape::from([n, 4.into()])),
        ("both", [n, m].into()),
        ("vector", [7].into()),
        ("one", [1, 4].into()),
        ("empty", [0, 3].into()),
        ("behind", [3.into(), m].into()),
    ] {
        let value = pool.b.input(name, DType::F64, shape);
        pool.push(value);
    }
    for instruction in instructions {
        step(pool, instruction);
    }
}

fn elements(x: Expr<'_>) -> usize {
    x.shape().iter().map(|dim| dim.known().unwrap_or(3)).product()
}

/// A parameter of any shape, which may be symbolic: then it has no value before a run.
fn parameter<'b>(pool: &mut Pool<'b>, shape: &Shape, shared: bool, domain: Domain) -> Expr<'b> {
    match shape.known() {
        Some(sizes) => pool.weight("w", &sizes, shared, domain),
        None => {
            let own = if shared { String::new() } else { format!("#{}", pool.b.graph().len()) };
            let name = format!("p{shape}{own}");
            let known = pool.b.graph().input(&name);
            match known {
                Some(node) => pool.b.expr(Value { node, output: 0 }),
                None => pool.b.declare(&name, Role::Parameter, TensorType::new(DType::F64, shape.clone())),
            }
        }
    }
}

fn step(pool: &mut Pool<'_>, &Instruction { kind, first, second, knob }: &Instruction) {
    let x = pool.pick(first);
    let knob = usize::from(knob);
    if elements(x) > ELEMENTS || x.rank() == 0 {
        return pool.push(x.tanh());
    }
    let axis = knob % x.rank();
    let shape = x.shape();
    let (size, shared) = (shape[axis], second.is_multiple_of(3));
    let last = x.rank() - 1;
    let value = match usize::from(kind) % KINDS {
        0..3 => -x,
        3..9 => map(pool, x, knob, second),
        9..12 => {
            // A product over an axis, which may be symbolic, to a size that may be.
            let units = [Dim::Known(2), Dim::Known(4), Dim::symbol("m"), Dim::Known(5)][knob / 4 % 4];
            let w = parameter(pool, &[size, units].into(), shared, SMALL);
            x.dot_general(w, (&[axis], &[0]), (&[], &[]))
        }
        12..17 => dense(pool, x, knob, second),
        17..20 => {
            let z = if knob.is_multiple_of(3) { x } else { dense(pool, x, knob, second) };
            norm_train(pool, z, if knob.is_multiple_of(5) { axis } else { z.rank() - 1 }, knob)
        }
        20..23 => {
            let z = if knob.is_multiple_of(3) { x } else { dense(pool, x, knob, second) };
            norm_infer(pool, z, if knob.is_multiple_of(5) { axis } else { z.rank() - 1 }, shared)
        }
        23 => x.relu(),
        24 => x.tanh(),
        25 => x.transpose(&(0..x.rank()).rev().collect::<Vec<_>>()),
        26 if x.rank() > 1 => x.mean(&[axis]),
        27 if x.rank() > 1 => x.sum(&[axis]),
        28 => x + pool.like(x, second),
        29 => x * pool.like(x, second),
        30 => -(-(x * 1.0)) + 0.0,
        31 => x.reshape(shape.iter().copied().chain([1.into()]).collect::<Shape>()),
        32 if last > 0 => {
            // A number for each row of it, computed from a weight alone.
            let row = parameter(pool, &[size].into(), shared, SMALL).tanh();
            x * row.along(axis, x)
        }
        _ => {
            let by = if knob.is_multiple_of(2) { -2.0 } else { 0.5 };
            x * by
        }
    };
    pool.push(value);
}

/// A map by a weight that is laid along all axes, one of them, or none.
fn map<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, second: u8) -> Expr<'b> {
    let shape = x.shape();
    let shared = second.is_multiple_of(4);
    let axis = knob / 8 % x.rank();
    let weight = match knob % 4 {
        0 | 1 => parameter(pool, &shape, shared, POSITIVE),
        2 => parameter(pool, &[shape[axis]].into(), shared, POSITIVE).along(axis, x),
        _ => -parameter(pool, &shape, shared, POSITIVE),
    };
    match second % 7 {
        0 => x + weight,
        1 => weight + x,
        2 => x - weight,
        3 => weight - x,
        4 => x * weight,
        5 => weight * x,
        _ => x / weight,
    }
}

/// `x·W + b` over the last axis, with the bias in one of its forms.
fn dense<'b>(pool: &mut Pool<'b>, x: Expr<'b>, knob: usize, second: u8) -> Expr<'b> {
    let shared = second.is_multiple_of(4);
    let units = [Dim::Known(3), Dim::Known(5), Dim::Known(4), Dim::symbol("m")][knob / 2 % 4];
    let kernel = parameter(pool, &[x.shape()[x.rank() - 1], units].into(), shared, SMALL);
    let bias = |pool: &mut Pool<'b>| parameter(pool, &[units].into(), shared, SMALL);
    match second % 4 {
        0 => x.dense(kernel, None),
        1 => {
            let bias = bias(pool);
            let z = x.dot(kernel);
            z + bias.along(z.rank() - 1, z)
        }
        _ => x.dense(kernel, Some(bias(pool))),
    }
}

fn norm_train<'b>(pool: &mut Pool<'b>, z: Expr<'b>, axis: usize, knob: usize) -> Expr<'b> {
    let channels: Shape = [z.shape()[axis]].into();
    let [gamma, beta] = [(); 2].map(|()| parameter(pool, &channels, false, POSITIVE));
    let normed = z.batch_norm_train(gamma, beta, axis, 0.1);
    match knob / 4 % 4 {
        0 => normed.y + normed.mean.along(axis, z),
        1 => normed.y * normed.var.along(axis, z),
        2 => {
            let name = format!("statistic {}", pool.b.graph().len());
            pool.b.output(&name, normed.mean);
            normed.y
        }
        _ => normed.y,
    }
}

fn norm_infer<'b>(pool: &mut Pool<'b>, z: Expr<'b>, axis: usize, shared: bool) -> Expr<'b> {
    let channels: Shape = [z.shape()[axis]].into();
    let moments = [(); 4].map(|()| parameter(pool, &channels, shared, POSITIVE));
    z.batch_norm_infer(moments, axis, 1e-3)
}
