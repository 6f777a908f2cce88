//! An op without edges is regular at every point: along any line, through zeros and ties too, its results are polynomials,
//! and its gradients are their slopes.

use crate::common::{Random, cases, evaluate};
use foldgrad::autodiff::vjp;
use foldgrad::ir::OrderedMap;
use foldgrad::op::{Case, Cotangent, Nature, Op};
use foldgrad::reference::{Array, NdArray};
use foldgrad::{Builder, DType, Expr, Graph};
use std::collections::BTreeSet;

/// The highest degree, plus one: a product of two operands, scaled by a third, is of degree 3.
const ORDER: usize = 4;

fn seed(y: Expr<'_>) -> Cotangent<'_> {
    if y.dtype().is_float() { y.full_like(1.0).into() } else { Cotangent::Zero }
}

/// The results beside the gradients of their sum, as outputs `y…` and `g…`; no gradients where none flow.
fn graph(case: &Case) -> Graph {
    let b = Builder::new();
    let operands: Vec<Expr<'_>> = (case.operands.iter().enumerate())
        .map(|(slot, sample)| b.input(&format!("x{slot}"), sample.ty.dtype, sample.ty.shape.clone()))
        .collect();
    let results = b.push_all(case.op.clone(), &operands);
    for (index, &y) in results.iter().enumerate() {
        b.output(&format!("y{index}"), if y.dtype().is_float() { y } else { y.cast(DType::F64) });
    }
    let seeds: Vec<Cotangent<'_>> = results.iter().copied().map(seed).collect();
    let slots = operands.iter().enumerate().filter(|(_, x)| x.dtype().is_float());
    let (slots, wrt): (Vec<usize>, Vec<Expr<'_>>) = slots.map(|(slot, &x)| (slot, x)).unzip();
    if let (Ok(found), true) = (vjp(&results, &seeds, &wrt), results.iter().any(|y| y.dtype().is_float())) {
        for (slot, gradient) in slots.iter().zip(found) {
            gradient.value().into_iter().for_each(|gradient| b.output(&format!("g{slot}"), gradient));
        }
    }
    b.finish().unwrap_or_else(|errors| panic!("{}: {errors}", case.op.name()))
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-12 * scale.max(1.0)
}

/// Why the op is not regular, if it is not.
fn irregular(case: &Case, seed: u64) -> Result<(), String> {
    let graph = graph(case);
    let mut random = Random(seed);
    // Quarters, so that sums and products of them are exact; at every other seed all of one operand tie at every step.
    let step = |random: &mut Random| (random.below(8) as f64 + 1.0) / 4.0 * if random.coin() { 1.0 } else { -1.0 };
    let fixed: Vec<Array<f64>> = (case.operands.iter())
        .map(|sample| {
            let shape = sample.ty.shape.known().unwrap();
            if !sample.ty.dtype.is_float() {
                return random.array(sample.ty.dtype, &shape, sample.domain);
            }
            let tie = step(&mut random);
            Array::Real(NdArray::from_fn(&shape, |_| if seed.is_multiple_of(2) { tie } else { step(&mut random) }))
        })
        .collect();
    // At 0 every operand is 0.
    let at = |t: f64| -> Result<OrderedMap<String, Array<f64>>, String> {
        let of = |x: &Array<f64>| match x {
            Array::Real(v) => Array::Real(v.map(|v| t * v)),
            other => other.clone(),
        };
        let feeds = fixed.iter().enumerate().map(|(slot, x)| (format!("x{slot}"), of(x))).collect();
        evaluate(&graph, &feeds).map_err(|error| error.to_string())
    };
    let along: Vec<OrderedMap<String, Array<f64>>> = (-2..=3).map(|t| at(f64::from(t))).collect::<Result<_, _>>()?;
    let values = |t: usize, name: &String| -> NdArray<f64> { along[t][name].real().clone() };
    let mut slopes = [0.0; 2];
    let mut scale = 0.0f64;
    for name in along[0].keys().filter(|name| name.starts_with('y')) {
        let points: Vec<Vec<f64>> = (0..6).map(|t| values(t, name).data).collect();
        for i in 0..points[0].len() {
            let mut line: Vec<f64> = points.iter().map(|values| values[i]).collect();
            let largest = line.iter().fold(0.0f64, |most, y| most.max(y.abs()));
            if !line.iter().all(|y| y.is_finite()) {
                return Err(format!("{name}[{i}] along a line through 0: {line:?}"));
            }
            scale += largest;
            for (slope, at) in slopes.iter_mut().zip([2, 3]) {
                *slope += (line[at - 2] - 8.0 * line[at - 1] + 8.0 * line[at + 1] - line[at + 2]) / 12.0;
            }
            for _ in 0..ORDER {
                line = line.windows(2).map(|pair| pair[1] - pair[0]).collect();
            }
            if !line.iter().all(|&rest| close(rest, 0.0, largest)) {
                return Err(format!("{name}[{i}] is no polynomial: {line:?} is left"));
            }
        }
    }
    let gradients: Vec<&String> = along[0].keys().filter(|name| name.starts_with('g')).collect();
    if gradients.is_empty() {
        return Ok(());
    }
    for (slope, at) in slopes.into_iter().zip([2, 3]) {
        let by = |name: &&String| -> f64 {
            let slot: usize = name[1..].parse().unwrap();
            values(at, name).data.iter().zip(&fixed[slot].real().data).map(|(g, v)| g * v).sum()
        };
        let by_rule: f64 = gradients.iter().map(by).sum();
        if !close(by_rule, slope, scale) {
            return Err(format!("the slope is {slope}, but {by_rule} by the reverse rule"));
        }
    }
    Ok(())
}

#[test]
fn an_op_without_edges_is_regular() {
    let with_edges: BTreeSet<&str> = Op::edges().iter().map(|edge| edge.op).collect();
    for case in cases().iter().filter(|case| !with_edges.contains(case.op.name())) {
        let name = case.op.name();
        if !case.operands.iter().any(|sample| sample.ty.dtype.is_float()) {
            // There is no line to go along, but what moves elements has no edge, nor has what takes none.
            let nature = case.op.nature();
            let moves = matches!(nature, Nature::Source | Nature::View(_) | Nature::Assembly | Nature::Random);
            assert!(moves, "{name} names no edges (`OpDef::edges`), but it is {nature:?} of integers");
            continue;
        }
        for seed in 0..8 {
            if let Err(reason) = irregular(case, seed) {
                panic!("{name} names no edges (`OpDef::edges`), but it is not regular at every point: {reason}");
            }
        }
    }
}

/// Kinks, poles, ties and curves are all seen.
#[test]
fn irregular_ops_are_seen() {
    let mut regular: BTreeSet<&str> = [
        "abs",
        "sign",
        "relu",
        "exp",
        "log",
        "sqrt",
        "sin",
        "div",
        "max",
        "min",
        "pow",
        "less",
        "equal",
        "cast",
        "clamp",
        "leaky_relu",
        "elu",
        "softplus",
        "reduce_max",
        "mean",
        "arg_max",
        "softmax",
        "batch_norm_grad",
        "batch_norm_infer",
    ]
    .into();
    // The mean of something is regular; its edge is the mean of nothing.
    let is_seen = |case: &Case| (0..8).any(|seed| irregular(case, seed).is_err());
    for case in cases().iter().filter(|case| is_seen(case)) {
        regular.remove(case.op.name());
    }
    assert_eq!(regular, BTreeSet::from(["mean"]), "these pass as regular");
}
