//! One graph, one copy of its weights, batches of any size: the rows of a large batch are those of small ones, to the bit;
//! what does not fit is refused with what, where and how to mend it.

mod cuts;
mod graphs;
mod law;

use crate::common::Random;
use crate::common::running::{SETS, difference, options};
use foldgrad::exec::{BLOCK, Executable, Options, PLANS, PredictError, Predictor, RunError};
use foldgrad::ir::{Bindings, Dim, Shape};
use foldgrad::nn::Mode;
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Expr, Tensor, pass};
use std::collections::BTreeSet;

fn random(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut random = Random(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| random.range(-1.0, 1.0)).collect();
    Tensor::from_f64(dtype, shape, values).unwrap()
}

/// The rows `from..to` of a tensor.
fn rows(tensor: &Tensor, from: usize, to: usize) -> Tensor {
    let each: usize = tensor.shape()[1..].iter().product();
    let shape = [&[to - from], &tensor.shape()[1..]].concat();
    Tensor::from_f64(tensor.dtype(), shape, tensor.to_f64()[from * each..to * each].to_vec()).unwrap()
}

/// The folded tutorial network with weights away from their start.
fn network(dtype: DType, options: &Options) -> Predictor {
    let model = tutorial(BatchNorm::Before).unwrap();
    let graph = model.graph(Mode::Inference, dtype).unwrap();
    let weights = model.initial_values_as(3, dtype).into_iter().enumerate().map(|(seed, (name, value))| {
        let noise = random(dtype, value.shape(), seed as u64).to_f64();
        let moved = value.to_f64().into_iter().zip(noise).map(|(a, b)| a + 0.05 * b.abs());
        (name, Tensor::from_f64(dtype, value.shape(), moved).unwrap())
    });
    pass::fold(&graph, &weights.collect()).unwrap().predictor(options).unwrap()
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    // More than a block for each of three threads: the whole goes block by block, its parts as one batch.
    let most = 4 * BLOCK + 37;
    for dtype in [DType::F32, DType::F64] {
        for (set, threads) in SETS.into_iter().zip([2, 1, 3]) {
            let predictor = network(dtype, &options(set, threads, false));
            let x = random(dtype, &[most, 28, 28], 8);
            let whole = predictor.predict(&[&x]).unwrap().remove(0);
            assert_eq!(whole.shape(), [most, 10]);
            for (from, to) in [
                (0, 1),
                (600 % most, 1 + 600 % most),
                (most - 1, most),
                (3, 5),
                (7, 24),
                (10, 73),
                (100, 227),
                (5, 261),
                (1, 259),
            ] {
                let part = predictor.predict(&[&rows(&x, from, to)]).unwrap().remove(0);
                let difference = difference(&part, &rows(&whole, from, to));
                assert_eq!(difference, None, "{dtype} {set:?}, {threads} threads, rows {from}..{to}");
            }
        }
    }
}

/// What a plan made for the whole batch gives.
fn by_executable(g: Builder, batch: &str, feeds: &[&Tensor], states: &mut [Tensor]) -> Vec<Tensor> {
    let bindings = Bindings::from([(foldgrad::ir::Symbol::new(batch), feeds[0].shape()[0])]);
    let mut run = Executable::new(g.finish().unwrap(), &bindings).unwrap();
    run.run(feeds, states).unwrap();
    (0..run.plan().outputs().len()).map(|index| run.output_tensor(index).unwrap()).collect()
}

/// Several inputs and outputs of several types, one value under two names, an input and a weight as outputs' sources.
fn several() -> Builder {
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["n".into(), Dim::Known(5)]);
    let index = g.input("index", DType::I32, ["n"]);
    let w = g.parameter("w", DType::F64, [5, 3]);
    let y = x.dot(w).tanh();
    g.output("y", y);
    g.output("as given", x);
    g.output("again", y);
    g.output("class", y.arg_max(1) + index);
    g.output("positive", y.sum(&[1]).greater(y.sum(&[1]).zeros_like()));
    g
}

