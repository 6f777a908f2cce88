//! The symbolic graph: values, types, the builder that makes nodes, and where each node came from.
//!
//! **Invariants.** A graph is append-only: a node refers only to earlier nodes, so ids are a topological order and
//! cycles cannot be written down. Only [`Builder`] makes nodes: it infers the type, hash-conses (so common
//! subexpressions are one node by construction) and records the [`Origin`].

mod builder;
mod diagnostic;
mod dtype;
mod expr;
mod graph;
mod graphviz;
mod ordered_map;
mod origin;
mod parse;
mod print;
mod quote;
mod rebuild;
mod role;
mod tensor;
mod types;
mod verify;
mod weights;

pub use builder::Builder;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Place};
pub use dtype::DType;
pub(crate) use expr::common_shape;
pub use expr::{Expr, ToExpr};
pub use graph::{Graph, Node, NodeId, Value};
pub use graphviz::to_dot;
pub use ordered_map::OrderedMap;
pub use origin::{Origin, Source};
pub use parse::parse;
pub use print::{print, print_with_origins};
pub(crate) use quote::{is_symbol, quote, unquote};
pub use rebuild::Rebuild;
pub use role::Role;
pub(crate) use tensor::element_count;
pub use tensor::{Element, Literal, Tensor, TensorData, TensorDataMut, TensorError};
pub use types::{Bindings, Dim, Shape, Symbol, TensorType, UnboundSymbol};
pub use verify::{CHECKS, Check, verify};
pub use weights::Weights;
