//! Sharing sums: hand-written normalisation needs as few sums as its closed form, and no graph changes its meaning.

use crate::common::{Feeds, Random, config, evaluate, feeds_as, wholes};
use foldgrad::ir::OrderedMap;
use foldgrad::op::{Cotangent, Op};
use foldgrad::ops::Reduction;
use foldgrad::reference::{Array, Fp, interpret};
use foldgrad::rewrite::{count_sums, share_sums};
use foldgrad::{Builder, DType, Expr, Graph, autodiff};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;

const EPS: f64 = 1e-3;

/// What a spelling of batch norm is given.
#[derive(Clone, Copy)]
struct Norm<'b, 'a> {
    x: Expr<'b>,
    gamma: Expr<'b>,
    beta: Expr<'b>,
    channel: usize,
    axes: &'a [usize],
    /// Values a channel, where the batch is known.
    count: Option<f64>,
}

impl<'b> Norm<'b, '_> {
    fn along(self, v: Expr<'b>) -> Expr<'b> {
        v.along(self.channel, self.x)
    }

    /// A statistic with its summed axes kept, of size 1.
    fn keep(self, v: Expr<'b>) -> Expr<'b> {
        let mut shape = self.x.shape();
        self.axes.iter().for_each(|&axis| shape = shape.with(axis, 1));
        v.reshape(shape)
    }

    fn size(self) -> Expr<'b> {
        self.x.count(self.axes)
    }

    /// `γ·(x − m)·r + β`, with `m` and `v` by `mean`.
    fn by(self, mean: impl Fn(Expr<'b>) -> Expr<'b>) -> Expr<'b> {
        let centred = self.x - self.along(mean(self.x));
        let var = mean(centred * centred);
        centred * self.along((var + EPS).rsqrt()) * self.along(self.gamma) + self.along(self.beta)
    }

    fn centred(self) -> (Expr<'b>, Expr<'b>) {
        let centred = self.x - self.along(self.x.mean(self.axes));
        (centred, (centred * centred).mean(self.axes))
    }
}

type Spelling = for<'b, 'a> fn(Norm<'b, 'a>) -> Expr<'b>;

const SPELLINGS: &[(&str, Spelling)] = &[
    ("mean", |n| n.by(|v| v.mean(n.axes))),
    ("sum / size", |n| n.by(|v| v.sum(n.axes) / n.size())),
    ("sum · (1/size)", |n| n.by(|v| v.sum(n.axes) * (1.0 / n.size()))),
    ("sum / number", |n| n.by(|v| n.count.map_or(v.mean(n.axes), |count| v.sum(n.axes) / count))),
    ("sum · number", |n| n.by(|v| n.count.map_or(v.mean(n.axes), |count| v.sum(n.axes) * (1.0 / count)))),
    ("mean of each axis", |n| n.by(|v| n.axes.iter().rev().fold(v, |v, &axis| v.mean(&[axis])))),
    ("÷ sqrt", |n| {
        let (centred, var) = n.centred();
        centred / n.along((var + EPS).sqrt()) * n.along(n.gamma) + n.along(n.beta)
    }),
    ("1/sqrt", |n| {
        let (centred, var) = n.centred();
        n.along(n.beta) + n.along(n.gamma) * (centred * n.along(1.0 / (var + EPS).sqrt()))
    }),
    ("γ first", |n| {
        let (centred, var) = n.centred();
        n.along(n.gamma) * centred * n.along((var + EPS).rsqrt()) + n.along(n.beta)
    }),
    ("scale γ·r", |n| {
        let (centred, var) = n.centred();
        centred * n.along(n.gamma * (var + EPS).rsqrt()) + n.along(n.beta)
    }),
    ("x·scale + shift", |n| {
        let (mean, var) = (n.x.mean(n.axes), n.centred().1);
        let scale = n.gamma * (var + EPS).rsqrt();
        n.x * n.along(scale) + n.along(n.beta - mean * scale)
    }),
    ("x̂·(γ + 1)", |n| {
        let (centred, var) = n.centred();
        centred * n.along((var + EPS).rsqrt()) * (n.along(n.gamma - 1.0) + 1.0) + n.along(n.beta)
    }),
    ("x̂·γ + x̂", |n| {
        let (centred, var) = n.centred();
        let normed = centred * n.along((var + EPS).rsqrt());
        normed * n.along(n.gamma - 1.0) + normed + n.along(n.beta)
    }),
    ("keepdims", |n| {
        let centred = n.x - n.keep(n.x.mean(n.axes));
        let var = n.keep((centred * centred).mean(n.axes));
        centred * (var + EPS).rsqrt() * n.keep(n.gamma) + n.keep(n.beta)
    }),
    ("keepdims, sum / size, ÷ sqrt", |n| {
        let centred = n.x - n.keep(n.x.sum(n.axes)) / n.size();
        let var = n.keep((centred * centred).sum(n.axes)) / n.size();
        n.keep(n.beta) + n.keep(n.gamma) * centred / (var + EPS).sqrt()
    }),
    ("repeated early", |n| {
        let (centred, var) = n.centred();
        centred * (n.along(var) + EPS).rsqrt() * n.along(n.gamma) + n.along(n.beta)
    }),
    ("m − x", |n| {
        let opposite = n.along(n.x.mean(n.axes)) - n.x;
        let var = (opposite * opposite).mean(n.axes);
        n.along(n.beta) - n.along((var + EPS).rsqrt()) * opposite * n.along(n.gamma)
    }),
    ("E[x²] − m²", |n| {
        let mean = n.x.mean(n.axes);
        let var = (n.x * n.x).mean(n.axes) - mean * mean;
        (n.x - n.along(mean)) * n.along((var + EPS).rsqrt()) * n.along(n.gamma) + n.along(n.beta)
    }),
];

