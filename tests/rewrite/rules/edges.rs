//! Graphs at the edges of what pipelines are made for: each preset takes them, keeps every value and what the graph takes in
//! and gives out, and has nothing to do a second time.

use foldgrad::autodiff::gradients;
use foldgrad::ir::{Dim, OrderedMap, Role, Symbol, Weights};
use foldgrad::pass::{self, Pipeline};
use foldgrad::reference::{Array, NdArray, interpret};
use foldgrad::{Builder, DType, Graph};

/// Values for every input, all positive.
fn feeds(graph: &Graph, n: usize) -> OrderedMap<String, Array<f64>> {
    let feed = |(name, id): (&str, foldgrad::ir::NodeId)| {
        let ty = &graph.node(id).types()[0];
        let size = |dim: &Dim| dim.known().unwrap_or(if *dim == Dim::Symbol(Symbol::new("n")) { n } else { 2 });
        let shape: Vec<usize> = ty.shape.iter().map(size).collect();
        let data = (0..shape.iter().product()).map(|at: usize| 0.5 + (at * 7 % 5) as f64 * 0.25).collect();
        (name.to_owned(), Array::Real(NdArray { shape, data }))
    };
    graph.inputs().map(feed).collect()
}

fn same(name: &str, before: &Graph, after: &Graph, n: usize) {
    let [before, after] = [before, after].map(|graph| interpret(graph, &feeds(graph, n)).expect("fed"));
    for (of_before, of_after) in [(&before.outputs, &after.outputs), (&before.updates, &after.updates)] {
        assert!(of_before.keys().eq(of_after.keys()), "{name}: other outputs or updates");
        for (value, a) in of_before {
            let (a, b) = (&a.real().data, &of_after[value].real().data);
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * a.abs().max(1.0) || (a.is_nan() && b.is_nan());
            assert!(a.len() == b.len() && a.iter().zip(b).all(close), "{name}: `{value}` is {b:?} instead of {a:?}");
        }
    }
}

fn check(name: &str, build: fn(&Builder)) {
    let g = Builder::new();
    build(&g);
    let graph = g.finish().unwrap_or_else(|errors| panic!("{name}: {errors}"));
    for pipeline in [Pipeline::training(), Pipeline::inference(), Pipeline::as_declared()] {
        for proved in [true, false] {
            let pipeline = pipeline.clone().proved(proved);
            let outcome = pipeline.run(&graph).unwrap_or_else(|error| panic!("{name}: {error}"));
            let signature = |graph: &Graph| -> Vec<String> {
                graph.inputs().map(|(name, id)| format!("{name}: {}", graph.node(id).types()[0])).collect()
            };
            assert_eq!(signature(&outcome.graph), signature(&graph), "{name}");
            for n in [1, 3] {
                same(name, &graph, &outcome.graph, n);
            }
            let again = pipeline.run(&outcome.graph).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(again.graph.to_string(), outcome.graph.to_string(), "{name}");
            assert!(again.fired.is_empty(), "{name}: {:?}", again.fired);
            let taken_back = outcome.refused.iter().find(|refused| refused.reason.contains("does not pay"));
            assert!(taken_back.is_none(), "{name}: {taken_back:?}");
        }
    }
    fold(name, &graph);
}

/// Folds the graph, or is refused in words where a weight has no value yet or is not fixed.
fn fold(name: &str, graph: &Graph) {
    let mut weights = Weights::new();
    for (input, array) in feeds(graph, 3) {
        let ty = &graph.node(graph.input(&input).expect("an input")).types()[0];
        if ty.shape.known().is_some() {
            weights.insert(input, array.to_tensor(ty.dtype).expect("fits"));
        }
    }
    let role = |id| graph.as_input(id).map(|(_, role)| role);
    let is_open = graph.inputs().any(|(input, id)| role(id) != Some(Role::Data) && !weights.contains_key(input));
    let folded = pass::fold(graph, &weights);
    if is_open || graph.updates().len() > 0 {
        let error = folded.expect_err("no value, or not fixed").to_string();
        assert!(error.contains("there is no value for `") || error.contains("the graph updates `"), "{name}: {error}");
        return;
    }
    let folded = folded.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!folded.explanation().to_string().is_empty());
    let mut given = feeds(&folded.graph, 3);
    given.extend(folded.weights.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))));
    let after = interpret(&folded.graph, &given).expect("fed").outputs;
    for (output, before) in interpret(graph, &feeds(graph, 3)).expect("fed").outputs {
        for (a, b) in before.real().data.iter().zip(&after[&output].real().data) {
            let close = (a - b).abs() <= 1e-12 * a.abs().max(1.0) || (a.is_nan() && b.is_nan());
            assert!(close, "{name}, folded: {b} for {a}");
        }
    }
}

