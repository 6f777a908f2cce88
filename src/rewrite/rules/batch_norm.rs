//! Rules for training batch norm: a shift before it changes the batch mean and nothing else.
//!
//! With `(y, m, v) = bn_train(z)`, `bn_train(z + b) = (y, m + b, v)`: the output does not depend on `b`, so its gradient
//! with respect to `b` is exactly 0. The batch mean moves, so the running mean keeps the shift.

use crate::ir::{Expr, NodeId, Value};
use crate::op::Op;
use crate::ops::{BatchNormTrain, Binary, Reduction};
use crate::rewrite::affine::laid;
use crate::rewrite::rule::{need, rules};
use crate::rewrite::work::elementwise;
use crate::rewrite::{Match, Miss, Rewrite};

/// A value that is another one shifted by a vector along one axis.
struct Shifted<'g> {
    /// Without the shift, in the new graph.
    z: Expr<'g>,
    shift: Expr<'g>,
    /// The old value that is added, with all its copies read through: what a user calls the bias.
    bias: Value,
}

/// Reads `x` as `z + b`, where `b` is a vector along `axis`.
fn shifted<'g>(m: &Match<'g>, x: Value, axis: usize) -> Result<Shifted<'g>, Miss> {
    let operands = m.node(x.node).operands();
    if let Op::Dense(_) = m.producer(x) {
        let [data, kernel, bias] = *operands else { return Err(Miss::Absent) };
        need!(axis + 1 == m.ty(x).rank(), "its channels are not the units of {}", m.name(x.node));
        return Ok(Shifted { z: m.get(data).dot(m.get(kernel)), shift: m.get(bias), bias });
    }
    let Op::Binary(op) = m.producer(x) else { return Err(Miss::Absent) };
    let along_channels = |weight: Value| {
        let (axes, vector) = laid(m, weight);
        let is_laid = matches!(m.producer(weight), Op::Broadcast(_)) && axes.iter().all(|&laid| laid == axis);
        is_laid.then(|| if axes.is_empty() { vector.broadcast_to([m.shape(x)[axis]]) } else { vector })
    };
    let source = |weight: Value| m.node(weight.node).operands()[0];
    let [a, b] = *operands else { return Err(Miss::Absent) };
    match (op, along_channels(a), along_channels(b)) {
        (Binary::Add, _, Some(shift)) => Ok(Shifted { z: m.get(a), shift, bias: source(b) }),
        (Binary::Add, Some(shift), _) => Ok(Shifted { z: m.get(b), shift, bias: source(a) }),
        (Binary::Sub, _, Some(shift)) => Ok(Shifted { z: m.get(a), shift: -shift, bias: source(b) }),
        _ => Err(Miss::Absent),
    }
}

/// Refuses a bias that something besides this batch norm, forward and backward, touches.
fn untouched(m: &Match<'_>, x: Value, bias: Value, forward: NodeId) -> Result<(), Miss> {
    let is_backward = |user: NodeId| forward_of(m, user).is_some_and(|(of, _)| of == forward);
    for user in m.users(x) {
        let own = user == forward || is_backward(user);
        need!(own, "{} is also used by {}", m.name(x.node), m.name(user));
    }
    need!(!m.is_root(x), "{} is given out", m.name(x.node));
    if let Some(reason) = m.protection(bias) {
        return Err(Miss::Refused(reason));
    }
    need!(
        m.reaches_only_through(bias, x),
        "{} is used by more than {}: a penalty or constraint, or another layer",
        m.name(bias.node),
        m.name(x.node)
    );
    Ok(())
}

/// Refuses a shift whose addition to the mean, if anyone reads that, takes as long as its addition to `x` does now: where
/// the batch is one example, or none.
fn pays(m: &Match<'_>, x: Value, forward: NodeId, axis: usize) -> Result<(), Miss> {
    let shape = m.shape(x);
    let empty = (0..shape.rank()).any(|other| other != axis && shape[other].known() == Some(0));
    need!(!empty, "the batch of {} is empty, and has no mean", m.name(forward));
    let mean = Value { node: forward, output: 1 };
    let is_backward = |user: NodeId| forward_of(m, user).is_some_and(|(of, _)| of == forward);
    if !m.is_root(mean) && m.users(mean).all(is_backward) {
        return Ok(());
    }
    // A Dense is left without its bias; another addition is gone. What is subtracted has its sign changed first, and what
    // is laid along the channels may be a view.
    let saved = match m.producer(x) {
        Op::Dense(_) => elementwise(m.ty(x)) - 1,
        _ => elementwise(m.ty(x)),
    };
    let vector = elementwise(m.ty(mean));
    let added = if let Op::Binary(Binary::Sub) = m.producer(x) { 2 * vector } else { vector };
    need!(added + 2 < saved, "adding the bias to the mean of {} takes as long as adding it before", m.name(forward));
    Ok(())
}

