//! Which ops an affine map passes, in which direction, and what it is on the other side: the one table behind every move.
//!
//! *Forward* a map `A` on the operand of `f` becomes `A'` on its result, `f ∘ A = A' ∘ f`; *backward* the other way round.
//! The axes are tracked through changes of shape, and a scale passes ReLU, leaky ReLU and a maximum only when it is
//! positive. What does not pass is refused with the reason.

use super::affine::Affine;
use super::rule::need;
use super::{Match, Miss};
use crate::ir::{Dim, Expr, NodeId, Shape};
use crate::op::Op;
use crate::ops::{Binary, Reduction, Unary};

/// Which way a map moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    /// With the data: from an op's operand to its result.
    Result,
    /// Against it: from an op's result to its operand.
    Operand,
}

/// The operand that maps pass from and to, of a node that some map can pass.
pub(crate) fn data_operand(m: &Match<'_>, node: NodeId) -> Option<usize> {
    let operands = m.node(node).operands();
    let slot = match m.node(node).op() {
        Op::Reshape(_) | Op::Transpose(_) | Op::StopGradient(_) | Op::Slice(_) | Op::Pad(_) => 0,
        Op::Unary(Unary::Relu) | Op::LeakyRelu(_) | Op::Mean(_) => 0,
        Op::Reduce(reduce) if reduce.reduction != Reduction::Product => 0,
        // ReLU, written out.
        Op::Binary(Binary::Max) => (0..2).find(|&slot| m.is_number(operands[1 - slot], 0.0))?,
        _ => return None,
    };
    (!m.is_weight(operands[slot])).then_some(slot)
}

/// The map on the other side of `node`.
pub(crate) fn through<'g>(m: &Match<'g>, node: NodeId, map: Affine<'g>, toward: Toward) -> Result<Affine<'g>, Miss> {
    let op = m.node(node).op();
    // In each of these ops, the first operand has the shape of the data.
    let (from, to) = (m.shape(m.node(node).operands()[0]), &m.node(node).types()[0].shape);
    let (here, there) = if toward == Toward::Result { (from, to) } else { (to, from) };
    match op {
        Op::StopGradient(_) => Ok(map),
        Op::Reshape(_) => regrouped(m, node, map, here, there),
        Op::Transpose(transpose) => {
            let moved = |axis: usize| match toward {
                Toward::Result => transpose.permutation().iter().position(|&from| from == axis).unwrap_or(axis),
                Toward::Operand => transpose.permutation()[axis],
            };
            Ok(renamed(map, moved))
        }
        Op::Unary(Unary::Relu) | Op::LeakyRelu(_) | Op::Binary(Binary::Max) => {
            need!(map.shift.is_none(), "a shift does not pass {}", m.name(node));
            positive(m, node, &map)?;
            Ok(map)
        }
        Op::Mean(mean) => {
            let something = mean.axes().iter().all(|&axis| from[axis].known() != Some(0));
            need!(something, "{} is a mean of nothing", m.name(node));
            across(m, node, map, mean.axes(), toward)
        }
        Op::Reduce(reduce) => {
            match reduce.reduction {
                Reduction::Sum => need!(map.shift.is_none(), "a shift is summed by {}", m.name(node)),
                Reduction::Max | Reduction::Min => positive(m, node, &map)?,
                Reduction::Product => return Err(Miss::Absent),
            }
            across(m, node, map, reduce.axes(), toward)
        }
        Op::Pad(pad) => {
            need!(map.shift.is_none(), "a shift does not pass {}: the border would be shifted too", m.name(node));
            need!(m.is_number(m.node(node).operands()[1], 0.0), "{} pads with other numbers than 0", m.name(node));
            need!(!map.axes.contains(&pad.axis), "{} pads the channels", m.name(node));
            Ok(map)
        }
        Op::Slice(slice) => {
            need!(!map.axes.contains(&slice.axis), "{} takes a part of the channels", m.name(node));
            Ok(map)
        }
        _ => Err(Miss::Absent),
    }
}

/// What compares numbers is passed by positive scales only.
fn positive<'g>(m: &Match<'g>, node: NodeId, map: &Affine<'g>) -> Result<(), Miss> {
    let positive = map.scale.is_none_or(|scale| m.is_positive(scale));
    need!(positive, "a scale passes {} only where it is known to be positive", m.name(node));
    m.rests_on_signs();
    Ok(())
}

