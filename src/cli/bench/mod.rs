//! `foldgrad bench`: ours and the peers in turn, round after round; the best round of each side is compared.
//!
//! **Invariant.** A side is a process of its own that waits on its standard input while another one is measured, ours
//! among them. So thread counts, pinning and peak memory are settings of a process, and no side is timed by another's
//! clock.

mod child;
mod contest;
mod figures;
mod peers;
mod report;
mod side;
mod spinners;
mod suites;
mod workload;

pub(super) use side::{Args as SideArgs, run as run_side};

use super::{CommandError, print};
use clap::ValueEnum;
use contest::Settings;
use peers::{Peer, Scripts};
use report::Report;
use std::path::PathBuf;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Training the tutorial network, on all cores and on one.
    Training,
    /// The folded tutorial network, call by call.
    Inference,
    /// Training steps of networks that are deep, residual, self-normalising or wide.
    Networks,
    /// Training steps of a large plain network against the machine's measured peak.
    Scale,
    /// Training steps while other programs spin.
    Busy,
    /// Peak memory, and the time from the start to the end of the first step.
    Memory,
    /// From the declaration to the plan.
    Compile,
}

/// Measures speed, beside other systems where their programs are given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to measure; everything unless given.
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Rounds in which every side is measured in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that a side works in a round, at least.
    #[arg(long, default_value_t = 0.5, value_parser = positive)]
    seconds: f64,
    /// Another system to measure in turn: jax, torch, keras and onnx with the Python interpreter that has it; burn, rten
    /// and tract with their program; foldgrad with another build of this one; any other name with a program that speaks
    /// the protocol of benches/README.md.
    #[arg(long, value_name = "NAME=PROGRAM")]
    peer: Vec<Peer>,
    /// Threads of each side. Without it, every side is measured with one and with as many as there are cores, and its
    /// best count is compared.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Small networks and few steps: to see that everything runs; the figures mean nothing.
    #[arg(long)]
    quick: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let fits = |number: &f64| *number > 0.0 && *number <= 60.0;
    text.parse().ok().filter(fits).ok_or_else(|| "give a number of seconds above 0, at most 60".to_owned())
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    if let Some(path) = &args.json {
        super::check_target("--json", path)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match args.threads {
        Some(threads) => vec![threads as usize],
        None if cores == 1 => vec![1],
        None => vec![1, cores],
    };
    let settings = Settings {
        rounds: args.rounds as usize,
        seconds: if args.quick { 0.0 } else { args.seconds },
        quick: args.quick,
        cores,
        threads,
        program: std::env::current_exe()?,
    };
    let scripts = Scripts::unpack()?;
    let suites = if args.suites.is_empty() { Suite::value_variants() } else { &args.suites };
    let mut report = Report::new(&settings);
    for suite in suites {
        let bench = suites::Bench { settings: &settings, peers: &args.peer, scripts: &scripts };
        let rows = match suite {
            Suite::Training => bench.training()?,
            Suite::Inference => bench.inference()?,
            Suite::Networks => bench.networks()?,
            Suite::Scale => bench.scale()?,
            Suite::Busy => bench.busy()?,
            Suite::Memory => bench.memory()?,
            Suite::Compile => bench.compile()?,
        };
        let name = suite.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        print(&report.add(&name, rows))?;
    }
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()).map_err(|error| format!("--json {}: {error}", path.display()))?;
    }
    Ok(())
}
