//! Exported models compute, in a runtime that shares no code with this crate, what the graph computes; and files that are
//! wrong are refused.

#[path = "../../../examples/export_ops/instances.rs"]
mod instances;
#[path = "../../../examples/export_ops/networks.rs"]
mod networks;

mod files;
mod forms;
mod hostile;
mod models;
mod ops;
mod page;
mod refusals;
mod runtime;
