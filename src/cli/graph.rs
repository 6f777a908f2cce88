//! `foldgrad graph`: the network's graphs as text or DOT, and the plan of its kernels.

use super::network::Network;
use super::{CommandError, print};
use crate::ir::{self, Bindings, DType, Graph, Symbol};
use crate::nn::Mode;
use crate::plan::Plan;
use crate::train::{Loss, Metric, Sgd, Trainer};
use clap::ValueEnum;

/// Which graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// The network with batch statistics and dropout, as it is trained.
    Forward,
    /// The network with running statistics, as it is used.
    Inference,
    /// The inference graph with every batch norm folded away.
    Folded,
    /// The network with running statistics, the loss and the metrics.
    Evaluation,
    /// The whole training step: forward, loss, backward, running statistics, optimiser, metrics.
    Training,
    /// The training step as a list of kernel calls.
    Plan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line a node; `foldgrad` reads it back.
    Text,
    /// Graphviz: pipe it into `dot -Tsvg`.
    Dot,
}

/// Prints a graph of the tutorial network.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which graph.
    #[arg(long, value_enum, default_value_t = Shown::Forward)]
    stage: Shown,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    network: Network,
    /// Add the layer and source line of each node as a comment.
    #[arg(long)]
    origins: bool,
    /// Batch size of the plan.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let model = args.network.model()?;
    let optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
    let trainer = Trainer::new(model.clone(), optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .compile()?;
    let show = |graph: &Graph| match args.format {
        Format::Dot => ir::to_dot(graph),
        Format::Text if args.origins => ir::print_with_origins(graph),
        Format::Text => ir::print(graph),
    };
    print(&match args.stage {
        Shown::Forward => show(&model.graph(Mode::Training, DType::F32)?),
        Shown::Inference => show(trainer.inference_graph()),
        Shown::Folded => show(&trainer.fold()?.graph),
        Shown::Evaluation => show(trainer.evaluation_graph()),
        Shown::Training => show(trainer.training_graph()),
        Shown::Plan => {
            let bindings = Bindings::from([(Symbol::new("batch"), args.batch as usize)]);
            Plan::new(trainer.training_graph(), &bindings)?.to_string()
        }
    })
}
