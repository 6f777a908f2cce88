//! The short way to declare a model: a chain of layers.

use super::{Declared, Input, Model, ModelBuilder};
use crate::ir::{Code, Diagnostic, Diagnostics};
use std::panic::Location;

/// A chain of layers, each taking what the one before it gives.
///
/// ```
/// use foldgrad::nn::{Activation, Dense, Sequential};
/// let mut net = Sequential::new([8]);
/// for units in [32, 16] {
///     net = net.add(Dense::new(units).activation(Activation::Relu));
/// }
/// let model = net.add(Dense::new(1).named("head")).build()?;
/// assert_eq!(model.variables().len(), 6);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sequential {
    name: String,
    input: Input,
    at: &'static Location<'static>,
    layers: Vec<(Declared, &'static Location<'static>)>,
}

impl Sequential {
    /// An empty chain over examples of that shape. The batch axis is implied.
    #[track_caller]
    pub fn new(input: impl Into<Input>) -> Sequential {
        let name = "sequential".to_owned();
        Sequential { name, input: input.into(), at: Location::caller(), layers: Vec::new() }
    }

    /// Names the model; `sequential` unless given.
    pub fn named(mut self, name: &str) -> Sequential {
        self.name = name.to_owned();
        self
    }

    /// Appends a layer.
    #[track_caller]
    #[allow(clippy::should_implement_trait)] // Keras's word for it.
    pub fn add(mut self, layer: impl Into<Declared>) -> Sequential {
        self.layers.push((layer.into(), Location::caller()));
        self
    }

    /// The finished model.
    ///
    /// # Errors
    /// A chain without layers, and everything that [`ModelBuilder::build`] reports.
    #[track_caller]
    pub fn build(self) -> Result<Model, Diagnostics> {
        let caller = Location::caller();
        if self.layers.is_empty() {
            return Err(Diagnostic::new(Code::Graph, format!("the model `{}` has no layers", self.name))
                .at(caller)
                .help("append at least one layer with `.add(…)`")
                .into());
        }
        let builder = ModelBuilder::new().named(&self.name);
        let input = builder.declare_input(self.input, self.at);
        let output = self.layers.into_iter().fold(input, |wire, (layer, at)| {
            let layer = builder.declare_layer(layer, at);
            builder.connect(layer, &[wire], at)
        });
        builder.assemble("Sequential", &[input], &[output], caller)
    }
}
