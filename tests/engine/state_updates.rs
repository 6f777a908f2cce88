//! Random graphs that update states, run three times over, give what the reference interpreter gives: with every number of
//! threads, instruction set, state held or lent, and guards on. Every plan is verified.

use crate::common::config;
use crate::common::graphs::{Recipe, Stateful, float_of, recipes};
use crate::common::running::{SETS, options};
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, OrderedMap, Shape, Symbol};
use foldgrad::plan::Port;
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::Cell;

type Values = OrderedMap<String, Tensor>;

const STEPS: usize = 3;

/// Outputs and next states of one run.
fn reference<S: Number>(graph: &Graph, feeds: &Values) -> Result<[OrderedMap<String, Vec<f64>>; 2], String> {
    let arrays = feeds.iter().map(|(name, tensor)| (name.clone(), Array::<S>::from_tensor(tensor))).collect();
    let evaluated = interpret(graph, &arrays).map_err(|error| error.to_string())?;
    let flat = |arrays: OrderedMap<String, Array<S>>| {
        let values = |array: Array<S>| array.to_tensor(DType::F64).map(|tensor| tensor.to_f64());
        arrays.into_iter().map(|(name, array)| Ok((name, values(array).map_err(|error| error.to_string())?))).collect()
    };
    let outputs: Result<_, String> = flat(evaluated.outputs);
    let updates: Result<_, String> = flat(evaluated.updates);
    Ok([outputs?, updates?])
}

fn close(what: &str, found: &Tensor, expected: &[f64], tolerance: f64) -> Result<(), String> {
    let found = found.to_f64();
    if found.len() != expected.len() {
        return Err(format!("{what}: {} elements for {}", found.len(), expected.len()));
    }
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        if !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0)) {
            return Err(format!("{what}[{index}]: {a:e}, reference {b:e}"));
        }
    }
    Ok(())
}

fn check(recipe: &Recipe, in_place: &Cell<usize>) -> Result<(), String> {
    let (seed, float) = (recipe.seed, float_of(recipe.seed));
    let mut trial = Stateful::of(recipe, float);
    let (threads, set) = ([1, 2, 3, 8][(seed >> 8) as usize % 4], SETS[(seed >> 16) as usize % 3]);
    let holds_state = (seed >> 24).is_multiple_of(2);
    let options = options(set, threads, true).holds_state(holds_state);
    let bindings = Bindings::from([(Symbol::new("n"), trial.rows)]);
    let mut run =
        Executable::with(trial.graph.clone(), &bindings, &options).map_err(|error| format!("not planned: {error}"))?;
    run.plan().verify().map_err(|faults| faults.to_string())?;
    in_place.set(
        in_place.get()
            + run.plan().planned_steps().filter(|step| step.label.target().is_some() && step.kind() != "copy").count(),
    );
    let is_float = |port: &&Port| port.dtype.is_float();
    let guards: Vec<String> = run.plan().outputs().filter(is_float).map(|port| port.name.clone()).collect();
    guards.iter().try_for_each(|guard| run.guard(guard)).map_err(|error| error.to_string())?;
    run.guard_updates((seed >> 32).is_multiple_of(2));
    let order = |run: &Executable| run.plan().states().iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    let names = order(&run);
    let mut states: Vec<Tensor> = names.iter().map(|name| trial.states[name].clone()).collect();
    let mut expected_states = trial.states.clone();
    // Rounding differs from step to step, and a maximum or a comparison may then fall another way: each step starts alike.
    let tolerance = if float == DType::F32 { 2e-4 } else { 1e-10 };
    for step in 0..STEPS {
        let data = trial.data();
        let feeds: Values = data.iter().chain(&expected_states).map(|(n, t)| (n.clone(), t.clone())).collect();
        let [outputs, updates] = match float {
            DType::F32 => reference::<f32>(&trial.graph, &feeds)?,
            _ => reference::<f64>(&trial.graph, &feeds)?,
        };
        let given: Vec<&Tensor> = run.plan().feeds().iter().map(|port| &data[&port.name]).collect();
        run.run(&given, &mut states).map_err(|error| format!("step {step}: {error}"))?;
        for (index, port) in run.plan().outputs().enumerate() {
            let found = run.output_tensor(index).ok_or("an output that was run is there")?;
            close(&format!("step {step}, {}", port.name), &found, &outputs[&port.name], tolerance)?;
        }
        for (name, state) in names.iter().zip(&mut states) {
            let before = expected_states[name].to_f64();
            let expected = updates.get(name).unwrap_or(&before);
            close(&format!("step {step}, state {name}"), state, expected, tolerance)?;
            expected_states[name] = state.clone();
        }
    }
    Ok(())
}

