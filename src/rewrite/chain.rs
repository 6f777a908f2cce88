//! The walk from a product to an affine map, or from a map to a product, through ops that maps pass.

use super::affine::Affine;
use super::product::Product;
use super::through::{Toward, data_operand, through};
use super::{Match, Miss};
use crate::ir::{Expr, NodeId, Value};

/// Neighbouring affine nodes as one map.
#[derive(Clone, Debug)]
pub(crate) struct Maps<'g> {
    /// What the first of them is applied to.
    pub x: Value,
    pub map: Affine<'g>,
    /// The nodes, the last one first.
    pub nodes: Vec<NodeId>,
}

impl<'g> Maps<'g> {
    /// The affine node that computes `value`, with all that stand directly before it and serve it alone.
    pub fn ending_at(m: &Match<'g>, value: Value) -> Result<Maps<'g>, Miss> {
        let (mut x, mut map) = Affine::of(m, value)?;
        let (mut nodes, mut user) = (vec![value.node], value.node);
        while let Ok((before, first)) = Affine::of(m, x) {
            if m.single_use_by(user, x).is_err() {
                break;
            }
            user = x.node;
            map = map.after(&first, m.shape(x));
            nodes.push(x.node);
            x = before;
        }
        Ok(Maps { x, map, nodes })
    }

    /// The element-wise operations that they take for each element as they stand.
    pub fn elementwise_operations(&self, m: &Match<'_>) -> usize {
        self.nodes.iter().map(|&node| m.elementwise_operations(node)).sum()
    }

    /// The node that is applied to `x`.
    pub fn first(&self) -> NodeId {
        self.nodes.last().copied().unwrap_or(self.x.node)
    }
}

/// The ops between a map and a product, the one nearest to the result first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Between(Vec<NodeId>);

impl Between {
    /// Walks from `value`, which `user` reads, against the data, through ops that maps pass, to where `found` holds.
    /// Every value on the way serves this way alone.
    pub fn walk<T>(
        m: &Match<'_>,
        user: NodeId,
        value: Value,
        mut found: impl FnMut(Value) -> Result<T, Miss>,
    ) -> Result<(Between, T), Miss> {
        let (mut between, mut user, mut at) = (Between::default(), user, value);
        loop {
            match found(at) {
                Ok(found) => {
                    m.single_use_by(user, at)?;
                    return Ok((between, found));
                }
                Err(Miss::Absent) => {}
                refused => return refused.map(|found| (between, found)),
            }
            let Some(slot) = data_operand(m, at.node) else { return Err(barred(m, user, at, found)) };
            m.single_use_by(user, at)?;
            between.0.push(at.node);
            user = at.node;
            at = m.node(at.node).operands()[slot];
        }
    }

    /// A map on the result of all of them, as one on their operand.
    pub fn pull<'g>(&self, m: &Match<'g>, map: Affine<'g>) -> Result<Affine<'g>, Miss> {
        self.0.iter().try_fold(map, |map, &node| through(m, node, map, Toward::Operand))
    }

    /// A map on their operand, as one on the result of all of them.
    pub fn push<'g>(&self, m: &Match<'g>, map: Affine<'g>) -> Result<Affine<'g>, Miss> {
        self.0.iter().rev().try_fold(map, |map, &node| through(m, node, map, Toward::Result))
    }

    /// The ops applied to another value.
    pub fn apply<'g>(&self, m: &Match<'g>, x: Expr<'g>) -> Expr<'g> {
        self.0.iter().rev().fold(x, |x, &id| {
            let node = m.node(id);
            let slot = data_operand(m, id).unwrap_or(0);
            let operands: Vec<Expr<'g>> = (node.operands().iter().enumerate())
                .map(|(index, &operand)| if index == slot { x } else { m.get(operand) })
                .collect();
            m.in_layer_of(id, || x.builder().push(node.op().clone(), &operands))
        })
    }

    /// The nodes themselves.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }
}

/// Why a walk ends at a value that no map passes: a reason only if what it looked for is right behind.
fn barred<T>(m: &Match<'_>, user: NodeId, at: Value, mut found: impl FnMut(Value) -> Result<T, Miss>) -> Miss {
    let node = m.node(at.node);
    let is_bar = !node.op().nature().is_contraction();
    if is_bar && node.operands().iter().any(|&operand| found(operand).is_ok()) {
        let reason = || Miss::Refused(format!("an affine map does not pass {}", m.name(at.node)));
        return m.single_use_by(user, at).err().unwrap_or_else(reason);
    }
    Miss::Absent
}

/// The product that computes a value, as a step of a walk.
pub(crate) fn product_at(m: &Match<'_>, value: Value) -> Result<Product, Miss> {
    if value.output == 0 { Product::of(m, value.node) } else { Err(Miss::Absent) }
}
