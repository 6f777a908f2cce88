//! Graphs whose sizes are known only in a run, each run several times from one file.

use super::instances::{Draws, Instance, Values, reference};
use foldgrad::ir::{Dim, OrderedMap};
use foldgrad::nn::Mode;
use foldgrad::op::Domain;
use foldgrad::ops::GeluForm;
use foldgrad::zoo::{self, BatchNorm};
use foldgrad::{Builder, DType, Expr, Graph, Tensor};

/// The batches that each file is run with.
pub const BATCHES: [usize; 3] = [1, 3, 32];

/// The tutorial's network in its three forms, in inference.
pub fn tutorials(dtype: DType) -> Vec<Instance> {
    let forms = [("before", BatchNorm::Before), ("after", BatchNorm::After), ("none", BatchNorm::None)];
    let network = |(name, batch_norm)| {
        let model = zoo::tutorial(batch_norm).expect("a fixed declaration");
        let graph = model.graph(Mode::Inference, dtype).expect("a fixed declaration");
        // Fresh running statistics are 0 and 1, at which a mistake would not show.
        let mut draws = Draws(7);
        let weights = model.initial_values_as(7, dtype).into_iter().map(|(name, value)| {
            let range = if name.ends_with("variance") { (0.5, 2.0) } else { (-0.5, 0.5) };
            let is_vector = value.shape().len() == 1;
            let domain = Domain::Range(range.0, range.1);
            let value = if is_vector { draws.tensor(value.shape(), value.dtype(), domain) } else { value };
            (name, value)
        });
        let weights: Values = weights.collect();
        runs(&format!("tutorial_{name}_{dtype}"), "tutorial", dtype, graph, weights, Domain::Range(0.0, 1.0))
    };
    forms.map(network).into()
}

type Function = for<'b> fn(&'b Builder, Expr<'b>, Expr<'b>) -> Expr<'b>;

/// Functions of `x: [batch, 3, 4]` and `w: [4]`, a parameter.
const FUNCTIONS: &[(&str, Function)] = &[
    ("flatten", |_, x, _| x.reshape([batch(), 12.into()])),
    ("batch_last", |_, x, _| x.transpose(&[1, 2, 0]).reshape([12.into(), batch()])),
    ("batch_moved", |_, x, _| x.reshape([12.into(), batch()])),
    ("size", |g, x, _| x * g.size([batch(), 3.into()], x.dtype())),
    ("size_squared", |g, x, _| x * g.size([batch(), batch()], x.dtype())),
    ("size_integer", |g, _, _| g.size([batch()], DType::I32)),
    ("mean", |_, x, _| x.mean(&[0])),
    ("mean_all", |_, x, _| x.mean_all()),
    ("sum_by_size", |_, x, _| x.sum(&[0]) / x.count(&[0])),
    ("iota_first", |g, x, _| x + g.iota(x.dtype(), x.shape(), 0)),
    ("iota_middle", |g, x, _| x + g.iota(x.dtype(), x.shape(), 1)),
    ("iota_alone", |g, x, _| g.iota(DType::I32, x.shape(), 0)),
    ("filled", |_, x, _| x.full_like(2.5)),
    ("filled_concat", |g, x, _| g.concat(&[x, x.full_like(2.5)], 2)),
    ("stretched_vector", |_, x, w| w.broadcast_to(x.shape())),
    ("stretched_batch", |_, x, _| x.sum(&[1, 2]).along(0, x)),
    ("stretched_product", |_, x, w| (w * w).broadcast_to(x.shape()).transpose(&[2, 0, 1])),
    ("batch_product", |_, x, _| x.dot_general(x, (&[0], &[0]), (&[], &[]))),
    ("gram", |_, x, _| x.dot_general(x, (&[1, 2], &[1, 2]), (&[], &[]))),
    ("by_batch", |_, x, _| x.dot_general(x, (&[2], &[2]), (&[0], &[0]))),
    ("outer", |_, x, w| x.dot_general(w, (&[], &[]), (&[], &[]))),
    ("attention", |_, x, _| {
        let scores = x.dot_general(x, (&[2], &[2]), (&[0], &[0]));
        scores.softmax(2).dot_general(x, (&[2], &[1]), (&[0], &[0]))
    }),
    ("layer_norm", |_, x, w| {
        let centred = x - x.mean(&[2]).unreduce(&[2], x);
        let var = (centred * centred).mean(&[2]);
        centred * (var + 1e-5).rsqrt().unreduce(&[2], x) * w
    }),
    ("gelu_gate", |_, x, w| x.gelu(GeluForm::Tanh) * (x * w).sigmoid()),
    ("arg_max_of_batch", |_, x, _| x.arg_max(0)),
    ("hot", |_, x, _| x.arg_max(2).one_hot(4, x.dtype()) * x),
    ("taken_of_batch", |g, x, _| x.take_along_axis(g.iota(DType::I32, x.shape(), 0), 0)),
    ("scattered_to_batch", |_, x, _| {
        let index = x.arg_max(2).reshape([batch(), 3.into(), 1.into()]);
        let updates = x.slice(2, 0..1);
        updates.scatter_along_axis(index, 0, batch())
    }),
    ("cut_and_padded", |_, x, _| x.slice_by(2, 1..4, 2).pad(2, 1, 0, 2, x.scalar_like(0.5))),
    ("clipped", |_, x, _| x.clamp(-0.5, 0.5)),
    ("normed_middle", |g, x, w| {
        let three = w.slice(0, 0..3);
        let var = (three * three) + 0.1;
        x.batch_norm_infer([three, g.scalar(x.dtype(), 0.0).broadcast_to([3]), three, var], 1, 1e-3)
    }),
    ("normed_last", |_, x, w| x.batch_norm_infer([w, w, w, w * w + 0.1], 2, 1e-3)),
];

