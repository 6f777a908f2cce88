//! The graphs of a trainer: the whole training step, evaluation, and prediction.

use super::{Loss, Metric, Optimizer};
use crate::autodiff::gradients;
use crate::ir::{Builder, DType, Diagnostics, Expr, Graph, TensorType};
use crate::nn::{Applied, Mode, Model};

/// The guarded output: training stops when it is not finite.
pub(super) const LOSS: &str = "loss";

/// What the graphs of a trainer are made from.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub model: Model,
    pub optimizer: Optimizer,
    // One for each output of the model.
    pub losses: Vec<Loss>,
    pub metrics: Vec<Metric>,
    pub float: DType,
}

impl Recipe {
    /// Forward, loss, backward, running statistics, optimiser and metrics, in one graph.
    pub(super) fn training(&self) -> Result<Graph, Diagnostics> {
        let builder = Builder::new();
        let (applied, loss) = self.measured(&builder, Mode::Training)?;
        let wrt: Vec<Expr<'_>> = applied.parameters.values().copied().collect();
        let found = gradients(&[loss], &wrt)?;
        builder.scoped(self.optimizer.name(), || self.optimizer.update(&builder, &applied.parameters, &found))?;
        applied.carry_states();
        builder.finish()
    }

    /// Forward with running statistics, loss and metrics.
    pub(super) fn evaluation(&self) -> Result<Graph, Diagnostics> {
        let builder = Builder::new();
        self.measured(&builder, Mode::Inference)?;
        builder.finish()
    }

    /// Forward with running statistics.
    pub(super) fn inference(&self) -> Result<Graph, Diagnostics> {
        self.model.graph(Mode::Inference, self.float)
    }

    /// The name that a target is fed under.
    pub(super) fn target_name(output: &str) -> String {
        format!("target of {output}")
    }

    /// The type of each target, by the output that it belongs to.
    pub(super) fn target_types(&self) -> Vec<(String, Result<TensorType, Diagnostics>)> {
        let types = self.model.output_types(self.float);
        types
            .into_iter()
            .zip(&self.losses)
            .map(|((name, ty), loss)| (name, loss.target(&ty).map_err(Diagnostics::from)))
            .collect()
    }

    /// The name of a metric of an output: plain for a model with one output, after the output otherwise.
    pub(super) fn metric_name(&self, metric: Metric, output: &str) -> String {
        if self.losses.len() == 1 { metric.name().to_owned() } else { format!("{output}_{}", metric.name()) }
    }

    /// The model over named inputs with its total loss, the mean over the batch, and the metrics as outputs.
    fn measured<'b>(&self, builder: &'b Builder, mode: Mode) -> Result<(Applied<'b>, Expr<'b>), Diagnostics> {
        let inputs: Vec<Expr<'b>> = self
            .model
            .input_types(self.float)
            .into_iter()
            .map(|(name, ty)| builder.input(&name, ty.dtype, ty.shape))
            .collect();
        let applied = self.model.apply(builder, mode, self.float, &inputs)?;
        let mut total: Option<Expr<'b>> = None;
        let names = self.model.output_types(self.float).into_keys();
        for ((name, &prediction), loss) in names.zip(&applied.outputs).zip(&self.losses) {
            let ty = loss.target(&prediction.ty())?;
            let target = builder.input(&Recipe::target_name(&name), ty.dtype, ty.shape);
            let mean = builder.scoped("loss", || loss.build(prediction, target).map(|each| each.mean_all()))?;
            total = Some(total.map_or(mean, |total| total + mean));
            for metric in &self.metrics {
                let sum = builder.scoped("metrics", || metric.build(prediction, target))?;
                builder.output(&self.metric_name(*metric, &name), sum);
            }
        }
        let Some(total) = total else {
            return Err(
                crate::ir::Diagnostic::new(crate::ir::Code::Graph, "the model has no output to train on").into()
            );
        };
        builder.output(LOSS, total);
        Ok((applied, total))
    }
}
