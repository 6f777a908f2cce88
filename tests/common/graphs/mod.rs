//! Random graphs, for all tests.
//!
//! A graph is drawn from a [`Recipe`], a list of instructions over a pool of values, with a [`Menu`] of what they may be.
//! Any part of a list draws a valid graph, so proptest can shrink it. A step, such as a product, is written once, and is in
//! the menu of each test that wants it, as often as it wants: adding one makes every test that names it stronger.
//!
//! | menu | what is drawn | who asks |
//! | --- | --- | --- |
//! | [`DIFFERENTIABLE`](menus::DIFFERENTIABLE) | whole graphs whose values stay small, with a loss for each that is left | gradients, threads, sums, evaluation |
//! | [`INFERENCE`](menus::INFERENCE) | products, batch norms and maps over a symbolic batch | every pass |
//! | [`TRAINING`](menus::TRAINING) | biases before batch norm, running statistics, penalties, all gradients | every pass |
//! | [`SYMBOLIC`](menus::SYMBOLIC) | parameters along axes whose sizes are not known | every pipeline |
//! | [`ROWS`](menus::ROWS) | what keeps the rows of a batch apart, and what couples them | predictor |
//! | [`STATEFUL`](menus::STATEFUL) | states and their next values | runs that update |

mod coupled;
mod gathers;
mod made;
mod menu;
pub mod menus;
mod movement;
mod norms;
mod pointwise;
mod pool;
mod products;
mod reductions;
mod states;
mod whole;

pub use made::{Made, inference, rows, symbolic, symbolic_training, training};
pub use menu::{Menu, Recipe, recipes};
pub use states::{Stateful, float_of};
pub use whole::{Whole, wholes};
