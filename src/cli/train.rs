//! `foldgrad train`: the tutorial network on Fashion-MNIST.

use super::data::DataArgs;
use super::network::{Network, Placement};
use super::{CommandError, Float, Running, check_target, count_params, export, print};
use crate::ir::OrderedMap;
use crate::train::{Comparison, EpochRecord, Evaluation, Event, Examples, Fit, Loss, Metric, Sgd, Trainer};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Trains with SGD, Nesterov momentum and time-based decay, as the tutorial does.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Passes over the training images. The tutorial's author made 60.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Images a step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    #[command(flatten)]
    network: Network,
    /// The one seed of initial weights and shuffling; equal seeds give equal weights, bit for bit.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Learning rate of the first step.
    #[arg(long, default_value_t = 0.01, value_parser = not_negative)]
    learning_rate: f64,
    /// Momentum (Nesterov's); 0 is plain gradient descent.
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    momentum: f64,
    /// Time-based decay: step t uses learning_rate / (1 + decay·t).
    #[arg(long, default_value_t = 1e-6, value_parser = not_negative)]
    decay: f64,
    /// Float type of weights and arithmetic.
    #[arg(long, value_enum, default_value_t = Float::F32)]
    float: Float,
    #[command(flatten)]
    running: Running,
    /// Keep the first N training images out of the training and validate on them. With 0, the first 5,000 are validated
    /// on and trained on alike, as the tutorial's author did.
    #[arg(long, value_name = "N", default_value_t = 0)]
    hold_out: usize,
    /// Train on the first N images only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Write the trained weights to this safetensors file.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write the trained network, folded and proved equal, to this ONNX file.
    #[arg(long, value_name = "FILE", default_value = export::DEFAULT)]
    export: PathBuf,
    /// Write no ONNX file.
    #[arg(long, conflicts_with = "export")]
    no_export: bool,
    /// Print one JSON object an epoch and one at the end on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    if let Some(path) = &args.save {
        check_target("--save", path)?;
    }
    if !args.no_export {
        check_target("--export", &args.export)?;
    }
    let model = args.network.model()?;
    let parameters = count_params(&model);
    let fashion = args.data.load()?;
    let train = match args.limit {
        Some(limit) => fashion.train.first(limit as usize)?,
        None => fashion.train,
    };
    if args.hold_out >= train.len() {
        let (count, all) = (args.hold_out, train.len());
        return Err(format!("--hold-out {count} leaves none of the {all} training images; hold out fewer").into());
    }
    let (fitted, validated) = match args.hold_out {
        0 => (Examples::try_from(&train)?, Examples::try_from(&train.first(5000)?)?),
        count => (Examples::try_from(&train.range(count..train.len())?)?, Examples::try_from(&train.first(count)?)?),
    };
    let (count, batch) = (fitted.len(), args.batch as usize);
    if args.network.bn != Placement::None && (batch == 1 || count % batch == 1) {
        return Err(format!(
            "--batch {batch} makes a batch of one of the {count} training images, from which batch norm cannot learn; \
             choose another --batch, or another number of images"
        )
        .into());
    }
    let test = Examples::try_from(&fashion.test)?;
    // The pixels live on in `fitted` and `validated`.
    drop((train, fashion.test));
    let mut optimizer = Sgd::new(args.learning_rate).decay(args.decay);
    if args.momentum != 0.0 {
        optimizer = optimizer.momentum(args.momentum).nesterov();
    }
    let summary = model.summary();
    let mut trainer = Trainer::new(model, optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .seed(args.seed)
        .float(args.float.into())
        .options(args.running.into())
        .compile()?;
    if !args.json {
        print(&summary)?;
    }
    let mut fit = Fit::new().epochs(args.epochs as usize).batch_size(args.batch as usize).validation(validated);
    if args.json {
        fit = fit.silent();
    }
    let mut failed = None;
    trainer.fit_with(&fitted, &fit, |event| match event {
        Event::EpochEnded(record) if args.json => match print(&epoch_json(record).to_string()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
        _ => ControlFlow::Continue(()),
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let evaluation = trainer.evaluate(&test)?;
    print(&result(&evaluation, parameters, args.json))?;
    if let Some(path) = &args.save {
        trainer.save(path, &args.network.metadata(args.float.into()))?;
        eprintln!("weights written to {}", path.display());
    }
    if args.no_export { Ok(()) } else { write_folded(args, &trainer, &test) }
}

/// Folds the trained network, proves it equal, writes it, and explains it.
fn write_folded(args: &Args, trainer: &Trainer, test: &Examples) -> Result<(), CommandError> {
    let folded = trainer.fold()?;
    let saved = trainer.export(&args.export, &folded, &args.network.metadata(args.float.into()))?;
    let comparison = trainer.compare(&folded, test.inputs())?;
    let Comparison { examples, agreeing, not_finite, difference, folded_error, declared_error } = comparison;
    let path = args.export.display().to_string();
    if args.json {
        return print(
            &json!({
                "onnx": path, "bytes": saved.bytes, "examples": examples, "agreeing": agreeing,
                "not_finite": not_finite,
                "difference": difference, "folded_error": folded_error.largest,
                "declared_error": declared_error.largest, "folded_rms": folded_error.root_mean_square,
                "declared_rms": declared_error.root_mean_square,
            })
            .to_string(),
        );
    }
    print(&format!("\n{}{}", export::in_training(trainer), folded.explanation()))?;
    let proofs: f64 = folded.passes.iter().map(|pass| pass.proof_seconds).sum();
    let rewrites = folded.fired.len();
    print(&format!(
        "\nproved equal: {rewrites} rewrites and the folded weights, exactly, at random points of the field of 2^61 − 1 \
         elements ({:.0} ms)",
        proofs * 1e3
    ))?;
    print(&format!(
        "on the {examples} test images: {agreeing} equal classes, outputs within {difference:.1e}; \
         distance from f64 (largest, root mean square) {:.1e}, {:.1e} folded; {:.1e}, {:.1e} as declared",
        folded_error.largest, folded_error.root_mean_square, declared_error.largest, declared_error.root_mean_square
    ))?;
    if not_finite > 0 {
        eprintln!("WARNING: {not_finite} of the {examples} test images give NaN or infinite outputs");
    }
    print(&export::written(&args.export, &saved))
}

fn number(text: &str, fits: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    text.parse().ok().filter(|&number| fits(number)).ok_or_else(|| format!("give {range}"))
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |number| number >= 0.0 && number.is_finite(), "a finite number, not negative")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1.0).contains(&number), "a number from 0 up to, not including, 1")
}