#[test]
fn several_inputs_and_outputs_are_written_where_they_belong() {
    let w = random(DType::F64, &[5, 3], 1);
    let weights = [("w".to_owned(), w.clone()), ("of something else".to_owned(), Tensor::scalar(1.0f32))];
    let predictor = Predictor::new(several().finish().unwrap(), weights, &Options::default()).unwrap();
    for count in [1, 2, BLOCK, BLOCK + 1, 3 * BLOCK] {
        let x = random(DType::F64, &[count, 5], 2);
        let index = Tensor::vector((0..count as i32).collect());
        let expected = by_executable(several(), "n", &[&x, &index], &mut [w.clone()]);
        let found = predictor.predict(&[&x, &index]).unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found, expected, "{count} rows");
        let mut again: Vec<Tensor> =
            found.iter().map(|output| Tensor::full(output.dtype(), output.shape(), 1.0)).collect();
        predictor.predict_into(&[&x, &index], &mut again).unwrap();
        assert_eq!(again, expected, "{count} rows");
    }
}

/// Rows that depend on each other are one batch, however many they are.
#[test]
fn rows_that_depend_on_each_other_stay_together() {
    let build = || {
        let g = Builder::new();
        let x = g.input("x", DType::F64, ["n".into(), Dim::Known(3)]);
        g.output("centred", x - x.mean(&[0]).unreduce(&[0], x));
        g.output("mean", x.mean(&[0]));
        g
    };
    let predictor = Predictor::new(build().finish().unwrap(), [], &Options::default()).unwrap();
    let x = random(DType::F64, &[2 * BLOCK + 1, 3], 4);
    assert_eq!(predictor.predict(&[&x]).unwrap(), by_executable(build(), "n", &[&x], &mut []));
    assert!(predictor.planned().contains(&(2 * BLOCK + 1)));
}

#[test]
fn plans_are_kept_for_the_latest_sizes() {
    let predictor = simple(&[]).unwrap();
    let ask = |count: usize| {
        let y = predictor.predict(&[&Tensor::full(DType::F32, [count, 2], 3.0)]).unwrap();
        assert_eq!(y, [Tensor::full(DType::F32, [count, 2], 6.0)]);
    };
    (1..=PLANS).for_each(ask);
    ask(1);
    ask(100);
    let mut expected: Vec<usize> = (3..=PLANS).collect();
    expected.extend([1, 100]);
    assert_eq!(predictor.planned(), expected);
    // More than a block for each thread.
    ask(1000);
    let planned = predictor.planned();
    assert_eq!(planned.len(), PLANS);
    assert_eq!(BTreeSet::from_iter(&planned[PLANS - 2..]), BTreeSet::from([&BLOCK, &(1000 % BLOCK)]));
}

/// `y = x·w`, over `x` of these types.
fn simple(axes: &[Dim]) -> Result<Predictor, PredictError> {
    let g = Builder::new();
    let default = [Dim::symbol("batch"), Dim::Known(2)];
    let x = g.input("x", DType::F32, Shape::new(if axes.is_empty() { default.to_vec() } else { axes.to_vec() }));
    g.output("y", x * g.parameter("w", DType::F32, [2]));
    let options = Options::default().threads(2);
    Predictor::new(g.finish().unwrap(), [("w".to_owned(), Tensor::full(DType::F32, [2], 2.0))], &options)
}

#[test]
fn a_fixed_batch_takes_that_size_alone() {
    let predictor = simple(&[Dim::Known(4), Dim::Known(2)]).unwrap();
    let ones = |count: usize| Tensor::full(DType::F32, [count, 2], 1.0);
    assert_eq!(predictor.predict(&[&ones(4)]).unwrap(), [Tensor::full(DType::F32, [4, 2], 2.0)]);
    let error = predictor.predict(&[&ones(5)]).unwrap_err();
    assert!(matches!(error, PredictError::Rows { expected: 4, found: 5, .. }), "{error}");
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, PredictError>, words: &[&str]) {
    let message = result.unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn graphs_and_weights_that_do_not_fit_are_refused() {
    let make = |build: &dyn for<'b> Fn(&'b Builder) -> Expr<'b>, weights: Vec<(String, Tensor)>| {
        let g = Builder::new();
        let y = build(&g);
        g.output("y", y);
        Predictor::new(g.finish().unwrap(), weights, &Options::default())
    };
    let w = |shape: &[usize]| vec![("w".to_owned(), Tensor::zeros(DType::F32, shape))];
    says(make(&|g| g.parameter("w", DType::F32, [2]) * 2.0, w(&[2])), &["no data input", "declare"]);
    says(make(&|g| g.input("x", DType::F32, [0usize; 0]) * 2.0, vec![]), &["`x`", "first axis", "declare"]);
    says(
        make(&|g| g.input("x", DType::F32, ["n"]).sum_all() + g.input("z", DType::F32, ["m"]).sum_all(), vec![]),
        &["`z`", "`n`", "first axis"],
    );
    says(make(&|g| g.input("x", DType::F32, ["n", "n"]) * 2.0, vec![]), &["`x`", "only once"]);
    let weighted: &dyn for<'b> Fn(&'b Builder) -> Expr<'b> =
        &|g| g.input("x", DType::F32, ["n", "2"]) * g.parameter("w", DType::F32, [2]);
    says(make(weighted, vec![]), &["`w`", "f32[2]", "nothing", "give"]);
    says(make(weighted, w(&[3])), &["`w`", "f32[2]", "f32[3]", "give"]);
    says(make(&|g| g.input("x", DType::F32, ["n", "m"]) * 2.0, vec![]), &["`m`", "no size"]);
    let updating = make(
        &|g| {
            let w = g.parameter("w", DType::F32, [2]);
            g.update(w, w * 0.5);
            g.input("x", DType::F32, ["n", "2"]) * w
        },
        w(&[2]),
    );
    assert!(matches!(updating, Err(PredictError::Run(RunError::Updates { .. }))));
    says(updating, &["updates `w`", "freeze"]);
}

