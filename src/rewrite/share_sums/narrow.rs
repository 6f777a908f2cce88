//! `f(repeat(a), repeat(b)) = repeat(f(a, b))`: functions of repeated values are computed before the repetition.
//!
//! Afterwards every value that is constant along an axis, element-wise in what it is made of, *is* a broadcast that
//! repeats along that axis; its source has no axes of size 1. Multiples of one value by such factors are collected.

use super::{sum_of, within};
use crate::ir::{Diagnostics, Dim, Expr, Graph, NodeId, Rebuild, Shape};
use crate::op::Op;
use crate::ops::Binary;

/// The graph with its broadcasts as late as they can be, and without dead nodes.
pub(super) fn narrow(graph: &Graph) -> Result<Graph, Diagnostics> {
    let live = graph.live();
    let single = single_uses(graph, &live);
    let mut rebuild = Rebuild::new(graph);
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = graph.node(id);
        let narrowed = {
            let operands: Vec<Expr<'_>> = node.operands().iter().map(|&operand| rebuild.get(operand)).collect();
            let mut made = None;
            within(&rebuild, id, || {
                made = match (node.op(), &operands[..]) {
                    (Op::Broadcast(op), &[x]) => Some(spread(x, node.types()[0].shape.clone(), op.dims())),
                    (Op::Reshape(_), &[x]) => Some(reshaped(x, node.types()[0].shape.clone())),
                    (op, operands) if op.nature().is_elementwise() => {
                        early(rebuild.builder(), op, operands).or_else(|| collected(op, operands))
                    }
                    (op, &[x]) if sum_of(op).is_some() && single[node.operands()[0].node.index()] => joined(op, x),
                    _ => None,
                };
                made.unwrap_or(rebuild.builder().poisoned())
            });
            made.map(|made| made.value())
        };
        match narrowed {
            Some(value) => rebuild.replace(id, &[value]),
            None => rebuild.copy(id),
        }
    }
    sweep(&rebuild.finish()?)
}

/// The graph without dead nodes.
fn sweep(graph: &Graph) -> Result<Graph, Diagnostics> {
    let live = graph.live();
    let mut rebuild = Rebuild::new(graph);
    graph.ids().filter(|id| live[id.index()]).for_each(|id| rebuild.copy(id));
    rebuild.finish()
}

/// The nodes that are read once and are no result of the graph.
fn single_uses(graph: &Graph, live: &[bool]) -> Vec<bool> {
    let mut uses = vec![0usize; graph.len()];
    let results = graph.outputs().map(|(_, value)| value).chain(graph.updates().map(|(_, value)| value));
    for value in results {
        uses[value.node.index()] += 2;
    }
    for (_, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        node.operands().iter().for_each(|operand| uses[operand.node.index()] += 1);
    }
    uses.into_iter().map(|uses| uses == 1).collect()
}

/// An element-wise op over the axes along which some operand varies, repeated along the others; `None` if there are no
/// others. With [`collected`] it descends into ever fewer axes.
fn early<'b>(builder: &'b crate::ir::Builder, op: &Op, operands: &[Expr<'b>]) -> Option<Expr<'b>> {
    let shape = operands.first()?.shape();
    let mut varies = vec![false; shape.rank()];
    let mut sources = Vec::with_capacity(operands.len());
    for &operand in operands {
        let (source, dims) = repeated(operand)?;
        dims.iter().for_each(|&axis| varies[axis] = true);
        sources.push((source, dims));
    }
    let kept: Vec<usize> = (0..shape.rank()).filter(|&axis| varies[axis]).collect();
    if shape.iter().zip(&varies).all(|(dim, &varies)| varies || dim.is_one()) {
        return None;
    }
    let small: Shape = kept.iter().map(|&axis| shape[axis]).collect();
    let place = |axis: &usize| kept.partition_point(|kept| kept < axis);
    let operands: Vec<Expr<'b>> = sources
        .into_iter()
        .map(|(source, dims)| spread(source, small.clone(), &dims.iter().map(place).collect::<Vec<_>>()))
        .collect();
    let value = collected(op, &operands).unwrap_or_else(|| builder.push(op.clone(), &operands));
    Some(spread(value, shape, &kept))
}

/// `x·repeat(a) ± x·repeat(b) = x·repeat(a ± b)`, where a missing factor is 1.
fn collected<'b>(op: &Op, operands: &[Expr<'b>]) -> Option<Expr<'b>> {
    let (Op::Binary(Binary::Add | Binary::Sub), &[p, q]) = (op, operands) else { return None };
    if !p.dtype().is_float() {
        return None;
    }
    // Nothing is built before it is known to be used: a second pass would build it at another place.
    let pairs = [(scaled(p), scaled(q)), (Some((p, None)), scaled(q)), (scaled(p), Some((q, None)))];
    let (x, a, b) = pairs.into_iter().find_map(|pair| match pair {
        (Some((x, a)), Some((y, b))) if x.value() == y.value() => Some((x, a, b)),
        _ => None,
    })?;
    let [a, b] = [a, b].map(|factor| factor.unwrap_or_else(|| p.full_like(1.0)));
    Some(x * early(p.builder(), op, &[a, b])?)
}

