//! Layers and models: a declaration from which the training graph and the inference graph are both made.
//!
//! ```
//! use foldgrad::nn::{Activation, BatchNormalization, Dense, Flatten, Sequential};
//! let model = Sequential::new([28, 28])
//!     .add(Flatten)
//!     .add(Dense::new(300).without_bias())
//!     .add(BatchNormalization::new())
//!     .add(Activation::Relu)
//!     .add(Dense::new(10).activation(Activation::Softmax))
//!     .build()?;
//! let names: Vec<&str> = model.variables().iter().map(|variable| variable.name.as_str()).collect();
//! assert_eq!(names[..3], ["dense/kernel", "batch_normalization/gamma", "batch_normalization/beta"]);
//! # Ok::<(), foldgrad::Diagnostics>(())
//! ```
//!
//! [`Sequential`] declares a chain; [`ModelBuilder`] any graph of layers, with branches, shared layers, several inputs
//! and outputs. A [`Model`] holds no weights: [`Model::initial_values`] draws them from one seed, and the graphs take
//! them as named inputs. Names, defaults and formulas are those of Keras 3.
//!
//! **Invariant.** A layer never touches a variable but through its [`LayerCx`], which names it after the layer; so a
//! layer that is called twice has one set of variables, and no two layers can collide.

mod activation;
mod batch_normalization;
mod concatenate;
mod cx;
mod declared_options;
mod dense;
mod dropout;
mod flatten;
mod functional;
mod initializer;
mod lambda;
mod layer;
mod merge;
mod mode;
mod model;
mod naming;
mod reshape;
mod sequential;
mod summary;
mod variable;

pub use activation::Activation;
pub use batch_normalization::BatchNormalization;
pub use concatenate::Concatenate;
pub use cx::LayerCx;
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use functional::{LayerRef, ModelBuilder, Wire};
pub use initializer::Initializer;
pub use lambda::Lambda;
pub use layer::{Declared, Input, Layer};
pub use merge::Merge;
pub use mode::Mode;
pub use model::{Applied, Carried, Model};
pub use reshape::Reshape;
pub use sequential::Sequential;
pub use variable::{VariableKind, VariableSpec};
