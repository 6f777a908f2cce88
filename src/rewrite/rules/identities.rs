//! Algebraic identities of single ops. They hold for every number, except that `x + 0 ⇒ x` may keep the sign of a zero.
//!
//! Those that do not hold for NaN or infinity are marked as such and belong to no preset.

use crate::ir::Value;
use crate::op::Op;
use crate::ops::{Binary, Unary};
use crate::rewrite::rule::rules;
use crate::rewrite::{Match, Miss, Rewrite};

/// The other operand of a binary node one of whose operands is this number; `b` only, where the order matters.
fn other_than(m: &Match<'_>, op: Binary, number: f64) -> Result<Value, Miss> {
    if !matches!(m.op(), Op::Binary(found) if *found == op) {
        return Err(Miss::Absent);
    }
    let (a, b) = (m.operand(0), m.operand(1));
    let commutes = matches!(op, Binary::Add | Binary::Mul);
    match (m.is_number(a, number), m.is_number(b, number)) {
        (_, true) => Ok(a),
        (true, false) if commutes => Ok(b),
        _ => Err(Miss::Absent),
    }
}

/// The operand of the operand, of two nodes of one kind in a row.
fn twice<'m, T>(m: &Match<'m>, read: impl Fn(&'m Op) -> Option<T>) -> Result<(T, T, Value), Miss> {
    let outer = read(m.op()).ok_or(Miss::Absent)?;
    let inner = read(m.producer(m.operand(0))).ok_or(Miss::Absent)?;
    Ok((inner, outer, m.node(m.operand(0).node).operands()[0]))
}

rules! {
    /// x + 0 ⇒ x
    fn add_zero(m) { Ok(Rewrite::by(m.get(other_than(m, Binary::Add, 0.0)?))) }

    /// x − 0 ⇒ x
    fn subtract_zero(m) { Ok(Rewrite::by(m.get(other_than(m, Binary::Sub, 0.0)?))) }

    /// x · 1 ⇒ x
    fn multiply_by_one(m) { Ok(Rewrite::by(m.get(other_than(m, Binary::Mul, 1.0)?))) }

    /// x / 1 ⇒ x
    fn divide_by_one(m) { Ok(Rewrite::by(m.get(other_than(m, Binary::Div, 1.0)?))) }

    /// −(−x) ⇒ x
    fn negate_twice(m) {
        let negated = |op: &Op| matches!(op, Op::Unary(Unary::Neg)).then_some(());
        let ((), (), x) = twice(m, negated)?;
        Ok(Rewrite::by(m.get(x)).absorbing([m.operand(0).node]))
    }

    /// transpose(x) without a change of order ⇒ x
    fn transpose_nothing(m) {
        match m.op() {
            Op::Transpose(op) if op.permutation().is_sorted() => Ok(Rewrite::by(m.get(m.operand(0)))),
            _ => Err(Miss::Absent),
        }
    }

    /// transpose(transpose(x; p); q) ⇒ transpose(x; p∘q)
    fn transpose_twice(m) {
        let (inner, outer, x) = twice(m, |op| if let Op::Transpose(op) = op { Some(op.permutation()) } else { None })?;
        m.single_use(m.operand(0))?;
        let both: Vec<usize> = outer.iter().map(|&axis| inner[axis]).collect();
        Ok(Rewrite::by(m.get(x).transpose(&both)).absorbing([m.operand(0).node]))
    }

    /// reshape(reshape(x)) ⇒ reshape(x)
    fn reshape_twice(m) {
        let (_, _, x) = twice(m, |op| matches!(op, Op::Reshape(_)).then_some(()))?;
        if m.ty(x) != m.ty(m.result()) {
            m.single_use(m.operand(0))?;
        }
        Ok(Rewrite::by(m.get(x).reshape(m.shape(m.result()).clone())).absorbing([m.operand(0).node]))
    }

    /// reshape(x) to its own shape ⇒ x
    fn reshape_nothing(m) {
        match m.op() {
            Op::Reshape(_) if m.ty(m.operand(0)) == m.ty(m.result()) => Ok(Rewrite::by(m.get(m.operand(0)))),
            _ => Err(Miss::Absent),
        }
    }

    /// slice(x) of a whole axis ⇒ x
    fn slice_everything(m) {
        match m.op() {
            Op::Slice(_) if m.ty(m.operand(0)) == m.ty(m.result()) => Ok(Rewrite::by(m.get(m.operand(0)))),
            _ => Err(Miss::Absent),
        }
    }

    /// cast(x) to its own type ⇒ x
    fn cast_nothing(m) {
        match m.op() {
            Op::Cast(_) if m.ty(m.operand(0)) == m.ty(m.result()) => Ok(Rewrite::by(m.get(m.operand(0)))),
            _ => Err(Miss::Absent),
        }
    }

    /// stop_gradient(x) ⇒ x, once nothing is differentiated any more
    fn stop_gradient_at_rest(m) {
        match m.op() {
            Op::StopGradient(_) => Ok(Rewrite::by(m.get(m.operand(0)))),
            _ => Err(Miss::Absent),
        }
    }

    /// x · 0 ⇒ 0: wrong where x is NaN or infinite
    fn multiply_by_zero(m) {
        let x = other_than(m, Binary::Mul, 0.0)?;
        Ok(Rewrite::by(m.get(x).zeros_like()))
    }

    /// x − x ⇒ 0: wrong where x is NaN or infinite
    fn subtract_itself(m) {
        match m.op() {
            Op::Binary(Binary::Sub) if m.operand(0) == m.operand(1) => {
                Ok(Rewrite::by(m.get(m.operand(0)).zeros_like()))
            }
            _ => Err(Miss::Absent),
        }
    }
}