/// The map with its axes renamed, and its weights transposed where their order changes.
fn renamed<'g>(map: Affine<'g>, to: impl Fn(usize) -> usize) -> Affine<'g> {
    let renamed: Vec<usize> = map.axes.iter().map(|&axis| to(axis)).collect();
    let mut order: Vec<usize> = (0..renamed.len()).collect();
    order.sort_by_key(|&place| renamed[place]);
    let turned = |weight: Expr<'g>| weight.transpose(&order);
    Affine {
        axes: order.iter().map(|&place| renamed[place]).collect(),
        scale: map.scale.map(turned),
        shift: map.shift.map(turned),
    }
}

/// Through a reduction, which must leave the map's axes alone.
fn across<'g>(
    m: &Match<'g>,
    node: NodeId,
    map: Affine<'g>,
    axes: &[usize],
    toward: Toward,
) -> Result<Affine<'g>, Miss> {
    match toward {
        Toward::Result => {
            let untouched = map.axes.iter().all(|axis| !axes.contains(axis));
            need!(untouched, "{} reduces the channels", m.name(node));
            Ok(renamed(map, |axis| axis - axes.iter().filter(|&&gone| gone < axis).count()))
        }
        Toward::Operand => {
            let rank = m.shape(m.node(node).operands()[0]).rank();
            let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
            Ok(renamed(map, |axis| kept[axis]))
        }
    }
}

/// Through a reshape: axes fall into groups of equal size on both sides, and a map that touches a group is laid along the
/// whole of it before the group changes its shape.
fn regrouped<'g>(
    m: &Match<'g>,
    node: NodeId,
    map: Affine<'g>,
    here: &Shape,
    there: &Shape,
) -> Result<Affine<'g>, Miss> {
    let Some(groups) = groups(here, there) else {
        return Err(Miss::Refused(format!("the axes of {} do not fall into groups of equal size", m.name(node))));
    };
    let touched: Vec<&Group> =
        groups.iter().filter(|group| group.here.iter().any(|axis| map.axes.contains(axis))).collect();
    let axes: Vec<usize> = touched.iter().flat_map(|group| group.here.clone()).collect();
    let known = axes.iter().all(|&axis| here[axis].known().is_some());
    need!(known, "{} joins the channels with an axis whose size is not known", m.name(node));
    let map = map.spread(&axes, here);
    let axes: Vec<usize> = touched.iter().flat_map(|group| group.there.clone()).collect();
    let shape: Shape = axes.iter().map(|&axis| there[axis]).collect();
    let reshaped = |weight: Expr<'g>| weight.reshape(shape.clone());
    Ok(Affine { axes, scale: map.scale.map(reshaped), shift: map.shift.map(reshaped) })
}

/// Axes that a reshape turns into each other: their sizes have one product.
#[derive(Debug)]
struct Group {
    here: Vec<usize>,
    there: Vec<usize>,
}

/// The finest grouping of the axes of two shapes of one size, in order.
fn groups(here: &Shape, there: &Shape) -> Option<Vec<Group>> {
    let mut groups = Vec::new();
    let (mut h, mut t) = (0, 0);
    while h < here.rank() || t < there.rank() {
        let mut group = Group { here: Vec::new(), there: Vec::new() };
        if let (Some(&Dim::Symbol(a)), Some(&Dim::Symbol(b))) = (here.get(h), there.get(t))
            && a == b
        {
            group.here.push(h);
            group.there.push(t);
            (h, t) = (h + 1, t + 1);
            groups.push(group);
            continue;
        }
        let (mut size_here, mut size_there) = (1usize, 1usize);
        while group.here.is_empty() || group.there.is_empty() || size_here != size_there {
            let take_here = h < here.rank() && (group.here.is_empty() || size_here < size_there);
            let side = if take_here {
                (here, &mut h, &mut group.here, &mut size_here)
            } else {
                (there, &mut t, &mut group.there, &mut size_there)
            };
            let (shape, at, list, size) = side;
            let Some(&dim) = shape.get(*at) else { break };
            let extent = dim.known().filter(|&extent| extent > 0)?;
            list.push(*at);
            *at += 1;
            *size = size.checked_mul(extent)?;
        }
        // Ones at the end of one side belong to no axis of the other; anything else has no partner.
        if size_here != size_there {
            return None;
        }
        groups.push(group);
    }
    Some(groups)
}
