//! Running one graph in many ways: by number of threads, instruction set, and how dear waiting is said to be.

use foldgrad::exec::{Executable, InstructionSet, Options};
use foldgrad::ir::{Bindings, OrderedMap};
use foldgrad::plan::{Costs, Port, Rate};
use foldgrad::{Graph, Tensor};

/// Every instruction set; those that the machine lacks are tried as what takes their place.
pub const SETS: [InstructionSet; 3] = [InstructionSet::Widest, InstructionSet::Avx2, InstructionSet::Baseline];

/// Options for so many threads; with `eager`, the plan is told that sharing work out costs nothing.
pub fn options(instructions: InstructionSet, threads: usize, eager: bool) -> Options {
    let free = |costs: Costs| costs.with(Rate::Barrier, 0.0)?.with(Rate::Call, 0.0);
    let costs = if eager { free(Costs::default()).expect("a wait may cost nothing") } else { Costs::default() };
    Options::default().threads(threads).instructions(instructions).holds_state(false).costs(costs)
}

/// Outputs and updated states of one run, by name.
pub fn run(graph: &Graph, feeds: &OrderedMap<String, Tensor>, options: &Options) -> OrderedMap<String, Tensor> {
    let mut run = Executable::with(graph.clone(), &Bindings::new(), options).unwrap();
    let by_name = |ports: &[Port]| -> Vec<Tensor> { ports.iter().map(|port| feeds[&port.name].clone()).collect() };
    let (data, mut states) = (by_name(run.plan().feeds()), by_name(run.plan().states()));
    run.run(&data.iter().collect::<Vec<_>>(), &mut states).unwrap();
    let outputs =
        run.plan().outputs().enumerate().map(|(at, port)| (port.name.clone(), run.output_tensor(at).unwrap()));
    let states = run.plan().states().iter().zip(states).map(|(port, state)| (format!("state {}", port.name), state));
    outputs.chain(states).collect()
}

/// The first element in which two tensors differ, NaNs being all alike.
pub fn difference(a: &Tensor, b: &Tensor) -> Option<String> {
    if a.ty() != b.ty() {
        return Some(format!("{} and {}", a.ty(), b.ty()));
    }
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    let (a, b) = (a.to_f64(), b.to_f64());
    let at = (0..a.len()).find(|&at| bits(a[at]) != bits(b[at]))?;
    Some(format!("element {at} of {}: {:e} and {:e}", a.len(), a[at], b[at]))
}

/// Checks that two runs gave the same bits.
pub fn same(what: &str, a: &OrderedMap<String, Tensor>, b: &OrderedMap<String, Tensor>) -> Result<(), String> {
    if !a.keys().eq(b.keys()) {
        return Err(format!("{what}: the names differ"));
    }
    for (name, a) in a {
        if let Some(difference) = difference(a, &b[name]) {
            return Err(format!("{what}: `{name}` differs: {difference}"));
        }
    }
    Ok(())
}
