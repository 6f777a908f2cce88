//! The values of a graph's parameters and states.

use super::{OrderedMap, Tensor};

/// A value for each parameter and state of a graph, by name.
pub type Weights = OrderedMap<String, Tensor>;
