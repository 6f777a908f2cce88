//! What `plan` and `profile` are about: a graph of the tutorial network, compiled, with data and weights to run it.

use super::CommandError;
use super::network::Network;
use crate::exec::{Executable, Options, RunError};
use crate::ir::{Bindings, DType, Graph, Symbol, Tensor};
use crate::plan::{Costs, Rate};
use crate::train::{Loss, Metric, Sgd, Trainer};
use clap::ValueEnum;

/// Which graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RunStage {
    /// The whole training step: forward, loss, backward, running statistics, optimiser, metrics.
    Training,
    /// The network with running statistics, as it is used.
    Inference,
    /// The inference graph with every batch norm folded away.
    Folded,
}

/// A graph of the tutorial network at a batch size, for so many threads.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Setup {
    #[command(flatten)]
    network: Network,
    /// Which graph.
    #[arg(long, value_enum, default_value_t = RunStage::Training)]
    stage: RunStage,
    /// Examples a run.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Threads that share a run; without it, what FOLDGRAD_THREADS says, or as many as the machine runs at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
    /// Rates that decide how work is shared out, such as `barrier=1000`; the others are the defaults. The names are
    /// those that `foldgrad plan` prints.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_delimiter = ',', value_parser = rate)]
    costs: Vec<(Rate, f64)>,
}

fn rate(text: &str) -> Result<(Rate, f64), String> {
    let known = || Rate::ALL.map(Rate::name).join(", ");
    let (name, value) = text.split_once('=').ok_or_else(|| format!("give KEY=VALUE with KEY one of {}", known()))?;
    let rate = Rate::from_name(name.trim());
    let rate = rate.ok_or_else(|| format!("there is no rate `{name}`; give one of {}", known()))?;
    let value = value.trim().parse().map_err(|_| format!("`{name}` takes a number, found `{value}`"))?;
    Costs::default().with(rate, value).map_err(|error| error.to_string())?;
    Ok((rate, value))
}

impl Setup {
    /// How it is to be run: the threads asked for, and the costs with those that were given in place of `costs`.
    pub(super) fn options(&self, mut costs: Costs) -> Options {
        for &(rate, value) in &self.costs {
            // What is out of range was refused as the arguments were read.
            costs = costs.with(rate, value).unwrap_or(costs);
        }
        let options = Options::default().costs(costs);
        self.threads.map_or(options, |threads| options.threads(usize::from(threads)))
    }

    /// Says what it is: `training step, batch 32`.
    pub(super) fn describe(&self) -> String {
        let stage = match self.stage {
            RunStage::Training => "training step",
            RunStage::Inference => "inference",
            RunStage::Folded => "folded inference",
        };
        format!("{stage}, batch {}", self.batch)
    }

    pub(super) fn compile(&self, options: &Options) -> Result<Ready, CommandError> {
        let optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
        let trainer = Trainer::new(self.network.model()?, optimizer, Loss::SparseCategoricalCrossentropy)
            .metric(Metric::Accuracy)
            .compile()?;
        let bindings = Bindings::from([(Symbol::new("batch"), self.batch as usize)]);
        let make = |graph: &Graph, value: &dyn Fn(&str) -> Option<Tensor>| -> Result<Ready, CommandError> {
            let run = Executable::with(graph.clone(), &bindings, options)?;
            let feeds = run.plan().feeds().iter().map(|port| made_up(port.dtype, &port.shape)).collect();
            let states = run.plan().states().iter();
            let states =
                states.map(|port| value(&port.name).unwrap_or_else(|| Tensor::zeros(port.dtype, port.shape.clone())));
            let states = states.collect();
            Ok(Ready { run, feeds, states })
        };
        match self.stage {
            RunStage::Training => make(trainer.training_graph(), &|name| trainer.value(name).cloned()),
            RunStage::Inference => make(trainer.inference_graph(), &|name| trainer.value(name).cloned()),
            RunStage::Folded => {
                let folded = trainer.fold()?;
                make(&folded.graph, &|name| folded.weights.get(name).cloned())
            }
        }
    }
}

/// Something to compute with: the time of a kernel does not depend on it, as long as it is no denormal number.
fn made_up(dtype: DType, shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    let values = (0..len).map(|i| if dtype.is_float() { (i * 37 % 256) as f64 / 255.0 } else { (i % 10) as f64 });
    Tensor::from_f64(dtype, shape, values).unwrap_or_else(|_| Tensor::zeros(dtype, shape))
}

/// A graph of the network, ready to run.
pub(super) struct Ready {
    pub run: Executable,
    feeds: Vec<Tensor>,
    states: Vec<Tensor>,
}

impl Ready {
    pub(super) fn profile(&mut self, runs: usize) -> Result<crate::exec::Profile, RunError> {
        let feeds: Vec<&Tensor> = self.feeds.iter().collect();
        self.run.profile(&feeds, &mut self.states, runs)
    }
}
