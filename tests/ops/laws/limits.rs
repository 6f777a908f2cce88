//! Where counting ends: values that no memory holds, sizes that no number holds, axes without elements or without axes.

use crate::common::running::{SETS, options, run};
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, Dim, OrderedMap, Shape, Symbol, parse};
use foldgrad::pass::Pipeline;
use foldgrad::plan::{Plan, PlanError};
use foldgrad::reference::{Array, EvalError, NdArray, interpret};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};

const HUGE: usize = 1 << 40;

type Make = for<'b> fn(&'b Builder, Expr<'b>) -> Expr<'b>;

/// What becomes of a value made of the scalar `x`.
fn evaluated(make: Make) -> Result<(), EvalError> {
    let b = Builder::new();
    let x = b.input("x", DType::F64, Shape::scalar());
    b.output("y", make(&b, x));
    let graph = b.finish().unwrap_or_else(|errors| panic!("{errors}"));
    let feeds = OrderedMap::from([("x".to_owned(), Array::Real(NdArray { shape: Vec::new(), data: vec![1.0f64] }))]);
    interpret(&graph, &feeds).map(drop)
}

#[test]
fn values_that_no_memory_holds_are_errors() {
    let makes: [(&str, Make); 14] = [
        ("broadcast", |_, x| x.broadcast_to([HUGE])),
        ("broadcast, two axes", |_, x| x.broadcast_to([1 << 20, 1 << 20])),
        ("broadcast, beyond counting", |_, x| x.broadcast_to([usize::MAX / 2, 4])),
        ("broadcast, empty beyond counting", |_, x| x.broadcast_to([usize::MAX / 2, 4, 0])),
        ("iota", |b, x| b.iota(DType::F64, [HUGE], 0).sum_all() + x),
        ("pad", |_, x| x.reshape([1]).pad(0, HUGE, 0, 0, x)),
        ("pad between", |_, x| x.broadcast_to([2]).pad(0, 0, 0, HUGE, x)),
        ("random", |b, x| {
            b.random_uniform(b.constant(Tensor::vector(vec![1i32, 2])), DType::F64, [HUGE]).sum_all() + x
        }),
        ("one_hot", |b, _| b.constant(Tensor::vector(vec![0i32; 1 << 10])).one_hot(1 << 30, DType::F64)),
        ("scatter", |b, x| x.reshape([1]).scatter_along_axis(b.constant(Tensor::vector(vec![0i32])), 0, HUGE)),
        ("dot", |_, x| x.broadcast_to([1 << 20]).dot_general(x.broadcast_to([1 << 20]), (&[], &[]), (&[], &[]))),
        ("concat", |b, x| {
            let part = x.broadcast_to([1, 1 << 20]).reshape([1 << 20]);
            b.concat(&vec![part; 1 << 12], 0)
        }),
        ("a sum of a huge value", |_, x| x.broadcast_to([HUGE]).tanh().sum_all()),
        ("a composite", |_, x| x.broadcast_to([1 << 32]).silu()),
    ];
    for (what, make) in makes {
        match evaluated(make) {
            Err(EvalError::TooLarge { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    // An empty value needs no memory, however long its other axes are.
    assert_eq!(evaluated(|_, x| x.broadcast_to([HUGE, 0])), Ok(()));
}

#[test]
fn sizes_that_are_known_fit_their_type_or_are_refused() {
    let size = |dims: &[usize], dtype| {
        let b = Builder::new();
        let size = b.size(dims.iter().map(|&size| Dim::Known(size)), dtype);
        (!size.is_poisoned()).then_some(())
    };
    for dtype in [DType::I32, DType::F32, DType::F64] {
        assert!(size(&[1 << 16, (1 << 15) - 1], dtype).is_some());
        assert!(size(&[usize::MAX, 2], dtype).is_none(), "{dtype}");
        assert!(size(&[1 << 32, 1 << 32], dtype).is_none(), "{dtype}");
        assert!(size(&[usize::MAX, 2, 0], dtype).is_some(), "nothing is counted: {dtype}");
    }
    assert!(size(&[1 << 31], DType::I32).is_none() && size(&[1 << 16, 1 << 15], DType::I32).is_none());
    assert!(size(&[1 << 31], DType::F64).is_some() && size(&[(1 << 31) - 1], DType::I32).is_some());
    let b = Builder::new();
    assert!(b.iota(DType::I32, [(1 << 31) + 1], 0).is_poisoned() && !b.iota(DType::I32, [1 << 31], 0).is_poisoned());
}

/// A symbol's size is known only when it is bound: then the error is one of the evaluation, and of the plan.
#[test]
fn sizes_that_are_bound_fit_their_type_or_are_errors() {
    let graph = |dtype: DType, times: usize| {
        let b = Builder::new();
        b.input("x", DType::F64, [Dim::symbol("n"), 0.into()]);
        b.output("y", b.size(vec![Dim::symbol("n"); times], dtype));
        b.finish().unwrap_or_else(|errors| panic!("{errors}"))
    };
    let check = |dtype: DType, n: usize, times: usize, expected: Option<f64>| {
        let graph = graph(dtype, times);
        let feeds =
            OrderedMap::from([("x".to_owned(), Array::Real(NdArray { shape: vec![n, 0], data: Vec::<f64>::new() }))]);
        let bindings = Bindings::from_iter([(Symbol::new("n"), n)]);
        let (evaluated, planned) = (interpret(&graph, &feeds), Plan::new(&graph, &bindings));
        match expected {
            None => {
                let evaluated = evaluated.map(drop);
                assert!(matches!(evaluated, Err(EvalError::Uncountable { .. })), "{n}^{times} {dtype}: {evaluated:?}");
                assert!(matches!(planned, Err(PlanError::Uncountable { .. })), "{n}^{times} {dtype}");
            }
            Some(size) => {
                let y = &evaluated.unwrap().outputs["y"];
                assert_eq!(y.to_tensor(DType::F64).unwrap().to_f64(), [size], "{n}^{times} {dtype}");
                let mut run = Executable::new(graph, &bindings).unwrap();
                run.run(&[&Tensor::zeros(DType::F64, [n, 0])], &mut []).unwrap();
                assert_eq!(run.output_tensor(0).unwrap().to_f64(), [size], "{n}^{times} {dtype}");
            }
        }
    };
    check(DType::I32, (1 << 31) - 1, 1, Some(2_147_483_647.0));
    check(DType::I32, 1 << 31, 1, None);
    check(DType::I32, 1 << 16, 2, None);
    check(DType::F64, 1 << 31, 1, Some(2_147_483_648.0));
    check(DType::F64, 1 << 31, 2, Some(4_611_686_018_427_387_904.0));
    check(DType::F64, 1 << 32, 2, None);
    check(DType::F32, 1 << 32, 3, None);
    check(DType::I32, 0, 7, Some(0.0));
    // A symbol that no input has and nobody binds is no size of 0.
    let unbound = Plan::new(&graph(DType::I32, 1), &Bindings::new());
    assert!(matches!(unbound, Err(PlanError::Unbound { .. })));
}

#[test]
fn nothing_has_a_largest_element() {
    let b = Builder::new();
    assert!(b.input("x", DType::F64, [2, 0]).arg_max(1).is_poisoned(), "a known axis of 0 is refused");
    for (shape, axis, expected) in
        [([2usize, 0], 1, vec![-1.0; 2]), ([0, 3], 0, vec![-1.0; 3]), ([0, 3], 1, Vec::new()), ([2, 0], 0, Vec::new())]
    {
        let b = Builder::new();
        let x = b.input("x", DType::F64, [Dim::symbol("rows"), Dim::symbol("columns")]);
        b.output("y", x.arg_max(axis));
        let graph = b.finish().unwrap();
        let feeds = OrderedMap::from([(
            "x".to_owned(),
            Array::Real(NdArray { shape: shape.to_vec(), data: Vec::<f64>::new() }),
        )]);
        let y = &interpret(&graph, &feeds).unwrap().outputs["y"];
        assert_eq!(y.to_tensor(DType::F64).unwrap().to_f64(), expected, "{shape:?}, axis {axis}");
        let bindings = Bindings::from_iter([(Symbol::new("rows"), shape[0]), (Symbol::new("columns"), shape[1])]);
        let mut run = Executable::new(graph, &bindings).unwrap();
        run.run(&[&Tensor::zeros(DType::F64, shape)], &mut []).unwrap();
        assert_eq!(run.output_tensor(0).unwrap().to_f64(), expected, "{shape:?}, axis {axis}");
    }
}

/// The text form can say a reduction over no axes, which is the identity: alone, within maps, and after every pipeline.
#[test]
fn a_reduction_over_no_axes_changes_nothing() {
    let shapes: [(&str, Vec<usize>); 4] = [("", vec![]), ("3", vec![3]), ("2,3", vec![2, 3]), ("0,3", vec![0, 3])];
    for op in ["reduce_sum", "reduce_max", "reduce_min", "reduce_product", "mean"] {
        for (shape, sizes) in &shapes {
            for (before, behind) in [("%0", "%1"), ("neg(%0)", "neg(%2)"), ("stop_gradient(%0)", "stop_gradient(%2)")] {
                for dtype in [DType::F32, DType::F64] {
                    let graph = no_axes(op, &format!("{dtype}[{shape}]"), before, behind);
                    let len = sizes.iter().product::<usize>();
                    let values: Vec<f64> = (0..len).map(|i| i as f64 + 5.0).collect();
                    let x = Tensor::from_f64(dtype, sizes.clone(), values).unwrap();
                    let feeds = OrderedMap::from([("x".to_owned(), x.clone())]);
                    let pipelines = [Pipeline::training(), Pipeline::inference()];
                    let rewritten = pipelines.map(|pipeline| pipeline.run(&graph).unwrap().graph);
                    for graph in [&graph].into_iter().chain(&rewritten) {
                        let arrays = OrderedMap::from([("x".to_owned(), Array::<f64>::from_tensor(&x))]);
                        let reference = &interpret(graph, &arrays).unwrap().outputs["y"];
                        assert_eq!(reference.to_tensor(dtype).unwrap(), x, "{op} of {}", x.ty());
                        for set in SETS {
                            assert_eq!(
                                run(graph, &feeds, &options(set, 1, false))["y"],
                                x,
                                "{op} of {}, {set:?}",
                                x.ty()
                            );
                        }
                    }
                }
            }
        }
    }
}

fn no_axes(op: &str, ty: &str, before: &str, behind: &str) -> Graph {
    let lines = match before {
        "%0" => format!("%1 = {op}(%0) {{axes=[]}}"),
        _ => format!("%1 = {before}\n  %2 = {op}(%1) {{axes=[]}}\n  %3 = {behind}"),
    };
    let last = if before == "%0" { 1 } else { 3 };
    let text = format!(
        "graph {{\n  %0 = input() {{name=\"x\", role=data, type={ty}}}\n  {lines}\n  output \"y\" = %{last}\n}}"
    );
    parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}
