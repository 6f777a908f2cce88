//! The measure that every rewrite must lower: the arithmetic and the nodes that a run has to go through.

use super::facts::weights_of;
use crate::ir::{Dim, Graph, NodeId, TensorType};
use crate::op::{Nature, Rearrangement};

/// What a symbol counts as: no plan is made yet, and a usual batch is about this large.
const NOMINAL: u64 = 32;

/// What one run of a graph costs, counted and not timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphWork {
    /// Element operations, with a multiply-add of a product as one; symbols count as 32. Every node counts as one
    /// more, so that removing a node is always progress.
    pub operations: u64,
    /// Nodes, those that are computed before the run included: between equals, the shorter recipe is less work.
    pub nodes: u64,
}

/// The work of one run: nodes that depend on weights alone are computed before it and are no operations of it, nor are
/// copies of weights along axes whose sizes are not known before.
pub fn work(graph: &Graph) -> GraphWork {
    let (live, weight) = (graph.live(), weights_of(graph));
    let is_laid = |id: NodeId| {
        let node = graph.node(id);
        matches!(node.op().nature(), Nature::View(Rearrangement::Stretch(_))) && weight[node.operands()[0].node.index()]
    };
    let counted = |&id: &NodeId| live[id.index()] && !weight[id.index()] && !is_laid(id);
    let operations = graph.ids().filter(counted).map(|id| operations(graph, id, NOMINAL)).fold(0, u64::saturating_add);
    GraphWork { operations, nodes: live.iter().map(|&live| u64::from(live)).sum() }
}

/// The operations of one node.
pub(super) fn operations_of(graph: &Graph, id: NodeId) -> u64 {
    operations(graph, id, NOMINAL)
}

/// The operations of an element-wise node with a result of that type.
pub(crate) fn elementwise(ty: &TensorType) -> u64 {
    elements(ty, NOMINAL).saturating_add(1)
}

fn operations(graph: &Graph, id: NodeId, symbol: u64) -> u64 {
    let node = graph.node(id);
    let size = |ty: &TensorType| elements(ty, symbol);
    let operand = |slot: usize| graph.ty(node.operands()[slot]);
    let result = node.types().first().map_or(0, size);
    let arithmetic = match node.op().nature() {
        // What is known before the run, and what the planner reads in another way.
        Nature::Source | Nature::View(_) => 0,
        Nature::Contraction { biased, .. } => {
            multiply_adds(graph, id, symbol).saturating_add(if biased { result } else { 0 })
        }
        Nature::Reduction { .. } => size(operand(0)),
        Nature::Normalisation { operations } => size(operand(0)).saturating_mul(operations as u64),
        Nature::Elementwise(_) | Nature::Scan { .. } | Nature::Indexing | Nature::Assembly | Nature::Random => result,
    };
    arithmetic.saturating_add(1)
}

/// The multiply-adds of a product; 0 for any other node.
pub(crate) fn multiply_adds(graph: &Graph, id: NodeId, symbol: u64) -> u64 {
    let node = graph.node(id);
    let Nature::Contraction { operand, axes, .. } = node.op().nature() else { return 0 };
    let shape = &graph.ty(node.operands()[operand]).shape;
    let contracted = axes.iter().map(|&axis| extent(shape[axis], symbol)).fold(1, u64::saturating_mul);
    node.types().iter().map(|ty| elements(ty, symbol)).fold(0, u64::saturating_add).saturating_mul(contracted)
}

/// The elements of a value; at least 1, so that less arithmetic is less work even where there is nothing to compute.
fn elements(ty: &TensorType, symbol: u64) -> u64 {
    ty.shape.iter().map(|&dim| extent(dim, symbol)).fold(1, u64::saturating_mul).max(1)
}

fn extent(dim: Dim, symbol: u64) -> u64 {
    dim.known().map_or(symbol, |size| size as u64)
}
