//! Forward mode and second order, from the reverse sweep alone.
//!
//! `vjp(u) = Jᵀu` is linear in `u`, so its own reverse sweep with respect to `u` is `Jv`: the Jacobian–vector product
//! (J. Townsend, "A new trick for calculating Jacobian vector products", 2017).

use super::backward::{check_counts, gradients, vjp};
use crate::ir::{Builder, Code, Diagnostic, Expr, Graph, NodeId, Role, Source, Tensor, Value};
use crate::op::Cotangent;
use std::collections::HashMap;
use std::panic::Location;

/// The Jacobian–vector product: how `output` moves when each `wrt[i]` moves along `tangents[i]`.
///
/// # Errors
/// As [`gradients`]; and a tangent whose type is not that of its value.
#[track_caller]
pub fn jvp<'b>(output: Expr<'b>, wrt: &[Expr<'b>], tangents: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
    let builder = output.builder();
    check_directions("tangents", wrt, tangents)?;
    if output.is_poisoned() {
        return Ok(output);
    }
    // The cotangent must be a value that nothing else in the graph can be equal to. The result is linear in it and does
    // not depend on it, so it lives in a scratch copy of the graph, and no input is left behind.
    let primal = builder.graph().len();
    let scratch = Builder::resume(builder.graph().clone());
    let twin = |expr: &Expr<'b>| scratch.expr(expr.value());
    let u = scratch.declare(&format!("jvp cotangent {primal}"), Role::Data, output.ty());
    let twins: Vec<Expr<'_>> = wrt.iter().map(twin).collect();
    let pulled = vjp(&[twin(&output)], &[Cotangent::Value(u)], &twins)?;
    let (mut outputs, mut seeds) = (Vec::new(), Vec::new());
    for (cotangent, tangent) in pulled.into_iter().zip(tangents) {
        if let Cotangent::Value(cotangent) = cotangent {
            outputs.push(cotangent);
            seeds.push(Cotangent::Value(twin(tangent)));
        }
    }
    let pushed = vjp(&outputs, &seeds, &[u])?;
    Ok(match pushed.first().and_then(|tangent| tangent.value()) {
        Some(tangent) => append(builder, &scratch.graph(), primal, tangent.value()),
        None => output.zeros_like(),
    })
}

/// Copies what `value` needs of the nodes that `grown` has beyond the first `common`, which are those of `builder`.
fn append<'b>(builder: &'b Builder, grown: &Graph, common: usize, value: Value) -> Expr<'b> {
    let live = grown.reaching([value.node]);
    let mut copies: HashMap<NodeId, Vec<Expr<'b>>> = HashMap::new();
    let get = |copies: &HashMap<NodeId, Vec<Expr<'b>>>, value: Value| match copies.get(&value.node) {
        Some(results) => results[value.output as usize],
        None => builder.expr(value),
    };
    for (id, node) in grown.nodes().skip(common).filter(|(id, _)| live[id.index()]) {
        let operands: Vec<Expr<'b>> = node.operands().iter().map(|&operand| get(&copies, operand)).collect();
        let source = node.origins().first().map(|origin| source_within(grown, common, origin.source));
        let push = || builder.push_all(node.op().clone(), &operands);
        let push = || match grown.scope(id) {
            Some(scope) => builder.scoped(scope, push),
            None => push(),
        };
        let results = match source {
            Some(source) => builder.attributed(source, push),
            None => push(),
        };
        copies.insert(id, results);
    }
    get(&copies, value)
}

/// The source, where it names a node beyond the first `common`, replaced by what that node itself comes from.
fn source_within(grown: &Graph, common: usize, mut source: Source) -> Source {
    while let Source::GradientOf(of) = source {
        match grown.node(of).origins().first() {
            Some(origin) if of.index() >= common => source = origin.source,
            _ => break,
        }
    }
    source
}

/// Requires a direction for each value, of its type.
#[track_caller]
fn check_directions<'b>(what: &str, wrt: &[Expr<'b>], directions: &[Expr<'b>]) -> Result<(), Diagnostic> {
    check_counts("values", wrt.len(), what, directions.len(), Location::caller())?;
    match wrt.iter().zip(directions).find(|(x, v)| !x.is_poisoned() && !v.is_poisoned() && x.ty() != v.ty()) {
        Some((x, v)) => Err(Diagnostic::new(Code::Shape, format!("the direction for {} is {}", x.ty(), v.ty()))
            .at(Location::caller())
            .help("give it the type of its value")),
        None => Ok(()),
    }
}

/// The Hessian–vector product of a scalar loss: `Σⱼ ∂²loss/∂wrtᵢ∂wrtⱼ · vectorsⱼ`, for each `wrtᵢ`.
///
/// # Errors
/// As [`gradients`].
#[track_caller]
pub fn hvp<'b>(loss: Expr<'b>, wrt: &[Expr<'b>], vectors: &[Expr<'b>]) -> Result<Vec<Expr<'b>>, Diagnostic> {
    check_directions("vectors", wrt, vectors)?;
    let first = gradients(&[loss], wrt)?;
    let slopes = first.iter().zip(vectors).map(|(&gradient, &vector)| (gradient * vector.stop_gradient()).sum_all());
    match slopes.reduce(|a, b| a + b) {
        Some(slope) => gradients(&[slope], wrt),
        None => Ok(Vec::new()),
    }
}

/// The Jacobian of `output` with respect to `wrt`, of shape `output.shape ++ wrt.shape`, one reverse sweep a row.
///
/// # Errors
/// As [`gradients`]; and an output whose shape is not known.
#[track_caller]
pub fn jacobian<'b>(output: Expr<'b>, wrt: Expr<'b>) -> Result<Expr<'b>, Diagnostic> {
    let builder = output.builder();
    let ty = output.ty();
    let Some(shape) = ty.shape.known() else {
        return Err(Diagnostic::new(Code::Shape, format!("the Jacobian of {ty} has no fixed number of rows"))
            .at(Location::caller())
            .note(format!("the output is {}", builder.graph().describe(output.value().node)))
            .help("take it of an output of known shape, or use `vjp` and `jvp`"));
    };
    let len: usize = shape.iter().product();
    let columns = wrt.shape();
    let row_shape = || std::iter::once(1.into()).chain(columns.iter().copied()).collect::<crate::ir::Shape>();
    let mut rows = Vec::with_capacity(len);
    for row in 0..len {
        let unit = (0..len).map(|i| if i == row { 1.0 } else { 0.0 });
        let Ok(unit) = Tensor::from_f64(ty.dtype, shape.clone(), unit) else { continue };
        let pulled = vjp(&[output], &[Cotangent::Value(builder.constant(unit))], &[wrt])?;
        let gradient = pulled.first().and_then(|c| c.value()).unwrap_or_else(|| wrt.zeros_like());
        rows.push(gradient.reshape(row_shape()));
    }
    let full = shape.iter().map(|&size| size.into()).chain(columns.iter().copied()).collect::<crate::ir::Shape>();
    if rows.is_empty() {
        return Ok(builder.scalar(ty.dtype, 0.0).broadcast_to(full));
    }
    Ok(builder.concat(&rows, 0).reshape(full))
}
