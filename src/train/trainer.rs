//! A model with its weights, optimiser, and compiled graphs.

use super::compiled::Compiled;
use super::error::TrainError;
use super::finite::{of_evaluation, refuse_not_finite};
use super::samples::{Examples, Samples};
use super::step::{LOSS, PassLog, Recipe};
use super::sums::Sums;
use super::variables::Variables;
use super::{Evaluation, Loss, Metric, Optimizer};
use crate::exec::{Executable, Options, PredictError, Predictor};
use crate::interchange::{WeightsError, safetensors};
use crate::ir::{Bindings, DType, Dim, Element, Graph, Shape, Symbol, Tensor, TensorType};
use crate::nn::Model;
use crate::op::Op;
use crate::pass::Pipeline;
use crate::rewrite::{Fired, Refused};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic::Location;
use std::path::Path;
use std::time::Instant;

/// Examples evaluated or predicted at a time: enough to keep the products efficient, few enough to stay in cache.
pub(super) const EVALUATION_BATCH: usize = 256;

/// The settings of a [`Trainer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TrainerBuilder {
    recipe: Recipe,
    seed: u64,
    options: Options,
}

impl TrainerBuilder {
    /// Measures this too, besides the loss.
    pub fn metric(mut self, metric: Metric) -> TrainerBuilder {
        self.recipe.metrics.push(metric);
        self
    }

    /// A loss for each output of the model, in order; the model is trained on their sum.
    pub fn losses(mut self, losses: impl IntoIterator<Item = Loss>) -> TrainerBuilder {
        self.recipe.losses = losses.into_iter().collect();
        self
    }

    /// The one seed of initial weights, shuffling and dropout; 0 unless given.
    pub fn seed(mut self, seed: u64) -> TrainerBuilder {
        self.seed = seed;
        self
    }

    /// The float type of weights and arithmetic; `F32` unless given.
    pub fn float(mut self, float: DType) -> TrainerBuilder {
        self.recipe.float = float;
        self
    }

    /// The passes that forward, loss and backward go through before the optimiser is added;
    /// [`Pipeline::training`] unless given.
    pub fn pipeline(mut self, pipeline: Pipeline) -> TrainerBuilder {
        self.recipe.pipeline = pipeline;
        self
    }

    /// With how many threads and which instruction set the graphs run; [`Options::default`] unless given.
    pub fn options(mut self, options: Options) -> TrainerBuilder {
        self.options = options;
        self
    }

    /// Threads that share each step, the calling one among them; see [`Options::threads`]. Variables are the same to the bit
    /// for any number.
    pub fn threads(mut self, threads: usize) -> TrainerBuilder {
        self.options = self.options.threads(threads);
        self
    }

    /// Builds the graphs and draws the initial weights.
    ///
    /// # Errors
    /// A loss, metric or optimiser that does not fit the model.
    pub fn compile(self) -> Result<Trainer, TrainError> {
        let TrainerBuilder { recipe, seed, options } = self;
        recipe.check().map_err(crate::ir::Diagnostics::from)?;
        let (training, evaluation, inference) = (recipe.training()?, recipe.evaluation()?, recipe.inference()?);
        let mut values = recipe.model.initial_values_as(seed, recipe.float);
        let slots = recipe.optimizer.initial_state(recipe.model.variables(), recipe.float);
        // A parameter that is not trained has no slots.
        values.extend(slots.into_iter().filter(|(name, _)| training.graph.input(name).is_some()));
        let graphs = [training.graph, evaluation, inference];
        let (dead, passes, weights) = (training.dead, training.passes, Variables(values));
        let compiled = HashMap::new();
        Ok(Trainer { recipe, seed, options, epochs_done: 0, graphs, dead, passes, weights, compiled })
    }
}

/// Which of a trainer's graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Training,
    Evaluation,
    Inference,
}

/// A model in training: weights, optimiser state and compiled graphs. See [the module](super) for an example.
#[derive(Debug)]
pub struct Trainer {
    pub(super) recipe: Recipe,
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) epochs_done: usize,
    graphs: [Graph; 3],
    dead: Vec<String>,
    passes: PassLog,
    pub(super) weights: Variables,
    pub(super) compiled: HashMap<(Stage, usize), Compiled>,
}

