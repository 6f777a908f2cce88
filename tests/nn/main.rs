//! Layers and models: what they compute, what they say, and what they refuse.

mod initial_values;
mod layers;
mod mistakes;
mod summary;
