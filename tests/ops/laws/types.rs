//! Law L1: what `infer` says is the type of what `eval` gives, for every op, over every number type, in every graph.

use crate::common::{Feeds, Random, Trial, cases, feeds_as, trials};
use foldgrad::autodiff::OpRules;
use foldgrad::ir::{Dim, TensorType};
use foldgrad::op::Case;
use foldgrad::reference::{ComplexStep, Dual, Fp, Number, interpret_all};
use foldgrad::{Builder, DType, Expr, Graph};
use std::collections::BTreeSet;

/// Every node of the graph, evaluated, has the types that were inferred.
fn check<S: Number>(what: &str, graph: &Graph, feeds: &Feeds) {
    let values = interpret_all(graph, &feeds_as::<S>(feeds)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bindings = feeds
        .iter()
        .flat_map(|(name, array)| {
            let id = graph.input(name).unwrap_or_else(|| panic!("{what}: no input {name}"));
            let dims = graph.node(id).types()[0].shape.iter().copied().collect::<Vec<_>>();
            dims.into_iter().zip(array.shape().to_vec())
        })
        .filter_map(|(dim, size)| if let Dim::Symbol(symbol) = dim { Some((symbol, size)) } else { None })
        .collect();
    for ((id, node), results) in graph.nodes().zip(&values) {
        assert_eq!(node.types().len(), results.len(), "{what}: {}", graph.describe(id));
        for (ty, result) in node.types().iter().zip(results) {
            let shape = ty.shape.resolve(&bindings).expect("every symbol is that of an input");
            assert!(result.fits(ty, &shape), "{what}: {} is {ty}, found {:?}", graph.describe(id), result.shape());
        }
    }
}

/// The op over inputs of these types, and values for them.
pub fn graph_of(case: &Case, types: &[TensorType], seed: u64) -> Result<(Graph, Feeds), String> {
    let b = Builder::new();
    let mut random = Random(seed);
    let mut feeds = Feeds::new();
    let mut operands: Vec<Expr<'_>> = Vec::new();
    for (slot, (ty, sample)) in types.iter().zip(&case.operands).enumerate() {
        let shape = sample.ty.shape.known().unwrap_or_default();
        feeds.insert(format!("x{slot}"), random.array(ty.dtype, &shape, sample.domain));
        operands.push(b.input(&format!("x{slot}"), ty.dtype, ty.shape.clone()));
    }
    for (index, result) in b.push_all(case.op.clone(), &operands).into_iter().enumerate() {
        b.output(&format!("y{index}"), result);
    }
    Ok((b.finish().map_err(|errors| errors.to_string())?, feeds))
}

fn types_in(case: &Case, dtype: DType) -> Vec<TensorType> {
    let of = |ty: &TensorType| if ty.dtype.is_float() { ty.with_dtype(dtype) } else { ty.clone() };
    case.operands.iter().map(|sample| of(&sample.ty)).collect()
}

#[test]
fn inferred_types_are_the_types_of_values() {
    for case in cases() {
        for dtype in [DType::F64, DType::F32] {
            let name = case.op.name();
            let (graph, feeds) = graph_of(&case, &types_in(&case, dtype), 1).unwrap_or_else(|e| panic!("{name}: {e}"));
            check::<f64>(name, &graph, &feeds);
            check::<f32>(name, &graph, &feeds);
            check::<Dual>(name, &graph, &feeds);
            check::<ComplexStep>(name, &graph, &feeds);
            check::<Fp>(name, &graph, &feeds);
        }
    }
}

#[test]
fn inferred_types_hold_in_gradient_graphs() {
    for dtype in [DType::F64, DType::F32] {
        for trial in trials(dtype, 1) {
            let problem = trial.problem(&OpRules).unwrap_or_else(|error| panic!("{error}"));
            check::<f64>(&problem.label, &problem.gradient, &problem.feeds);
            let second = trial.second_problem(&OpRules, 2).unwrap_or_else(|error| panic!("{error}"));
            check::<f64>(&second.label, &second.gradient, &second.feeds);
            let wrong = second.gradient.nodes().flat_map(|(_, node)| node.types()).find(|ty| is_other(ty, dtype));
            assert!(wrong.is_none() || changes_type(&trial), "{}: a value of type {wrong:?}", second.label);
        }
    }
}

/// Whether a float of the other precision.
fn is_other(ty: &TensorType, dtype: DType) -> bool {
    ty.dtype.is_float() && ty.dtype != dtype
}

fn changes_type(trial: &Trial) -> bool {
    trial.case.op.name() == "cast"
}

/// Ops that take a symbolic leading dimension, such as the batch.
const SYMBOLIC: &[&str] = &[
    "abs",
    "add",
    "arg_max",
    "batch_norm_grad",
    "batch_norm_infer",
    "batch_norm_train",
    "cast",
    "clamp",
    "concat",
    "cos",
    "dense",
    "div",
    "dot",
    "dropout",
    "elu",
    "equal",
    "erf",
    "exp",
    "expm1",
    "gelu",
    "greater",
    "greater_equal",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "max",
    "mean",
    "min",
    "mul",
    "neg",
    "not_equal",
    "one_hot",
    "pad",
    "pow",
    "reduce_max",
    "reduce_min",
    "reduce_product",
    "reduce_sum",
    "relu",
    "rsqrt",
    "scatter_along_axis",
    "select",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "slice",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "sqrt",
    "stop_gradient",
    "sub",
    "take_along_axis",
    "tanh",
    "transpose",
];

/// The first axis of the first operand becomes the symbol `n`, and every axis of that size with it.
fn with_symbol(case: &Case) -> Option<Vec<TensorType>> {
    let size = *case.operands.first()?.ty.shape.first()?;
    let dim = |dim: &Dim| if *dim == size { Dim::symbol("n") } else { *dim };
    let ty = |ty: &TensorType| ty.with_shape(ty.shape.iter().map(dim).collect::<foldgrad::ir::Shape>());
    Some(case.operands.iter().map(|sample| ty(&sample.ty)).collect())
}

#[test]
fn a_symbolic_dimension_gives_the_same_values() {
    let mut accepted = BTreeSet::new();
    for case in cases() {
        let Some(types) = with_symbol(&case) else { continue };
        let Ok((symbolic, feeds)) = graph_of(&case, &types, 3) else { continue };
        let name = case.op.name();
        check::<f64>(name, &symbolic, &feeds);
        let (known, _) = graph_of(&case, &types_in(&case, DType::F64), 3).unwrap_or_else(|e| panic!("{name}: {e}"));
        let run = |graph| crate::common::evaluate(graph, &feeds).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("{:?}", run(&symbolic)), format!("{:?}", run(&known)), "{name}");
        accepted.insert(name);
    }
    let refused: Vec<&&str> = SYMBOLIC.iter().filter(|name| !accepted.contains(*name)).collect();
    assert!(refused.is_empty(), "these ops no longer take a symbolic dimension: {refused:?}");
}
