//! Training: losses, metrics and optimisers as graph nodes, and the loop that feeds the one step graph.
//!
//! A whole step (forward, loss, backward, running statistics, optimiser, metrics) is one graph, compiled once for each
//! batch size. [`Trainer`] holds the weights and runs it.
//!
//! ```
//! use foldgrad::Tensor;
//! use foldgrad::nn::{Activation, Dense, Sequential};
//! use foldgrad::train::{Examples, Fit, Loss, Metric, Samples, Sgd, Trainer};
//! let model = Sequential::new([2])
//!     .add(Dense::new(8).activation(Activation::Tanh))
//!     .add(Dense::new(2).activation(Activation::Softmax))
//!     .build()?;
//! let x = Samples::new(Tensor::new([4, 2], vec![0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?)?;
//! let y = Samples::new(Tensor::vector(vec![0, 1, 1, 0]))?;
//! let mut trainer = Trainer::new(model, Sgd::new(0.5).momentum(0.9), Loss::SparseCategoricalCrossentropy)
//!     .metric(Metric::Accuracy)
//!     .compile()?;
//! let history = trainer.fit(&Examples::new(x, y)?, &Fit::new().epochs(300).batch_size(4).silent())?;
//! assert_eq!(history.last().unwrap().metrics["accuracy"], 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compiled;
mod error;
mod event;
mod finite;
mod fit;
mod fused;
mod history;
mod loss;
mod metric;
mod optimizer;
#[cfg(test)]
mod panics;
mod progress;
mod samples;
mod shuffle;
mod step;
mod sums;
mod trainer;
mod variables;

pub use error::TrainError;
pub use event::Event;
pub use fit::{Fit, Order};
pub use fused::{Comparison, Distance};
pub use history::{EpochRecord, Evaluation, History};
pub use loss::Loss;
pub use metric::Metric;
pub use optimizer::{Adam, AdamW, Clip, Optimizer, RmsProp, Sgd, StepCx, Stepped, Trained, UpdateRule, Updates};
pub use samples::{Examples, Samples};
pub use trainer::{Trainer, TrainerBuilder};
