//! `foldgrad profile`: where the time of a run goes.

use super::setup::Setup;
use super::{CommandError, check_target, print};
use crate::exec::Ceilings;
use crate::plan::Costs;
use std::path::{Path, PathBuf};

/// Measures where the time of a run of the tutorial network goes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Runs to record; as many are run without recording.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// Write the last runs as trace events to this file: open it in Perfetto or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Runs in the trace.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "trace", value_parser = clap::value_parser!(u32).range(1..))]
    trace_steps: u32,
    /// Write all figures as one JSON object to this file; `-` is standard output, which then has nothing else.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    for (option, path) in [("--trace", &args.trace), ("--json", &args.json)] {
        if let Some(path) = path.as_deref().filter(|path| *path != Path::new("-")) {
            check_target(option, path)?;
        }
    }
    let options = args.setup.options(Costs::default());
    let mut compiled = args.setup.compile(&options)?;
    let profile = compiled.profile(args.steps as usize)?;
    let ceilings = Ceilings::measure(&options);
    if to_stdout {
        print(&profile.to_json(&ceilings).to_string())?;
    } else {
        let level = options.instruction_set().in_use();
        print(&format!("{}, {level}\n{}", args.setup.describe(), profile.table(&ceilings)))?;
        if let Some(path) = &args.json {
            write(path, &profile.to_json(&ceilings).to_string())?;
        }
    }
    if let Some(path) = &args.trace {
        write(path, &profile.trace_events(args.trace_steps as usize).to_string())?;
        eprintln!("trace written to {}: open it in https://ui.perfetto.dev or chrome://tracing", path.display());
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}