/// Reads the operands of a backward node as those of the batch norm that it belongs to.
fn forward_of(m: &Match<'_>, grad: NodeId) -> Option<(NodeId, BatchNormTrain)> {
    let node = m.node(grad);
    let (Op::BatchNormGrad(grad), &[x, gamma, mean, var, ..]) = (node.op(), node.operands()) else { return None };
    let Op::BatchNormTrain(forward) = m.producer(mean) else { return None };
    let own = m.node(mean.node).operands();
    let same = mean.node == var.node && (mean.output, var.output) == (1, 2);
    (same && own[0] == x && own[1] == gamma && (forward.axis, forward.eps) == (grad.axis, grad.eps))
        .then_some((mean.node, *forward))
}

rules! {
    /// bn_train(z + b) ⇒ (y, m + b, v), where (y, m, v) = bn_train(z)
    fn bias_before_batch_norm(m) {
        let Op::BatchNormTrain(op) = m.op() else { return Err(Miss::Absent) };
        let x = m.operand(0);
        let Shifted { z, shift, bias } = shifted(m, x, op.axis)?;
        untouched(m, x, bias, m.root())?;
        pays(m, x, m.root(), op.axis)?;
        let normed = z.batch_norm_train(m.get(m.operand(1)), m.get(m.operand(2)), op.axis, op.eps.0);
        let results = [normed.y, normed.mean + shift, normed.var].map(Expr::value).to_vec();
        Ok(Rewrite { results, absorbed: vec![bias.node], into: Some(m.root()) })
    }

    /// bn_grad(z + b; m + b, v) ⇒ bn_grad(z; m, v): the backward pass sees z − m alone
    fn bias_before_batch_norm_grad(m) {
        let Some((forward, op)) = forward_of(m, m.root()) else { return Err(Miss::Absent) };
        let x = m.operand(0);
        let Shifted { z, bias, .. } = shifted(m, x, op.axis)?;
        untouched(m, x, bias, forward)?;
        pays(m, x, forward, op.axis)?;
        let beta = m.get(m.node(forward).operands()[2]);
        let normed = z.batch_norm_train(m.get(m.operand(1)), beta, op.axis, op.eps.0);
        let rest = [4, 5, 6].map(|slot| m.get(m.operand(slot)));
        let operands = [z, m.get(m.operand(1)), normed.mean, normed.var, rest[0], rest[1], rest[2]];
        let results = z.builder().push_all(m.op().clone(), &operands).into_iter().map(Expr::value).collect();
        Ok(Rewrite { results, absorbed: Vec::new(), into: None })
    }

    /// Σ dx over the batch ⇒ dm, where dx = bn_grad(x; m, v; dy, dm, dv) at the batch's own m and v
    ///
    /// From dx = γr(dy − Σdy/N − x̂·Σ(dy⊙x̂)/N) + dm/N + 2dv(x − m)/N, with Σx̂ = 0 and Σ(x − m) = 0. It is the gradient
    /// of a bias before batch norm: 0, unless someone differentiates the batch mean. An empty batch has no mean, so there
    /// only a dm of 0 will do.
    fn sum_of_batch_norm_grad(m) {
        let (Op::Reduce(reduce), dx) = (m.op(), m.operands().first()) else { return Err(Miss::Absent) };
        let Some(&dx) = dx.filter(|dx| dx.output == 0 && reduce.reduction == Reduction::Sum) else {
            return Err(Miss::Absent);
        };
        let Some((_, op)) = forward_of(m, dx.node) else { return Err(Miss::Absent) };
        let over_batch = (0..m.ty(dx).rank()).filter(|&axis| axis != op.axis).eq(reduce.axes().iter().copied());
        need!(over_batch, "{} does not sum over the whole batch of {}", m.name(m.root()), m.name(dx.node));
        let dm = m.node(dx.node).operands()[5];
        let some = reduce.axes().iter().all(|&axis| m.shape(dx)[axis].known().is_some_and(|size| size > 0));
        need!(some || m.is_number(dm, 0.0), "the batch of {} may be empty, and then its sum is 0", m.name(dx.node));
        Ok(Rewrite::by(m.get(dm)))
    }
}
