//! `foldgrad evaluate`: saved weights on the test images.

use super::data::DataArgs;
use super::{CommandError, Running, count_params, export, print};
use crate::train::Examples;
use std::path::PathBuf;

/// Evaluates weights that `foldgrad train --save` wrote.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The safetensors file.
    weights: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    running: Running,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let (_, mut trainer) = export::trainer(&args.weights, args.running.into())?;
    let parameters = count_params(trainer.model());
    let test = Examples::try_from(&args.data.load()?.test)?;
    let evaluation = trainer.evaluate(&test)?;
    print(&super::train::result(&evaluation, parameters, args.json))
}
