//! Inference as a user would do it: a `Predictor` of the folded graph, which checks every tensor it is given.

use super::{CommandError, Done, Side};
use crate::cli::bench::workload::Workload;
use crate::exec::{Options, Predictor};
use crate::ir::Tensor;
use crate::train::{Fit, Trainer};
use serde_json::{Value, json};
use std::time::Instant;

/// Examples that the tutorial network is trained on before it is folded: enough for statistics that are not the initial
/// ones.
const TRAINED_ON: u64 = 1024;

pub(super) struct Inference {
    predictor: Predictor,
    input: Tensor,
    outputs: Vec<Tensor>,
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
        let predictor = trained()?.fold()?.predictor(&Options::default())?;
        let input = workload.input()?;
        let outputs = predictor.predict(&[&input])?;
        Ok(Inference { predictor, input, outputs })
    }
}

impl Side for Inference {
    fn about(&self) -> Value {
        json!({ "version": concat!("foldgrad ", env!("CARGO_PKG_VERSION")) })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let started = Instant::now();
        for _ in 0..steps {
            self.predictor.predict_into(&[&self.input], &mut self.outputs)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let check = self.outputs.first().and_then(|output| output.to_f64().first().copied());
        Ok(Done { seconds, steps, check })
    }
}
