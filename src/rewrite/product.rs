//! Products of data with a weight, in whichever form they are written: `dense(x, W, b)`, `x·W`, `W·x`, any axes.
//!
//! They are the ops that take an affine map in, on either side:
//!
//! ```text
//! behind:  s⊙(x·W + b) + t = x·(W·diag s) + (s⊙b + t)
//! before:  (s⊙x + t)·W + b = x·(diag s·W) + (t·W + b)
//! ```

use super::affine::Affine;
use super::rule::need;
use super::work::elementwise;
use super::{Match, Miss};
use crate::ir::{Expr, NodeId, Shape, Value};
use crate::op::Op;
use crate::ops::Dot;

/// A node that multiplies data by a weight.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub node: NodeId,
    pub data: Value,
    pub weight: Value,
    pub bias: Option<Value>,
    /// The contraction; a Dense is one over the last axis of the data and the first of the weight.
    dot: Dot,
    /// Whether the data is the left operand.
    data_first: bool,
}

impl Product {
    /// The product that a node of the old graph is.
    pub fn of(m: &Match<'_>, node: NodeId) -> Result<Product, Miss> {
        let operands = m.node(node).operands();
        match m.node(node).op() {
            Op::Dense(_) => {
                let [data, weight, bias] = *operands else { return Err(Miss::Absent) };
                if m.is_weight(data) {
                    return Err(Miss::Absent);
                }
                need!(
                    m.is_weight(weight),
                    "the kernel of {} is computed from data, updated, or of unknown size",
                    m.name(node)
                );
                need!(
                    m.is_weight(bias),
                    "the bias of {} is computed from data, updated, or of unknown size",
                    m.name(node)
                );
                let last = m.ty(data).rank() - 1;
                let dot = Dot { lhs_contract: vec![last], rhs_contract: vec![0], lhs_batch: vec![], rhs_batch: vec![] };
                Ok(Product { node, data, weight, bias: Some(bias), dot, data_first: true })
            }
            Op::Dot(dot) => {
                let [lhs, rhs] = *operands else { return Err(Miss::Absent) };
                let (data, weight, data_first) = match (m.is_weight(lhs), m.is_weight(rhs)) {
                    (false, true) => (lhs, rhs, true),
                    (true, false) => (rhs, lhs, false),
                    _ => return Err(Miss::Absent),
                };
                need!(dot.lhs_batch.is_empty(), "{} is a batch of products", m.name(node));
                Ok(Product { node, data, weight, bias: None, dot: dot.clone(), data_first })
            }
            _ => Err(Miss::Absent),
        }
    }

    /// The contracted axes of data and weight, in pairs.
    fn contracted(&self) -> (&[usize], &[usize]) {
        let (lhs, rhs) = (&self.dot.lhs_contract, &self.dot.rhs_contract);
        if self.data_first { (lhs, rhs) } else { (rhs, lhs) }
    }

    /// Whether it is `x·W` over the last axis of the data and the first of a matrix: what a Dense computes.
    pub fn is_dense(&self, m: &Match<'_>) -> bool {
        let last = m.ty(self.data).rank().checked_sub(1);
        self.data_first && m.ty(self.weight).rank() == 2 && {
            let (data, weight) = self.contracted();
            data.iter().copied().eq(last) && weight == [0]
        }
    }

    /// For each free axis of the weight, the axis of the result that it becomes.
    fn result_axes(&self, m: &Match<'_>) -> Vec<(usize, usize)> {
        let free = |dot: &[usize], rank: usize| (0..rank).filter(|axis| !dot.contains(axis)).collect::<Vec<_>>();
        let (data_contract, weight_contract) = self.contracted();
        let weight_free = free(weight_contract, m.ty(self.weight).rank());
        let data_free = m.ty(self.data).rank() - data_contract.len();
        let first = if self.data_first { data_free } else { 0 };
        weight_free.into_iter().enumerate().map(|(place, axis)| (axis, first + place)).collect()
    }

    /// The product again, with another weight and bias.
    fn rebuilt<'g>(&self, m: &Match<'g>, data: Expr<'g>, weight: Expr<'g>, bias: Option<Expr<'g>>) -> Expr<'g> {
        m.in_layer_of(self.node, || self.written(m, data, weight, bias))
    }

    fn written<'g>(&self, m: &Match<'g>, data: Expr<'g>, weight: Expr<'g>, bias: Option<Expr<'g>>) -> Expr<'g> {
        if self.is_dense(m) {
            return data.dense(weight, bias);
        }
        let (lhs, rhs) = if self.data_first { (data, weight) } else { (weight, data) };
        let contract = (&self.dot.lhs_contract[..], &self.dot.rhs_contract[..]);
        let product = lhs.dot_general(rhs, contract, (&[], &[]));
        let Some(bias) = bias else { return product };
        let axes: Vec<usize> = self.result_axes(m).into_iter().map(|(_, axis)| axis).collect();
        product + bias.broadcast_in(product.shape(), &axes)
    }

