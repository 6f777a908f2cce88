//! Random graphs that update states, run three times over, give what the reference interpreter gives: with every number of
//! threads, instruction set, state held or lent, and guards on. Every plan is verified.

mod common;

use common::config;
use common::running::{SETS, options};
use common::stateful::{Stateful, float_of};
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, Symbol};
use foldgrad::plan::Port;
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{DType, Graph, Tensor};
use indexmap::IndexMap;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::Cell;

type Values = IndexMap<String, Tensor>;

const STEPS: usize = 3;

/// Outputs and next states of one run.
fn reference<S: Number>(graph: &Graph, feeds: &Values) -> Result<[IndexMap<String, Vec<f64>>; 2], String> {
    let arrays = feeds.iter().map(|(name, tensor)| (name.clone(), Array::<S>::from_tensor(tensor))).collect();
    let evaluated = interpret(graph, &arrays).map_err(|error| error.to_string())?;
    let flat = |arrays: IndexMap<String, Array<S>>| {
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

fn check(seed: u64, in_place: &Cell<usize>) -> Result<(), String> {
    let float = float_of(seed);
    let mut trial = Stateful::of(seed, float);
    let (threads, set) = ([1, 2, 3, 8][(seed >> 8) as usize % 4], SETS[(seed >> 16) as usize % 3]);
    let holds_state = (seed >> 24) % 2 == 0;
    let options = foldgrad::exec::Options { holds_state, ..options(set, threads, true) };
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
    run.guard_updates((seed >> 32) % 2 == 0);
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
    // A seed has no simpler form to shrink to.
    let config = Config { max_shrink_iters: 0, ..config(4000) };
    let cases = config.cases as usize;
    let in_place = Cell::new(0);
    let outcome = TestRunner::new(config).run(&proptest::num::u64::ANY, |seed| {
        check(seed, &in_place).map_err(|error| TestCaseError::fail(format!("seed {seed:#x}: {error}")))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(in_place.get() > cases / 2, "states were written in place {} times in {cases} graphs", in_place.get());
}
