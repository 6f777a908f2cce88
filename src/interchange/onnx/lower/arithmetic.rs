//! Reductions and normalisations along axes.

use super::super::emit::{Attribute, Emitter, Held, Lowered};
use super::layout::whole;
use crate::ir::{Dim, TensorType};
use crate::ops::{BatchNormInfer, Mean, Reduce, Reduction};

pub(super) fn reduce(e: &mut Emitter, reduce: &Reduce, x: &Held, ty: &TensorType) -> Lowered<Held> {
    let onnx = match reduce.reduction {
        Reduction::Sum => "ReduceSum",
        Reduction::Max => "ReduceMax",
        Reduction::Min => "ReduceMin",
        Reduction::Product => "ReduceProd",
    };
    over(e, onnx, reduce.axes(), x, ty, reduce.reduction.identity())
}

pub(super) fn mean(e: &mut Emitter, mean: &Mean, x: &Held, ty: &TensorType) -> Lowered<Held> {
    over(e, "ReduceMean", mean.axes(), x, ty, f64::NAN)
}

/// `nothing` is the result where there is nothing to reduce, on which runtimes differ.
fn over(e: &mut Emitter, onnx: &str, axes: &[usize], x: &Held, ty: &TensorType, nothing: f64) -> Lowered<Held> {
    if axes.is_empty() {
        // An empty list would mean every axis.
        return Ok(x.clone());
    }
    if axes.iter().any(|&axis| x.shape[axis] == Dim::Known(0)) {
        return Ok(e.filled(ty, nothing));
    }
    let input = e.whole(x)?;
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    let axes = e.integers(&axes);
    Ok(whole(e.node(onnx, &[&input, &axes], &[("keepdims", Attribute::Int(0))]), ty))
}

/// A function of the whole axis that keeps the shape.
pub(super) fn along(e: &mut Emitter, onnx: &str, axis: usize, x: &Held) -> Lowered<Held> {
    let input = e.whole(x)?;
    let name = e.node(onnx, &[&input], &[("axis", Attribute::Int(axis as i64))]);
    Ok(Held { name, held: x.shape.clone(), ..x.clone() })
}

/// ONNX's own op, whose channels are axis 1.
pub(super) fn batch_norm(e: &mut Emitter, norm: &BatchNormInfer, x: &Held, vectors: &[Held]) -> Lowered<Held> {
    let mut inputs = vec![e.whole(x)?];
    for vector in vectors {
        inputs.push(e.whole(vector)?);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let name = e.node("BatchNormalization", &inputs, &[("epsilon", Attribute::Float(norm.eps.0 as f32))]);
    Ok(Held { name, held: x.shape.clone(), ..x.clone() })
}