/// Shapes with the batch, by name or size, and the channel axis.
fn layouts(batch: Option<usize>) -> Vec<(Vec<String>, usize)> {
    let batch = batch.map_or("batch".to_owned(), |batch| batch.to_string());
    let shape = |dims: &[&str]| dims.iter().map(|dim| dim.replace("N", &batch)).collect();
    vec![(shape(&["N", "4"]), 1), (shape(&["4", "N"]), 0), (shape(&["N", "3", "5"]), 1), (shape(&["2", "N", "3"]), 2)]
}

/// `y` and its gradients along the input `dy`, of a function of `x`, `gamma` and `beta`.
fn with_gradients(
    shape: &[String],
    widths: &[usize],
    y: impl for<'b> Fn(Expr<'b>, Expr<'b>, Expr<'b>) -> Expr<'b>,
) -> Graph {
    let g = Builder::new();
    let dims = || foldgrad::ir::Shape::new(shape.iter().map(String::as_str));
    let (x, dy) = (g.input("x", DType::F64, dims()), g.input("dy", DType::F64, dims()));
    let (gamma, beta) = (g.parameter("gamma", DType::F64, widths), g.parameter("beta", DType::F64, widths));
    let y = y(x, gamma, beta);
    g.output("y", y);
    let gradients = autodiff::vjp(&[y], &[Cotangent::Value(dy)], &[x, gamma, beta]).expect("differentiable");
    for (name, gradient) in ["dx", "dgamma", "dbeta"].into_iter().zip(gradients) {
        g.output(name, gradient.value().expect("a gradient"));
    }
    g.finish().expect("well typed")
}

fn width(shape: &[String], axis: usize) -> usize {
    shape[axis].parse().expect("a known width")
}

fn batch_norm(spelling: Spelling, shape: &[String], channel: usize) -> Graph {
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != channel).collect();
    let sizes: Option<Vec<f64>> = axes.iter().map(|&axis| shape[axis].parse().ok()).collect();
    let count = sizes.map(|sizes| sizes.iter().product());
    with_gradients(shape, &[width(shape, channel)], |x, gamma, beta| {
        spelling(Norm { x, gamma, beta, channel, axes: &axes, count })
    })
}

fn closed_form(shape: &[String], channel: usize) -> Graph {
    with_gradients(shape, &[width(shape, channel)], |x, gamma, beta| x.batch_norm_train(gamma, beta, channel, EPS).y)
}

