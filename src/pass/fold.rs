//! The whole way from a declared inference graph with weights to the smallest equal one, proved at every step.

use super::fold_weights::{Weighted, WeightsMismatch, check_weights, fold_weights};
use super::pipeline::{PassError, PassRecord, Pipeline};
use crate::ir::{Diagnostics, Graph, Weights};
use crate::rewrite::{Equality, Fired, Refused, Unequal};

/// The smallest inference graph that equals the declared one.
#[derive(Clone, Debug)]
pub struct Folded {
    /// Data inputs, and parameters with the names of `weights`.
    pub graph: Graph,
    /// A value for each parameter of `graph`.
    pub weights: Weights,
    /// The graph as it was declared.
    pub declared: Graph,
    /// From the declared weights to the folded ones, as a graph: inputs have the old names, outputs the new ones.
    pub recipe: Graph,
    /// The passes that ran, in order.
    pub passes: Vec<PassRecord>,
    /// Every rewrite, in order.
    pub fired: Vec<Fired>,
    /// What was refused, and why.
    pub refused: Vec<Refused>,
}

/// A graph could not be folded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The weights do not fit the graph.
    #[error(transparent)]
    Weights(#[from] WeightsMismatch),
    /// A pass failed, or changed the meaning of the graph.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The folded weights are not what the graph computed.
    #[error("pass `fold_weights` changed the graph's meaning: {0}; export the graph as declared and report this")]
    Unequal(#[from] Box<Unequal>),
    /// The proof could not be built.
    #[error(transparent)]
    Graph(#[from] Box<Diagnostics>),
}

/// Folds an inference graph and its weights, and proves that nothing changed: every pass, and the folded weights.
///
/// ```
/// use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
/// use foldgrad::{DType, pass};
/// let model = Sequential::new([4]).add(Dense::new(3)).add(BatchNormalization::new()).build()?;
/// let folded = pass::fold(&model.graph(Mode::Inference, DType::F32)?, &model.initial_values(0))?;
/// assert!(folded.weights.keys().eq(["dense/kernel", "dense/bias"]));
/// println!("{}", folded.explanation());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Weights that are missing or of another type; a graph that updates its weights, which must be
/// [frozen](super::freeze) first. Any other error is a mistake of ours that the proof has caught.
pub fn fold(graph: &Graph, weights: &Weights) -> Result<Folded, FoldError> {
    fold_with(graph, weights, &Pipeline::inference().proved(true))
}

/// [`fold`] by another pipeline.
///
/// # Errors
/// As for [`fold`].
pub fn fold_with(graph: &Graph, weights: &Weights, pipeline: &Pipeline) -> Result<Folded, FoldError> {
    check_weights(graph, weights)?;
    let known: Weights = (weights.iter())
        .filter(|(name, _)| graph.input(name).is_some())
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    let (outcome, prover) = pipeline.run_proved(graph, &known, &mut |_, _| {})?;
    let weighted = fold_weights(&outcome.graph, &known)?;
    if let Some(mut prover) = prover {
        let composed = weighted.composed().map_err(Box::new)?;
        prover.check(&outcome.graph, &composed, &[], Equality::Algebraic)?;
    }
    let Weighted { graph: folded, weights, recipe } = weighted;
    Ok(Folded {
        graph: folded,
        weights,
        declared: graph.clone(),
        recipe,
        passes: outcome.passes,
        fired: outcome.fired,
        refused: outcome.refused,
    })
}
