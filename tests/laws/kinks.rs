//! What ops give where they have no derivative, or no value: every row of the table in docs/LAWS.md is evaluated here, in f32
//! and f64, by the reference and by executables of every instruction set.

use crate::common::running::{SETS, options, run};
use foldgrad::autodiff::vjp;
use foldgrad::ir::{Code, Graph, OrderedMap, Shape};
use foldgrad::nn::{Activation, Mode, Sequential};
use foldgrad::op::{Cotangent, Op};
use foldgrad::ops::GeluForm;
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{Builder, DType, Expr, Tensor};
use std::collections::BTreeSet;

const LAWS: &str = include_str!("../../docs/LAWS.md");

/// Ops without a row: linear or polynomial, or they move elements only, so that their definition says all. What
/// `batch_norm_grad` gives stands in the rows of `batch_norm_train`.
const REGULAR: &[&str] = &[
    "batch_norm_grad",
    "broadcast",
    "concat",
    "constant",
    "dense",
    "dot",
    "dropout",
    "input",
    "iota",
    "neg",
    "random_uniform",
    "reshape",
    "size",
    "slice",
    "stop_gradient",
    "transpose",
];

/// The functions that rows name: an op, and perhaps a word on its use, over vectors `x[0]`, `x[1]`, …
type Function = for<'b> fn(&'b Builder, &[Expr<'b>]) -> Expr<'b>;
const FUNCTIONS: &[(&str, Function)] = &[
    ("exp", |_, x| x[0].exp()),
    ("expm1", |_, x| x[0].expm1()),
    ("log", |_, x| x[0].log()),
    ("log1p", |_, x| x[0].log1p()),
    ("sqrt", |_, x| x[0].sqrt()),
    ("rsqrt", |_, x| x[0].rsqrt()),
    ("tanh", |_, x| x[0].tanh()),
    ("sigmoid", |_, x| x[0].sigmoid()),
    ("erf", |_, x| x[0].erf()),
    ("sin", |_, x| x[0].sin()),
    ("cos", |_, x| x[0].cos()),
    ("abs", |_, x| x[0].abs()),
    ("sign", |_, x| x[0].sign()),
    ("relu", |_, x| x[0].relu()),
    ("relu6", |b, x| activation(b, x[0], Activation::Relu6)),
    ("hard_sigmoid", |b, x| activation(b, x[0], Activation::HardSigmoid)),
    ("softsign", |b, x| activation(b, x[0], Activation::Softsign)),
    ("leaky_relu", |_, x| x[0].leaky_relu(0.25)),
    ("elu", |_, x| x[0].elu(0.5)),
    ("selu", |_, x| x[0].selu()),
    ("gelu", |_, x| x[0].gelu(GeluForm::Exact)),
    ("gelu, by tanh", |_, x| x[0].gelu(GeluForm::Tanh)),
    ("silu", |_, x| x[0].silu()),
    ("softplus", |_, x| x[0].softplus()),
    ("clamp", |_, x| x[0].clamp(x[1], x[2])),
    ("div", |_, x| x[0] / x[1]),
    ("max", |_, x| x[0].max(x[1])),
    ("min", |_, x| x[0].min(x[1])),
    ("pow", |_, x| x[0].pow(x[1])),
    ("add, i32", |_, x| x[0] + x[1]),
    ("mul, i32", |_, x| x[0] * x[1]),
    ("sub, i32", |_, x| x[0] - x[1]),
    ("div, i32", |_, x| x[0] / x[1]),
    ("pow, i32", |_, x| x[0].pow(x[1])),
    ("equal", |_, x| x[0].equal(x[1])),
    ("not_equal", |_, x| x[0].not_equal(x[1])),
    ("less", |_, x| x[0].less(x[1])),
    ("less_equal", |_, x| x[0].less_equal(x[1])),
    ("greater", |_, x| x[0].greater(x[1])),
    ("greater_equal", |_, x| x[0].greater_equal(x[1])),
    ("select", |_, x| x[0].greater(0.0).select(x[0], x[1])),
    ("cast, to i32", |_, x| x[0].cast(DType::I32)),
    ("cast, to bool", |_, x| x[0].cast(DType::Bool)),
    ("reduce_sum", |_, x| x[0].sum(&[0])),
    ("reduce_max", |_, x| x[0].reduce_max(&[0])),
    ("reduce_min", |_, x| x[0].reduce_min(&[0])),
    ("reduce_product", |_, x| x[0].product(&[0])),
    ("mean", |_, x| x[0].mean(&[0])),
    ("arg_max", |_, x| x[0].arg_max(0)),
    ("one_hot", |_, x| x[0].cast(DType::I32).one_hot(3, DType::F32)),
    ("take_along_axis", |b, x| x[0].take_along_axis(index(b, &[3, 0, -1]), 0)),
    ("scatter_along_axis", |b, x| x[0].scatter_along_axis(index(b, &[2, 0, -1]), 0, 2)),
    ("pad", |_, x| x[0].pad(0, 1, 1, 1, x[1].reshape(Shape::scalar())) * x[2]),
    ("softmax", |_, x| x[0].softmax(0)),
    ("log_softmax", |_, x| x[0].log_softmax(0)),
    ("softmax_cross_entropy, label 1", |b, x| x[0].softmax_cross_entropy(b.constant(Tensor::scalar(1i32)))),
    ("softmax_cross_entropy, label 2", |b, x| x[0].softmax_cross_entropy(b.constant(Tensor::scalar(2i32)))),
    ("softmax_cross_entropy, label −1", |b, x| x[0].softmax_cross_entropy(b.constant(Tensor::scalar(-1i32)))),
    ("batch_norm_train, ε = 0", |_, x| normed(x, 0)),
    ("batch_norm_train, its mean, ε = 0", |_, x| normed(x, 1)),
    ("batch_norm_train, its variance, ε = 0", |_, x| normed(x, 2)),
    ("batch_norm_infer, ε = 0", |_, x| {
        let (one, zero) = (x[1].full_like(1.0), x[1].zeros_like());
        x[0].reshape([1.into(), x[0].shape()[0]]).batch_norm_infer([one, zero, x[1], x[2]], 1, 0.0)
    }),
];

fn activation<'b>(b: &'b Builder, x: Expr<'b>, activation: Activation) -> Expr<'b> {
    let model = Sequential::new([1]).add(activation).build().unwrap();
    let column = x.reshape([x.shape()[0], 1.into()]);
    let applied = model.apply(b, Mode::Inference, x.dtype(), &[column]).unwrap();
    applied.outputs[0].reshape(x.shape())
}

fn index<'b>(b: &'b Builder, values: &[i32]) -> Expr<'b> {
    b.constant(Tensor::vector(values.to_vec()))
}

