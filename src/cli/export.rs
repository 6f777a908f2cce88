//! `foldgrad export`, `explain` and `unfuse`: fused ONNX files, what was folded, and the way back.

use super::network::Network;
use super::{CommandError, check_target, print};
use crate::exec::Options;
use crate::interchange::{fused, onnx, safetensors};
use crate::ir::DType;
use crate::pass::{self, Pipeline};
use crate::train::{Loss, Metric, Sgd, Trainer};
use std::path::{Path, PathBuf};

/// The file that `train` writes and `explain` reads, unless told otherwise.
pub(super) const DEFAULT: &str = "tutorial.onnx";

/// Writes saved weights as an ONNX file.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The safetensors file that `foldgrad train --save` wrote.
    weights: PathBuf,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    to: PathBuf,
    /// Write the network as it was declared, with its batch norms, instead of folded.
    #[arg(long)]
    as_declared: bool,
    /// Leave out a pass or rule by name, or one firing of a rule: `affine_after_affine@0`.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Stop folding after N rewrites, to find one that is wrong.
    #[arg(long, value_name = "N")]
    stop_after: Option<usize>,
    /// Print the graph after each pass, and the time and work of each.
    #[arg(long)]
    dump: bool,
}

/// Prints what became of every layer, batch norm and bias.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// A fused ONNX file. Without one: the tutorial network as it is declared.
    file: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
    /// Print the equation of each rule that was at work.
    #[arg(long)]
    equations: bool,
}

/// Gives back the trained weights of a fused ONNX file, bit for bit.
#[derive(Debug, clap::Args)]
pub(super) struct UnfuseArgs {
    /// The fused ONNX file.
    file: PathBuf,
    /// The safetensors file to write.
    #[arg(long, value_name = "FILE")]
    save: PathBuf,
    /// Print the graph as it was declared.
    #[arg(long)]
    graph: bool,
}

/// A trainer with the weights of a file.
pub(super) fn trainer(weights: &Path, options: Options) -> Result<(Network, Trainer), CommandError> {
    let (_, metadata) = safetensors::load(weights)?;
    let network = Network::from_metadata(&metadata);
    let float = metadata.get("float").and_then(|name| DType::from_name(name));
    let (Some(network), Some(float)) = (network, float) else {
        let path = weights.display();
        return Err(format!(
            "{path} does not say which network its weights belong to (metadata `bn` and `float`); \
             give a file that `foldgrad train --save` wrote"
        )
        .into());
    };
    let mut trainer = Trainer::new(network.model()?, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .float(float)
        .options(options)
        .compile()?;
    trainer.load(weights)?;
    Ok((network, trainer))
}

pub(super) fn export(args: &ExportArgs) -> Result<(), CommandError> {
    check_target("--to", &args.to)?;
    let (network, trainer) = trainer(&args.weights, Options::default())?;
    let metadata = network.metadata(trainer.float());
    let mut pipeline = if args.as_declared { Pipeline::as_declared() } else { Pipeline::inference() }.proved(true);
    for name in &args.without {
        pipeline = pipeline.without(name);
    }
    if let Some(rewrites) = args.stop_after {
        pipeline = pipeline.stop_after(rewrites);
    }
    let weights = trainer.model_weights();
    if args.dump {
        let mut text = String::new();
        let outcome = pipeline.run_with(trainer.inference_graph(), &weights, &mut |pass, graph| {
            text.push_str(&format!("; after {pass}\n{graph}\n"));
        })?;
        print(&text)?;
        for pass in &outcome.passes {
            let [before, after] = pass.work.map(|work| work.operations);
            print(&format!(
                "; {:12} {:3} rewrites, work {before} → {after}, {:.2} ms, proof {:.2} ms",
                pass.name,
                pass.rewrites,
                pass.seconds * 1e3,
                pass.proof_seconds * 1e3
            ))?;
        }
    }
    let saved = if args.as_declared {
        let options = onnx::ExportOptions::new().metadata(metadata);
        onnx::save(&args.to, trainer.inference_graph(), &weights, &options)?
    } else {
        let folded = pass::fold_with(trainer.inference_graph(), &weights, &pipeline)?;
        print(&folded.explanation().to_string())?;
        trainer.export(&args.to, &folded, &metadata)?
    };
    print(&written(&args.to, &saved))
}

/// What was written where.
pub(super) fn written(path: &Path, saved: &onnx::Saved) -> String {
    let external = saved.external.as_ref().map(|path| format!(", weights in {}", path.display())).unwrap_or_default();
    format!(
        "{}: {} operators, {} weights, {} bytes{external}",
        path.display(),
        saved.nodes,
        saved.initializers,
        saved.bytes
    )
}

pub(super) fn explain(args: &ExplainArgs) -> Result<(), CommandError> {
    if let Some(file) = &args.file {
        return print(&fused::explanation(file)?);
    }
    let trainer = Trainer::new(args.network.model()?, Sgd::new(0.01), Loss::SparseCategoricalCrossentropy).compile()?;
    let folded = trainer.fold()?;
    let mut text = in_training(&trainer);
    text.push_str(&folded.explanation().to_string());
    if args.equations {
        let mut rules: Vec<_> = trainer.rewrites().0.iter().chain(&folded.fired).map(|fired| fired.rule).collect();
        rules.sort_by_key(|rule| rule.name);
        rules.dedup_by_key(|rule| rule.name);
        text.push('\n');
        rules.iter().for_each(|rule| text.push_str(&format!("{}: {}\n", rule.name, rule.equation)));
    }
    print(&text)
}

/// What became of the biases in training; empty where nothing did.
pub(super) fn in_training(trainer: &Trainer) -> String {
    let mut text = String::new();
    for name in trainer.untrained() {
        text.push_str(&format!(
            "{name} is not trained: the batch norm behind it subtracts any constant, so its gradient is exactly 0 \
             [bias_before_batch_norm]\n"
        ));
    }
    for refused in trainer.rewrites().1.iter().filter(|refused| refused.rule.name == "bias_before_batch_norm") {
        text.push_str(&format!("kept before {}: {}\n", refused.subject, refused.reason));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

pub(super) fn unfuse(args: &UnfuseArgs) -> Result<(), CommandError> {
    check_target("--save", &args.save)?;
    let unfused = fused::unfuse(&args.file)?;
    if args.graph {
        print(&unfused.graph.to_string())?;
    }
    safetensors::save(&args.save, &unfused.weights, &unfused.metadata)?;
    print(&format!("{} trained weights written to {}", unfused.weights.len(), args.save.display()))
}
