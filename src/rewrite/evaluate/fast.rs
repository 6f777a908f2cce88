//! Ops as plain loops over strided memory, with the bits of the reference: an element is computed from the same numbers
//! by the same functions, and a sum takes its terms in row-major order.

use super::content::{Content, View};
use super::number::Exact;
use super::walk::{Axes, row_major, walk};
use crate::ops::{Binary, Compare, Reduce, Reduction, Unary};
use crate::reference::{Array, NdArray};
use std::sync::Arc;

/// Element-wise over `N` operands: an axis that all of them repeat is computed once and repeated.
struct Elementwise {
    shape: Axes,
    computed: Axes,
}

impl Elementwise {
    fn new<const N: usize>(shape: &[usize], strides: [&[usize]; N]) -> Elementwise {
        let repeated = |axis: usize| strides.iter().all(|strides| strides[axis] == 0);
        let size = |(axis, &size): (usize, &usize)| if size > 1 && repeated(axis) { 1 } else { size };
        Elementwise { shape: Axes::from_slice(shape), computed: shape.iter().enumerate().map(size).collect() }
    }

    fn finish<S: Exact, T>(self, data: Vec<T>, kind: impl FnOnce(NdArray<T>) -> Array<S>) -> Content<S> {
        let strides = row_major(&self.computed);
        let array = kind(NdArray { shape: self.computed.to_vec(), data });
        Content::strided(Arc::new(array), self.shape, strides)
    }

    fn len(&self) -> usize {
        self.computed.iter().product()
    }

    fn map<A: Copy, R>(&self, a: View<'_, A>, f: impl Fn(A) -> R) -> Vec<R> {
        let mut out = Vec::with_capacity(self.len());
        walk(&self.computed, [a.strides], |[i], [step], len| match step {
            1 => out.extend(a.data[i..i + len].iter().map(|&a| f(a))),
            _ => out.extend((0..len).map(|t| f(a.data[i + t * step]))),
        });
        out
    }

    fn zip<A: Copy, B: Copy, R>(&self, a: View<'_, A>, b: View<'_, B>, f: impl Fn(A, B) -> R) -> Vec<R> {
        let mut out = Vec::with_capacity(self.len());
        walk(&self.computed, [a.strides, b.strides], |[i, j], steps, len| match steps {
            [1, 1] => out.extend(a.data[i..i + len].iter().zip(&b.data[j..j + len]).map(|(&a, &b)| f(a, b))),
            [1, 0] => {
                let b = b.data[j];
                out.extend(a.data[i..i + len].iter().map(|&a| f(a, b)));
            }
            [0, 1] => {
                let a = a.data[i];
                out.extend(b.data[j..j + len].iter().map(|&b| f(a, b)));
            }
            [p, q] => out.extend((0..len).map(|t| f(a.data[i + t * p], b.data[j + t * q]))),
        });
        out
    }
}

pub(super) fn unary<S: Exact>(op: Unary, x: &Content<S>) -> Content<S> {
    let plan = Elementwise::new(&x.shape, [&x.strides]);
    let data = plan.map(x.real(), |x| op.apply(x));
    plan.finish(data, Array::Real)
}

pub(super) fn binary<S: Exact>(op: Binary, a: &Content<S>, b: &Content<S>) -> Content<S> {
    let plan = Elementwise::new(&a.shape, [&a.strides, &b.strides]);
    if let (Array::Int(x), Array::Int(y)) = (a.base(), b.base()) {
        let (x, y) = (View { data: &x.data, strides: &a.strides }, View { data: &y.data, strides: &b.strides });
        let data = plan.zip(x, y, |x, y| op.apply_int(x, y));
        return plan.finish(data, Array::Int);
    }
    let (x, y) = (a.real(), b.real());
    // The choice of function leaves the loop for those that large values meet.
    let data = match op {
        Binary::Add => plan.zip(x, y, |x, y| Binary::Add.apply(x, y)),
        Binary::Sub => plan.zip(x, y, |x, y| Binary::Sub.apply(x, y)),
        Binary::Mul => plan.zip(x, y, |x, y| Binary::Mul.apply(x, y)),
        _ => plan.zip(x, y, |x, y| op.apply(x, y)),
    };
    plan.finish(data, Array::Real)
}

