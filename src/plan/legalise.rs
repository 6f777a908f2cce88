//! Dead nodes go, and composites that no kernel computes are replaced by their expansion.

use super::PlanError;
use crate::ir::{Graph, Rebuild};
use crate::op::Op;

/// Whether a kernel computes the op as it stands, or the planner reads it as a view or constant.
fn has_kernel(op: &Op) -> bool {
    matches!(
        op,
        Op::Input(_)
            | Op::Constant(_)
            | Op::Size(_)
            | Op::Iota(_)
            | Op::RandomUniform(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select(_)
            | Op::Cast(_)
            | Op::StopGradient(_)
            | Op::Broadcast(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat(_)
            | Op::Reduce(_)
            | Op::ArgMax(_)
            | Op::Dot(_)
            | Op::OneHot(_)
            | Op::TakeAlongAxis(_)
            | Op::ScatterAlongAxis(_)
            | Op::BatchNormTrain(_)
            | Op::BatchNormGrad(_)
    )
}

/// The graph in ops that the planner lowers one by one.
pub(super) fn legalise(graph: &Graph) -> Result<Graph, PlanError> {
    let mut current = expand_once(graph)?;
    // An expansion may use other composites; each round peels one layer of definitions.
    while current.nodes().any(|(_, node)| !has_kernel(node.op())) {
        current = expand_once(&current)?;
    }
    Ok(current)
}

fn expand_once(graph: &Graph) -> Result<Graph, PlanError> {
    let live = graph.live();
    let mut rebuild = Rebuild::new(graph);
    for id in graph.ids().filter(|id| live[id.index()]) {
        if has_kernel(graph.node(id).op()) {
            rebuild.copy(id);
        } else if !rebuild.expand(id) {
            unreachable!("{} has neither a kernel nor an expansion", graph.node(id).op().name());
        }
    }
    rebuild.finish().map_err(|errors| PlanError::Graph(Box::new(errors)))
}