impl Trainer {
    /// Starts the settings of a trainer for a model with one output.
    #[allow(clippy::new_ret_no_self)]
    #[track_caller]
    pub fn new(model: Model, optimizer: impl Into<Optimizer>, loss: Loss) -> TrainerBuilder {
        let recipe = Recipe {
            model,
            optimizer: optimizer.into(),
            losses: vec![loss],
            metrics: Vec::new(),
            float: DType::F32,
            pipeline: Pipeline::training(),
            at: Location::caller(),
        };
        TrainerBuilder { recipe, seed: 0, options: Options::default() }
    }

    /// The model's declaration.
    pub fn model(&self) -> &Model {
        &self.recipe.model
    }

    /// The float type of weights and arithmetic.
    pub fn float(&self) -> DType {
        self.recipe.float
    }

    /// The whole training step as one graph.
    pub fn training_graph(&self) -> &Graph {
        self.graph(Stage::Training)
    }

    /// Forward, loss and metrics with running statistics.
    pub fn evaluation_graph(&self) -> &Graph {
        self.graph(Stage::Evaluation)
    }

    /// Forward with running statistics.
    pub fn inference_graph(&self) -> &Graph {
        self.graph(Stage::Inference)
    }

    /// Parameters that training leaves as they are, because their gradient is exactly 0: biases before batch norm.
    pub fn untrained(&self) -> &[String] {
        &self.dead
    }

    /// What the passes did to the training graph, and what they were refused.
    pub fn rewrites(&self) -> (&[Fired], &[Refused]) {
        (&self.passes.fired, &self.passes.refused)
    }

    /// A variable of the model or of the optimiser, by name: `dense/kernel`, `sgd/learning_rate`.
    pub fn value(&self, name: &str) -> Option<&Tensor> {
        self.weights.0.get(name)
    }

    /// Every variable of the model and of the optimiser, by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.weights.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Replaces the value of a variable.
    ///
    /// # Errors
    /// An unknown name, or a value of another type or shape.
    pub fn set_value(&mut self, name: &str, value: Tensor) -> Result<(), TrainError> {
        let Some(have) = self.weights.0.get(name) else {
            let known = self.weights.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(TrainError::Unknown { name: name.to_owned(), known });
        };
        if have.ty() != value.ty() {
            let (expected, found) = (have.ty().to_string(), value.ty().to_string());
            let help = "give a tensor of that element type and shape".to_owned();
            return Err(TrainError::Data { name: name.to_owned(), expected, found, help });
        }
        self.weights.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Mean loss and metrics over `examples`, with running statistics and without dropout.
    ///
    /// # Errors
    /// Data that does not fit the model; a loss or metric that is NaN or infinite, with what made it so.
    pub fn evaluate(&mut self, examples: &Examples) -> Result<Evaluation, TrainError> {
        self.check_examples(examples)?;
        let started = Instant::now();
        let sources: Vec<&Samples> = examples.inputs.iter().chain(&examples.targets).collect();
        let mut sums = Sums::default();
        self.each_batch(Stage::Evaluation, &sources, |run, rows| {
            sums.add(run, rows);
            Ok(())
        })?;
        let (loss, metrics) = sums.means();
        Ok(Evaluation { loss, metrics, seconds: started.elapsed().as_secs_f64() })
    }

    /// The model's outputs for each example, one tensor an output.
    ///
    /// # Errors
    /// Data that does not fit the model.
    pub fn predict(&mut self, inputs: &[Samples]) -> Result<Vec<Tensor>, TrainError> {
        self.check_inputs(inputs)?;
        let count = inputs.first().map_or(0, Samples::len);
        if inputs.iter().any(|input| input.len() != count) {
            let counts: Vec<usize> = inputs.iter().map(Samples::len).collect();
            let message = format!("the inputs hold {counts:?} examples; give as many of each");
            return Err(TrainError::Examples(message));
        }
        let types = self.recipe.model.output_types(self.recipe.float);
        let shape = |ty: &TensorType| -> Vec<usize> {
            std::iter::once(count).chain(ty.shape.iter().skip(1).map(|dim| dim.known().unwrap_or(1))).collect()
        };
        let mut outputs: Vec<Tensor> = types.values().map(|ty| Tensor::zeros(ty.dtype, shape(ty))).collect();
        let sources: Vec<&Samples> = inputs.iter().collect();
        let mut done = 0;
        self.each_batch(Stage::Inference, &sources, |run, rows| {
            for (index, output) in outputs.iter_mut().enumerate() {
                write_rows(run, index, output, done..done + rows);
            }
            done += rows;
            Ok(())
        })?;
        Ok(outputs)
    }

    /// The model with a copy of its present weights, ready to predict from any number of threads; not folded. For the
    /// folded model, ask [`Folded::predictor`](crate::pass::Folded::predictor).
    ///
    /// # Errors
    /// As [`Predictor::new`].
    pub fn predictor(&self) -> Result<Predictor, PredictError> {
        Predictor::new(self.inference_graph().clone(), self.model_weights(), &self.options)
    }

    /// Writes every variable of the model, and with it the optimiser's, to a safetensors file.
    ///
    /// The file is written beside its place, synced, and renamed, so that an old one is never half overwritten.
    ///
    /// # Errors
    /// A variable that holds NaN or an infinity; whatever the file system reports.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<(), TrainError> {
        refuse_not_finite(&self.weights.0)?;
        Ok(safetensors::save(path, &self.weights.0, metadata)?)
    }