pub(super) fn compare<S: Exact>(op: Compare, a: &Content<S>, b: &Content<S>) -> Content<S> {
    let plan = Elementwise::new(&a.shape, [&a.strides, &b.strides]);
    let data = match (a.base(), b.base()) {
        (Array::Int(x), Array::Int(y)) => {
            let (x, y) = (View { data: &x.data, strides: &a.strides }, View { data: &y.data, strides: &b.strides });
            plan.zip(x, y, |x, y| op.apply_int(x, y))
        }
        (Array::Bool(_), Array::Bool(_)) => {
            plan.zip(a.mask(), b.mask(), |x, y| op.apply_int(i32::from(x), i32::from(y)))
        }
        _ => plan.zip(a.real(), b.real(), |x, y| op.apply(x, y)),
    };
    plan.finish(data, Array::Bool)
}

pub(super) fn select<S: Exact>(mask: &Content<S>, on_true: &Content<S>, on_false: &Content<S>) -> Content<S> {
    fn pick<T: Copy>(plan: &Elementwise, mask: View<'_, bool>, a: View<'_, T>, b: View<'_, T>) -> Vec<T> {
        let mut out = Vec::with_capacity(plan.len());
        walk(&plan.computed, [mask.strides, a.strides, b.strides], |[m, i, j], [n, p, q], len| {
            out.extend((0..len).map(|t| if mask.data[m + t * n] { a.data[i + t * p] } else { b.data[j + t * q] }));
        });
        out
    }
    let plan = Elementwise::new(&mask.shape, [&mask.strides, &on_true.strides, &on_false.strides]);
    match (on_true.base(), on_false.base()) {
        (Array::Int(a), Array::Int(b)) => {
            let (a, b) =
                (View { data: &a.data, strides: &on_true.strides }, View { data: &b.data, strides: &on_false.strides });
            let data = pick(&plan, mask.mask(), a, b);
            plan.finish(data, Array::Int)
        }
        (Array::Bool(_), Array::Bool(_)) => {
            let data = pick(&plan, mask.mask(), on_true.mask(), on_false.mask());
            plan.finish(data, Array::Bool)
        }
        _ => {
            let data = pick(&plan, mask.mask(), on_true.real(), on_false.real());
            plan.finish(data, Array::Real)
        }
    }
}

/// Axis `i` of the operand as axis `to[i]` of the result, which repeats along the others.
pub(super) fn stretch<S: Exact>(to: &[usize], x: &Content<S>, shape: Axes) -> Content<S> {
    let mut strides = Axes::from_elem(0, shape.len());
    for (axis, &dim) in to.iter().enumerate() {
        // An axis of one element has stride 0: it repeats wherever it is stretched.
        strides[dim] = x.strides[axis];
    }
    x.restrided(shape, strides)
}

/// Axis `i` of the result is axis `from[i]` of the operand.
pub(super) fn permute<S: Exact>(from: &[usize], x: &Content<S>, shape: Axes) -> Content<S> {
    let strides = from.iter().map(|&axis| x.strides[axis]).collect();
    x.restrided(shape, strides)
}

pub(super) fn reduce<S: Exact>(op: &Reduce, x: &Content<S>, shape: Axes) -> Content<S> {
    // The place of each element's sum: a reduced axis does not move it.
    let mut kept = row_major(&shape).into_iter();
    let places: Axes =
        (0..x.shape.len()).map(|axis| if op.axes().contains(&axis) { 0 } else { kept.next().unwrap_or(0) }).collect();
    let len: usize = shape.iter().product();
    let identity = S::from_f64(op.reduction.identity());
    let data = match op.reduction {
        Reduction::Sum => {
            let sums = accumulate(x, &places, vec![S::nothing(); len], S::add_term);
            sums.into_iter().map(S::total).collect()
        }
        Reduction::Product => accumulate(x, &places, vec![identity; len], S::mul),
        Reduction::Max | Reduction::Min => {
            let better = |best: Option<S>, x: S| {
                Some(match (best, op.reduction) {
                    (None, _) => x,
                    (Some(best), Reduction::Max) => best.max(x),
                    (Some(best), _) => best.min(x),
                })
            };
            let best = accumulate(x, &places, vec![None; len], better);
            best.into_iter().map(|best| best.unwrap_or(identity)).collect()
        }
    };
    Content::new(Arc::new(Array::Real(NdArray { shape: shape.to_vec(), data })))
}

/// Folds each element, in row-major order, into the accumulator at its place.
fn accumulate<S: Exact, A: Copy>(x: &Content<S>, places: &[usize], mut into: Vec<A>, f: impl Fn(A, S) -> A) -> Vec<A> {
    let view = x.real();
    walk(&x.shape, [view.strides, places], |[at, place], [step, pace], len| {
        if pace == 0 {
            into[place] = (0..len).fold(into[place], |sum, i| f(sum, view.data[at + i * step]));
        } else {
            (0..len).for_each(|i| into[place + i * pace] = f(into[place + i * pace], view.data[at + i * step]));
        }
    });
    into
}
