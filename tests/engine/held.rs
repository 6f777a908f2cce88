//! State that an executable holds: the same results as over tensors that are passed in, in every layout and for any number
//! of threads.

use crate::common::running::same;
use foldgrad::autodiff::gradients;
use foldgrad::exec::{Executable, InstructionSet, Options, RunError};
use foldgrad::ir::{Bindings, OrderedMap};
use foldgrad::plan::{Costs, Port, Rate};
use foldgrad::reference::{Array, interpret};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};

type Tensors = OrderedMap<String, Tensor>;

/// Inputs, hidden and output columns: odd, wide enough for several blocks, and with more inputs than one part of a long
/// product holds.
const SIZES: [usize; 3] = [1100, 130, 101];

/// Many rows, and so few that a product with a parameter read transposed would otherwise be faer's.
const ROWS: [usize; 2] = [150, 21];

/// How the parameters are updated.
#[derive(Clone, Copy, Debug)]
enum Update {
    Descent,
    Momentum,
    Nesterov,
    /// No update that is compiled as a whole.
    Other,
}

/// A training step of two layers.
fn step(dtype: DType, update: Update, rows: usize) -> Graph {
    let [inputs, hidden, outputs] = SIZES;
    let g = Builder::new();
    let x = g.input("x", dtype, [rows, inputs]);
    let w = [g.parameter("w", dtype, [inputs, hidden]), g.parameter("u", dtype, [hidden, outputs])];
    let y = x.dot(w[0]).relu().dot(w[1]);
    let loss = (y * y).mean_all();
    g.output("loss", loss);
    let slopes = gradients(&[loss], &w).unwrap();
    for ((p, slope), name) in w.into_iter().zip(slopes).zip(["w", "u"]) {
        let shape = p.ty().shape;
        let next: Expr<'_> = match update {
            Update::Descent => p - slope * 0.05,
            Update::Other => p - (slope * 0.05).tanh(),
            Update::Momentum | Update::Nesterov => {
                let v = g.state(&format!("velocity of {name}"), dtype, shape);
                let next = v * 0.9 - slope * 0.05;
                g.update(v, next);
                if matches!(update, Update::Momentum) { p + next } else { p + (next * 0.9 - slope * 0.05) }
            }
        };
        g.update(p, next);
    }
    g.finish().unwrap()
}

fn values(graph: &Graph, dtype: DType) -> Tensors {
    let mut seed = 7u64;
    let inputs = graph.inputs().map(|(name, id)| {
        let shape = graph.node(id).types()[0].shape.known().unwrap();
        let next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 0.2
        };
        let len = shape.iter().product();
        let values: Vec<f64> = std::iter::repeat_with(next).take(len).collect();
        (name.to_owned(), Tensor::from_f64(dtype, shape, values).unwrap())
    });
    inputs.collect()
}

/// Loss and states after three steps.
fn run(graph: &Graph, given: &Tensors, options: &Options) -> Tensors {
    let mut run = Executable::with(graph.clone(), &Bindings::new(), options).unwrap();
    let by_name = |ports: &[Port]| -> Vec<Tensor> { ports.iter().map(|port| given[&port.name].clone()).collect() };
    let (data, mut states) = (by_name(run.plan().feeds()), by_name(run.plan().states()));
    let data: Vec<&Tensor> = data.iter().collect();
    if options.is_holding_state() {
        run.hold(&states).unwrap();
        (0..3).for_each(|_| run.run_held(&data).unwrap());
        run.release(&mut states).unwrap();
    } else {
        (0..3).for_each(|_| run.run(&data, &mut states).unwrap());
    }
    let names: Vec<String> = run.plan().states().iter().map(|port| port.name.clone()).collect();
    let loss = ("loss".to_owned(), run.output_tensor(0).unwrap());
    names.into_iter().zip(states).chain([loss]).collect()
}

fn by_reference(graph: &Graph, given: &Tensors) -> OrderedMap<String, Vec<f64>> {
    let mut arrays: OrderedMap<String, Array<f64>> =
        given.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    let mut loss = Vec::new();
    for _ in 0..3 {
        let found = interpret(graph, &arrays).unwrap();
        loss = found.outputs["loss"].to_tensor(DType::F64).unwrap().to_f64();
        arrays.extend(found.updates);
    }
    let flat = |array: &Array<f64>| array.to_tensor(DType::F64).unwrap().to_f64();
    arrays.iter().map(|(name, array)| (name.clone(), flat(array))).chain([("loss".to_owned(), loss)]).collect()
}

fn options(instructions: InstructionSet, threads: usize, holds_state: bool) -> Options {
    let costs = Costs::default().with(Rate::Barrier, 0.0).and_then(|costs| costs.with(Rate::Call, 0.0)).unwrap();
    Options::default().threads(threads).instructions(instructions).holds_state(holds_state).costs(costs)
}

fn check(dtype: DType, update: Update, rows: usize, tolerance: f64) {
    let graph = step(dtype, update, rows);
    let given = values(&graph, dtype);
    let expected = by_reference(&graph, &given);
    for instructions in [InstructionSet::Widest, InstructionSet::Avx2] {
        let lent = run(&graph, &given, &options(instructions, 1, false));
        let held = run(&graph, &given, &options(instructions, 1, true));
        same(&format!("{update:?} {dtype} of {rows} rows, {instructions:?}, held or not"), &lent, &held).unwrap();
        for holds_state in [false, true] {
            let alone = run(&graph, &given, &options(instructions, 1, holds_state));
            for (name, found) in &alone {
                let (found, expected) = (found.to_f64(), &expected[name]);
                let scale = expected.iter().fold(1e-9f64, |scale, value| scale.max(value.abs()));
                let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max);
                assert!(
                    worst <= tolerance,
                    "{update:?} {dtype} {instructions:?} held {holds_state}: `{name}` {worst:e}"
                );
            }
            for threads in [2, 3, 5] {
                let shared = run(&graph, &given, &options(instructions, threads, holds_state));
                same(&format!("{update:?}, {threads} threads, held {holds_state}"), &alone, &shared).unwrap();
            }
        }
    }
}

#[test]
fn updates_compiled_as_a_whole() {
    for update in [Update::Descent, Update::Momentum, Update::Nesterov] {
        ROWS.into_iter().for_each(|rows| check(DType::F32, update, rows, 1e-5));
    }
    check(DType::F64, Update::Nesterov, ROWS[1], 1e-13);
}

#[test]
fn other_updates() {
    ROWS.into_iter().for_each(|rows| check(DType::F32, Update::Other, rows, 1e-5));
}

#[test]
fn only_who_is_meant_to_holds_state() {
    let graph = step(DType::F32, Update::Descent, ROWS[1]);
    let mut run =
        Executable::with(graph.clone(), &Bindings::new(), &options(InstructionSet::Widest, 1, false)).unwrap();
    assert_eq!(run.run_held(&[]), Err(RunError::NotHolding));
    let mut run = Executable::with(graph, &Bindings::new(), &options(InstructionSet::Widest, 1, true)).unwrap();
    assert!(matches!(run.hold(&[]), Err(RunError::Count { .. })));
}