    /// Reads the variables that [`save`](Trainer::save) wrote. A file without optimiser state leaves the optimiser's
    /// as it is.
    ///
    /// # Errors
    /// A file that is damaged or foreign, lacks a variable of the model, or holds one of another type. Nothing is
    /// changed then.
    pub fn load(&mut self, path: &Path) -> Result<BTreeMap<String, String>, TrainError> {
        let (tensors, metadata) = safetensors::load(path)?;
        let own: Vec<String> = self.recipe.model.variables().iter().map(|variable| variable.name.clone()).collect();
        let foreign = |name: &str, field, expected: &Tensor, found: String| {
            TrainError::Weights(WeightsError::Tensor {
                path: path.into(),
                tensor: name.into(),
                field,
                expected: format!("{}, as in the model", expected.ty()).into(),
                found: found.into(),
                help: "it was saved from another model: load the weights of this one",
            })
        };
        for name in &own {
            if let (None, Some(have)) = (tensors.get(name), self.weights.0.get(name)) {
                return Err(foreign(name, "name", have, "no tensor of that name".to_owned()));
            }
        }
        for (name, tensor) in &tensors {
            if let Some(have) = self.weights.0.get(name).filter(|have| have.ty() != tensor.ty()) {
                let field = if have.dtype() == tensor.dtype() { "shape" } else { "dtype" };
                return Err(foreign(name, field, have, tensor.ty().to_string()));
            }
        }
        for (name, tensor) in tensors {
            if let Some(slot) = self.weights.0.get_mut(&name) {
                *slot = tensor;
            }
        }
        Ok(metadata)
    }

    fn graph(&self, stage: Stage) -> &Graph {
        &self.graphs[stage as usize]
    }

    /// Runs a graph over all rows in order, in batches that stay in cache.
    fn each_batch(
        &mut self,
        stage: Stage,
        sources: &[&Samples],
        mut body: impl FnMut(&Executable, usize) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let count = sources.first().map_or(0, |source| source.len());
        let rows: Vec<u32> = (0..count as u32).collect();
        for batch in rows.chunks(EVALUATION_BATCH) {
            let mut compiled = self.take_compiled(stage, batch.len())?;
            let step = |compiled: &mut Compiled, states: &mut [Tensor]| compiled.step(sources, batch, states);
            let outcome = self.weights.lend_to(&mut compiled, step);
            let outcome = outcome
                .map_err(|error| of_evaluation(&compiled, error, batch))
                .and_then(|()| body(&compiled.run, batch.len()));
            self.keep_compiled(stage, batch.len(), compiled);
            outcome?;
        }
        Ok(())
    }

    /// The graph compiled for that batch size, from the cache or anew.
    pub(super) fn take_compiled(&mut self, stage: Stage, size: usize) -> Result<Compiled, TrainError> {
        if let Some(compiled) = self.compiled.remove(&(stage, size)) {
            return Ok(compiled);
        }
        let bindings = Bindings::from([(Symbol::new("batch"), size)]);
        let options = self.options.holds_state(stage == Stage::Training);
        let mut run = Executable::with(self.graph(stage).clone(), &bindings, &options)?;
        if stage == Stage::Training {
            run.guard(LOSS)?;
            run.guard_updates(true);
        }
        if stage == Stage::Evaluation {
            let scores: Vec<String> = run.plan().outputs().map(|port| port.name.clone()).collect();
            scores.iter().try_for_each(|score| run.guard(score))?;
        }
        let batch = run.plan().feeds().iter().map(|port| Tensor::zeros(port.dtype, port.shape.clone())).collect();
        Ok(Compiled { run, batch })
    }

