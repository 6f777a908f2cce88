//! The graph: nodes in topological id order over a petgraph, named outputs, and state with its next value.

use super::diagnostic::Place;
use super::{Origin, Role, Source, Tensor, TensorType};
use crate::op::{Op, Types};
use indexmap::{IndexMap, IndexSet};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use smallvec::SmallVec;
use std::fmt;

/// A node's identity; ids grow in topological order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Position of the node in topological order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// One result of a node. Prints as `%3`, or `%3#1` for a result other than the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The node that computes it.
    pub node: NodeId,
    /// Which of the node's results.
    pub output: u32,
}

impl Value {
    /// The first result of a node.
    pub(crate) const fn first(node: NodeId) -> Value {
        Value { node, output: 0 }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.output {
            0 => write!(f, "{}", self.node),
            output => write!(f, "{}#{output}", self.node),
        }
    }
}

/// One operation with its operands, in order, and the types of its results.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) op: Op,
    pub(crate) operands: SmallVec<[Value; 3]>,
    pub(crate) types: Types,
    pub(crate) origins: SmallVec<[Origin; 1]>,
}

impl Node {
    /// The operation.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// Operands in order. This list is the truth; the petgraph edges mirror it.
    pub fn operands(&self) -> &[Value] {
        &self.operands
    }

    /// Result types in order.
    pub fn types(&self) -> &[TensorType] {
        &self.types
    }

    /// Every place that built this value.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }
}

/// A symbolic computation: nodes, named outputs, and for each state input its next value.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    // Edges point from an operand's node to its user and carry the operand slot.
    pub(crate) dag: DiGraph<Node, u32>,
    pub(crate) inputs: IndexMap<String, NodeId>,
    pub(crate) outputs: IndexMap<String, Value>,
    pub(crate) updates: IndexMap<NodeId, Value>,
    pub(crate) scopes: IndexSet<String>,
}

impl Graph {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether the graph has no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node with that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.dag[NodeIndex::new(id.index())]
    }

    /// Every node id, in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        (0..self.len() as u32).map(NodeId)
    }

    /// Every node with its id, in topological order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.ids().map(|id| (id, self.node(id)))
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.node(value.node).types[value.output as usize]
    }

    /// The users of any result of a node, with the operand slot; a node that uses it twice is listed twice.
    pub fn users(&self, id: NodeId) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.dag
            .edges_directed(NodeIndex::new(id.index()), Direction::Outgoing)
            .map(|edge| (NodeId(edge.target().index() as u32), *edge.weight() as usize))
    }

    /// Inputs by name, in declaration order: data, parameters and state alike.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, NodeId)> {
        self.inputs.iter().map(|(name, &id)| (name.as_str(), id))
    }

    /// The input of that name.
    pub fn input(&self, name: &str) -> Option<NodeId> {
        self.inputs.get(name).copied()
    }

    /// The name and role of an input node.
    pub fn as_input(&self, id: NodeId) -> Option<(&str, Role)> {
        match &self.node(id).op {
            Op::Input(input) => Some((input.name(), input.role)),
            _ => None,
        }
    }

    /// Outputs by name, in declaration order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (&str, Value)> {
        self.outputs.iter().map(|(name, &value)| (name.as_str(), value))
    }

    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<Value> {
        self.outputs.get(name).copied()
    }

    /// Takes the name off an output.
    pub(crate) fn take_output(&mut self, name: &str) -> Option<Value> {
        self.outputs.shift_remove(name)
    }

    /// Each state input with the value it takes after a run.
    pub fn updates(&self) -> impl ExactSizeIterator<Item = (NodeId, Value)> + '_ {
        self.updates.iter().map(|(&id, &value)| (id, value))
    }

    /// The layer a node belongs to.
    pub fn scope(&self, id: NodeId) -> Option<&str> {
        let index = self.node(id).origins.iter().find_map(|origin| origin.scope)?;
        self.scopes.get_index(index as usize).map(String::as_str)
    }

    /// The user's line behind a node: its own, or that of the node it is the gradient of.
    pub(crate) fn place(&self, id: NodeId) -> Option<Place> {
        let mut id = id;
        loop {
            let next = self.node(id).origins.iter().map(|origin| origin.source).next()?;
            match next {
                Source::User(location) => return Some(Place::User(location)),
                Source::Parsed { line } => return Some(Place::Text { line }),
                // A gradient's primal is an earlier node, so this ends.
                Source::GradientOf(primal) if primal < id => id = primal,
                Source::Rewritten { at, .. } => return at,
                Source::GradientOf(_) => return None,
            }
        }
    }

    /// The constant that a value repeats or lays out anew.
    pub(crate) fn constant_behind(&self, value: Value) -> Option<&Tensor> {
        let mut value = value;
        loop {
            let node = self.node(value.node);
            match node.op() {
                Op::Constant(constant) => return Some(constant.tensor()),
                Op::Broadcast(_) | Op::Reshape(_) => value = node.operands()[0],
                _ => return None,
            }
        }
    }

    /// How a person would name a node: its op, its layer, and the line behind it.
    pub fn describe(&self, id: NodeId) -> String {
        let mut text = format!("{id} {}", self.node(id).op.name());
        if let Some((name, _)) = self.as_input(id) {
            text.push_str(&format!(" `{name}`"));
        }
        if let Some(scope) = self.scope(id) {
            text.push_str(&format!(" in layer `{scope}`"));
        }
        if let Some(Source::GradientOf(primal)) = self.node(id).origins.first().map(|origin| origin.source) {
            text.push_str(&format!(", in the gradient of {} {primal}", self.node(primal).op.name()));
        }
        if let Some(place) = self.place(id) {
            text.push_str(&format!(" ({place})"));
        }
        text
    }

    /// The nodes that the outputs and updates need, as a mask over ids.
    pub fn live(&self) -> Vec<bool> {
        let roots = self.outputs.values().chain(self.updates.values()).map(|value| value.node);
        self.reaching(roots.chain(self.updates.keys().copied()))
    }

    /// The given nodes and everything they are computed from, as a mask over ids.
    pub fn reaching(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
        let mut live = vec![false; self.len()];
        for id in roots {
            live[id.index()] = true;
        }
        for id in self.ids().rev() {
            if live[id.index()] {
                for operand in self.node(id).operands() {
                    live[operand.node.index()] = true;
                }
            }
        }
        live
    }
}