/// Floats in ±1 for each input, `batch` for each symbol; statistics are not centred.
fn feeds(graph: &Graph, batch: usize, seed: u64) -> Feeds {
    let mut random = Random(seed);
    let bindings = [(foldgrad::ir::Symbol::new("batch"), batch)].into_iter().collect();
    let mut feeds = Feeds::new();
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let shape = ty.shape.resolve(&bindings).expect("only the batch is symbolic");
        let domain = if name == "x" { (-0.7, 1.3) } else { (-1.0, 1.0) };
        feeds.insert(name.to_owned(), random.array(ty.dtype, &shape, foldgrad::op::Domain::Range(domain.0, domain.1)));
    }
    feeds
}

/// Requires that two graphs give the same on random field elements, at every output.
fn same_in_field(one: &Graph, other: &Graph, feeds: &Feeds, seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let mut point: OrderedMap<String, Array<Fp>> = feeds_as(feeds);
    for array in point.values_mut() {
        if let Array::Real(array) = array {
            array.data.iter_mut().for_each(|entry| *entry = Fp::new(random.bits()));
        }
    }
    let (one, other) = (interpret(one, &point), interpret(other, &point));
    let (one, other) = (one.map_err(|e| e.to_string())?, other.map_err(|e| e.to_string())?);
    let names = |outputs: &OrderedMap<String, Array<Fp>>| outputs.keys().cloned().collect::<Vec<_>>();
    if names(&one.outputs) != names(&other.outputs) {
        return Err("the outputs have other names".to_owned());
    }
    match one.outputs.iter().find(|(name, value)| other.outputs[*name] != **value) {
        Some((name, value)) => Err(format!("`{name}` is {value:?}, became {:?}", other.outputs[name])),
        None => Ok(()),
    }
}

fn shared(graph: &Graph) -> Graph {
    share_sums(graph).expect("the pass builds a graph")
}

/// The largest difference of any output, relative to the largest entry of that output.
fn difference(one: &Graph, other: &Graph, feeds: &Feeds) -> f64 {
    let (one, other) = (evaluate(one, feeds).expect("evaluates"), evaluate(other, feeds).expect("evaluates"));
    let mut worst = 0.0f64;
    for (name, expected) in &one {
        let (expected, found) = (&expected.real().data, &other[name].real().data);
        let largest = expected.iter().fold(0.0f64, |largest, entry| largest.max(entry.abs()));
        for (a, b) in expected.iter().zip(found) {
            assert!((a - b).is_finite(), "{name}: {a} and {b}");
            worst = worst.max((a - b).abs() / largest);
        }
    }
    worst
}

#[test]
fn batch_norm_by_hand_takes_four_sums() {
    for (name, spelling) in SPELLINGS {
        let mut counts = Vec::new();
        for (shape, channel) in [layouts(None), layouts(Some(12))].concat() {
            let graph = batch_norm(*spelling, &shape, channel);
            counts.push((count_sums(&graph), count_sums(&shared(&graph))));
        }
        println!("{name}: {counts:?}");
        assert!(counts.iter().all(|&(_, after)| after <= 4), "{name}: {counts:?}");
    }
}