    pub(super) fn keep_compiled(&mut self, stage: Stage, size: usize, compiled: Compiled) {
        self.compiled.insert((stage, size), compiled);
    }

    /// Whether the data can be fed to the model, before anything runs.
    pub(super) fn check_examples(&self, examples: &Examples) -> Result<(), TrainError> {
        self.check_inputs(&examples.inputs)?;
        let types = self.recipe.target_types();
        check_count("targets", types.iter().map(|(output, _)| output), examples.targets.len())?;
        for (((output, ty), target), loss) in types.into_iter().zip(&examples.targets).zip(&self.recipe.losses) {
            check_fits(&Recipe::target_name(&output), &ty?, target)?;
            let classes =
                self.recipe.model.output_types(self.recipe.float)[&output].shape.last().and_then(|dim| dim.known());
            if let (Loss::SparseCategoricalCrossentropy, Some(classes)) = (loss, classes)
                && let Some((index, label)) = target.outside(0..classes as i32)
            {
                return Err(TrainError::Label { output, index, label, classes });
            }
        }
        Ok(())
    }

    pub(super) fn check_inputs(&self, inputs: &[Samples]) -> Result<(), TrainError> {
        let types = self.recipe.model.input_types(self.recipe.float);
        check_count("inputs", types.keys(), inputs.len())?;
        types.iter().zip(inputs).try_for_each(|((name, ty), input)| check_fits(name, ty, input))
    }

    /// Refuses a batch in which a training batch norm would see one value a channel.
    pub(super) fn check_batch(&self, batch: usize, count: usize, batch_size: usize) -> Result<(), TrainError> {
        let graph = self.graph(Stage::Training);
        for (id, node) in graph.nodes() {
            let Op::BatchNormTrain(op) = node.op() else { continue };
            let shape = &graph.ty(node.operands()[0]).shape;
            let size = |dim: &Dim| dim.known().unwrap_or(batch);
            let values: usize = shape.without(&[op.axis]).iter().map(size).product();
            if values == 1 {
                return Err(TrainError::SingleValue { node: graph.describe(id), batch, count, batch_size });
            }
        }
        Ok(())
    }
}

/// Copies an output of a run into the given rows of a larger tensor.
fn write_rows(run: &Executable, index: usize, to: &mut Tensor, rows: Range<usize>) {
    fn copy<E: Element>(run: &Executable, index: usize, to: &mut Tensor, rows: Range<usize>) {
        if let (Some(from), Some(to)) = (run.output::<E>(index), to.as_mut_slice::<E>()) {
            let each = from.len() / rows.len().max(1);
            to[rows.start * each..rows.end * each].copy_from_slice(from);
        }
    }
    match to.dtype() {
        DType::F32 => copy::<f32>(run, index, to, rows),
        DType::F64 => copy::<f64>(run, index, to, rows),
        DType::I32 => copy::<i32>(run, index, to, rows),
        DType::Bool => copy::<bool>(run, index, to, rows),
    }
}

fn check_count<'n>(
    what: &'static str,
    names: impl Iterator<Item = &'n String>,
    found: usize,
) -> Result<(), TrainError> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.len() == found {
        return Ok(());
    }
    let (expected, names) = (names.len(), names.join("`, `"));
    Err(TrainError::Examples(format!(
        "the data has {found} {what} for a model with {expected} (`{names}`); give one for each, in that order"
    )))
}

fn check_fits(name: &str, ty: &TensorType, samples: &Samples) -> Result<(), TrainError> {
    let same = |(dim, &size): (&Dim, &usize)| dim.known().is_none_or(|known| known == size);
    let each = ty.shape.get(1..).unwrap_or_default();
    if each.len() == samples.shape().len() && each.iter().zip(samples.shape()).all(same) && samples.fits(ty.dtype) {
        return Ok(());
    }
    let help = if samples.fits(ty.dtype) {
        format!("give each example the shape {}, or change the model", Shape::from_iter(each.iter().copied()))
    } else if ty.dtype == DType::I32 && samples.shape().len() == each.len() + 1 {
        "give i32 class indices; for one-hot rows, train with `Loss::CategoricalCrossentropy`".to_owned()
    } else {
        format!("convert the data to {}", ty.dtype)
    };
    let (expected, found) = (ty.to_string(), samples.describe());
    Err(TrainError::Data { name: name.to_owned(), expected, found, help })
}
