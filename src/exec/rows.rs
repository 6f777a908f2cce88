//! `f(x)[i]` depends on `x[i]` alone: whether the rows of a batch can be computed apart from each other.
//!
//! Each op of the graph answers for itself, by [`OpDef::rows`](crate::op::OpDef::rows); here is only what a caller wants of
//! the whole.

use crate::ir::{Dim, Graph, Symbol};
use crate::op::keeps_rows_apart;

/// Whether every output has the batch as its first axis, and each of its rows depends on no other row of the inputs, nor on
/// how many there are.
pub(super) fn are_independent(graph: &Graph, batch: Symbol) -> bool {
    let first = |value| graph.ty(value).shape.first() == Some(&Dim::Symbol(batch));
    graph.outputs().all(|(_, value)| first(value)) && keeps_rows_apart(graph, batch)
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
