//! The graphs of a trainer: the whole training step, evaluation, and prediction.

use super::error::TrainError;
use super::{Loss, Metric, Optimizer};
use crate::autodiff::gradients;
use crate::ir::{Builder, Code, DType, Diagnostic, Diagnostics, Expr, Graph, OrderedMap, Source, TensorType, Value};
use crate::nn::{Applied, Mode, Model};
use crate::pass::{Outcome, Pipeline};
use crate::rewrite::{Fired, Refused};
use std::panic::Location;

/// The guarded output: training stops when it is not finite.
pub(super) const LOSS: &str = "loss";

/// What the passes did to a training graph.
#[derive(Clone, Debug, Default)]
pub(super) struct PassLog {
    pub fired: Vec<Fired>,
    pub refused: Vec<Refused>,
}

/// A whole training step.
#[derive(Clone, Debug)]
pub(super) struct TrainingStep {
    pub graph: Graph,
    // Parameters whose gradient is 0, which are therefore not trained.
    pub dead: Vec<String>,
    pub passes: PassLog,
}

fn gradient_name(parameter: &str) -> String {
    format!("gradient of {parameter}")
}

/// Whether a value is a constant 0 in every element.
fn is_zero(graph: &Graph, value: Value) -> bool {
    graph.constant_behind(value).is_some_and(|constant| constant.to_f64().iter().all(|&x| x == 0.0))
}

/// What the graphs of a trainer are made from.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub model: Model,
    pub optimizer: Optimizer,
    // One for each output of the model.
    pub losses: Vec<Loss>,
    pub metrics: Vec<Metric>,
    pub float: DType,
    // Of forward, loss and backward, before the optimiser.
    pub pipeline: Pipeline,
    // Where the user made the trainer: what is wrong with the settings is reported there.
    pub at: &'static Location<'static>,
}

impl Recipe {
    /// What is wrong with the settings themselves.
    pub(super) fn check(&self) -> Result<(), Diagnostic> {
        let mistake = |code, title: String| Diagnostic::new(code, title).at(self.at);
        if !self.float.is_float() {
            let title = format!("a model cannot be trained in {}", self.float);
            return Err(mistake(Code::DType, title).help("give `.float` DType::F32 or DType::F64"));
        }
        let outputs: Vec<String> = self.model.output_types(self.float).into_keys().collect();
        if self.losses.len() != outputs.len() {
            let names = outputs.join("`, `");
            let (have, want) = (self.losses.len(), outputs.len());
            return Err(mistake(Code::Graph, format!("losses: {have} for a model with {want} outputs (`{names}`)"))
                .help("give one for each output, in that order, with `.losses([..])`"));
        }
        for (index, metric) in self.metrics.iter().enumerate() {
            if self.metrics[..index].contains(metric) {
                let title = format!("the metric `{}` is asked for twice", metric.name());
                return Err(mistake(Code::Name, title).help("leave one of the two out"));
            }
        }
        Ok(())
    }

    /// Forward, loss, backward, running statistics, optimiser and metrics, in one graph.
    ///
    /// The passes run before the optimiser is added, so that a parameter whose gradient they find to be 0 gets neither an
    /// update nor a slot.
    pub(super) fn training(&self) -> Result<TrainingStep, TrainError> {
        let (graph, parameters) = self.differentiated()?;
        let (resting, moved): (Vec<&String>, Vec<&String>) =
            parameters.iter().partition(|name| self.optimizer.rests_at_zero(name));
        let mut pipeline = self.pipeline.clone();
        for name in moved {
            let reason = format!(
                "optimiser `{}` moves `{name}` even where its gradient is 0, as weight decay does",
                self.optimizer.name()
            );
            pipeline = pipeline.protect(name, reason);
        }
        let Outcome { mut graph, fired, refused, .. } = pipeline.run(&graph)?;
        let found: OrderedMap<String, Value> = (parameters.iter())
            .filter_map(|name| Some((name.clone(), graph.take_output(&gradient_name(name))?)))
            .collect();
        let dead: Vec<String> = (resting.into_iter())
            .filter(|name| found.get(*name).is_some_and(|&gradient| is_zero(&graph, gradient)))
            .cloned()
            .collect();
        let builder = Builder::resume(graph);
        let trained: OrderedMap<String, Expr<'_>> = (parameters.iter().filter(|name| !dead.contains(name)))
            .filter_map(|name| {
                let input = builder.graph().input(name)?;
                Some((name.clone(), builder.expr(Value::first(input))))
            })
            .collect();
        let gradients: Vec<Expr<'_>> = trained.keys().map(|name| builder.expr(found[name])).collect();
        self.optimizer.update_at(&builder, &trained, &gradients, self.at).map_err(Diagnostics::from)?;
        Ok(TrainingStep { graph: builder.finish()?, dead, passes: PassLog { fired, refused } })
    }

    /// Forward, loss and metrics, running statistics, and a gradient for each parameter as an output; with the
    /// parameters' names.
    fn differentiated(&self) -> Result<(Graph, Vec<String>), Diagnostics> {
        let builder = Builder::new();
        let body = || -> Result<Vec<String>, Diagnostics> {
            let (applied, loss) = self.measured(&builder, Mode::Training)?;
            let wrt: Vec<Expr<'_>> = applied.parameters.values().copied().collect();
            let found = gradients(&[loss], &wrt)?;
            applied.carry_states();
            for (name, gradient) in applied.parameters.keys().zip(found) {
                builder.output(&gradient_name(name), gradient);
            }
            Ok(applied.parameters.into_keys().collect())
        };
        let parameters = builder.attributed(Source::User(self.at), body)?;
        Ok((builder.finish()?, parameters))
    }

    /// Forward with running statistics, loss and metrics.
    pub(super) fn evaluation(&self) -> Result<Graph, Diagnostics> {
        let builder = Builder::new();
        builder.attributed(Source::User(self.at), || self.measured(&builder, Mode::Inference).map(drop))?;
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
            .map(|((name, ty), loss)| (name, loss.target_at(&ty, self.at).map_err(Diagnostics::from)))
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
            let ty = loss.target_at(&prediction.ty(), self.at)?;
            let target = builder.input(&Recipe::target_name(&name), ty.dtype, ty.shape);
            let each = loss.build_at(prediction, target, self.at)?;
            let mean = builder.scoped("loss", || each.mean_all());
            total = Some(total.map_or(mean, |total| total + mean));
            for metric in &self.metrics {
                let sum = builder.scoped("metrics", || metric.build_at(prediction, target, self.at))?;
                builder.output(&self.metric_name(*metric, &name), sum);
            }
        }
        let Some(total) = total else {
            return Err(Diagnostic::new(Code::Graph, "the model has no output to train on").at(self.at).into());
        };
        builder.output(LOSS, total);
        Ok((applied, total))
    }
}
