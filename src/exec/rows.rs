//! `f(x)[i]` depends on `x[i]` alone: whether the rows of a batch can be computed apart from each other.
//!
//! Every value has the batch axis once or not at all, and no op mixes what lies along it. What is not known to keep rows
//! apart counts as mixing them.

use crate::ir::{Dim, Graph, NodeId, Symbol, TensorType};
use crate::op::{Op, Role};

/// Whether every output has the batch as its first axis, and each of its rows depends on no other row of the inputs.
pub(super) fn are_independent(graph: &Graph, batch: Symbol) -> bool {
    let live = graph.live();
    graph.ids().filter(|id| live[id.index()]).all(|id| keeps_apart(graph, id, batch))
        && graph.outputs().all(|(_, value)| axis(graph.ty(value), batch) == Some(Some(0)))
}

/// The batch axis of a value, if it has one; `None` if it has several.
fn axis(ty: &TensorType, batch: Symbol) -> Option<Option<usize>> {
    let mut found = ty.shape.iter().enumerate().filter(|(_, dim)| **dim == Dim::Symbol(batch)).map(|(axis, _)| axis);
    let first = found.next();
    found.next().is_none().then_some(first)
}

fn keeps_apart(graph: &Graph, id: NodeId, batch: Symbol) -> bool {
    let node = graph.node(id);
    let results: Option<Vec<_>> = node.types().iter().map(|ty| axis(ty, batch)).collect();
    let operands: Option<Vec<_>> = node.operands().iter().map(|&operand| axis(graph.ty(operand), batch)).collect();
    let (Some(results), Some(operands)) = (results, operands) else { return false };
    let reads = operands.iter().any(Option::is_some);
    let gives = results.iter().all(Option::is_some);
    if !reads {
        // Whatever else has an element for each row out of nothing counts or draws along the batch.
        let from_outside = graph.as_input(id).is_some_and(|(_, role)| role == Role::Data);
        return results.iter().all(Option::is_none) || from_outside || matches!(node.op(), Op::Broadcast(_));
    }
    let across = |axis: usize| !operands.contains(&Some(axis));
    // An axis that an op sums over or picks from is gone from its result.
    gives
        && match node.op() {
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Clamp(_) | Op::Cast(_) => true,
            Op::StopGradient(_) | Op::Broadcast(_) | Op::Transpose(_) | Op::BatchNormInfer(_) => true,
            Op::LeakyRelu(_) | Op::Elu(_) | Op::Selu(_) | Op::Gelu(_) | Op::Silu(_) | Op::Softplus(_) => true,
            Op::Reduce(_) | Op::Mean(_) | Op::ArgMax(_) | Op::OneHot(_) => true,
            Op::Dot(_) | Op::Dense(_) | Op::SoftmaxCrossEntropy(_) => true,
            Op::Softmax(op) => across(op.axis),
            Op::LogSoftmax(op) => across(op.axis),
            Op::TakeAlongAxis(op) => across(op.axis),
            Op::ScatterAlongAxis(op) => across(op.axis),
            Op::Slice(op) => across(op.axis),
            Op::Pad(op) => across(op.axis),
            Op::Concat(op) => across(op.axis),
            Op::Reshape(_) => before(graph.ty(node.operands()[0]), batch) == before(&node.types()[0], batch),
            _ => false,
        }
}

/// Elements along the axes before the batch.
fn before(ty: &TensorType, batch: Symbol) -> Option<usize> {
    ty.shape
        .iter()
        .take_while(|dim| **dim != Dim::Symbol(batch))
        .try_fold(1usize, |product, dim| dim.known().and_then(|size| product.checked_mul(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Builder, DType, Expr};

    fn apart(build: impl for<'b> Fn(&'b Builder, Expr<'b>) -> Expr<'b>) -> bool {
        let g = Builder::new();
        let x = g.input("x", DType::F64, ["n".into(), Dim::Known(4)]);
        g.output("y", build(&g, x));
        are_independent(&g.finish().unwrap(), Symbol::new("n"))
    }

    #[test]
    fn layers_keep_rows_apart() {
        assert!(apart(|g, x| x.dense(g.parameter("k", DType::F64, [4, 3]), None).relu().softmax(1)));
        assert!(apart(|_, x| x.sum(&[1])));
        assert!(apart(|_, x| x.reshape(["n".into(), Dim::Known(2), Dim::Known(2)]).transpose(&[0, 2, 1]) * 2.0));
        assert!(apart(|_, x| x.transpose(&[1, 0]).exp().transpose(&[1, 0])));
    }

    #[test]
    fn what_goes_along_the_batch_is_seen() {
        assert!(!apart(|_, x| x.softmax(0)));
        assert!(!apart(|_, x| x - x.mean(&[0]).broadcast_to(x.shape())));
        assert!(!apart(|_, x| x.sum(&[0])));
        assert!(!apart(|_, x| x.transpose(&[1, 0])));
        assert!(!apart(|_, x| x.dot(x.transpose(&[1, 0])).sum(&[1])));
    }
}
