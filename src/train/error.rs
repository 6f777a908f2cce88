//! What can go wrong between a declared model and a trained one.

use crate::exec::RunError;
use crate::interchange::{FusedError, WeightsError};
use crate::ir::Diagnostics;
use crate::pass::{FoldError, PassError};
use crate::plan::PlanError;

/// Training, evaluation or prediction could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model, loss and optimiser do not make a graph.
    #[error(transparent)]
    Graph(#[from] Diagnostics),
    /// A pass over the training graph failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The model could not be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The folded model could not be written.
    #[error(transparent)]
    Fused(#[from] FusedError),
    /// The graph could not be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The data is not a set of examples.
    #[error("{0}")]
    Examples(String),
    /// The data, or the value of a variable, does not fit the model.
    #[error("`{name}` is {expected} in the model, but {found} was given; {help}")]
    Data {
        /// The input, target or variable.
        name: String,
        /// What the model declares.
        expected: String,
        /// What was given.
        found: String,
        /// How to mend it.
        help: String,
    },
    /// A variable holds NaN or an infinity.
    #[error(
        "element {element} of `{name}` is {value}, and nothing was written: load weights that are finite, or replace the \
         variable with `Trainer::set_value`"
    )]
    NotFiniteWeight {
        /// The variable.
        name: String,
        /// Which element, row-major.
        element: usize,
        /// The element.
        value: f64,
    },
    /// The loss or a metric of an evaluation is NaN or infinite.
    #[error("the evaluation has no result: among examples {first} to {last}, {what}")]
    NotFiniteEvaluation {
        /// The first example of the batch, counted from 0.
        first: usize,
        /// The last one.
        last: usize,
        /// Which value, and what made it so.
        what: String,
    },
    /// Neither the model nor the optimiser has a variable of that name.
    #[error("there is no variable `{name}`; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A label is no class of the model.
    #[error(
        "the label of example {index} is {label}, but `{output}` has {classes} classes, counted from 0 to {}; \
         mend the label or give the last layer more units", classes - 1
    )]
    Label {
        /// The model output that it is a label for.
        output: String,
        /// The example, counted from 0.
        index: usize,
        /// Its label.
        label: i32,
        /// How many classes the output has.
        classes: usize,
    },
    /// A setting is out of range.
    #[error("{name} is {value}; {help}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        help: &'static str,
    },
    /// Training batch norm would see one value a channel, whose variance is 0.
    #[error(
        "a batch of {batch} gives {node} one value a channel: its variance would be 0 and nothing before it would learn; \
         {count} examples in batches of {batch_size} leave that batch, choose another batch size"
    )]
    SingleValue {
        /// The batch norm, as a person would name it.
        node: String,
        /// The batch in question.
        batch: usize,
        /// Number of examples.
        count: usize,
        /// The batch size asked for.
        batch_size: usize,
    },
    /// An example holds a NaN or an infinity; the weights are those before the step.
    #[error(
        "training stopped in epoch {epoch} at step {step} of {steps}, with the weights as before that step: example \
         {example} of `{name}` holds {value}; mend the example, or leave it out"
    )]
    NotFiniteExample {
        /// The epoch, from 1.
        epoch: usize,
        /// The step, from 1.
        step: usize,
        /// Steps in an epoch.
        steps: usize,
        /// The input or target.
        name: String,
        /// The example, counted from 0 in the order of the data.
        example: usize,
        /// What it holds.
        value: f64,
    },
    /// The loss became NaN or infinite; the weights are those before the step.
    #[error(
        "training stopped in epoch {epoch} at step {step} of {steps}, with the weights as before that step: {source}; \
         a lower learning rate may help"
    )]
    NotFinite {
        /// The epoch, from 1.
        epoch: usize,
        /// The step, from 1.
        step: usize,
        /// Steps in an epoch.
        steps: usize,
        /// The value, and the first node that made it so.
        source: RunError,
    },
}