#[test]
fn random_graphs_update_their_states_as_the_reference_does() {
    let config = config(4000);
    let cases = config.cases as usize;
    let in_place = Cell::new(0);
    let outcome =
        TestRunner::new(config).run(&recipes(6..24), |recipe| check(&recipe, &in_place).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(in_place.get() > cases / 2, "states were written in place {} times in {cases} graphs", in_place.get());
}

/// A value that reads a next value by a kernel that is no map.
type Reader = for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>;

/// Each has two steps that write one buffer, or one that a map behind the line must not overtake.
const READERS: [(&str, Reader); 12] = [
    ("padding with it", |x, next| x.pad(0, 1, 1, 0, next.slice(0, 0..1).reshape(Shape::scalar()))),
    ("padding it", |x, next| next.pad(0, 1, 2, 1, x.mean_all())),
    ("padding it with itself", |_, next| next.pad(0, 2, 1, 0, next.mean_all())),
    ("a join with it in front", |x, next| x.builder().concat(&[next, x], 0)),
    ("a join with it behind", |x, next| x.builder().concat(&[x, next], 0)),
    ("its transpose, packed", |_, next| next.reshape([10, 20]).transpose(&[1, 0]).reshape([200]).exp()),
    ("its sum", |x, next| x * next.sum(&[0]).broadcast_to(x.shape())),
    ("a product with it", |x, next| x.reshape([1, 200]).dot(next.reshape([200, 1]))),
    ("a product of it with itself", |_, next| next.reshape([20, 10]).dot(next.reshape([10, 20]))),
    ("its largest element's place", |x, next| next.reshape([20, 10]).arg_max(1).cast(x.dtype())),
    ("a softmax of it", |_, next| next.softmax(0)),
    ("batch statistics of it", |x, next| {
        let one = x.slice(0, 0..10);
        next.reshape([20, 10]).batch_norm_train(one, one * 0.5, 1, 1e-3).y
    }),
];

#[test]
fn whatever_reads_a_next_value_reads_all_of_it() {
    for (what, reader) in READERS {
        for (threads, holds_state) in [(1, false), (2, true), (3, false), (8, true)] {
            let g = Builder::new();
            let (x, w) = (g.input("x", DType::F64, [200]), g.state("w", DType::F64, [200]));
            let next = w * 0.5 + 1.0;
            g.update(w, next);
            g.output("y", reader(x, next));
            let graph = g.finish().unwrap();
            let values =
                |from: f64| Tensor::from_f64(DType::F64, [200], (0..200).map(|i| (from + f64::from(i)).sin())).unwrap();
            let (x, mut states) = (values(0.5), [values(3.0)]);
            let options = options(SETS[0], threads, true).holds_state(holds_state);
            let mut run = Executable::with(graph.clone(), &Bindings::new(), &options).unwrap();
            run.plan().verify().unwrap();
            for step in 0..2 {
                let feeds = [("x", &x), ("w", &states[0])].map(|(name, tensor)| (name.to_owned(), tensor.clone()));
                let [outputs, updates] = reference::<f64>(&graph, &feeds.into_iter().collect()).unwrap();
                run.run(&[&x], &mut states).unwrap();
                let what = format!("{what}, {threads} threads, step {step}");
                close(&what, &run.output_tensor(0).unwrap(), &outputs["y"], 1e-12).unwrap();
                close(&what, &states[0], &updates["w"], 1e-12).unwrap();
            }
        }
    }
}
