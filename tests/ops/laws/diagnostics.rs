//! Law L9: operands that do not fit give one diagnostic, which names the op and the line that built it. Nothing panics.

use crate::common::cases;
use foldgrad::ir::{Code, Dim, Shape, TensorType};
use foldgrad::op::{Case, Op, Sample};
use foldgrad::{Builder, DType, Expr};
use std::collections::{BTreeMap, BTreeSet};

/// What was done to the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    Missing,
    Extra,
    Rank,
    Scalar,
    Size,
    DType(DType),
}

fn mutate(types: &[TensorType], slot: usize, mutation: Mutation) -> Option<Vec<TensorType>> {
    let mut types = types.to_vec();
    let shape = types.get(slot).map(|ty| ty.shape.clone()).unwrap_or_default();
    match mutation {
        Mutation::Missing => drop(types.remove(slot)),
        Mutation::Extra => types.push(TensorType::scalar(DType::F64)),
        Mutation::Rank => {
            types[slot].shape = [Dim::Known(2)].into_iter().chain(shape.iter().copied()).collect::<Shape>()
        }
        Mutation::Scalar if shape.rank() > 0 => types[slot].shape = Shape::scalar(),
        Mutation::Size if shape.rank() > 0 => {
            let last = shape.rank() - 1;
            types[slot].shape = shape.with(last, shape[last].known()? + 1);
        }
        Mutation::DType(dtype) if types[slot].dtype != dtype => types[slot].dtype = dtype,
        Mutation::Scalar | Mutation::Size | Mutation::DType(_) => return None,
    }
    Some(types)
}

/// Whether the operands are accepted; where they are not, the diagnostic is as the law says.
fn accepts(op: &Op, types: &[TensorType], what: &str) -> bool {
    let b = Builder::new();
    let input = |(slot, ty): (usize, &TensorType)| b.input(&format!("x{slot}"), ty.dtype, ty.shape.clone());
    let operands: Vec<Expr<'_>> = types.iter().enumerate().map(input).collect();
    let (line, results) = (line!(), b.push_all(op.clone(), &operands));
    assert_eq!(results.len(), op.results(), "{what}");
    let Some(errors) = b.errors() else {
        assert!(results.iter().all(|result| !result.is_poisoned()), "{what}");
        return true;
    };
    assert!(results.iter().all(|result| result.is_poisoned()), "{what}");
    assert_eq!(errors.iter().count(), 1, "{what}: {errors}");
    let error = errors.first();
    let place = error.location().unwrap_or_else(|| panic!("{what}: the diagnostic has no place: {error}"));
    assert_eq!((place.file(), place.line()), (file!(), line), "{what}: {error}");
    assert!(error.title().starts_with(&format!("{}: ", op.name())), "{what}: {error}");
    assert!(matches!(error.code(), Code::Shape | Code::DType | Code::Attribute), "{what}: {error}");
    // Whatever is built on it stays silent, and the graph is refused.
    let (next, _) = (results[0] + 1.0, results[0].sum_all());
    assert!(next.is_poisoned() && b.errors().is_some_and(|errors| errors.iter().count() == 1), "{what}");
    b.output("y", next);
    assert!(b.finish().is_err(), "{what}");
    false
}

/// Ops with operands that may be of any type, or of any shape.
const ANY_TYPE: &[&str] = &["cast", "stop_gradient", "broadcast", "reshape", "slice", "transpose"];
const ANY_SHAPE: &[&str] = &["cast", "stop_gradient"];

#[test]
fn operands_that_do_not_fit_are_reported_at_the_users_line() {
    let mut rejected: BTreeMap<&str, BTreeSet<Mutation>> = BTreeMap::new();
    for Case { op, operands } in cases() {
        let types: Vec<TensorType> = operands.iter().map(|Sample { ty, .. }| ty.clone()).collect();
        assert!(accepts(&op, &types, op.name()));
        let dtypes = DType::ALL.map(Mutation::DType);
        let mutations = [Mutation::Missing, Mutation::Rank, Mutation::Scalar, Mutation::Size].into_iter().chain(dtypes);
        for slot in 0..types.len() {
            for mutation in mutations.clone() {
                let Some(types) = mutate(&types, slot, mutation) else { continue };
                if !accepts(&op, &types, &format!("{} with {mutation:?} at operand {slot}", op.name())) {
                    rejected.entry(op.name()).or_default().insert(mutation);
                }
            }
        }
        let extra = mutate(&types, types.len(), Mutation::Extra).unwrap_or_default();
        if !accepts(&op, &extra, &format!("{} with one operand too many", op.name())) {
            rejected.entry(op.name()).or_default().insert(Mutation::Extra);
        }
    }
    for name in Op::names().filter(|name| *name != "input") {
        let rejected = rejected.get(name).cloned().unwrap_or_default();
        let rejects = |what: &str, any: &dyn Fn(&Mutation) -> bool| {
            assert!(rejected.iter().any(any), "{name} never rejects {what}: only {rejected:?}");
        };
        rejects("one operand too many", &|m| *m == Mutation::Extra);
        let has_operands = cases().iter().any(|case| case.op.name() == name && !case.operands.is_empty());
        // One part alone is a concatenation too.
        if has_operands && name != "concat" {
            rejects("a missing operand", &|m| *m == Mutation::Missing);
        }
        if has_operands && !ANY_TYPE.contains(&name) {
            rejects("an element type", &|m| matches!(m, Mutation::DType(_)));
        }
        let binary = cases().iter().any(|case| case.op.name() == name && case.operands.len() > 1);
        if binary && !ANY_SHAPE.contains(&name) {
            rejects("a shape", &|m| matches!(m, Mutation::Rank | Mutation::Scalar | Mutation::Size));
        }
    }
}