#[test]
fn batch_norm_by_hand_stays_equal_in_the_field() {
    for (name, spelling) in SPELLINGS {
        for (shape, channel) in [layouts(None), layouts(Some(12))].concat() {
            let graph = batch_norm(*spelling, &shape, channel);
            for (batch, seed) in [(12, 1), (12, 2)] {
                if let Err(error) = same_in_field(&graph, &shared(&graph), &feeds(&graph, batch, 0), seed) {
                    panic!("{name} {shape:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn batch_norm_by_hand_equals_the_closed_form() {
    let mut worst = (0.0, "");
    for (name, spelling) in SPELLINGS {
        for (shape, channel) in layouts(None) {
            let (graph, expected) = (shared(&batch_norm(*spelling, &shape, channel)), closed_form(&shape, channel));
            for batch in [2, 16, 4096] {
                let error = difference(&expected, &graph, &feeds(&expected, batch, batch as u64));
                assert!(error <= 1e-12, "{name} {shape:?}, batch {batch}: {error:e}");
                worst = if error > worst.0 { (error, *name) } else { worst };
            }
        }
    }
    println!("largest difference from the closed form: {worst:?}");
}

/// Layer norm over the last axis, where `gamma` and `beta` are of its width.
fn layer_norm<'b>(x: Expr<'b>, gamma: Expr<'b>, beta: Expr<'b>, kept: bool) -> Expr<'b> {
    let (axes, mut shape) = ([x.rank() - 1], x.shape());
    shape = shape.with(axes[0], 1);
    let keep = |v: Expr<'b>| if kept { v.reshape(shape.clone()) } else { v.unreduce(&axes, x) };
    let centred = x - keep(x.mean(&axes));
    let var = keep((centred * centred).mean(&axes));
    centred * (var + EPS).rsqrt() * gamma + beta
}

/// How many sums run over exactly these axes of their operand.
fn sums_over(graph: &Graph, axes: &[usize]) -> usize {
    let live = graph.live();
    let over = |op: &Op| match op {
        Op::Reduce(op) => op.reduction == Reduction::Sum && op.axes() == axes,
        Op::Mean(op) => op.axes() == axes,
        _ => false,
    };
    graph.nodes().filter(|(id, node)| live[id.index()] && over(node.op())).count()
}

#[test]
fn layer_norm_by_hand_takes_four_sums_over_the_features() {
    for shape in [["batch", "6"].as_slice(), &["batch", "3", "6"]] {
        let shape: Vec<String> = shape.iter().map(|&dim| dim.to_owned()).collect();
        let last = shape.len() - 1;
        let batch: Vec<usize> = (0..last).collect();
        for kept in [false, true] {
            let graph = with_gradients(&shape, &[6], |x, gamma, beta| layer_norm(x, gamma, beta, kept));
            let after = shared(&graph);
            let figures = [&graph, &after].map(|g| (sums_over(g, &[last]), sums_over(g, &batch), count_sums(g)));
            println!("{shape:?}, {}: {figures:?}", if kept { "keepdims" } else { "repeated" });
            assert_eq!(figures[1], (4, 2, 6));
            let feeds = feeds(&graph, 5, 3);
            assert_eq!(same_in_field(&graph, &after, &feeds, 4), Ok(()));
            assert!(difference(&graph, &after, &feeds) <= 1e-12);
        }
    }
}

/// Batch norm does not see a bias before it; that its gradient is zero follows from the same algebra.
#[test]
fn the_gradient_of_a_bias_before_batch_norm_is_zero() {
    let mut graphs = Vec::new();
    for biased in [true, false] {
        let g = Builder::new();
        let (h, dy) = (g.input("h", DType::F64, ["batch", "4"]), g.input("dy", DType::F64, ["batch", "4"]));
        let (x, bias) = (g.parameter("x", DType::F64, [4]), g.parameter("bias", DType::F64, [4]));
        let x = if biased { h * x + bias } else { h * x };
        let (gamma, beta) = (g.parameter("gamma", DType::F64, [4]), g.parameter("beta", DType::F64, [4]));
        let (centred, axes) = (x - x.mean(&[0]), [0]);
        let y = centred / ((centred * centred).mean(&axes) + EPS).sqrt() * gamma + beta;
        let wrt = if biased { vec![h, gamma, beta, bias] } else { vec![h, gamma, beta] };
        let gradients = autodiff::vjp(&[y], &[Cotangent::Value(dy)], &wrt).expect("differentiable");
        for (index, gradient) in gradients.into_iter().enumerate() {
            g.output(&format!("gradient {index}"), gradient.value().expect("a gradient"));
        }
        graphs.push(g.finish().expect("well typed"));
    }
    let counts: Vec<_> = graphs.iter().map(|graph| (count_sums(graph), count_sums(&shared(graph)))).collect();
    println!("sums with a bias and without: {counts:?}");
    assert_eq!((counts[0].1, counts[1].1), (4, 4));
    let (graph, feeds) = (&graphs[0], feeds(&graphs[0], 7, 1));
    assert_eq!(same_in_field(graph, &shared(graph), &feeds, 2), Ok(()));
    let zeros = evaluate(&shared(graph), &feeds).expect("evaluates");
    assert_eq!(zeros["gradient 3"].real().data, [0.0; 4]);
}

/// One value built from `x`, `y` and `v`, shared, with the number of sums that is right.
#[track_caller]
fn check_one(dims: [&str; 2], sums: usize, value: impl for<'b> Fn(Expr<'b>, Expr<'b>, Expr<'b>) -> Expr<'b>) -> Graph {
    let g = Builder::new();
    let (x, y) = (g.input("x", DType::F64, dims), g.input("y", DType::F64, dims));
    let v = g.input("v", DType::F64, [3]);
    g.output("value", value(x, y, v));
    let graph = g.finish().expect("well typed");
    let after = shared(&graph);
    assert_eq!(same_in_field(&graph, &after, &feeds(&graph, 5, 1), 2), Ok(()), "{graph}\n{after}");
    assert_eq!(count_sums(&after), sums, "{graph}\n{after}");
    after
}

fn is_zero(graph: &Graph) -> bool {
    let output = graph.output("value").expect("the output");
    let node = graph.node(output.node);
    let constant = |op: &Op| matches!(op, Op::Constant(c) if c.tensor().item() == Some(0.0));
    constant(node.op()) || node.operands().first().is_some_and(|operand| constant(graph.node(operand.node).op()))
}

#[test]
fn centred_sums_are_zero() {
    let b = ["batch", "3"];
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.mean(&[0])).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x.mean(&[0]) - x).mean(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.sum(&[0]) / x.count(&[0])).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.sum(&[0]) * (1.0 / x.count(&[0]))).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.mean(&[0]).reshape([1, 3])).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, v| ((x - x.mean(&[0])) * v).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, v| ((x - x.mean(&[0])) * 0.3 / v.exp()).sum(&[0]))));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.mean_all()).sum_all())));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.mean(&[0])).sum_all())));
    assert!(is_zero(&check_one(b, 0, |x, _, _| (x - x.mean(&[1]).unreduce(&[1], x)).mean_all())));
    assert!(is_zero(&check_one(b, 0, |x, y, _| (x + y - (x + y).mean(&[0])).sum(&[0]))));
    // The mean of a sum is the sum of the means.
    assert!(is_zero(&check_one(b, 0, |x, y, _| (x + y - (x.mean(&[0]) + y.mean(&[0]))).sum(&[0]))));
    // What a zero reaches shrinks.
    let zero = check_one(b, 0, |x, y, _| (x - x.mean(&[0])).sum(&[0]) * y.exp() + y);
    assert_eq!(zero.ids().len(), 3, "{zero}");
    check_one(b, 0, |x, y, _| (x - x.mean(&[0])).sum(&[0]).unreduce(&[0], x) - y);
}