/// A result of batch norm over one channel without ε, of values, γ and β.
fn normed<'b>(x: &[Expr<'b>], result: usize) -> Expr<'b> {
    let column = x[0].reshape([x[0].shape()[0], 1.into()]);
    let normed = column.batch_norm_train(x[1], x[2], 1, 0.0);
    match result {
        0 => normed.y.reshape(x[0].shape()),
        1 => normed.mean,
        _ => normed.var,
    }
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    operands: Vec<Vec<f64>>,
    cotangent: f64,
    value: Vec<f64>,
    /// By each operand; nothing for an op without a derivative.
    gradients: Option<Vec<Vec<f64>>>,
}

fn rows() -> Vec<Row> {
    let table = LAWS.split_once("| op | at | cotangent |").expect("the table of kinks").1;
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(row).collect()
}

fn row(line: &'static str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, operands, cotangent, value, gradients, _jax, _torch] = cells[..] else { panic!("seven cells: {line}") };
    let gradients = (gradients != "none").then(|| vectors(gradients));
    let (cotangent, value) = (number(cotangent), vectors(value).remove(0));
    let name = FUNCTIONS.iter().find(|(known, _)| name.replace('`', "") == *known);
    let name = name.unwrap_or_else(|| panic!("a function for this row: {line}")).0;
    let mut operands = vectors(operands);
    let longest = operands.iter().map(Vec::len).max().unwrap_or(0);
    // One base stands for as many as there are exponents.
    operands
        .iter_mut()
        .filter(|operand| name == "pow" && operand.len() == 1)
        .for_each(|base| base.resize(longest, base[0]));
    Row { name, operands, cotangent, value, gradients }
}

/// Vectors, apart by `;`; nothing between two is an empty one.
fn vectors(cell: &str) -> Vec<Vec<f64>> {
    let vector = |text: &str| text.split(',').filter(|entry| !entry.trim().is_empty()).map(number).collect();
    cell.split(';').map(vector).collect()
}

