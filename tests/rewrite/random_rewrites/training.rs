//! Random training graphs: biases before batch norm in every form, running statistics, penalties, and all gradients.

use super::pool::{Instruction, Made, Pool};
use foldgrad::autodiff::gradients;
use foldgrad::ir::{Dim, Role, Shape, Value};
use foldgrad::op::Domain;
use foldgrad::{DType, Expr};

const SMALL: Domain = Domain::AwayFromZero(0.1, 0.8);
const POSITIVE: Domain = Domain::Range(0.6, 1.6);

/// The graph of these instructions, with the gradient of its loss.
pub fn build(instructions: &[Instruction], seed: u64) -> Made {
    Pool::run(seed, |pool| {
        let batch = Dim::symbol("batch");
        for (name, shape) in [("x", Shape::from([batch, 3.into()])), ("image", [batch, 3.into(), 3.into()].into())] {
            let value = pool.b.input(name, DType::F64, shape);
            pool.push(value);
        }
        let mut penalties = Vec::new();
        for instruction in instructions {
            step(pool, instruction, &mut penalties);
        }
        let losses = pool.left(2).into_iter().map(|y| (y * y * y).mean_all());
        let loss = losses.chain(penalties).reduce(|a, b| a + b).expect("a value is left");
        pool.b.output("loss", loss);
        let names: Vec<String> = pool.weights.keys().filter(|name| !name.starts_with("moving")).cloned().collect();
        let wrt: Vec<Expr<'_>> = names.iter().map(|name| input(pool, name)).collect();
        let found = gradients(&[loss], &wrt).expect("every op here has a gradient");
        for (name, gradient) in names.iter().zip(found) {
            pool.b.output(&format!("gradient of {name}"), gradient);
        }
    })
}

fn input<'b>(pool: &Pool<'b>, name: &str) -> Expr<'b> {
    let node = pool.b.graph().input(name).expect("declared");
    pool.b.expr(Value { node, output: 0 })
}

fn step<'b>(pool: &mut Pool<'b>, instruction: &Instruction, penalties: &mut Vec<Expr<'b>>) {
    let &Instruction { kind, first, second, knob } = instruction;
    let x = pool.pick(first);
    if x.rank() < 2 {
        return pool.push(x * 0.5);
    }
    let last = x.rank() - 1;
    let value = match kind % 20 {
        0..7 => {
            let z = dense(pool, x, second, knob, penalties);
            let axis = if kind % 20 == 6 && last > 1 { 1 + usize::from(knob) % 2 } else { last };
            norm(pool, z, axis, knob)
        }
        7 | 8 => dense(pool, x, second, knob, penalties),
        9 | 10 => norm(pool, x, last, knob),
        11..13 => x.relu(),
        13 => x.tanh(),
        14 => x + pool.like(x, second),
        15 => x * pool.like(x, second),
        16 => -(-(x + 0.0)),
        17 => x * 1.0 - 0.0,
        18 if last > 1 => x.transpose(&[0, 2, 1]),
        _ => x.stop_gradient() * 0.5 + x,
    };
    pool.push(value);
}

/// `x·W + b`, with the bias in one of its forms.
fn dense<'b>(pool: &mut Pool<'b>, x: Expr<'b>, second: u8, knob: u8, penalties: &mut Vec<Expr<'b>>) -> Expr<'b> {
    let features = x.shape()[x.rank() - 1].known().unwrap_or(1);
    let units = [3, 3, 4][usize::from(knob) % 3];
    let shared = second.is_multiple_of(8);
    let kernel = pool.weight("kernel", &[features, units], shared, SMALL);
    let bias = pool.weight("bias", &[units], shared, SMALL);
    if second % 16 == 1 {
        penalties.push((bias * bias).sum_all());
    }
    match second / 16 % 5 {
        0..2 => x.dense(kernel, Some(bias)),
        2 => x.dot(kernel) + bias,
        3 => x.dot(kernel) - bias,
        _ => bias - x.dot(kernel),
    }
}

/// Training batch norm with running statistics, its mean or variance sometimes read by the loss.
fn norm<'b>(pool: &mut Pool<'b>, z: Expr<'b>, axis: usize, knob: u8) -> Expr<'b> {
    let Some(size) = z.shape()[axis].known() else { return z };
    let [gamma, beta] = ["gamma", "beta"].map(|kind| pool.weight(kind, &[size], false, SMALL));
    let normed = z.batch_norm_train(gamma, beta, axis, 1e-2);
    let number = pool.weights.len();
    let mean = pool.declare(&format!("moving mean {number}"), Role::State, &[size], SMALL);
    let var = pool.declare(&format!("moving variance {number}"), Role::State, &[size], POSITIVE);
    pool.b.update(mean, mean * 0.9 + normed.mean * 0.1);
    pool.b.update(var, var * 0.9 + normed.var * 0.1);
    match knob / 3 % 16 {
        0 => normed.y + normed.mean.along(axis, z),
        1 => normed.y * normed.var.along(axis, z),
        2 => {
            // A second batch norm of the same value.
            let again = z.batch_norm_train(beta, gamma, axis, 1e-2);
            normed.y + again.y
        }
        _ => normed.y,
    }
}