/// The last line of `train` and `evaluate`.
pub(super) fn result(evaluation: &Evaluation, parameters: usize, as_json: bool) -> String {
    let Evaluation { loss, metrics, seconds } = evaluation;
    let accuracy = metrics.get("accuracy").copied().unwrap_or(f64::NAN);
    if as_json {
        let (test_loss, test_accuracy) = (rounded(*loss, 6), rounded(accuracy, 4));
        return json!({
            "test_loss": test_loss, "test_accuracy": test_accuracy, "eval_s": rounded(*seconds, 4), "params": parameters
        })
        .to_string();
    }
    format!("test loss {loss:.4}  test accuracy {accuracy:.4}  ({seconds:.2} s)")
}

fn epoch_json(record: &EpochRecord) -> serde_json::Value {
    let accuracy = |metrics: &OrderedMap<String, f64>| metrics.get("accuracy").map(|&accuracy| rounded(accuracy, 4));
    json!({
        "epoch": record.epoch,
        "s": rounded(record.seconds, 3),
        "us_per_step": rounded(record.us_per_step(), 1),
        "loss": rounded(record.loss, 6),
        "accuracy": accuracy(&record.metrics),
        "val_loss": record.validation.as_ref().map(|validation| rounded(validation.loss, 6)),
        "val_accuracy": record.validation.as_ref().and_then(|validation| accuracy(&validation.metrics)),
    })
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
