//! Dead nodes go, and composites that no kernel computes are replaced by their expansion.

use crate::ir::{Graph, Rebuild};
use crate::kernel::lowers;
use crate::op::{Nature, Op};
use crate::plan::PlanError;

/// Whether the planner takes the op as it stands: a constant, a view, an instruction of a map, or what a kernel computes.
fn is_legal(op: &Op) -> bool {
    let by_nature = matches!(op.nature(), Nature::Source | Nature::View(_) | Nature::Elementwise(Some(_)));
    by_nature || lowers(op).is_some()
}

/// The graph in ops that the planner lowers one by one.
pub(in crate::plan) fn legalise(graph: &Graph) -> Result<Graph, PlanError> {
    let mut current = expand_once(graph)?;
    // An expansion may use other composites; each round peels one layer of definitions.
    while current.nodes().any(|(_, node)| !is_legal(node.op())) {
        current = expand_once(&current)?;
    }
    Ok(current)
}

fn expand_once(graph: &Graph) -> Result<Graph, PlanError> {
    let live = graph.live();
    let mut rebuild = Rebuild::new(graph);
    for id in graph.ids().filter(|id| live[id.index()]) {
        if is_legal(graph.node(id).op()) {
            rebuild.copy(id);
        } else if !rebuild.expand(id) {
            unreachable!("{} has neither a kernel nor an expansion", graph.node(id).op().name());
        }
    }
    rebuild.finish().map_err(|errors| PlanError::Graph(Box::new(errors)))
}
