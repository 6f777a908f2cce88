//! Gathers element-wise nodes of one size into groups that one pass computes.
//!
//! A group runs at the position of its last member. Nodes are visited in order; a node joins the groups of its
//! element-wise operands unless a group has *escaped*: something outside already reads one of its members, and must
//! run after the group.

use crate::ir::{Graph, NodeId, Value};
use crate::op::{Nature, Op, Rearrangement};
use smallvec::SmallVec;

/// Which nodes are computed together, and which values must be written to memory.
pub(in crate::plan) struct Fusion {
    /// For each node, its group, if it is element-wise.
    pub group: Vec<Option<usize>>,
    /// For each group, its members in order; empty when it was merged into another.
    pub members: Vec<Vec<NodeId>>,
    /// Whether something outside the node's group reads it.
    pub stored: Vec<bool>,
}

// A longer program gains little and holds more chunks than the first-level cache.
const MAX_MEMBERS: usize = 48;

struct Group {
    members: Vec<NodeId>,
    escaped: bool,
    len: usize,
}

/// Whether the elements of an op's result are those of its operand, in the same row-major order.
pub(super) fn is_alias(op: &Op) -> bool {
    matches!(op.nature(), Nature::View(Rearrangement::Same | Rearrangement::Reshape))
}

/// The node behind a value whose elements are the same in the same row-major order.
fn transparent_source(graph: &Graph, mut value: Value) -> Value {
    while is_alias(graph.node(value.node).op()) {
        value = graph.node(value.node).operands()[0];
    }
    value
}

pub(in crate::plan) fn fuse(graph: &Graph, shapes: &[Vec<Vec<usize>>]) -> Fusion {
    let mut groups: Vec<Group> = Vec::new();
    let mut group: Vec<Option<usize>> = vec![None; graph.len()];
    let mut stored = vec![false; graph.len()];
    for (id, node) in graph.nodes() {
        let sources: SmallVec<[NodeId; 3]> =
            node.operands().iter().map(|&operand| transparent_source(graph, operand).node).collect();
        if is_alias(node.op()) {
            continue;
        }
        let mut own = None;
        if let Nature::Elementwise(_) = node.op().nature() {
            let len = shapes[id.index()][0].iter().product();
            own = Some(join(&mut groups, &mut group, &sources, id, len));
            group[id.index()] = own;
        }
        for source in sources {
            if let Some(of_source) = group[source.index()].filter(|&of_source| Some(of_source) != own) {
                groups[of_source].escaped = true;
                stored[source.index()] = true;
            }
        }
    }
    let roots = graph.outputs().map(|(_, value)| value).chain(graph.updates().map(|(_, value)| value));
    for root in roots {
        stored[transparent_source(graph, root).node.index()] = true;
    }
    Fusion { group, members: groups.into_iter().map(|group| group.members).collect(), stored }
}

/// Puts a node into a group with those of its sources that have not escaped.
fn join(groups: &mut Vec<Group>, group: &mut [Option<usize>], sources: &[NodeId], id: NodeId, len: usize) -> usize {
    let mut target: Option<usize> = None;
    for source in sources {
        let Some(candidate) = group[source.index()] else { continue };
        let open = !groups[candidate].escaped && groups[candidate].len == len;
        match target {
            _ if !open => {}
            Some(target) if target == candidate => {}
            Some(into) if groups[into].members.len() + groups[candidate].members.len() < MAX_MEMBERS => {
                // The smaller list moves, so that merging stays cheap in all.
                let (into, from) = match groups[into].members.len() < groups[candidate].members.len() {
                    true => (candidate, into),
                    false => (into, candidate),
                };
                let moved = std::mem::take(&mut groups[from].members);
                for member in &moved {
                    group[member.index()] = Some(into);
                }
                groups[into].members.extend(moved);
                target = Some(into);
            }
            None if groups[candidate].members.len() < MAX_MEMBERS => target = Some(candidate),
            _ => {}
        }
    }
    match target {
        Some(target) => {
            groups[target].members.push(id);
            groups[target].members.sort_unstable();
            target
        }
        None => {
            groups.push(Group { members: vec![id], escaped: false, len });
            groups.len() - 1
        }
    }
}