/// Builds wrong expressions with the methods that people use, one a line; `line!()` is that of the macro's first.
macro_rules! wrong {
    ($($what:literal: |$b:ident, $x:ident, $n:ident| $expr:expr;)*) => {
        [$((line!(), $what, {
            fn build(b: &Builder) {
                let ($b, $x, $n) = (b, b.input("x", DType::F32, [2, 3]), b.input("n", DType::I32, [2]));
                let _ = (&$b, &$x, &$n);
                let _ = $expr;
            }
            build as fn(&Builder)
        })),*]
    };
}

/// Every method carries the caller's line.
#[test]
fn methods_report_the_line_they_stand_on() {
    #[rustfmt::skip]
    let cases = wrong! {
        "add": |b, x, n| x + n;
        "broadcast": |b, x, n| x + x.transpose(&[1, 0]);
        "mul": |b, x, n| n * x;
        "float": |b, x, n| n.tanh();
        "activation": |b, x, n| n.selu();
        "gelu": |b, x, n| n.gelu(foldgrad::ops::GeluForm::Exact);
        "elu": |b, x, n| n.elu(1.0);
        "leaky_relu": |b, x, n| n.leaky_relu(0.1);
        "silu": |b, x, n| n.silu();
        "softplus": |b, x, n| n.softplus();
        "clamp": |b, x, n| x.clamp(x.cast(DType::F64), 1.0);
        "compare": |b, x, n| x.less(n);
        "select": |b, x, n| x.select(x, x);
        "dot": |b, x, n| x.dot(x);
        "dot_general": |b, x, n| x.dot_general(x, (&[5], &[0]), (&[], &[]));
        "dense": |b, x, n| x.dense(x, None);
        "dense with bias": |b, x, n| x.dense(x.transpose(&[1, 0]), Some(n));
        "sum": |b, x, n| x.sum(&[2]);
        "mean": |b, x, n| x.mean(&[0, 0]);
        "reduce_max": |b, x, n| n.reduce_max(&[0]);
        "product": |b, x, n| x.product(&[7]);
        "arg_max": |b, x, n| x.arg_max(2);
        "softmax": |b, x, n| x.softmax(2);
        "log_softmax": |b, x, n| x.log_softmax(9);
        "cross entropy": |b, x, n| x.softmax_cross_entropy(x);
        "reshape": |b, x, n| x.reshape([7]);
        "transpose": |b, x, n| x.transpose(&[0, 0]);
        "broadcast_to": |b, x, n| x.broadcast_to([2, 4]);
        "slice": |b, x, n| x.slice(0, 1..4);
        "slice_by": |b, x, n| x.slice_by(0, 0..2, 0);
        "pad": |b, x, n| x.pad(0, 1, 1, 0, n);
        "concat": |b, x, n| b.concat(&[x, n], 0);
        "concat of nothing": |b, x, n| b.concat(&[], 0);
        "one_hot": |b, x, n| x.one_hot(3, DType::F32);
        "take": |b, x, n| x.take_along_axis(n, 0);
        "scatter": |b, x, n| x.scatter_along_axis(n, 0, 3);
        "dropout": |b, x, n| x.dropout(n, 1.0);
        "random": |b, x, n| b.random_uniform(n, DType::I32, [2]);
        "iota": |b, x, n| b.iota(DType::I32, [2], 1);
        "size": |b, x, n| b.size([], DType::Bool);
        "batch norm": |b, x, n| x.batch_norm_train(x, x, 1, 1e-3);
        "batch norm with given statistics": |b, x, n| x.batch_norm_infer([n, n, n, n], 1, 1e-3);
        "a name": |b, x, n| b.input("x", DType::F32, [2]);
        "an update": |b, x, n| b.update(x, x);
    };
    report_their_lines(&cases);
}