fn number(text: &str) -> f64 {
    let text = text.trim().replace('−', "-").replace('∞', "inf");
    text.parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

/// The value of a row's function beside its gradients, as outputs of one graph; and what it is fed.
fn graph(row: &Row, dtype: DType) -> (Graph, OrderedMap<String, Tensor>) {
    let b = Builder::new();
    let function = FUNCTIONS.iter().find(|(name, _)| *name == row.name).map(|function| function.1).unwrap();
    let mut feeds = OrderedMap::new();
    let mut feed = |name: String, values: &[f64], dtype, shape: Vec<usize>| {
        let input = b.input(&name, dtype, shape.clone());
        feeds.insert(name, Tensor::from_f64(dtype, shape, values.iter().copied()).unwrap());
        input
    };
    let dtype = if row.name.ends_with("i32") && !row.name.starts_with("cast") { DType::I32 } else { dtype };
    let operands = row.operands.iter().enumerate();
    let x: Vec<Expr<'_>> =
        operands.map(|(i, values)| feed(format!("x{i}"), values, dtype, vec![values.len()])).collect();
    let y = function(&b, &x);
    b.output("value", y);
    let y = if y.dtype().is_float() { y } else { y.cast(DType::F32) };
    let shape = y.shape().known().unwrap();
    let seed = vec![row.cotangent; shape.iter().product()];
    let dy = feed("dy".to_owned(), &seed, y.dtype(), shape);
    let wrt: Vec<Expr<'_>> = x.iter().copied().filter(|x| x.dtype().is_float()).collect();
    match vjp(&[y], &[Cotangent::Value(dy)], &wrt) {
        Ok(_) if wrt.is_empty() => {}
        Ok(found) => {
            for (i, (found, x)) in found.iter().zip(&wrt).enumerate() {
                b.output(&format!("gradient {i}"), found.value().unwrap_or_else(|| x.zeros_like()));
            }
        }
        Err(error) => assert_eq!(error.code(), Code::NotDifferentiable, "{row:?}: {error}"),
    }
    (b.finish().unwrap_or_else(|errors| panic!("{row:?}: {errors}")), feeds)
}

type Values = OrderedMap<String, Vec<f64>>;

fn reference<S: Number>(graph: &Graph, feeds: &OrderedMap<String, Tensor>) -> Values {
    let feeds: OrderedMap<String, Array<S>> =
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    let outputs = interpret(graph, &feeds).unwrap().outputs;
    outputs.into_iter().map(|(name, array)| (name, array.to_tensor(DType::F64).unwrap().to_f64())).collect()
}

/// What differs from the row, if anything does.
fn difference(row: &Row, found: &Values, tolerance: f64) -> Option<String> {
    let gradients: Vec<&Vec<f64>> = found.iter().filter(|(name, _)| *name != "value").map(|(_, found)| found).collect();
    let expected = row.gradients.iter().flatten();
    let close = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * b.abs();
    let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| close(a, b));
    let gradients_are = gradients.len() == expected.clone().count()
        && gradients.iter().zip(expected).all(|(found, expected)| same(found, expected));
    if same(&found["value"], &row.value) && gradients_are {
        return None;
    }
    Some(format!("{} at {:?}, cotangent {}: {found:?}", row.name, row.operands, row.cotangent))
}

#[test]
fn every_row_of_the_table_holds() {
    let mut wrong = Vec::new();
    for row in rows() {
        for dtype in [DType::F64, DType::F32] {
            let (graph, feeds) = graph(&row, dtype);
            let (tolerance, expected) = match dtype {
                DType::F32 => (1e-6, reference::<f32>(&graph, &feeds)),
                _ => (1e-14, reference::<f64>(&graph, &feeds)),
            };
            let mut check = |by: &str, found: &Values| {
                wrong.extend(difference(&row, found, tolerance).map(|what| format!("{dtype:?}, {by}: {what}")));
            };
            check("reference", &expected);
            for set in SETS {
                let found = run(&graph, &feeds, &options(set, 1, false));
                let found = found.into_iter().map(|(name, tensor)| (name, tensor.to_f64())).collect();
                check(&format!("{set:?}"), &found);
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_op_has_a_row_or_is_regular() {
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().map(|row| row.name.split(',').next().unwrap_or_default()).collect();
    for name in Op::names() {
        assert!(
            named.contains(name) != REGULAR.contains(&name),
            "{name}: a row in docs/LAWS.md, or a place in the list"
        );
    }
    for (name, _) in FUNCTIONS {
        assert!(rows.iter().any(|row| row.name == *name), "{name} has no row");
    }
}
