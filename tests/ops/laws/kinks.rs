//! What ops give where they have no derivative, or no value: every edge that an op names is evaluated here, in f32 and f64,
//! by the reference and by executables of every instruction set, and the table in docs/LAWS.md is written from them.

use crate::common::running::{SETS, options, run};
use foldgrad::autodiff::vjp;
use foldgrad::ir::{Code, Graph, OrderedMap};
use foldgrad::nn::{Activation, Mode, Sequential};
use foldgrad::op::{Cotangent, Edge, Op};
use foldgrad::reference::{Array, Number, interpret};
use foldgrad::{Builder, DType, Expr, Tensor};

use std::path::Path;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Activations that are layers and no ops: they are composed where they are declared.
fn layers() -> [Edge; 3] {
    [
        Edge::of("relu6", |x| activation(x[0], Activation::Relu6))
            .row(
                &[&[-1.0, 0.0, 3.0, 6.0, 7.0, NAN]],
                &[0.0, 0.0, 3.0, 6.0, 6.0, NAN],
                &[&[0.0, 0.0, 1.0, 0.0, 0.0, NAN]],
            )
            .elsewhere("0 over NaN", "1 over NaN"),
        Edge::of("hard_sigmoid", |x| activation(x[0], Activation::HardSigmoid))
            .row(
                &[&[-4.0, -3.0, 0.0, 3.0, 4.0, NAN]],
                &[0.0, 0.0, 0.5, 1.0, 1.0, NAN],
                &[&[0.0, 0.0, 1.0 / 6.0, 0.0, 0.0, NAN]],
            )
            .elsewhere("0 over NaN", "0 over NaN"),
        Edge::of("softsign", |x| activation(x[0], Activation::Softsign)).row(
            &[&[-INF, 0.0, INF, NAN]],
            &[NAN, 0.0, NAN, NAN],
            &[&[NAN, 1.0, NAN, NAN]],
        ),
    ]
}

fn activation<'b>(x: Expr<'b>, activation: Activation) -> Expr<'b> {
    let model = Sequential::new([1]).add(activation).build().unwrap();
    let column = x.reshape([x.shape()[0], 1.into()]);
    let applied = model.apply(x.builder(), Mode::Inference, x.dtype(), &[column]).unwrap();
    applied.outputs[0].reshape(x.shape())
}

/// Every row of the table.
fn edges() -> Vec<Edge> {
    Op::edges().into_iter().chain(layers()).collect()
}

/// The value at an edge beside its gradients, as outputs of one graph; and what it is fed.
fn graph(edge: &Edge, dtype: DType) -> (Graph, OrderedMap<String, Tensor>) {
    let b = Builder::new();
    let mut feeds = OrderedMap::new();
    let mut feed = |name: String, values: &[f64], dtype, shape: Vec<usize>| {
        let input = b.input(&name, dtype, shape.clone());
        feeds.insert(name, Tensor::from_f64(dtype, shape, values.iter().copied()).unwrap());
        input
    };
    let dtype = edge.dtype.unwrap_or(dtype);
    let operands = edge.at.iter().enumerate();
    let x: Vec<Expr<'_>> =
        operands.map(|(i, values)| feed(format!("x{i}"), values, dtype, vec![values.len()])).collect();
    let y = (edge.apply)(&x);
    b.output("value", y);
    let y = if y.dtype().is_float() { y } else { y.cast(DType::F32) };
    let shape = y.shape().known().unwrap();
    let seed = vec![edge.cotangent; shape.iter().product()];
    let dy = feed("dy".to_owned(), &seed, y.dtype(), shape);
    let wrt: Vec<Expr<'_>> = x.iter().copied().filter(|x| x.dtype().is_float()).collect();
    match vjp(&[y], &[Cotangent::Value(dy)], &wrt) {
        Ok(_) if wrt.is_empty() => {}
        Ok(found) => {
            for (i, (found, x)) in found.iter().zip(&wrt).enumerate() {
                b.output(&format!("gradient {i}"), found.value().unwrap_or_else(|| x.zeros_like()));
            }
        }
        Err(error) => assert_eq!(error.code(), Code::NotDifferentiable, "{edge:?}: {error}"),
    }
    (b.finish().unwrap_or_else(|errors| panic!("{edge:?}: {errors}")), feeds)
}

type Values = OrderedMap<String, Vec<f64>>;