fn n() -> Dim {
    Dim::symbol("n")
}

macro_rules! edges {
    ($($name:ident: |$g:ident| $body:block)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), |$g| $body);
        }
    )*};
}

edges! {
    a_parameter_along_a_symbolic_axis: |g| {
        let x = g.input("x", DType::F64, [n(), 8.into()]);
        g.output("y", -x * g.parameter("p", DType::F64, [n(), 8.into()]));
    }
    several_maps_along_a_symbolic_axis: |g| {
        let x = g.input("x", DType::F64, [n(), 4.into()]);
        let p = |name| g.parameter(name, DType::F64, [n(), 4.into()]);
        g.output("y", (-(x * p("a") + p("b")) - p("c")) / p("d") * 2.0);
    }
    a_vector_along_the_batch: |g| {
        let x = g.input("x", DType::F64, [n(), 4.into()]);
        let row = g.parameter("row", DType::F64, [n()]);
        g.output("y", (x * row.along(0, x) + 1.0) * 3.0);
    }
    a_product_with_symbolic_units: |g| {
        let x = g.input("x", DType::F64, [n(), 3.into()]);
        let w = g.parameter("w", DType::F64, [Dim::Known(3), "m".into()]);
        let b = g.parameter("b", DType::F64, ["m"]);
        g.output("y", -(x.dense(w, Some(b)) * 2.0));
    }
    batch_norm_of_symbolic_channels: |g| {
        let x = g.input("x", DType::F64, [n(), "m".into()]);
        let p = |name| g.parameter(name, DType::F64, ["m"]);
        g.output("y", -x.batch_norm_infer([p("g"), p("b"), p("m"), p("v")], 1, 1e-3));
    }
    rank_one_batch_norm_behind_a_dense: |g| {
        let x = g.input("x", DType::F64, [7]);
        let p = |name, shape: &[usize]| g.parameter(name, DType::F64, shape);
        let normed = x.dense(p("k", &[7, 5]), Some(p("b", &[5]))).batch_norm_train(p("g", &[5]), p("be", &[5]), 0, 1e-3);
        g.output("y", normed.y);
        g.output("m", normed.mean);
    }
    rank_one_batch_norm_whose_mean_is_not_read: |g| {
        let x = g.input("x", DType::F64, [7]);
        let p = |name, shape: &[usize]| g.parameter(name, DType::F64, shape);
        g.output("y", x.dense(p("k", &[7, 5]), Some(p("b", &[5]))).batch_norm_train(p("g", &[5]), p("be", &[5]), 0, 1e-3).y);
    }
    a_batch_of_one_with_gradients: |g| {
        let x = g.input("x", DType::F64, [1, 7]);
        let p = |name, shape: &[usize]| g.parameter(name, DType::F64, shape);
        let (k, b) = (p("k", &[7, 5]), p("b", &[5]));
        let normed = (x.dot(k) - b).batch_norm_train(p("g", &[5]), p("be", &[5]), 1, 1e-1);
        let loss = (normed.y * normed.y).sum_all() + normed.mean.sum_all();
        g.output("loss", loss);
        let found = gradients(&[loss], &[k, b]).expect("differentiable");
        ["dk", "db"].iter().zip(found).for_each(|(name, gradient)| g.output(name, gradient));
    }
    an_empty_batch_with_gradients: |g| {
        let x = g.input("x", DType::F64, [0, 3]);
        let p = |name, shape: &[usize]| g.parameter(name, DType::F64, shape);
        let (k, b) = (p("k", &[3, 4]), p("b", &[4]));
        let normed = x.dense(k, Some(b)).batch_norm_train(p("g", &[4]), p("be", &[4]), 1, 1e-3);
        g.output("y", normed.y);
        let loss = normed.y.sum_all();
        gradients(&[loss], &[k, b]).expect("differentiable").into_iter().zip(["dk", "db"]).for_each(|(d, name)| g.output(name, d));
    }
    axes_of_size_0: |g| {
        let x = g.input("x", DType::F64, [0, 3]);
        let w = g.parameter("w", DType::F64, [3, 0]);
        let y = -(x * 2.0 + 0.0) * 1.0;
        g.output("y", y.dot(w));
        g.output("sums", y.sum(&[0]) + y.mean(&[0]));
        g.output("back", y.transpose(&[1, 0]).reshape([0]));
    }
    a_dense_of_no_features: |g| {
        let x = g.input("x", DType::F64, [n(), 0.into()]);
        let (k, b) = (g.parameter("k", DType::F64, [0, 4]), g.parameter("b", DType::F64, [4]));
        g.output("y", x.dense(k, Some(b)) * g.parameter("s", DType::F64, [4]) + 1.0);
    }
    inputs_that_nothing_reads: |g| {
        let x = g.input("x", DType::F64, [n(), 2.into()]);
        g.input("unused", DType::F64, [n(), 5.into()]);
        g.parameter("unused too", DType::F64, [3]);
        g.state("and this", DType::F64, [2]);
        g.output("y", -(-x) * 1.0);
    }
    outputs_that_are_inputs: |g| {
        let x = g.input("x", DType::F64, [n(), 2.into()]);
        let w = g.parameter("w", DType::F64, [2]);
        g.output("x again", x);
        g.output("w again", w);
        g.output("x once more", x + 0.0);
        g.output("y", x * w);
    }
    no_outputs_but_updates: |g| {
        let count = g.state("count", DType::F64, [2]);
        let mean = g.state("mean", DType::F64, [2]);
        g.update(count, count + 1.0);
        g.update(mean, -(-(mean * 0.9 + 0.0)));
    }
    states_that_nothing_updates: |g| {
        let count = g.state("count", DType::F64, [2]);
        g.output("y", count * 2.0 + 1.0);
    }
    a_state_that_becomes_an_input: |g| {
        let x = g.input("x", DType::F64, [2]);
        let last = g.state("last", DType::F64, [2]);
        g.update(last, x * 1.0);
        g.output("y", x - last);
    }
    weights_alone: |g| {
        let [a, b] = ["a", "b"].map(|name| g.parameter(name, DType::F64, [3]));
        g.output("y", (a * b + a) * 2.0);
    }
    constants_alone: |g| {
        g.output("y", g.scalar(DType::F64, 2.0).broadcast_to([3]) * 1.0 + 0.0);
        g.output("count", g.size([n()], DType::F64) * 0.0 + 3.0);
        g.input("x", DType::F64, [n()]);
    }
    one_value_under_two_names: |g| {
        let x = g.input("x", DType::F64, [n(), 3.into()]);
        let y = x.dot(g.parameter("w", DType::F64, [3, 2])) * 3.0;
        g.output("a", y);
        g.output("b", y);
        g.output("c", -y);
    }
    a_scalar_graph: |g| {
        let x = g.input("x", DType::F64, [0usize; 0]);
        g.output("y", (x * g.parameter("w", DType::F64, [0usize; 0]) + 1.0) * 2.0);
    }
    a_graph_without_anything: |_g| {}
}

/// No rule so much as tries.
#[test]
fn a_symbolic_parameter_is_no_weight() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, [n(), 8.into()]);
    g.output("y", -x * g.parameter("p", DType::F32, [n(), 8.into()]));
    let graph = g.finish().expect("well typed");
    let outcome = Pipeline::inference().proved(true).run(&graph).expect("nothing to do");
    assert!(outcome.fired.is_empty() && outcome.refused.is_empty());
}