/// The line of the list, what is wrong, and what builds it.
type Wrong = (u32, &'static str, fn(&Builder));

/// Each builds one mistake, which is reported at its line: the one behind that of the row before.
#[track_caller]
fn report_their_lines(cases: &[Wrong]) {
    for (row, (line, what, build)) in (1..).zip(cases) {
        let b = Builder::new();
        build(&b);
        let errors = b.errors().unwrap_or_else(|| panic!("{what}: no mistake was reported"));
        assert_eq!(errors.iter().count(), 1, "{what}: {errors}");
        let place = errors.first().location().unwrap_or_else(|| panic!("{what}: {errors}"));
        assert_eq!((place.file(), place.line()), (file!(), line + row), "{what}: {errors}");
    }
}

/// An axis that is not there, and one that is named twice, is never dropped in silence.
#[test]
fn every_method_that_takes_an_axis_refuses_a_wrong_one() {
    #[rustfmt::skip]
    let cases = wrong! {
        "sum": |b, x, n| x.sum(&[99]);
        "sum twice": |b, x, n| x.sum(&[1, 1]);
        "mean": |b, x, n| x.mean(&[99]);
        "mean twice": |b, x, n| x.mean(&[0, 1, 0]);
        "reduce_max": |b, x, n| x.reduce_max(&[99]);
        "reduce_max twice": |b, x, n| x.reduce_max(&[0, 0]);
        "reduce_min": |b, x, n| x.reduce_min(&[0, 99]);
        "reduce_min twice": |b, x, n| x.reduce_min(&[1, 0, 1]);
        "product": |b, x, n| x.product(&[99]);
        "product twice": |b, x, n| x.product(&[0, 0]);
        "count": |b, x, n| x.count(&[99]);
        "count of several": |b, x, n| x.count(&[0, 99]);
        "count twice": |b, x, n| x.count(&[0, 0]);
        "count of integers": |b, x, n| n.count(&[1]);
        "unreduce": |b, x, n| x.sum(&[1]).unreduce(&[1, 99], x);
        "unreduce twice": |b, x, n| x.sum(&[1]).unreduce(&[1, 1], x);
        "unreduce of another shape": |b, x, n| x.unreduce(&[1], x);
        "unreduce over nothing": |b, x, n| x.unreduce(&[], n);
        "along": |b, x, n| n.along(99, n);
        "broadcast_in": |b, x, n| x.broadcast_in([2, 3, 4], &[0, 99]);
        "broadcast_in twice": |b, x, n| x.broadcast_in([2, 3, 4], &[0, 0]);
        "broadcast_in out of order": |b, x, n| x.broadcast_in([3, 2], &[1, 0]);
        "transpose": |b, x, n| x.transpose(&[0, 99]);
        "transpose twice": |b, x, n| x.transpose(&[1, 1]);
        "transpose of too few": |b, x, n| x.transpose(&[0]);
        "concat of one": |b, x, n| b.concat(&[x], 99);
        "concat": |b, x, n| b.concat(&[x, x], 99);
        "slice": |b, x, n| x.slice(99, 0..1);
        "slice_by": |b, x, n| x.slice_by(2, 0..1, 1);
        "pad": |b, x, n| x.pad(99, 0, 0, 0, x.scalar_like(0.0));
        "softmax": |b, x, n| x.softmax(99);
        "log_softmax": |b, x, n| x.log_softmax(99);
        "arg_max": |b, x, n| x.arg_max(99);
        "take": |b, x, n| x.take_along_axis(x.cast(DType::I32), 99);
        "scatter": |b, x, n| x.scatter_along_axis(x.cast(DType::I32), 99, 3);
        "dot": |b, x, n| x.dot_general(x, (&[99], &[0]), (&[], &[]));
        "dot, of the other": |b, x, n| x.dot_general(x, (&[0], &[99]), (&[], &[]));
        "dot, batch": |b, x, n| x.dot_general(x, (&[], &[]), (&[99], &[99]));
        "dot twice": |b, x, n| x.dot_general(x, (&[0, 0], &[0, 0]), (&[], &[]));
        "dot, both ways": |b, x, n| x.dot_general(x, (&[0], &[0]), (&[0], &[0]));
        "iota": |b, x, n| b.iota(DType::I32, [2, 3], 99);
        "batch norm": |b, x, n| x.batch_norm_train(x, x, 99, 1e-3);
        "batch norm with given statistics": |b, x, n| x.batch_norm_infer([x, x, x, x], 99, 1e-3);
    };
    report_their_lines(&cases);
}
