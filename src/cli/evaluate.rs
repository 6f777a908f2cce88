//! `foldgrad evaluate`: saved weights on the test images.

use super::data::DataArgs;
use super::{CommandError, Placement, count_params, print};
use crate::interchange::safetensors;
use crate::ir::DType;
use crate::train::{Examples, Loss, Metric, Sgd, Trainer};
use crate::zoo;
use std::path::PathBuf;

/// Evaluates weights that `foldgrad train --save` wrote.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The safetensors file.
    weights: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let (_, metadata) = safetensors::load(&args.weights)?;
    let placement = metadata.get("bn").and_then(|name| Placement::from_name(name));
    let float = metadata.get("float").and_then(|name| DType::from_name(name));
    let (Some(placement), Some(float)) = (placement, float) else {
        let path = args.weights.display();
        return Err(format!(
            "{path} does not say which network its weights belong to (metadata `bn` and `float`); \
             evaluate a file that `foldgrad train --save` wrote"
        )
        .into());
    };
    let model = zoo::tutorial(placement.into())?;
    let parameters = count_params(&model);
    let mut trainer = Trainer::new(model, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .float(float)
        .compile()?;
    trainer.load(&args.weights)?;
    let test = Examples::try_from(&args.data.load()?.test)?;
    let evaluation = trainer.evaluate(&test)?;
    print(&super::train::result(&evaluation, parameters, args.json))
}
