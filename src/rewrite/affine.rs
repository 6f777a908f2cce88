//! Per-channel affine maps, `y = s ⊙ x + t`, with `s` and `t` weights laid along some axes of `x`.
//!
//! Batch norm with fixed statistics is one; so is adding, subtracting, multiplying by and dividing by weights, with the
//! weight on either side, where the map is affine at all: `c / x` is not. Every fold of batch norm is a statement about
//! these maps: they compose, they commute with other ops ([`through`](super::through)), and a product with weights
//! takes them in on either side ([`product`](super::product)).

use super::rule::need;
use super::{Match, Miss};
use crate::ir::{Expr, Shape, Value};
use crate::op::Op;
use crate::ops::{Binary, Unary};

/// The map of one node, in terms of the new graph. A missing scale is 1, a missing shift is 0.
#[derive(Clone, Debug)]
pub(crate) struct Affine<'g> {
    /// The axes of the value that scale and shift are laid along, ascending; none for plain numbers.
    pub axes: Vec<usize>,
    /// Of the value's sizes at these axes.
    pub scale: Option<Expr<'g>>,
    /// Of the value's sizes at these axes.
    pub shift: Option<Expr<'g>>,
}

/// Whether an op is an affine map of one operand wherever the others are weights.
pub(super) fn is_map(op: &Op) -> bool {
    match op {
        Op::BatchNormInfer(_) | Op::Unary(Unary::Neg) => true,
        Op::Binary(op) => matches!(op, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div),
        _ => false,
    }
}

impl<'g> Affine<'g> {
    /// The affine map that a node of the old graph is, and the value that it is a map of.
    pub fn of(m: &Match<'g>, value: Value) -> Result<(Value, Affine<'g>), Miss> {
        let node = m.node(value.node);
        let operands = node.operands();
        match node.op() {
            Op::BatchNormInfer(op) => {
                let [x, gamma, beta, mean, var] = *operands else { return Err(Miss::Absent) };
                if m.is_weight(x) {
                    return Err(Miss::Absent);
                }
                need!(
                    [gamma, beta, mean, var].iter().all(|&operand| m.is_weight(operand)),
                    "γ, β or the statistics of {} are computed from data, updated, or of unknown size",
                    m.name(value.node)
                );
                let [gamma, beta, mean, var] = [gamma, beta, mean, var].map(|operand| m.get(operand));
                let scale = (var + op.eps.0).rsqrt() * gamma;
                let shift = beta - mean * scale;
                Ok((x, Affine { axes: vec![op.axis], scale: Some(scale), shift: Some(shift) }))
            }
            Op::Unary(Unary::Neg) if !m.is_laid_weight(operands[0]) => {
                let minus_one = m.get(operands[0]).scalar_like(-1.0);
                Ok((operands[0], Affine { axes: Vec::new(), scale: Some(minus_one), shift: None }))
            }
            Op::Binary(op) => Affine::of_binary(m, *op, operands[0], operands[1]),
            _ => Err(Miss::Absent),
        }
    }

    fn of_binary(m: &Match<'g>, op: Binary, a: Value, b: Value) -> Result<(Value, Affine<'g>), Miss> {
        if !m.ty(a).dtype.is_float() {
            return Err(Miss::Absent);
        }
        let (x, weight, weight_first) = match (m.is_laid_weight(a), m.is_laid_weight(b)) {
            (false, true) => (a, b, false),
            (true, false) => (b, a, true),
            _ => return Err(Miss::Absent),
        };
        let (axes, w) = laid(m, weight);
        let (scale, shift) = match (op, weight_first) {
            (Binary::Mul, _) => (Some(w), None),
            (Binary::Add, _) => (None, Some(w)),
            (Binary::Sub, false) => (None, Some(-w)),
            (Binary::Sub, true) => (Some(w.full_like(-1.0)), Some(w)),
            (Binary::Div, false) => (Some(1.0 / w), None),
            _ => return Err(Miss::Absent),
        };
        Ok((x, Affine { axes, scale, shift }))
    }

    /// This map after `first`, on values of that shape: `s₂⊙(s₁⊙x + t₁) + t₂ = (s₂⊙s₁)⊙x + (s₂⊙t₁ + t₂)`.
    pub fn after(&self, first: &Affine<'g>, shape: &Shape) -> Affine<'g> {
        let axes: Vec<usize> =
            (0..shape.rank()).filter(|axis| self.axes.contains(axis) || first.axes.contains(axis)).collect();
        let (second, first) = (self.spread(&axes, shape), first.spread(&axes, shape));
        let scale = match (first.scale, second.scale) {
            (Some(first), Some(second)) => Some(first * second),
            (one, other) => one.or(other),
        };
        let moved = first.shift.map(|shift| second.scale.map_or(shift, |scale| shift * scale));
        let shift = match (moved, second.shift) {
            (Some(moved), Some(shift)) => Some(moved + shift),
            (one, other) => one.or(other),
        };
        Affine { axes, scale, shift }
    }

    /// The same map, laid along more axes.
    pub fn spread(&self, axes: &[usize], shape: &Shape) -> Affine<'g> {
        if axes == self.axes {
            return self.clone();
        }
        let sizes: Shape = axes.iter().map(|&axis| shape[axis]).collect();
        let place: Vec<usize> =
            self.axes.iter().filter_map(|axis| axes.iter().position(|other| other == axis)).collect();
        let spread = |weight: Expr<'g>| weight.broadcast_in(sizes.clone(), &place);
        Affine { axes: axes.to_vec(), scale: self.scale.map(spread), shift: self.shift.map(spread) }
    }

    /// The map applied to a value.
    pub fn apply(&self, x: Expr<'g>) -> Expr<'g> {
        let shape = x.shape();
        let full = |weight: Expr<'g>| weight.broadcast_in(shape.clone(), &self.axes);
        let scaled = self.scale.map_or(x, |scale| x * full(scale));
        self.shift.map_or(scaled, |shift| scaled + full(shift))
    }

    /// The map without its shift.
    pub fn scale_only(&self) -> Affine<'g> {
        Affine { axes: self.axes.clone(), scale: self.scale, shift: None }
    }

    /// How many nodes it takes to apply it.
    pub fn nodes(&self) -> usize {
        usize::from(self.scale.is_some()) + usize::from(self.shift.is_some())
    }
}

/// A weight of an element-wise op as a small tensor and the axes that it is laid along: broadcasts are read through.
pub(super) fn laid<'g>(m: &Match<'g>, weight: Value) -> (Vec<usize>, Expr<'g>) {
    let Op::Broadcast(broadcast) = m.producer(weight) else {
        return ((0..m.ty(weight).rank()).collect(), m.get(weight));
    };
    let from = m.node(weight.node).operands()[0];
    // An axis of size 1 that is stretched carries one number for all.
    let (from_shape, to_shape) = (m.shape(from), m.shape(weight));
    let kept = |&axis: &usize| !from_shape[axis].is_one() || to_shape[broadcast.dims()[axis]].is_one();
    let kept: Vec<usize> = (0..from_shape.rank()).filter(kept).collect();
    let small: Shape = kept.iter().map(|&axis| from_shape[axis]).collect();
    let w = if kept.len() == from_shape.rank() { m.get(from) } else { m.get(from).reshape(small) };
    (kept.into_iter().map(|axis| broadcast.dims()[axis]).collect(), w)
}