fn reference<S: Number>(graph: &Graph, feeds: &OrderedMap<String, Tensor>) -> Values {
    let feeds: OrderedMap<String, Array<S>> =
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    let outputs = interpret(graph, &feeds).unwrap().outputs;
    outputs.into_iter().map(|(name, array)| (name, array.to_tensor(DType::F64).unwrap().to_f64())).collect()
}

/// What differs from the row, if anything does.
fn difference(edge: &Edge, found: &Values, tolerance: f64) -> Option<String> {
    let gradients: Vec<&Vec<f64>> = found.iter().filter(|(name, _)| *name != "value").map(|(_, found)| found).collect();
    let close = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * b.abs();
    let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| close(a, b));
    let gradients_are = gradients.len() == edge.gradients.len()
        && gradients.iter().zip(edge.gradients).all(|(found, expected)| same(found, expected));
    if same(&found["value"], edge.value) && gradients_are {
        return None;
    }
    Some(format!("{} {} at {:?}, cotangent {}: {found:?}", edge.op, edge.how, edge.at, edge.cotangent))
}

#[test]
fn every_edge_holds() {
    let mut wrong = Vec::new();
    for edge in edges() {
        for dtype in [DType::F64, DType::F32] {
            let (graph, feeds) = graph(&edge, dtype);
            let (tolerance, expected) = match dtype {
                DType::F32 => (1e-6, reference::<f32>(&graph, &feeds)),
                _ => (1e-14, reference::<f64>(&graph, &feeds)),
            };
            let mut check = |by: &str, found: &Values| {
                wrong.extend(difference(&edge, found, tolerance).map(|what| format!("{dtype:?}, {by}: {what}")));
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

/// An edge is one of the op that it names: that op is in its graph, and makes up the value.
#[test]
fn an_edge_is_of_its_op() {
    for edge in Op::edges() {
        let (graph, _) = graph(&edge, DType::F64);
        let (_, value) = graph.outputs().find(|(name, _)| *name == "value").unwrap();
        let needed = graph.reaching([value.node]);
        let is_there = graph.nodes().any(|(id, node)| needed[id.index()] && node.op().name() == edge.op);
        assert!(is_there, "no {} in the graph of {edge:?}", edge.op);
    }
}

/// `−∞, 0.5, NaN`; a longer vector of one number says it once.
fn vector(values: &[f64]) -> String {
    let number = |&x: &f64| {
        let (plain, scientific) = (x.to_string(), format!("{x:e}"));
        let short = if plain.len() > 8 && scientific.len() < plain.len() { scientific } else { plain };
        short.replace('-', "−").replace("inf", "∞")
    };
    let numbers: Vec<String> = values.iter().map(number).collect();
    match &numbers[..] {
        [first, rest @ ..] if rest.len() >= 4 && rest.iter().all(|x| x == first) => format!("{first} each"),
        all => all.join(", "),
    }
}

fn row(edge: &Edge) -> String {
    let vectors = |all: &[&[f64]]| all.iter().map(|values| vector(values)).collect::<Vec<_>>().join("; ");
    let how = if edge.how.is_empty() { String::new() } else { format!(", {}", edge.how) };
    let gradients = if edge.gradients.is_empty() { "none".to_owned() } else { vectors(edge.gradients) };
    let cells = [
        format!("`{}`{how}", edge.op),
        vectors(edge.at),
        vector(&[edge.cotangent]),
        vector(edge.value),
        gradients,
        edge.jax.to_owned(),
        edge.torch.to_owned(),
    ];
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn the_table_is_current() {
    const HEADER: &str =
        "| op | at | cotangent | value | gradient | JAX | PyTorch |\n| --- | --- | --- | --- | --- | --- | --- |\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/LAWS.md");
    let text = std::fs::read_to_string(&file).expect("docs/LAWS.md");
    let (before, rest) = text.split_once(HEADER).expect("docs/LAWS.md has the table at the edge");
    let (_, behind) = rest.split_once("\n\n").expect("docs/LAWS.md goes on behind the table");
    let rows: String = edges().iter().map(row).collect();
    let current = format!("{before}{HEADER}{rows}\n{behind}");
    if std::env::var("FOLDGRAD_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&file, &current).expect("docs/ is writable");
        return;
    }
    let differs = current.lines().zip(text.lines()).find(|(new, old)| new != old);
    assert!(
        current == text,
        "docs/LAWS.md is not what the ops say of their edges{}\nFOLDGRAD_BLESS=1 cargo test --test ops the_table rewrites it",
        differs.map_or(String::new(), |(new, old)| format!("; the ops say\n  {new}\nthe file says\n  {old}"))
    );
}