/// `x·repeat(a)` as `x` and `repeat(a)`.
fn scaled(product: Expr<'_>) -> Option<(Expr<'_>, Option<Expr<'_>>)> {
    if product.is_poisoned() {
        return None;
    }
    let (a, b) = {
        let graph = product.builder().graph();
        let node = graph.node(product.value().node);
        match (node.op(), node.operands()) {
            (Op::Binary(Binary::Mul), &[a, b]) => (product.builder().expr(a), product.builder().expr(b)),
            _ => return None,
        }
    };
    match (repeated(a), repeated(b)) {
        (_, Some(_)) => Some((a, Some(b))),
        (Some(_), None) => Some((b, Some(a))),
        (None, None) => None,
    }
}

/// The source of a broadcast, and where its axes go.
fn repeated(x: Expr<'_>) -> Option<(Expr<'_>, Vec<usize>)> {
    if x.is_poisoned() {
        return None;
    }
    let graph = x.builder().graph();
    let node = graph.node(x.value().node);
    match node.op() {
        Op::Broadcast(op) => Some((x.builder().expr(node.operands()[0]), op.dims().to_vec())),
        _ => None,
    }
}

/// `ΣΣx` as one sum, where `x` is itself a sum that nobody else reads.
fn joined<'b>(op: &Op, x: Expr<'b>) -> Option<Expr<'b>> {
    let (outer, outer_mean) = sum_of(op)?;
    let (source, inner, inner_mean) = {
        let graph = x.builder().graph();
        let node = graph.node(x.value().node);
        let (axes, mean) = sum_of(node.op())?;
        (x.builder().expr(node.operands()[0]), axes.to_vec(), mean)
    };
    let kept: Vec<usize> = (0..source.rank()).filter(|axis| !inner.contains(axis)).collect();
    let outer: Vec<usize> = outer.iter().map(|&axis| kept[axis]).collect();
    let all: Vec<usize> = inner.iter().chain(&outer).copied().collect();
    Some(match (outer_mean, inner_mean) {
        (false, false) => source.sum(&all),
        (true, true) => source.mean(&all),
        (true, false) => source.sum(&all) / source.count(&outer),
        (false, true) => source.sum(&all) / source.count(&inner),
    })
}

/// `x` in `shape`, its axis `i` as axis `dims[i]`, by one broadcast of a value without axes of size 1.
pub(super) fn spread<'b>(mut x: Expr<'b>, shape: Shape, dims: &[usize]) -> Expr<'b> {
    let mut dims = dims.to_vec();
    loop {
        if let Some((source, inner)) = repeated(x) {
            dims = inner.into_iter().map(|axis| dims[axis]).collect();
            x = source;
            continue;
        }
        let from = x.shape();
        if !from.iter().any(|dim| dim.is_one()) {
            break;
        }
        dims = from.iter().zip(dims).filter(|(dim, _)| !dim.is_one()).map(|(_, axis)| axis).collect();
        x = squeezed(x);
    }
    if shape.iter().filter(|dim| !dim.is_one()).count() == dims.len() {
        return reshaped(x, shape);
    }
    x.broadcast_in(shape, &dims)
}

/// `x` without axes of size 1.
pub(super) fn squeezed(x: Expr<'_>) -> Expr<'_> {
    let shape: Shape = x.shape().iter().copied().filter(|dim: &Dim| !dim.is_one()).collect();
    reshaped(x, shape)
}

/// `x` in another shape, by at most one reshape.
pub(super) fn reshaped(x: Expr<'_>, shape: Shape) -> Expr<'_> {
    if x.is_poisoned() {
        return x;
    }
    let source = {
        let graph = x.builder().graph();
        let node = graph.node(x.value().node);
        matches!(node.op(), Op::Reshape(_)).then(|| node.operands()[0])
    };
    source.map_or(x, |source| x.builder().expr(source)).reshape(shape)
}

/// Whether a reshape only adds or removes axes of size 1.
pub(super) fn keeps_axes(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let of = |shape: &Shape| shape.iter().copied().filter(|dim| !dim.is_one()).collect::<Shape>();
    of(&graph.ty(node.operands()[0]).shape) == of(&node.types()[0].shape)
}
