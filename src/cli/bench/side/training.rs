//! Training as a user would do it: `Trainer::fit` over whole epochs of shuffled batches.

use super::{CommandError, Done, Side};
use crate::cli::bench::workload::Workload;
use crate::train::{Event, Examples, Fit, Trainer};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::time::Instant;

pub(super) struct Training {
    workload: Workload,
    trainer: Trainer,
    examples: Examples,
    single: bool,
}

impl Training {
    pub(super) fn new(workload: Workload, single: bool) -> Result<Training, CommandError> {
        Ok(Training { workload, trainer: workload.trainer()?, examples: workload.data()?, single })
    }
}

impl Side for Training {
    fn about(&self) -> Value {
        json!({ "version": concat!("foldgrad ", env!("CARGO_PKG_VERSION")), "flop": flop(&self.workload) })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let epochs = if self.single { 1 } else { steps.div_ceil(self.workload.steps_per_epoch()) };
        let fit = Fit::new().epochs(epochs as usize).batch_size(self.workload.batch as usize).silent();
        let (mut taken, mut check) = (0, None);
        let single = self.single;
        let started = Instant::now();
        self.trainer.fit_with(&self.examples, &fit, |event| {
            match event {
                Event::Step { .. } => taken += 1,
                Event::EpochEnded(record) => check = Some(record.loss),
                _ => {}
            }
            if single && taken > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Done { seconds: started.elapsed().as_secs_f64(), steps: taken, check })
    }
}

/// Operations of a step's products: each forward, for the weights, and, but for the first, for its input.
fn flop(workload: &Workload) -> f64 {
    let Ok(model) = workload.model() else { return 0.0 };
    let products = model.variables().iter().filter(|variable| variable.shape.len() == 2);
    let each = |(index, weights): (usize, usize)| if index == 0 { 2 * weights } else { 3 * weights };
    let weights = products.map(|variable| variable.len()).enumerate().map(each).sum::<usize>();
    2.0 * workload.batch as f64 * weights as f64
}
