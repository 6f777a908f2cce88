//! Where a node came from: the user's line, the node it is the gradient of, or the rule that wrote it.

use super::NodeId;
use super::diagnostic::Place;
use std::panic::Location;

/// What caused a node to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A line of the user's program.
    User(&'static Location<'static>),
    /// The reverse sweep, at that primal node.
    GradientOf(NodeId),
    /// A rewrite rule, replacing that node.
    Rewritten {
        /// The rule's stable name.
        rule: &'static str,
        /// The line behind what it replaced: the ids of the graph before mean nothing in the one after.
        at: Option<Place>,
    },
    /// A line of a text file that was parsed.
    Parsed {
        /// 1-based line.
        line: u32,
    },
}

/// A node's source and the layer it belongs to.
///
/// An origin is not part of a node's identity: when two lines build the same value, the one node keeps both origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What caused the node to be built.
    pub source: Source,
    /// Index of the layer name in [`Graph::scopes`](super::Graph::scope), if the node belongs to a layer.
    pub(crate) scope: Option<u32>,
}