    /// `map ∘ product` as one product.
    pub fn followed_by<'g>(&self, m: &Match<'g>, map: &Affine<'g>) -> Result<Expr<'g>, Miss> {
        let free = self.result_axes(m);
        let fits = map.axes.iter().all(|axis| free.iter().any(|(_, result)| result == axis));
        need!(fits, "its channels are no columns of the weights of {}", m.name(self.node));
        // Shift and bias are laid along every free axis of the weight.
        let result = &m.node(self.node).types()[0].shape;
        let laid = map.spread(&free.iter().map(|&(_, axis)| axis).collect::<Vec<_>>(), result);
        let weight = m.get(self.weight);
        let axes: Vec<usize> = free.iter().map(|&(axis, _)| axis).collect();
        let scaled = laid.scale.map_or(weight, |scale| weight * scale.broadcast_in(weight.shape(), &axes));
        let bias = self.bias.map(|bias| m.get(bias));
        let bias = match (bias, laid.scale) {
            (Some(bias), Some(scale)) => Some(bias * scale),
            (bias, _) => bias,
        };
        let bias = match (bias, laid.shift) {
            (Some(bias), Some(shift)) => Some(bias + shift),
            (one, other) => one.or(other),
        };
        Ok(self.rebuilt(m, m.get(self.data), scaled, bias))
    }

    /// `product ∘ map` as one product over `data`, which the map was applied to.
    pub fn preceded_by<'g>(&self, m: &Match<'g>, map: &Affine<'g>, data: Expr<'g>) -> Result<Expr<'g>, Miss> {
        let (data_axes, weight_axes) = self.contracted();
        let fits = map.axes.iter().all(|axis| data_axes.contains(axis));
        need!(fits, "its channels are not what {} sums over", m.name(self.node));
        let mut sorted = data_axes.to_vec();
        sorted.sort_unstable();
        let laid = map.spread(&sorted, m.shape(self.data));
        // The weight's axes in the order of the data's: a vector over these is laid along the weight's own.
        let partner = |axis: &usize| data_axes.iter().position(|other| other == axis).map_or(0, |at| weight_axes[at]);
        let partners: Vec<usize> = sorted.iter().map(partner).collect();
        let mut order: Vec<usize> = (0..partners.len()).collect();
        order.sort_by_key(|&place| partners[place]);
        let ascending: Vec<usize> = order.iter().map(|&place| partners[place]).collect();
        let weight = m.get(self.weight);
        let along = |vector: Expr<'g>| vector.transpose(&order).broadcast_in(weight.shape(), &ascending);
        let scaled = laid.scale.map_or(weight, |scale| weight * along(scale));
        let bias = self.bias.map(|bias| m.get(bias));
        let moved = laid.shift.map(|shift| {
            let own: Vec<usize> = (0..shift.rank()).collect();
            shift.dot_general(weight, (&own, &partners), (&[], &[]))
        });
        let bias = match (moved, bias) {
            (Some(moved), Some(bias)) => Some(moved + bias),
            (one, other) => one.or(other),
        };
        Ok(self.rebuilt(m, data, scaled, bias))
    }

    /// Refuses a map that costs more to take in than it costs by itself, at those nodes: its shift has to be added to the
    /// result, unless a bias is added there anyway.
    pub fn gains_from(&self, m: &Match<'_>, map: &Affine<'_>, nodes: &[NodeId]) -> Result<(), Miss> {
        let (saved, sum) = (m.operations(nodes), elementwise(&m.node(self.node).types()[0]));
        let added = match (map.shift, self.bias) {
            // A Dense adds it without a node of its own.
            (Some(_), None) if self.is_dense(m) => sum.saturating_sub(1),
            (Some(_), None) => sum,
            _ => 0,
        };
        need!(added < saved, "{} cannot add its shift for less than it takes now", m.name(self.node));
        Ok(())
    }

    /// `outer ∘ self` as one product, where that takes fewer multiply-adds.
    pub fn followed_by_product<'g>(&self, m: &Match<'g>, outer: &Product) -> Result<Expr<'g>, Miss> {
        if !self.is_dense(m) || !outer.is_dense(m) {
            return Err(Miss::Absent);
        }
        let size = |shape: &Shape, axis: usize| m.known(shape[axis]);
        let (first, second) = (m.shape(self.weight), m.shape(outer.weight));
        let (from, between, to) = (size(first, 0)?, size(first, 1)?, size(second, 1)?);
        let (apart, together) = (from * between + between * to, from * to);
        need!(
            together < apart,
            "multiplying {} and {} out takes {together} multiply-adds a row instead of {apart}",
            m.name(self.node),
            m.name(outer.node)
        );
        // A bias between the two becomes one behind them, which may be longer.
        let added = |is_there: bool, units: usize| if is_there { units } else { 0 };
        let now = apart + added(self.bias.is_some(), between) + added(outer.bias.is_some(), to);
        let then = together + added(self.bias.is_some() || outer.bias.is_some(), to);
        need!(then <= now, "a bias behind {} takes more additions than it saves", m.name(outer.node));
        let (w1, w2) = (m.get(self.weight), m.get(outer.weight));
        let moved = self.bias.map(|bias| m.get(bias).dot(w2));
        let bias = match (moved, outer.bias.map(|bias| m.get(bias))) {
            (Some(moved), Some(bias)) => Some(moved + bias),
            (one, other) => one.or(other),
        };
        Ok(m.get(self.data).dense(w1.dot(w2), bias))
    }
}