#[test]
fn sums_that_are_not_zero_stay() {
    let b = ["batch", "3"];
    let square = ["3", "3"];
    // The mean of another value, of fewer or more axes, or along the wrong axis of a square.
    assert!(!is_zero(&check_one(b, 2, |x, y, _| (x - y.mean(&[0])).sum(&[0]))));
    assert!(!is_zero(&check_one(b, 2, |x, _, _| (x - x.mean_all()).sum(&[0]))));
    assert!(!is_zero(&check_one(b, 2, |x, _, _| (x - x.mean(&[1]).unreduce(&[1], x)).sum(&[0]))));
    assert!(!is_zero(&check_one(square, 2, |x, _, _| (x - x.mean(&[0]).unreduce(&[1], x)).sum(&[0]))));
    assert!(!is_zero(&check_one(square, 2, |x, _, _| (x - x.mean(&[1])).sum(&[0]))));
    // Multiplied by what varies.
    assert!(!is_zero(&check_one(b, 2, |x, y, _| ((x - x.mean(&[0])) * y).sum(&[0]))));
    assert!(!is_zero(&check_one(square, 2, |x, _, v| ((x - x.mean(&[0])) * v.unreduce(&[1], x)).sum(&[0]))));
    // A wrong count, and a number that only comes near one.
    assert!(!is_zero(&check_one(b, 1, |x, _, _| (x - x.sum(&[0]) / x.count(&[1])).sum(&[0]))));
    assert!(!is_zero(&check_one(square, 1, |x, _, _| (x - x.sum(&[0]) * (1.0 / 3.0)).sum(&[0]))));
    assert!(!is_zero(&check_one(b, 1, |x, _, _| (x + x.mean(&[0])).sum(&[0]))));
}

