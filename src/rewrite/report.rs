//! What the driver tells of a run: what fired, what was refused and why, and which rule is wrong.

use super::affine::is_map;
use super::proof::{Equality, Unequal};
use super::rule::Rule;
use crate::ir::{Diagnostics, Graph, NodeId, Place};
use std::fmt;

/// A node as a report names it, after the graph that it was in is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Op, layer and line, as in [`Graph::describe`] but without the id.
    pub text: String,
    /// The layer, if it belongs to one.
    pub layer: Option<String>,
    /// The op's name.
    pub op: &'static str,
    /// Whether it is a product or an affine map: what folds away, in contrast to what a fold looks through.
    pub folds: bool,
    /// The input's name, for an input.
    pub input: Option<String>,
    /// The line behind it.
    pub place: Option<Place>,
}

impl Subject {
    /// The node in that graph.
    pub fn of(graph: &Graph, id: NodeId) -> Subject {
        let (text, op) = (graph.describe(id), graph.node(id).op());
        Subject {
            text: text.split_once(' ').map_or(text.clone(), |(_, rest)| rest.to_owned()),
            layer: graph.scope(id).map(str::to_owned),
            op: op.name(),
            folds: op.nature().is_contraction() || is_map(op),
            input: graph.as_input(id).map(|(name, _)| name.to_owned()),
            place: graph.place(id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A rule that fired.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The rule.
    pub rule: &'static Rule,
    /// The node that was replaced.
    pub root: Subject,
    /// Other nodes that are superfluous now.
    pub absorbed: Vec<Subject>,
    /// The node that lives on, changed.
    pub into: Option<Subject>,
    /// How it is proved.
    pub equality: Equality,
}

/// A rule whose pattern was there, and what stood in its way; that it does not pay may be it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The rule.
    pub rule: &'static Rule,
    /// What it was refused for.
    pub subject: Subject,
    /// Why.
    pub reason: String,
}

/// Rewriting failed: a rule is wrong, and its result was thrown away.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// A replacement has another type than what it replaces.
    #[error("rule `{rule}` at {node}: the replacement is {found}, not {expected}; disable the rule and report this")]
    Type {
        /// The rule.
        rule: &'static str,
        /// The node it was applied to.
        node: String,
        /// The type of the node.
        expected: String,
        /// The type of its replacement.
        found: String,
    },
    /// A rewrite changed a value.
    #[error("{}{unequal}; disable the rule and report this", blame(rule, node))]
    Unequal {
        /// The rule, where one rewrite is to blame.
        rule: Option<&'static str>,
        /// The node it was applied to.
        node: Option<String>,
        /// What differs.
        unequal: Box<Unequal>,
    },
    /// A rule built something that is no graph.
    #[error("a rewrite built a graph that does not hold together; report this\n{0}")]
    Graph(#[from] Box<Diagnostics>),
}

fn blame(rule: &Option<&'static str>, node: &Option<String>) -> String {
    match (rule, node) {
        (Some(rule), Some(node)) => format!("rule `{rule}` at {node}: "),
        _ => String::new(),
    }
}

impl From<Diagnostics> for RewriteError {
    fn from(errors: Diagnostics) -> RewriteError {
        RewriteError::Graph(Box::new(errors))
    }
}
