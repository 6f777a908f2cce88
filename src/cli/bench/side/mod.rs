//! `foldgrad bench-side`: the process that is measured, our side of every pair.
//!
//! The protocol, line by line, is that of every peer as well. The side says `ready {…}`, with a JSON object about
//! itself, and then answers `run N` with `done SECONDS STEPS [CHECK]`: it worked for that long and took that many steps, N
//! at least; the check is a number that two sides which do the same agree on, such as the loss. What fails is said as
//! `failed MESSAGE`. The end of its input ends it.

mod ceiling;
mod compile;
mod inference;
mod training;

pub(super) use inference::trained as trained_tutorial;

use super::workload::Workload;
use super::{CommandError, print, spinners};
use clap::Subcommand;
use serde_json::Value;
use std::io::BufRead;
use std::path::PathBuf;

/// Answers `run N` on standard input; started by `foldgrad bench`.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Training steps.
    Train {
        #[command(flatten)]
        workload: Workload,
        /// One step a run, however many are asked for.
        #[arg(long)]
        single: bool,
        #[command(flatten)]
        ignored: Ignored,
    },
    /// Calls of the folded tutorial network.
    Infer {
        #[command(flatten)]
        workload: Workload,
        #[command(flatten)]
        ignored: Ignored,
    },
    /// From the declaration to the plan.
    Compile {
        #[command(flatten)]
        workload: Workload,
        /// A chain of about that many nodes, instead of the network.
        #[arg(long, value_parser = clap::value_parser!(u64).range(16..=10_000_000))]
        nodes: Option<u64>,
        #[command(flatten)]
        ignored: Ignored,
    },
    /// What the machine can do at best.
    Ceiling {
        /// Kilobytes that each thread reads; without it, multiply-adds in registers.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 22))]
        read: Option<u64>,
        #[command(flatten)]
        ignored: Ignored,
    },
    /// Spins until its input ends.
    Spin,
}

/// Flags that every side is given.
#[derive(Debug, clap::Args)]
struct Ignored {
    /// Threads; of training, inference and compilation, what `FOLDGRAD_THREADS` says counts.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// For peers that run a network in several ways.
    #[arg(long)]
    mode: Option<String>,
    /// For peers that read a network from a file.
    #[arg(long)]
    file: Option<PathBuf>,
}

/// What one run took.
struct Done {
    seconds: f64,
    steps: u64,
    check: Option<f64>,
}

/// A thing that can be run for a number of steps.
trait Side {
    /// What there is to know about it.
    fn about(&self) -> Value;
    /// At least that many steps.
    fn run(&mut self, steps: u64) -> Result<Done, CommandError>;
}

pub(in super::super) fn run(args: &Args) -> Result<(), CommandError> {
    let side: Result<Box<dyn Side>, CommandError> = match &args.what {
        What::Train { workload, single, .. } => boxed(training::Training::new(*workload, *single)),
        What::Infer { workload, .. } => boxed(inference::Inference::new(*workload)),
        What::Compile { nodes: Some(nodes), .. } => Ok(Box::new(compile::Chain { nodes: *nodes as usize })),
        What::Compile { workload, .. } => Ok(Box::new(compile::Preparation { workload: *workload })),
        What::Ceiling { read: Some(kilobytes), ignored } => {
            Ok(Box::new(ceiling::Read::new(ignored.threads, *kilobytes as usize)))
        }
        What::Ceiling { read: None, ignored } => Ok(Box::new(ceiling::MultiplyAdd { threads: ignored.threads })),
        What::Spin => return spinners::spin(),
    };
    match side.and_then(|mut side| serve(&mut *side)) {
        Err(error) if !super::super::is_closed_pipe(&*error) => {
            print(&format!("failed {}", error.to_string().replace('\n', " ")))?;
            Err(error)
        }
        other => other,
    }
}

fn boxed<S: Side + 'static>(side: Result<S, CommandError>) -> Result<Box<dyn Side>, CommandError> {
    Ok(Box::new(side?))
}

fn serve(side: &mut dyn Side) -> Result<(), CommandError> {
    print(&format!("ready {}", side.about()))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some(steps) = line.strip_prefix("run ").and_then(|steps| steps.trim().parse().ok()) else {
            return Err(format!("`{line}` is no request; write `run` and a number of steps").into());
        };
        let Done { seconds, steps, check } = side.run(steps)?;
        let check = check.map(|check| format!(" {check}")).unwrap_or_default();
        print(&format!("done {seconds} {steps}{check}"))?;
    }
    Ok(())
}
