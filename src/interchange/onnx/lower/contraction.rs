//! Products: `Gemm` for matrices with a bias or a transposition, `MatMul` otherwise, with axes moved and merged to fit.

use super::super::emit::{Attribute, Emitter, Held, Lowered};
use super::axes_of;
use super::layout::whole;
use crate::ir::{Dim, Shape, TensorType};
use crate::ops::Dot;

/// `x·W + b`.
pub(super) fn dense(e: &mut Emitter, x: &Held, kernel: &Held, bias: &Held, ty: &TensorType) -> Lowered<Held> {
    if kernel.shape[0].known() == Some(0) {
        // Nothing to sum; runtimes differ on empty products.
        return Ok(Held { shape: ty.shape.clone(), ..bias.clone() });
    }
    let (input, kernel) = (e.whole(x)?, e.whole(kernel)?);
    let name = if x.shape.rank() == 2 {
        e.node("Gemm", &[&input, &kernel, &bias.name], &[])
    } else {
        let product = e.node("MatMul", &[&input, &kernel], &[]);
        e.node("Add", &[&product, &bias.name], &[])
    };
    Ok(whole(name, ty))
}

pub(super) fn dot(e: &mut Emitter, dot: &Dot, lhs: &Held, rhs: &Held, ty: &TensorType) -> Lowered<Held> {
    let sizes = |shape: &Shape, axes: &[usize]| -> Vec<Dim> { axes.iter().map(|&axis| shape[axis]).collect() };
    let contracted = sizes(&lhs.shape, &dot.lhs_contract);
    if contracted.contains(&Dim::Known(0)) {
        return Ok(e.filled(ty, 0.0));
    }
    let (left, right) = (e.whole(lhs)?, e.whole(rhs)?);
    let (left_rank, right_rank) = (lhs.shape.rank(), rhs.shape.rank());
    if dot.lhs_batch.is_empty() && right_rank == 2 {
        let pair = (&dot.lhs_contract[..], &dot.rhs_contract[..]);
        if pair == (&[left_rank.wrapping_sub(1)][..], &[0][..]) {
            return Ok(whole(e.node("MatMul", &[&left, &right], &[]), ty));
        }
        if let (2, &[l], &[r]) = (left_rank, pair.0, pair.1) {
            let flags = [("transA", Attribute::Int(i64::from(l == 0))), ("transB", Attribute::Int(i64::from(r == 1)))];
            return Ok(whole(e.node("Gemm", &[&left, &right], &flags), ty));
        }
    }
    // [batch…, rows, terms]·[batch…, terms, columns], with rows, terms and columns merged into one axis each.
    let (rows, columns) = (dot.lhs_free(left_rank), dot.rhs_free(right_rank));
    let left_order = [&dot.lhs_batch[..], &rows, &dot.lhs_contract].concat();
    let right_order = [&dot.rhs_batch[..], &dot.rhs_contract, &columns].concat();
    let batch = axes_of(&sizes(&lhs.shape, &dot.lhs_batch).into_iter().collect());
    let (rows, columns) = (sizes(&lhs.shape, &rows), sizes(&rhs.shape, &columns));
    let matrix = |first: &Vec<Dim>, second: &Vec<Dim>| -> Vec<Vec<Dim>> {
        batch.iter().chain([first, second]).cloned().collect()
    };
    let left = e.transpose(&left, &left_order);
    let left = e.reshape(&left, &single(&lhs.shape, &left_order), &matrix(&rows, &contracted))?;
    let right = e.transpose(&right, &right_order);
    let right = e.reshape(&right, &single(&rhs.shape, &right_order), &matrix(&contracted, &columns))?;
    let product = e.node("MatMul", &[&left, &right], &[]);
    let name = e.reshape(&product, &matrix(&rows, &columns), &axes_of(&ty.shape))?;
    Ok(whole(name, ty))
}

fn single(shape: &Shape, order: &[usize]) -> Vec<Vec<Dim>> {
    order.iter().map(|&axis| vec![shape[axis]]).collect()
}
