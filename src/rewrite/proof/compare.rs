//! Comparison at one point: `before(v) = after(w)` for every pair of values that should be equal.

use super::unequal::{Difference, Unequal, Which};
use super::{Claim, Equality};
use crate::ir::{Graph, NodeId, Value};
use crate::reference::{Array, EvalError, strides_of};
use crate::rewrite::evaluate::{Evaluator, Exact, ValueNumber};
use std::fmt::Debug;

/// Largest difference of two f64 elements, relative to the largest element of the two tensors.
const RELATIVE: f64 = 1e-12;
/// The same for tensors that are all but zero: what cancels among operands of size 1 leaves rounding errors.
const ABSOLUTE: f64 = 1e-14;

/// Values that should be equal.
pub(super) struct Pair {
    which: Which,
    before: Value,
    after: Value,
}

pub(super) fn unequal(which: Which, difference: Difference) -> Box<Unequal> {
    Box::new(Unequal { which, difference })
}

/// Claims, outputs and updates, in this order; or how the interfaces differ.
pub(super) fn pairs(before: &Graph, after: &Graph, claims: &[Claim]) -> Result<Vec<Pair>, Box<Unequal>> {
    if let Some((name, _)) = after.inputs().find(|(name, _)| before.input(name).is_none()) {
        return Err(unequal(Which::InputSpec(name.to_owned()), Difference::New));
    }
    let mut pairs = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        for (graph, value) in [(before, claim.before), (after, claim.after)] {
            let known =
                value.node.index() < graph.len() && (value.output as usize) < graph.node(value.node).types().len();
            if !known {
                return Err(unequal(Which::Claim(index), Difference::NoSuchValue(value)));
            }
        }
        pairs.push(Pair { which: Which::Claim(index), before: claim.before, after: claim.after });
    }
    let outputs = |name: &str| Which::Output(name.to_owned());
    matched(
        before.outputs(),
        |name| before.output(name),
        after.outputs(),
        |name| after.output(name),
        outputs,
        &mut pairs,
    )?;
    let next = |graph: &Graph, name: &str| {
        let id = graph.input(name)?;
        graph.updates.get(&id).copied()
    };
    let updates = |name: &str| Which::Update(name.to_owned());
    matched(named(before), |name| next(before, name), named(after), |name| next(after, name), updates, &mut pairs)?;
    for pair in &pairs {
        let (a, b) = (before.ty(pair.before), after.ty(pair.after));
        if a != b {
            return Err(unequal(pair.which.clone(), Difference::of_types(a, b)));
        }
    }
    Ok(pairs)
}

fn named(graph: &Graph) -> impl Iterator<Item = (&str, Value)> {
    graph.updates().filter_map(|(state, next): (NodeId, Value)| Some((graph.as_input(state)?.0, next)))
}

/// Pairs up what both graphs name, and refuses what only one of them does.
fn matched<'a>(
    before: impl Iterator<Item = (&'a str, Value)>,
    of_before: impl Fn(&str) -> Option<Value>,
    after: impl Iterator<Item = (&'a str, Value)>,
    of_after: impl Fn(&str) -> Option<Value>,
    which: impl Fn(&str) -> Which,
    pairs: &mut Vec<Pair>,
) -> Result<(), Box<Unequal>> {
    for (name, value) in before {
        match of_after(name) {
            Some(after) => pairs.push(Pair { which: which(name), before: value, after }),
            None => return Err(unequal(which(name), Difference::Missing)),
        }
    }
    match { after }.find(|(name, _)| of_before(name).is_none()) {
        Some((name, _)) => Err(unequal(which(name), Difference::New)),
        None => Ok(()),
    }
}

/// Evaluates both graphs at a point and compares every pair; `differ` finds the first float element that differs.
pub(super) fn compare<S: Exact>(
    point: &mut Evaluator<S>,
    [before, after]: [&Graph; 2],
    pairs: &[Pair],
    differ: impl Fn(&[S], &[S]) -> Option<usize>,
    equality: Equality,
) -> Result<(), Box<Unequal>> {
    let mut numbers = |graph: &Graph, of: fn(&Pair) -> Value, which: Which| -> Result<Vec<ValueNumber>, Box<Unequal>> {
        let roots: Vec<Value> = pairs.iter().map(of).collect();
        let fail = |error: EvalError| unequal(which.clone(), Difference::Unevaluated(error));
        let numbered = point.run(graph, &roots).map_err(fail)?;
        let missing = |&root: &Value| unequal(which.clone(), Difference::NoSuchValue(root));
        roots.iter().map(|root| numbered.get(*root).ok_or_else(|| missing(root))).collect()
    };
    let before = numbers(before, |pair| pair.before, Which::Before)?;
    let after = numbers(after, |pair| pair.after, Which::After)?;
    for ((pair, before), after) in pairs.iter().zip(before).zip(after) {
        if before == after {
            continue;
        }
        if let Some(difference) = difference(point.array(before), point.array(after), &differ, equality) {
            return Err(unequal(pair.which.clone(), difference));
        }
    }
    Ok(())
}

/// The first element at which two values of one type differ.
fn difference<S: Exact>(
    before: &Array<S>,
    after: &Array<S>,
    differ: impl Fn(&[S], &[S]) -> Option<usize>,
    equality: Equality,
) -> Option<Difference> {
    fn shown<T: Debug>(at: usize, a: &[T], b: &[T]) -> (usize, String, String) {
        (at, format!("{:?}", a[at]), format!("{:?}", b[at]))
    }
    let (at, left, right) = match (before, after) {
        (Array::Real(a), Array::Real(b)) => shown(differ(&a.data, &b.data)?, &a.data, &b.data),
        (Array::Int(a), Array::Int(b)) => shown(first(&a.data, &b.data)?, &a.data, &b.data),
        (Array::Bool(a), Array::Bool(b)) => shown(first(&a.data, &b.data)?, &a.data, &b.data),
        _ => unreachable!("values of one type are of one kind"),
    };
    let index =
        strides_of(before.shape()).iter().zip(before.shape()).map(|(stride, size)| at / stride % size).collect();
    Some(Difference::Element { index, before: left, after: right, equality })
}

fn first<T: PartialEq>(a: &[T], b: &[T]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

/// The first element that differs at all.
pub(super) fn exactly<S: Exact>(a: &[S], b: &[S]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| !a.same(*b))
}

/// The first element that differs by more than rounding; infinities and NaN must be the same.
pub(super) fn nearly(a: &[f64], b: &[f64]) -> Option<usize> {
    let finite = a.iter().chain(b).map(|x| x.abs()).filter(|x| x.is_finite());
    let tolerance = RELATIVE * finite.fold(0.0, f64::max) + ABSOLUTE;
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance;
    a.iter().zip(b).position(|(&a, &b)| !same(a, b))
}
