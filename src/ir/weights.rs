//! The values of a graph's parameters and states.

use super::Tensor;
use indexmap::IndexMap;

/// A value for each parameter and state of a graph, by name.
pub type Weights = IndexMap<String, Tensor>;
