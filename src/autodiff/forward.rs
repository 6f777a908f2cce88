//! Forward mode and second order, from the reverse sweep alone.
//!
//! `vjp(u) = Jᵀu` is linear in `u`, so its own reverse sweep with respect to `u` is `Jv`: the Jacobian–vector product
//! (J. Townsend, "A new trick for calculating Jacobian vector products", 2017).

use super::backward::{check_counts, gradients, vjp};
use crate::ir::{Code, Diagnostic, Expr, Tensor};
use crate::op::{Cotangent, Role};
use std::panic::Location;

/// The Jacobian–vector product: how `output` moves when each `wrt[i]` moves along `tangents[i]`.
///
/// # Errors
/// As [`gradients`]; and a tangent whose type is not that of its value.
#[track_caller]
pub fn jvp<'b>(output: Expr<'b>, wrt: &[Expr<'b>], tangents: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
    let builder = output.builder();
    check_counts("values", wrt.len(), "tangents", tangents.len(), Location::caller())?;
    if output.is_poisoned() {
        return Ok(output);
    }
    if let Some((x, v)) = wrt.iter().zip(tangents).find(|(x, v)| !v.is_poisoned() && x.ty() != v.ty()) {
        return Err(Diagnostic::new(Code::Shape, format!("the tangent of {} is {}", x.ty(), v.ty()))
            .at(Location::caller())
            .help("give it the type of its value"));
    }
    // A value that nothing else in the graph can be equal to; it is linear, so no result depends on it.
    let name = format!("jvp cotangent {}", builder.graph().len());
    let u = builder.declare(&name, Role::Data, output.ty());
    let pulled = vjp(&[output], &[Cotangent::Value(u)], wrt)?;
    let (mut outputs, mut seeds) = (Vec::new(), Vec::new());
    for (cotangent, tangent) in pulled.into_iter().zip(tangents) {
        if let Cotangent::Value(cotangent) = cotangent {
            outputs.push(cotangent);
            seeds.push(Cotangent::Value(*tangent));
        }
    }
    let pushed = vjp(&outputs, &seeds, &[u])?;
    Ok(pushed.first().and_then(|tangent| tangent.value()).unwrap_or_else(|| output.zeros_like()))
}

/// The Hessian–vector product of a scalar loss: `Σⱼ ∂²loss/∂wrtᵢ∂wrtⱼ · vectorsⱼ`, for each `wrtᵢ`.
///
/// # Errors
/// As [`gradients`].
#[track_caller]
pub fn hvp<'b>(loss: Expr<'b>, wrt: &[Expr<'b>], vectors: &[Expr<'b>]) -> Result<Vec<Expr<'b>>, Diagnostic> {
    check_counts("values", wrt.len(), "vectors", vectors.len(), Location::caller())?;
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
