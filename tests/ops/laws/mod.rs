//! The laws that every op obeys, read from its own cases: see docs/LAWS.md.

mod definitions;
mod diagnostics;
mod edges;
mod extremes;
mod kinks;
mod limits;
mod nature;
mod numbers;
mod points;
mod regular;
mod sweep;
mod types;
