//! Where a kernel call comes from: the layers behind it, and whether it goes forwards, backwards, or updates.
//!
//! A node is *backward* if the reverse sweep wrote it, or a rewrite of such a node did; it is an *update* if only next
//! values of states need it, and no gradient does; every other node is *forward*.

use crate::ir::{Graph, NodeId, Source, Value};
use crate::op::Role;
use crate::plan::lower::Fusion;
use crate::plan::{Plan, Step};
use std::fmt;

/// What a kernel call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From inputs to outputs.
    Forward,
    /// The gradient.
    Backward,
    /// The next value of a parameter or state.
    Update,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
            Direction::Update => "update",
        })
    }
}

/// Where a kernel call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The layers whose nodes it computes, the product's or the first node's in front. Empty outside of layers.
    pub layers: Vec<String>,
    /// What it is for, in the same order: a product of the backward sweep that is joined with its update is both.
    pub directions: Vec<Direction>,
    /// The parameters and states that it overwrites.
    pub overwrites: Vec<String>,
}

impl Label {
    /// The layer that the call counts for.
    pub fn layer(&self) -> Option<&str> {
        self.layers.first().map(String::as_str)
    }

    /// What the call counts for.
    pub fn direction(&self) -> Direction {
        self.directions.first().copied().unwrap_or(Direction::Forward)
    }

    /// The parameter that it updates, or else the state.
    pub fn target(&self) -> Option<&str> {
        self.overwrites.first().map(String::as_str)
    }
}

/// Prints as `dense` or `sgd → dense/kernel`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = if self.layers.is_empty() { "-".to_owned() } else { self.layers.join(" + ") };
        let text = match self.target() {
            Some(target) => {
                let own = self.layer().and_then(|layer| target.strip_prefix(layer)?.strip_prefix('/'));
                format!("{layers} → {}", own.unwrap_or(target))
            }
            None => layers,
        };
        f.pad(&text)
    }
}

/// The nodes behind each step of a plan, and what is known of them.
pub(in crate::plan) struct Sources<'g> {
    graph: &'g Graph,
    fusion: &'g Fusion,
    directions: Vec<Direction>,
}

impl<'g> Sources<'g> {
    pub(in crate::plan) fn of(graph: &'g Graph, fusion: &'g Fusion) -> Sources<'g> {
        Sources { graph, fusion, directions: directions(graph) }
    }

    pub(in crate::plan) fn label(&self, step: &Step, plan: &Plan) -> Label {
        let of_map = |node: NodeId| {
            self.fusion.group[node.index()].map_or(vec![node], |group| self.fusion.members[group].clone())
        };
        // What no map holds stands in front: a product, or batch norm, before the map that is joined to it.
        let mut nodes: Vec<NodeId> = [Some(step.node), step.joined].into_iter().flatten().collect();
        nodes.sort_by_key(|node| self.fusion.group[node.index()].is_some());
        let members = nodes.into_iter().flat_map(of_map);
        let mut label = Label { layers: Vec::new(), directions: Vec::new(), overwrites: Vec::new() };
        for node in members {
            if let Some(layer) = self.graph.scope(node).filter(|layer| !label.layers.iter().any(|have| have == layer)) {
                label.layers.push(layer.to_owned());
            }
            let direction = self.directions[node.index()];
            if !label.directions.contains(&direction) {
                label.directions.push(direction);
            }
        }
        let overwritten = plan.states_written(step).filter_map(|state| plan.states.get(state));
        label.overwrites.extend(overwritten.map(|port| port.name.clone()));
        label.overwrites.sort_by_key(|name| {
            let role = self.graph.input(name).and_then(|id| self.graph.as_input(id)).map(|(_, role)| role);
            role != Some(Role::Parameter)
        });
        label
    }
}

/// What each node of a graph is for.
fn directions(graph: &Graph) -> Vec<Direction> {
    let mut backward = vec![false; graph.len()];
    for (id, node) in graph.nodes() {
        backward[id.index()] = match node.origins().first().map(|origin| origin.source) {
            Some(Source::GradientOf(_)) => true,
            // What an op of the user's is expanded into stays where the op is.
            Some(Source::Rewritten { rule, .. }) if rule != "expand" => {
                node.operands().iter().any(|operand| backward[operand.node.index()])
            }
            _ => false,
        };
    }
    let roots = |values: &mut dyn Iterator<Item = Value>| values.map(|value| value.node).collect::<Vec<NodeId>>();
    let outputs = roots(&mut graph.outputs().map(|(_, value)| value));
    let gradients = graph.ids().filter(|id| backward[id.index()]);
    let needed = graph.reaching(outputs.into_iter().chain(gradients));
    let direction = |id: NodeId| match (backward[id.index()], needed[id.index()]) {
        (true, _) => Direction::Backward,
        (false, true) => Direction::Forward,
        (false, false) => Direction::Update,
    };
    graph.ids().map(direction).collect()
}
