//! From a trainer to the smallest inference graph: folded, compared on data, and written as ONNX.

use super::error::TrainError;
use super::finite::refuse_not_finite;
use super::samples::Samples;
use super::trainer::{EVALUATION_BATCH, Trainer};
use crate::exec::{Executable, Options};
use crate::interchange::fused;
use crate::interchange::onnx::Saved;
use crate::ir::{Bindings, DType, Element, Graph, Symbol, Tensor, Weights};
use crate::nn::Mode;
use crate::pass::{self, Folded};
use std::collections::BTreeMap;
use std::path::Path;

/// A folded model beside the one that it was folded from, over data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// How many examples.
    pub examples: usize,
    /// For how many of them the largest output is the same one.
    pub agreeing: usize,
    /// For how many of them an output of either is NaN or infinite; they count as disagreeing, and as infinitely far apart.
    pub not_finite: usize,
    /// The largest difference between outputs of the two.
    pub difference: f64,
    /// How far the folded model's outputs are from the declared model's in f64.
    pub folded_error: Distance,
    /// How far the declared model's own outputs are from its outputs in f64.
    pub declared_error: Distance,
}

/// How far numbers are from others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// The largest difference.
    pub largest: f64,
    /// The root of the mean square of the differences.
    pub root_mean_square: f64,
}

impl Trainer {
    /// The smallest inference graph that equals the model with its present weights, proved at every step.
    ///
    /// # Errors
    /// A variable that holds NaN or an infinity; a wrong fold is caught and reported.
    pub fn fold(&self) -> Result<Folded, TrainError> {
        let weights = self.model_weights();
        refuse_not_finite(&weights)?;
        Ok(pass::fold(self.inference_graph(), &weights)?)
    }

    /// Writes what [`fold`](Trainer::fold) gave to an ONNX file that [`unfuse`](fused::unfuse) leads back from.
    ///
    /// # Errors
    /// A variable, or a folded weight, that holds NaN or an infinity; whatever the file system reports, and an op that ONNX
    /// has no form for.
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        folded: &Folded,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Saved, TrainError> {
        let weights = self.model_weights();
        refuse_not_finite(weights.iter().chain(&folded.weights))?;
        Ok(fused::save(path, folded, &weights, metadata)?)
    }

    /// The variables of the model, without the optimiser's.
    pub fn model_weights(&self) -> Weights {
        let own = self.model().variables().iter().map(|variable| &variable.name);
        own.filter_map(|name| Some((name.clone(), self.value(name)?.clone()))).collect()
    }

    /// Runs the folded graph, the declared one, and the declared one in f64 over the same inputs, and compares their
    /// first outputs.
    ///
    /// # Errors
    /// Data that does not fit the model.
    pub fn compare(&self, folded: &Folded, inputs: &[Samples]) -> Result<Comparison, TrainError> {
        self.check_inputs(inputs)?;
        let weights = self.model_weights();
        let wide = weights.iter().map(|(name, tensor)| (name.clone(), widened(tensor))).collect();
        let truth = self.model().graph(Mode::Inference, DType::F64)?;
        let mut sides = [(&folded.graph, &folded.weights), (self.inference_graph(), &weights), (&truth, &wide)]
            .map(|(graph, weights)| Compared { graph, weights, options: &self.options, compiled: None });
        let mut comparison = Comparison::default();
        let rows: Vec<u32> = (0..inputs.first().map_or(0, Samples::len) as u32).collect();
        for batch in rows.chunks(EVALUATION_BATCH) {
            let types = self.model().input_types(self.float());
            let feeds: Vec<Tensor> = (types.values().zip(inputs))
                .map(|(ty, samples)| {
                    let sizes = ty.shape.iter().skip(1).map(|dim| dim.known().unwrap_or(1));
                    let mut tensor =
                        Tensor::zeros(ty.dtype, std::iter::once(batch.len()).chain(sizes).collect::<Vec<_>>());
                    samples.gather(batch, &mut tensor, self.options.thread_count());
                    tensor
                })
                .collect();
            let [folded, declared, truth] = sides.each_mut().map(|side| side.first_output(&feeds, batch.len()));
            comparison.add(batch.len(), &folded?, &declared?, &truth?);
        }
        Ok(comparison)
    }
}

impl Comparison {
    fn add(&mut self, rows: usize, folded: &[f64], declared: &[f64], truth: &[f64]) {
        let width = (folded.len() / rows.max(1)).max(1);
        let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let is_finite = |(a, b): &(&[f64], &[f64])| a.iter().chain(*b).all(|value| value.is_finite());
        let pairs = || folded.chunks(width).zip(declared.chunks(width));
        self.examples += rows;
        self.agreeing += pairs().filter(is_finite).filter(|(a, b)| best(a) == best(b)).count();
        self.not_finite += pairs().filter(|pair| !is_finite(pair)).count();
        self.difference = self.difference.max(largest(folded, declared));
        let share = rows as f64 / self.examples as f64;
        self.folded_error.add(folded, truth, share);
        self.declared_error.add(declared, truth, share);
    }
}

impl Distance {
    /// Takes in more numbers, which are that share of all so far.
    fn add(&mut self, a: &[f64], b: &[f64], share: f64) {
        self.largest = self.largest.max(largest(a, b));
        let square = a.iter().zip(b).map(|(&a, &b)| apart(a, b).powi(2)).sum::<f64>() / a.len().max(1) as f64;
        self.root_mean_square = (self.root_mean_square.powi(2) * (1.0 - share) + square * share).sqrt();
    }
}

fn largest(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| apart(a, b)).fold(0.0, f64::max)
}

/// How far two numbers are apart; infinitely, if one of them is no number or infinite.
fn apart(a: f64, b: f64) -> f64 {
    if a.is_finite() && b.is_finite() { (a - b).abs() } else { f64::INFINITY }
}

fn widened(tensor: &Tensor) -> Tensor {
    if tensor.dtype().is_float() { tensor.cast(DType::F64) } else { tensor.clone() }
}

/// A graph that is compared, compiled for the latest batch size, with its weights in the order of the plan.
struct Compared<'g> {
    graph: &'g Graph,
    weights: &'g Weights,
    options: &'g Options,
    compiled: Option<(usize, Executable, Vec<Tensor>)>,
}

impl Compared<'_> {
    /// The first output, in f64.
    fn first_output(&mut self, feeds: &[Tensor], rows: usize) -> Result<Vec<f64>, TrainError> {
        let compiled = match self.compiled.take().filter(|(size, ..)| *size == rows) {
            Some(compiled) => compiled,
            None => {
                let bindings = Bindings::from([(Symbol::new("batch"), rows)]);
                let run = Executable::with(self.graph.clone(), &bindings, self.options)?;
                let states = run.plan().states().iter().filter_map(|port| self.weights.get(&port.name).cloned());
                let states = states.collect();
                (rows, run, states)
            }
        };
        let (_, run, states) = self.compiled.insert(compiled);
        // The data inputs of all graphs are the model's, in the model's order.
        let types = run.plan().feeds().iter().map(|port| port.dtype);
        let feeds: Vec<Tensor> = types.zip(feeds).map(|(dtype, tensor)| tensor.cast(dtype)).collect();
        run.run(&feeds.iter().collect::<Vec<_>>(), states)?;
        fn read<E: Element + Into<f64>>(run: &Executable) -> Option<Vec<f64>> {
            Some(run.output::<E>(0)?.iter().map(|&x| x.into()).collect())
        }
        Ok(read::<f32>(run).or_else(|| read::<f64>(run)).unwrap_or_default())
    }
}