#[test]
fn inputs_and_outputs_that_do_not_fit_are_refused() {
    let (x, i) = (|rows: usize| Tensor::zeros(DType::F64, [rows, 5]), |rows: usize| Tensor::zeros(DType::I32, [rows]));
    let weights = [("w".to_owned(), random(DType::F64, &[5, 3], 1))];
    let predictor = Predictor::new(several().finish().unwrap(), weights, &Options::default()).unwrap();
    says(predictor.predict(&[&x(2)]), &["2 data inputs", "x, index", "1 were given", "give"]);
    says(predictor.predict(&[&x(2), &i(3)]), &["`index`", "3 rows", "2 are wanted", "`x`"]);
    says(predictor.predict(&[&x(0), &i(0)]), &["`x`", "no rows", "at least one"]);
    says(predictor.predict(&[&x(2).cast(DType::F32), &i(2)]), &["`x`", "f64[n,5]", "f32[2,5]", "cast"]);
    says(predictor.predict(&[&Tensor::zeros(DType::F64, [2, 4]), &i(2)]), &["`x`", "f64[2,4]", "each row"]);
    says(predictor.predict(&[&Tensor::zeros(DType::F64, [5]), &i(5)]), &["`x`", "f64[n,5]", "f64[5]"]);
    let good = predictor.predict(&[&x(2), &i(2)]).unwrap();
    says(predictor.predict_into(&[&x(2), &i(2)], &mut good.clone()[..4]), &["5 outputs", "4 were given"]);
    let mut short = good.clone();
    short[2] = Tensor::zeros(DType::F64, [1, 3]);
    says(predictor.predict_into(&[&x(2), &i(2)], &mut short), &["output `again`", "1 rows", "2 are wanted"]);
    let mut other = good.clone();
    other[3] = Tensor::zeros(DType::F64, [2]);
    says(predictor.predict_into(&[&x(2), &i(2)], &mut other), &["output `class`", "i32[n]", "f64[2]"]);
    // A refused call leaves the next one as it was.
    assert_eq!(predictor.predict(&[&x(2), &i(2)]).unwrap(), good);
}

#[test]
fn a_run_over_shared_states_gives_what_a_run_gives() {
    let (x, index, w) = (random(DType::F64, &[7, 5], 1), Tensor::vector(vec![1i32; 7]), random(DType::F64, &[5, 3], 1));
    let bindings = Bindings::from([(foldgrad::ir::Symbol::new("n"), 7)]);
    let mut run = Executable::new(several().finish().unwrap(), &bindings).unwrap();
    run.run_shared(&[&x, &index], &[&w]).unwrap();
    let found: Vec<Tensor> = (0..5).map(|at| run.output_tensor(at).unwrap()).collect();
    assert_eq!(found, by_executable(several(), "n", &[&x, &index], &mut [w]));
    let g = Builder::new();
    let w = g.parameter("w", DType::F32, [2]);
    g.update(w, w * 0.5);
    g.output("y", g.input("x", DType::F32, [2]) * w);
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::new()).unwrap();
    let (x, w) = (Tensor::full(DType::F32, [2], 1.0), Tensor::full(DType::F32, [2], 1.0));
    assert_eq!(run.run_shared(&[&x], &[&w]), Err(RunError::Updates { name: "w".to_owned() }));
    assert_eq!(w, Tensor::full(DType::F32, [2], 1.0));
}
