//! The number of threads decides when things are computed, never what: weights after training, and the values of random
//! graphs, have the same bits at 1, 2, 3, 4 and 8 threads, and from run to run.

use crate::common::running::{SETS, options, run, same};
use crate::common::{Random, Whole, config, random_feeds, wholes};
use foldgrad::data::silhouettes;
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Dropout, Lambda, Model, Sequential};
use foldgrad::ops::GeluForm;
use foldgrad::train::{Adam, Examples, Fit, Loss, Metric, Optimizer, Samples, Sgd, Trainer};
use foldgrad::zoo::{self, BatchNorm};
use foldgrad::{DType, Expr, Tensor};
use proptest::test_runner::{TestCaseError, TestRunner};

const THREADS: [usize; 5] = [1, 2, 3, 4, 8];

/// What is trained, and on what.
struct Training {
    model: fn() -> Model,
    optimizer: fn() -> Optimizer,
    float: DType,
    examples: Examples,
    batch: usize,
    instructions: InstructionSet,
}

impl Training {
    fn weights(&self, threads: usize) -> OrderedMap<String, Tensor> {
        let mut trainer = Trainer::new((self.model)(), (self.optimizer)(), Loss::SparseCategoricalCrossentropy)
            .metric(Metric::Accuracy)
            .float(self.float)
            .seed(11)
            .options(options(self.instructions, 1, false))
            .threads(threads)
            .compile()
            .unwrap();
        let fit = Fit::new().epochs(2).batch_size(self.batch).validation(self.examples.clone()).silent();
        let history = trainer.fit(&self.examples, &fit).unwrap();
        let (first, last) = (history.epochs[0].loss, history.epochs[1].loss);
        assert!(last < first, "nothing was learnt: {first} {last}");
        let validation = history.epochs[1].validation.as_ref().unwrap().loss;
        let values = trainer.values().map(|(name, value)| (name.to_owned(), value.clone()));
        values.chain([("validation loss".to_owned(), Tensor::scalar(validation))]).collect()
    }

    /// Trains with each number of threads, twice with two.
    #[track_caller]
    fn check(&self) {
        let expected = self.weights(1);
        for threads in [2].into_iter().chain(THREADS) {
            same(&format!("{threads} threads"), &expected, &self.weights(threads)).unwrap();
        }
    }
}

fn images(count: usize) -> Examples {
    Examples::try_from(&silhouettes::generate(silhouettes::SEED, count, 1).0).unwrap()
}

fn sgd() -> Optimizer {
    Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6).into()
}

fn tutorial() -> Model {
    zoo::tutorial(BatchNorm::Before).unwrap()
}

#[test]
fn the_tutorial_network_in_batches_of_32() {
    let (examples, float) = (images(2005), DType::F32);
    let instructions = InstructionSet::Widest;
    Training { model: tutorial, optimizer: sgd, float, examples, batch: 32, instructions }.check();
}

/// 54 steps of 37, then one of 7.
#[test]
fn the_tutorial_network_in_odd_batches() {
    let (examples, float) = (images(2005), DType::F32);
    assert_eq!(examples.len() % 37, 7);
    let instructions = InstructionSet::Avx2;
    Training { model: tutorial, optimizer: sgd, float, examples, batch: 37, instructions }.check();
}

#[test]
fn the_tutorial_network_in_f64_with_adam() {
    let (examples, float) = (images(405), DType::F64);
    let instructions = InstructionSet::Widest;
    let optimizer: fn() -> Optimizer = || Adam::new(0.002).into();
    Training { model: tutorial, optimizer, float, examples, batch: 37, instructions }.check();
}

fn layer_norm(x: Expr<'_>) -> Expr<'_> {
    let last = [x.rank() - 1];
    let centred = x - x.mean(&last).unreduce(&last, x);
    let variance = (centred * centred).mean(&last).unreduce(&last, x);
    centred * (variance + 1e-5).rsqrt()
}

fn gelu(x: Expr<'_>) -> Expr<'_> {
    x.gelu(GeluForm::Exact)
}

/// Layer norm by hand, GELU, dropout, batch norm after the activation, and widths that no vector divides.
fn normed() -> Model {
    Sequential::new([83])
        .add(Dense::new(131))
        .add(Lambda::new(layer_norm))
        .add(Lambda::new(gelu))
        .add(Dropout::new(0.1))
        .add(Dense::new(67).activation(Activation::Tanh))
        .add(BatchNormalization::new())
        .add(Dense::new(5).activation(Activation::Softmax))
        .build()
        .unwrap()
}

fn clusters(count: usize) -> Examples {
    let mut random = Random(5);
    let labels: Vec<i32> = (0..count).map(|_| random.below(5) as i32).collect();
    let centre = |label: i32, feature: usize| f64::from((label * 7 + feature as i32 * 3) % 5) - 2.0;
    let points: Vec<f64> =
        labels.iter().flat_map(|&label| (0..83).map(move |feature| centre(label, feature))).collect();
    let points = points.into_iter().map(|x| x + random.range(-2.0, 2.0));
    let points = Tensor::from_f64(DType::F64, [count, 83], points.collect::<Vec<_>>()).unwrap();
    Examples::new(Samples::new(points).unwrap(), Samples::new(Tensor::vector(labels)).unwrap()).unwrap()
}

#[test]
fn layer_norm_and_gelu_with_adam() {
    for (float, instructions) in SETS.into_iter().flat_map(|set| [(DType::F32, set), (DType::F64, set)]) {
        let optimizer: fn() -> Optimizer = || Adam::new(0.003).into();
        // 17 steps of 37, then one of 7.
        Training { model: normed, optimizer, float, examples: clusters(636), batch: 37, instructions }.check();
    }
}

fn check_graph(whole: &Whole) -> Result<(), String> {
    let (problem, _) = whole.problem(None)?;
    let graph = &problem.gradient;
    let feeds: OrderedMap<String, Tensor> = (random_feeds(graph, 9).into_iter())
        .map(|(name, array)| {
            let dtype = graph.ty(foldgrad::ir::Value { node: graph.input(&name).unwrap(), output: 0 }).dtype;
            (name, array.to_tensor(dtype).unwrap())
        })
        .collect();
    for instructions in SETS {
        let expected = run(graph, &feeds, &options(instructions, 1, false));
        for threads in THREADS {
            for eager in [false, true] {
                let found = run(graph, &feeds, &options(instructions, threads, eager));
                same(&format!("{instructions:?}, {threads} threads"), &expected, &found)
                    .map_err(|difference| format!("{difference}\n{graph}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_of_random_graphs() {
    let law = |whole: Whole| check_graph(&whole).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config(150)).run(&wholes(), law) {
        panic!("{failure}");
    }
}
