//! The command line: train, evaluate, and look at the tutorial network.

mod bench;
mod data;
mod evaluate;
mod export;
mod graph;
mod network;
mod plan;
mod profile;
mod setup;
mod train;

use crate::exec::Options;
use crate::ir::DType;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::Path;
use std::process::ExitCode;

/// Declare a network as a graph, differentiate it, train it on the CPU, export it folded.
#[derive(Debug, Parser)]
#[command(
    name = "foldgrad",
    version,
    about,
    after_help = "Start with `foldgrad train`: it finds or downloads Fashion-MNIST, trains the tutorial network\n\
                  (Flatten, three blocks of Dense, batch norm, ReLU, and a softmax), prints the test accuracy, and\n\
                  writes the network as ONNX with every batch norm folded away, proved equal.\n\
                  Then look inside with `foldgrad summary` and `foldgrad graph --stage training`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train the tutorial network on Fashion-MNIST.
    Train(train::Args),
    /// Measure saved weights on the test images.
    Evaluate(evaluate::Args),
    /// Print what became of every layer, batch norm and bias of an exported file, or of the network as declared.
    Explain(export::ExplainArgs),
    /// Write saved weights as an ONNX file: folded and proved equal, or as declared.
    Export(export::ExportArgs),
    /// Give back the trained weights of a fused ONNX file, bit for bit.
    Unfuse(export::UnfuseArgs),
    /// Print the network's layers, output shapes and parameters.
    Summary(SummaryArgs),
    /// Print a graph of the network as text or DOT, or the plan of its kernels.
    Graph(graph::Args),
    /// Measure speed, beside other systems where their programs are given.
    Bench(bench::Args),
    #[command(hide = true)]
    BenchSide(bench::SideArgs),
    /// Print the plan of the network's kernels with what each is expected to take.
    Plan(plan::Args),
    /// Measure where the time of a run goes: by kernel, by layer, and by worker.
    Profile(profile::Args),
}

#[derive(Debug, clap::Args)]
struct SummaryArgs {
    #[command(flatten)]
    network: network::Network,
}

/// How graphs are run.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Running {
    /// Threads that share the work; by default as many as the machine runs at once, or what FOLDGRAD_THREADS says.
    /// Results are the same to the bit for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
}

impl From<Running> for Options {
    fn from(running: Running) -> Options {
        let options = Options::default();
        running.threads.map_or(options, |threads| options.threads(usize::from(threads)))
    }
}

/// The float type of weights and arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Float {
    F32,
    F64,
}

impl From<Float> for DType {
    fn from(float: Float) -> DType {
        match float {
            Float::F32 => DType::F32,
            Float::F64 => DType::F64,
        }
    }
}

/// What a command may fail with; printed after `error: `.
type CommandError = Box<dyn std::error::Error>;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Explain(args) => export::explain(&args),
        Command::Export(args) => export::export(&args),
        Command::Unfuse(args) => export::unfuse(&args),
        Command::Summary(args) => summary(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchSide(args) => bench::run_side(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Profile(args) => profile::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough.
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error.to_string();
            eprintln!("{}{text}", if text.starts_with("error") { "" } else { "error: " });
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn summary(args: &SummaryArgs) -> Result<(), CommandError> {
    print(&args.network.model()?.summary())
}

/// Writes to standard output, where a closed pipe is an error and not a panic.
fn print(text: &str) -> Result<(), CommandError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Refuses a file that could not be written after hours of training.
fn check_target(option: &str, path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("{option} {}: there is no directory {}; make it first", path.display(), folder.display());
        return Err(message.into());
    }
    if path.is_dir() {
        return Err(format!("{option} {}: this is a directory; name a file in it", path.display()).into());
    }
    Ok(())
}

/// Parameters and running statistics, as the summary's total counts them.
fn count_params(model: &crate::nn::Model) -> usize {
    let counted = |variable: &&crate::nn::VariableSpec| variable.kind != crate::nn::VariableKind::Seed;
    model.variables().iter().filter(counted).map(|variable| variable.len()).sum()
}
