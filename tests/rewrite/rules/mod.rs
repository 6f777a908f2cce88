//! The laws that every rewrite rule obeys, read from its golden file: see docs/LAWS.md.

mod bad;
mod draw;
mod edges;
mod freeze;
mod golden;
mod gradient;
mod hygiene;
mod laws;
mod layers;