#[test]
fn what_is_repeated_counts() {
    let b = ["batch", "3"];
    let has_size = |graph: &Graph| graph.nodes().any(|(_, node)| matches!(node.op(), Op::Size(_)));
    assert!(has_size(&check_one(b, 0, |x, _, v| v.along(1, x).sum(&[0]))));
    assert!(has_size(&check_one(b, 1, |x, _, v| v.along(1, x).exp().sum_all())));
    // Along an axis of size 1 there is nothing to sum; an axis of known size is a number.
    check_one(["1", "3"], 0, |x, y, _| (x * y).sum(&[0]));
    assert!(!has_size(&check_one(["5", "3"], 0, |x, _, v| v.along(1, x).sum(&[0]))));
    // Two sums over one axis and the sum of both are one sum.
    check_one(b, 1, |x, _, v| (x * v).sum(&[0]) + x.mean(&[0]) * v);
    // A product of what varies is not multiplied out, though Σxy − mean(x)·Σy would need one sum less.
    check_one(b, 4, |x, y, _| ((x - x.mean(&[0])) * y).sum(&[0]) + (x * y).sum(&[0]) * y.sum(&[0]));
    // Two repetitions meet in the axes of both, each along its own.
    for axis in [0, 1] {
        let cube = [3, 3, 3];
        check_one(["3", "3"], 0, |x, _, v| {
            (x.broadcast_in(cube, &[0, 1]) - v.broadcast_in(cube, &[axis])).exp().sum(&[2])
        });
    }
    // What cancels to 1 outside of a sum still lies in a larger shape.
    check_one(["2", "3"], 1, |x, _, v| {
        (v.unreduce(&[0, 2], x.reshape([2, 3, 1]).broadcast_to([2, 3, 3])) / 2.0).sum(&[0, 1])
    });
    // A sum of sums that nobody else reads is one sum.
    check_one(b, 1, |x, _, _| x.mean(&[1]).sum(&[0]));
    check_one(b, 1, |x, _, _| x.sum(&[1]).mean(&[0]));
    // Nothing is shared here, so nothing is multiplied out.
    check_one(b, 1, |x, y, v| (x * v - y).sum(&[0]));
}

#[test]
fn random_graphs_stay_equal_and_need_no_more_sums() {
    #[derive(Debug, Default)]
    struct Seen {
        graphs: usize,
        sums: usize,
        sums_after: usize,
        fewer: usize,
        most_nodes: f64,
        units: f64,
    }
    let seen = RefCell::new(Seen::default());
    let law = |whole: crate::common::Whole| -> Result<(), String> {
        for problem in [whole.problem(None)?.0, whole.problem(Some(&crate::common::ExpansionRules))?.0] {
            let (graph, feeds) = (&problem.gradient, &problem.feeds);
            let once = share_sums(graph).map_err(|errors| format!("{errors}\n{graph}"))?;
            same_in_field(graph, &once, feeds, feeds.len() as u64)?;
            let again = share_sums(&once).map_err(|errors| errors.to_string())?;
            if once.to_string() != again.to_string() {
                return Err(format!("a second time changes\n{once}\ninto\n{again}"));
            }
            let found = crate::common::Problem { gradient: once.clone(), ..problem.clone() };
            let worst = crate::common::check_same(&found, &problem)?.dual;
            if once.to_string() != shared(graph).to_string() {
                return Err("two runs differ".to_owned());
            }
            if foldgrad::ir::verify(&once).is_err() {
                return Err(format!("the verifier refuses\n{once}"));
            }
            let (before, after) = (count_sums(graph), count_sums(&once));
            if after > before {
                return Err(format!("{before} sums became {after}\n{graph}\n{once}"));
            }
            let mut seen = seen.borrow_mut();
            seen.units = seen.units.max(worst);
            seen.graphs += 1;
            seen.sums += before;
            seen.sums_after += after;
            seen.fewer += usize::from(after < before);
            let live = graph.live().iter().filter(|&&live| live).count();
            seen.most_nodes = seen.most_nodes.max(once.len() as f64 / live as f64);
        }
        Ok(())
    };
    let outcome = TestRunner::new(config(1500)).run(&wholes(), |whole| law(whole).map_err(TestCaseError::fail));
    println!("{:?}", seen.borrow());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let seen = seen.into_inner();
    assert!(seen.graphs < 1000 || seen.fewer * 20 > seen.graphs, "{seen:?}");
}
