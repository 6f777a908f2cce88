//! What is known of the graph that is being read: who uses a value, what is a weight, what is a plain number.

use super::evaluate::Evaluator;
use crate::ir::{Bindings, Expr, Graph, NodeId, Rebuild, Role, Value, Weights};
use crate::op::Op;
use crate::reference::Array;
use indexmap::IndexMap;
use petgraph::graph::NodeIndex;
use petgraph::visit::{Dfs, NodeFiltered};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Analyses of one graph, linear in its size.
pub(crate) struct Facts<'g> {
    pub graph: &'g Graph,
    // A mask over ids: what outputs and updates need.
    pub live: Vec<bool>,
    // A mask over ids: what depends on no data, so that it is computed once and not at every call.
    weight: Vec<bool>,
    known: Option<&'g Weights>,
    /// Parameters that have to stay as they are, with the reason.
    pub protected: &'g IndexMap<String, String>,
    evaluator: RefCell<Option<Evaluator<f64>>>,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("graph", self.graph).finish_non_exhaustive()
    }
}

/// Which nodes depend on parameters, states and constants alone, all of known sizes. In a graph that updates them they
/// change from run to run like data, and only constants are left.
pub(crate) fn weights_of(graph: &Graph) -> Vec<bool> {
    let fixed = graph.updates().len() == 0;
    let mut weight = vec![false; graph.len()];
    for (id, node) in graph.nodes() {
        // What is as long as a size that is bound later is computed later, a parameter of such a size included: it has no
        // value before, and whatever is made of it is work of the run.
        let is_known = node.types().iter().all(|ty| ty.shape.known().is_some());
        weight[id.index()] = is_known
            && match node.op() {
                Op::Input(input) => fixed && input.role != Role::Data,
                Op::Size(size) => size.dims().known().is_some(),
                // A draw is a function of its key, but not one that anyone would compute ahead.
                op if op.site().is_some() => false,
                _ => node.operands().iter().all(|operand| weight[operand.node.index()]),
            };
    }
    weight
}

impl<'g> Facts<'g> {
    pub fn new(graph: &'g Graph, known: Option<&'g Weights>, protected: &'g IndexMap<String, String>) -> Facts<'g> {
        let (live, weight) = (graph.live(), weights_of(graph));
        Facts { graph, live, weight, known, protected, evaluator: RefCell::new(None) }
    }

    /// The live nodes that read a value, once each for every operand.
    pub fn users(&self, value: Value) -> impl Iterator<Item = NodeId> {
        let reads = move |&(user, slot): &(NodeId, usize)| {
            self.live[user.index()] && self.graph.node(user).operands()[slot] == value
        };
        self.graph.users(value.node).filter(reads).map(|(user, _)| user)
    }

    pub fn is_root(&self, value: Value) -> bool {
        self.graph.outputs().any(|(_, output)| output == value) || self.graph.updates().any(|(_, next)| next == value)
    }

    /// Whether everything that depends on `from` does so through `gate`, except for the update of `from` itself.
    pub fn reaches_only_through(&self, from: NodeId, gate: NodeId) -> bool {
        let is_given_out = |id: NodeIndex| {
            self.graph.outputs().any(|(_, output)| output.node.index() == id.index())
                || self.graph.updates().any(|(state, next)| next.node.index() == id.index() && state != from)
        };
        let is_around = |id: NodeIndex| id.index() != gate.index() && self.live[id.index()];
        let around = NodeFiltered::from_fn(&self.graph.dag, is_around);
        let mut walk = Dfs::new(&around, NodeIndex::new(from.index()));
        !std::iter::from_fn(|| walk.next(&around)).any(is_given_out)
    }

    pub fn is_weight(&self, id: NodeId) -> bool {
        self.weight[id.index()]
    }

    /// Who else reads a value, besides one user: as a person would name it.
    pub fn second_use(&self, value: Value, user: NodeId) -> Option<String> {
        if let Some((name, _)) = self.graph.outputs().find(|&(_, output)| output == value) {
            return Some(format!("the output `{name}`"));
        }
        if let Some((state, _)) = self.graph.updates().find(|&(_, next)| next == value) {
            return Some(format!("the update of {}", self.graph.describe(state)));
        }
        let users: Vec<NodeId> = self.users(value).collect();
        // Edges are listed latest first; of several others, the one that came last is named.
        let other = users.iter().find(|&&other| other != user).or(users.get(1))?;
        Some(self.graph.describe(*other))
    }

    /// The one number that every element of a constant is.
    pub fn number(&self, value: Value) -> Option<f64> {
        let elements = self.graph.constant_behind(value)?.to_f64();
        let first = *elements.first()?;
        // The same in every bit: 0 and −0 together are no one number.
        elements.iter().all(|x| x.to_bits() == first.to_bits()).then_some(first)
    }

    /// The elements of a weight of the new graph, where the values of the weights are known; those of constants are.
    pub fn elements(&self, new: &Rebuild<'_>, value: Expr<'_>) -> Option<Vec<f64>> {
        let mut slot = self.evaluator.borrow_mut();
        let evaluator = slot.get_or_insert_with(|| {
            let mut evaluator = Evaluator::new(Bindings::new());
            for (name, tensor) in self.known.into_iter().flatten() {
                evaluator.feed(name, Arc::new(Array::from_tensor(tensor)));
            }
            evaluator
        });
        let graph = new.builder().graph();
        let numbered = evaluator.run(&graph, &[value.value()]).ok()?;
        match evaluator.array(numbered.get(value.value())?) {
            Array::Real(array) => Some(array.data.clone()),
            Array::Int(_) | Array::Bool(_) => None,
        }
    }
}
