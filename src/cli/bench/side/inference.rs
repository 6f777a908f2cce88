//! Inference as a user would do it: the folded graph in an `Executable`, whose `run` checks every tensor it is given.

use super::{CommandError, Done, Side};
use crate::cli::bench::workload::Workload;
use crate::exec::Executable;
use crate::ir::{Bindings, Symbol, Tensor};
use crate::train::{Fit, Trainer};
use serde_json::{Value, json};
use std::time::Instant;

/// Examples that the tutorial network is trained on before it is folded: enough for statistics that are not the initial
/// ones.
const TRAINED_ON: u64 = 1024;

pub(super) struct Inference {
    run: Executable,
    states: Vec<Tensor>,
    input: Tensor,
}

/// The tutorial network after a few steps; equal in every process.
pub(in super::super) fn trained() -> Result<Trainer, CommandError> {
    let workload = Workload { examples: TRAINED_ON, ..Workload::tutorial(32) };
    let mut trainer = workload.trainer()?;
    trainer.fit(&workload.data()?, &Fit::new().silent())?;
    Ok(trainer)
}

impl Inference {
    pub(super) fn new(workload: Workload) -> Result<Inference, CommandError> {
        let folded = trained()?.fold()?;
        let bindings = Bindings::from([(Symbol::new("batch"), workload.batch as usize)]);
        let run = Executable::new(folded.graph, &bindings)?;
        let states = run.plan().states().iter();
        let states = states
            .map(|port| folded.weights.get(&port.name).cloned().ok_or_else(|| format!("no weight `{}`", port.name)))
            .collect::<Result<_, String>>()?;
        Ok(Inference { run, states, input: workload.input()? })
    }
}

impl Side for Inference {
    fn about(&self) -> Value {
        json!({ "version": concat!("foldgrad ", env!("CARGO_PKG_VERSION")) })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let started = Instant::now();
        for _ in 0..steps {
            self.run.run(&[&self.input], &mut self.states)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let check = self.run.output::<f32>(0).and_then(|output| output.first()).map(|&first| f64::from(first));
        Ok(Done { seconds, steps, check })
    }
}