/// Where a careless formula loses its digits, overflows, or has no answer: each point is a run of its own.
pub fn edges(dtype: DType) -> Vec<Instance> {
    const TINY: f64 = 1e-7;
    let points = [0.0, TINY, -TINY, 1e-3, -0.5, 30.0, -30.0, f64::INFINITY, f64::NEG_INFINITY];
    type Unary = for<'b> fn(Expr<'b>) -> Expr<'b>;
    let functions: [(&str, &[f64], Unary); 6] = [
        ("expm1", &points, |x| x.expm1()),
        ("log1p", &points[..6], |x| x.log1p()),
        ("log1p_far", &[-1.0, -2.0, 1e20, f64::INFINITY], |x| x.log1p()),
        ("sigmoid", &[0.0, TINY, 1e-3, -0.5, 30.0, f64::INFINITY, f64::NEG_INFINITY], |x| x.sigmoid()),
        ("softplus", &[0.0, 1e-3, 30.0, -30.0, 1000.0, -1000.0], |x| x.softplus()),
        ("elu", &[0.0, 1e-3, 30.0, -1000.0, 1000.0], |x| x.elu(0.3)),
    ];
    let mut instances = Vec::new();
    for (name, points, function) in functions {
        let g = Builder::new();
        g.output("y", function(g.input("x", dtype, [1])));
        let feeds = points.iter().map(|&point| Values::from([("x".to_owned(), Tensor::full(dtype, [1], point))]));
        instances.push(fed(format!("edge_{name}_{dtype}"), dtype, g.finish().expect("well typed"), feeds.collect()));
    }
    let g = Builder::new();
    let (a, b) = (g.input("a", DType::I32, [6]), g.input("b", DType::I32, [6]));
    g.output("y", a / b);
    let least = i32::MIN;
    let feeds = Values::from([
        ("a".to_owned(), Tensor::vector(vec![7, least, least, 0, -7, 7])),
        ("b".to_owned(), Tensor::vector(vec![0, -1, 1, 0, 2, -2])),
    ]);
    instances.push(fed(format!("edge_divide_{dtype}"), dtype, g.finish().expect("well typed"), vec![feeds]));
    instances
}

fn fed(name: String, dtype: DType, graph: Graph, feeds: Vec<Values>) -> Instance {
    let expected = |feeds: &Values| match dtype {
        DType::F32 => reference::<f32>(&graph, feeds),
        _ => reference::<f64>(&graph, feeds),
    };
    let runs = feeds.into_iter().map(|feeds| (feeds.clone(), expected(&feeds))).collect();
    Instance { name, op: "edge", graph, weights: Values::new(), runs }
}

fn batch() -> Dim {
    Dim::symbol("batch")
}

/// One graph for each function.
pub fn symbolic(dtype: DType) -> Vec<Instance> {
    let graph = |(name, function): &(&str, Function)| {
        let g = Builder::new();
        let x = g.input("x", dtype, [batch(), 3.into(), 4.into()]);
        let w = g.parameter("w", dtype, [4]);
        g.output("y", g.scoped("layer", || function(&g, x, w)));
        let graph = g.finish().unwrap_or_else(|errors| panic!("{name}: {errors}"));
        let weights = Values::from([("w".to_owned(), Draws(3).tensor(&[4], dtype, Domain::Range(-1.0, 1.0)))]);
        runs(&format!("symbolic_{name}_{dtype}"), "symbolic", dtype, graph, weights, Domain::Range(-2.0, 2.0))
    };
    FUNCTIONS.iter().map(graph).collect()
}

/// The graph with each batch, and what the interpreter makes of it.
fn runs(name: &str, op: &'static str, dtype: DType, graph: Graph, weights: Values, domain: Domain) -> Instance {
    let mut draws = Draws(5);
    let run = |batch: usize| {
        let feed = |(name, id): (&str, foldgrad::ir::NodeId)| {
            let size = |dim: &Dim| dim.known().unwrap_or(batch);
            let shape: Vec<usize> = graph.node(id).types()[0].shape.iter().map(size).collect();
            (name.to_owned(), draws.tensor(&shape, dtype, domain))
        };
        let feeds: Values = graph.inputs().filter(|(name, _)| !weights.contains_key(*name)).map(feed).collect();
        let all: OrderedMap<String, Tensor> =
            feeds.iter().chain(&weights).map(|(n, t)| (n.clone(), t.clone())).collect();
        let all = all.into_iter().filter(|(name, _)| graph.input(name).is_some()).collect();
        let expected =
            if dtype == DType::F32 { reference::<f32>(&graph, &all) } else { reference::<f64>(&graph, &all) };
        (feeds, expected)
    };
    let runs = BATCHES.map(run).into();
    Instance { name: name.to_owned(), op, graph, weights, runs }
}
