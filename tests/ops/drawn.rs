//! What the generator of random graphs draws: every op that a test counts on, often enough to matter.

use crate::common::graphs::{self, Recipe, Stateful, recipes};
use crate::common::wholes;
use foldgrad::{Builder, DType, Graph};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};

const GRAPHS: usize = 2000;

type Build = fn(&Recipe) -> Graph;

/// Counts the ops in these graphs: each of the expected is to be in one of a hundred.
fn drawn(what: &str, expected: &str, graphs: impl Iterator<Item = Graph>, wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for graph in graphs {
        let ops: BTreeSet<&'static str> = graph.nodes().map(|(_, node)| node.op().name()).collect();
        ops.into_iter().for_each(|op| *seen.entry(op).or_default() += 1);
    }
    println!("{what}: {seen:?}");
    for op in expected.split_whitespace() {
        let count = seen.get(op).copied().unwrap_or(0);
        if count * 100 < GRAPHS {
            wrong.push(format!("{what}: `{op}` is in {count} of {GRAPHS} graphs"));
        }
    }
}

fn some<T>(strategy: impl Strategy<Value = T>) -> impl Iterator<Item = T> {
    let mut runner = TestRunner::deterministic();
    (0..GRAPHS).map(move |_| strategy.new_tree(&mut runner).expect("a recipe").current())
}

fn whole(whole: &crate::common::Whole) -> Graph {
    let b = Builder::new();
    let losses = whole.build(&b).losses;
    losses.into_iter().enumerate().for_each(|(at, loss)| b.output(&format!("loss{at}"), loss));
    b.finish().expect("well typed")
}

#[test]
fn every_op_that_a_test_counts_on_is_drawn() {
    let mut wrong = Vec::new();
    drawn("differentiable", DIFFERENTIABLE, some(wholes()).map(|drawn| whole(&drawn)), &mut wrong);
    let menus: [(&str, &str, usize, Build); 6] = [
        ("inference", INFERENCE, 16, |recipe| graphs::inference(recipe).graph),
        ("training", TRAINING, 9, |recipe| graphs::training(recipe).graph),
        ("symbolic", SYMBOLIC, 12, |recipe| graphs::symbolic(recipe).graph),
        ("symbolic, with gradients", GRADIENTS, 8, |recipe| graphs::symbolic_training(recipe).graph),
        ("rows", ROWS, 11, |recipe| graphs::rows(recipe).graph),
        ("stateful", STATEFUL, 24, |recipe| Stateful::of(recipe, DType::F64).graph),
    ];
    for (what, expected, most, build) in menus {
        let fewest = if what == "stateful" { 6 } else { 2 };
        drawn(what, expected, some(recipes(fewest..most)).map(|recipe| build(&recipe)), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// What each menu is counted on for: more is welcome.
const DIFFERENTIABLE: &str = "abs add batch_norm_infer batch_norm_train broadcast clamp concat cumulative_sum \
    constant cos dense div dot elu erf exp expm1 gelu greater input leaky_relu log log1p log_softmax max mean \
    min mul pad pow reduce_max reduce_min reduce_product reduce_sum relu reshape rsqrt scatter_along_axis select \
    selu sigmoid silu sin slice softmax softmax_cross_entropy softplus sqrt sub take_along_axis tanh transpose";
const INFERENCE: &str = "abs add batch_norm_infer broadcast cast clamp concat cumulative_sum constant dense div \
    dot input leaky_relu max mean mul neg pad reduce_max reduce_min reduce_sum relu reshape sigmoid slice \
    softmax stop_gradient sub tanh transpose";
const TRAINING: &str = "add batch_norm_grad batch_norm_train broadcast constant dense div dot greater input mean \
    mul neg reduce_sum relu select size stop_gradient sub tanh transpose";
const SYMBOLIC: &str = "add batch_norm_infer batch_norm_train broadcast constant dense div dot input mean mul \
    neg reduce_sum relu reshape sub tanh transpose";
const GRADIENTS: &str = "add batch_norm_grad batch_norm_infer batch_norm_train broadcast constant dense div dot \
    equal greater input mean mul neg not_equal reduce_sum relu reshape rsqrt select size sub tanh transpose";
const ROWS: &str = "abs add arg_max batch_norm_infer batch_norm_train broadcast cast clamp concat cumulative_sum \
    constant dense div dot dropout elu greater input iota log_softmax max mean mul one_hot pad random_uniform \
    reduce_max reduce_min reduce_product reduce_sum relu reshape scatter_along_axis select sigmoid silu sin size \
    slice softmax softmax_cross_entropy softplus stop_gradient sub take_along_axis tanh transpose";
const STATEFUL: &str = "add arg_max batch_norm_train broadcast concat cumulative_sum constant dot greater input \
    mean mul pad reduce_max reduce_sum relu reshape select sin slice softmax stop_gradient sub take_along_axis \
    tanh transpose";
