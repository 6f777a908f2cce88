//! A bias before training batch norm does nothing but move the mean; everything else that touches it keeps it.

use super::check::{close, count, data, feeds, values};
use super::net::{EPSILON, Net};
use crate::common::Magnitude;
use foldgrad::autodiff::gradients;
use foldgrad::ir::{Weights, verify};
use foldgrad::pass::{Outcome, Pipeline};
use foldgrad::reference::interpret;
use foldgrad::rewrite::work;
use foldgrad::{DType, Expr, Graph};

struct Trained {
    before: Graph,
    outcome: Outcome,
}

fn built(build: impl Fn(&Net)) -> (Graph, Weights) {
    let net = Net::new(DType::F64);
    build(&net);
    net.finish()
}

#[track_caller]
fn train(build: impl Fn(&Net)) -> Trained {
    let (graph, weights) = built(build);
    train_with(graph, weights, Pipeline::training())
}

/// Runs a pipeline, and compares every output and update before and after.
#[track_caller]
fn train_with(before: Graph, weights: Weights, pipeline: Pipeline) -> Trained {
    let outcome = pipeline.proved(true).run(&before).unwrap_or_else(|error| panic!("{error}\n{before}"));
    assert!(verify(&outcome.graph).is_ok() && work(&outcome.graph) <= work(&before));
    for batch in [4, 1] {
        let data = data(&before, batch);
        let truth = interpret::<Magnitude>(&before, &feeds(&data, &weights)).expect("a value");
        let found = interpret::<f64>(&outcome.graph, &feeds(&data, &weights)).expect("a value");
        let all = truth.outputs.iter().map(|(name, value)| (name, value, &found.outputs[name]));
        let updates = truth.updates.iter().map(|(name, value)| (name, value, &found.updates[name]));
        for (name, truth, found) in all.chain(updates) {
            // The gradients of batch norm cancel; the terms that they are made of count.
            if let Err(difference) = close(name, truth, found, 1e-11) {
                panic!("at a batch of {batch}: {difference}\n{before}became {}", outcome.graph);
            }
        }
    }
    Trained { before, outcome }
}

impl Trained {
    #[track_caller]
    fn leaves(&self, expected: &[(&str, usize)]) -> &Trained {
        for &(op, expected) in expected {
            let refused: Vec<&str> = self.outcome.refused.iter().map(|refused| &*refused.reason).collect();
            assert_eq!(count(&self.outcome.graph, op), expected, "{op}\n{}{refused:#?}", self.outcome.graph);
        }
        self
    }

    #[track_caller]
    fn refused(&self, words: &str) {
        let reasons: Vec<&str> = self.outcome.refused.iter().map(|refused| &*refused.reason).collect();
        assert!(reasons.iter().any(|reason| reason.contains(words)), "no reason says `{words}`: {reasons:#?}");
        let biases = |graph: &Graph| count(graph, "dense") + count(graph, "batch_norm_train");
        assert_eq!(biases(&self.outcome.graph), biases(&self.before), "{}", self.outcome.graph);
    }
}

/// Batch norm of training, with running statistics.
fn norm<'b>(n: &'b Net, name: &str, z: Expr<'b>, axis: usize) -> Expr<'b> {
    let [gamma, beta, mean, var] = n.moments(name, super::net::size(z, axis));
    let normed = n.b.scoped(name, || z.batch_norm_train(gamma, beta, axis, EPSILON));
    n.b.update(mean, mean * 0.9 + normed.mean * 0.1);
    n.b.update(var, var * 0.9 + normed.var * 0.1);
    normed.y
}

/// A loss with the gradients of all parameters whose name does not say that they are statistics.
fn descend(n: &Net, y: Expr<'_>, more: impl for<'b> Fn(Expr<'b>) -> Expr<'b>) {
    let y = n.b.expr(y.value());
    let loss = more((y * y * y).mean_all());
    n.output("loss", loss);
    let trained: Vec<(String, Expr<'_>)> = {
        let graph = n.b.graph();
        let inputs = graph
            .inputs()
            .filter(|(name, _)| ["/kernel", "/bias", "/gamma", "/beta"].iter().any(|end| name.ends_with(end)));
        inputs.map(|(name, id)| (name.to_owned(), n.b.expr(foldgrad::ir::Value { node: id, output: 0 }))).collect()
    };
    let wrt: Vec<Expr<'_>> = trained.iter().map(|&(_, value)| value).collect();
    for ((name, _), gradient) in trained.iter().zip(gradients(&[loss], &wrt).expect("a gradient")) {
        n.output(&format!("gradient of {name}"), gradient);
    }
}

#[test]
fn the_bias_goes_and_the_running_mean_keeps_it() {
    let trained = train(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[3]), 4), 1), |loss| loss));
    trained.leaves(&[("dense", 0), ("batch_norm_train", 1), ("batch_norm_grad", 1)]);
    let fired: Vec<&str> = trained.outcome.fired.iter().map(|fired| fired.rule.name).collect();
    for rule in ["bias_before_batch_norm", "bias_before_batch_norm_grad", "sum_of_batch_norm_grad"] {
        assert!(fired.contains(&rule), "{fired:?}");
    }
}

#[test]
fn a_bias_that_is_added_or_subtracted_apart() {
    for sign in [1.0, -1.0] {
        train(|n| {
            let (z, b) = (n.x(&[3]).dot(n.weight("dense/kernel", &[3, 4])), n.weight("dense/bias", &[4]));
            descend(n, norm(n, "bn", if sign > 0.0 { z + b } else { z - b }, 1), |loss| loss);
        })
        .leaves(&[("batch_norm_train", 1), ("dense", 0)]);
    }
    // Subtracted from, it is no shift of the batch.
    let flipped = train(|n| {
        let (z, b) = (n.x(&[3]).dot(n.weight("dense/kernel", &[3, 4])), n.weight("dense/bias", &[4]));
        descend(n, norm(n, "bn", b - z, 1), |loss| loss);
    });
    assert!(flipped.outcome.fired.iter().all(|fired| !fired.rule.name.starts_with("bias_before")));
}

#[test]
fn a_penalty_on_the_bias_keeps_it() {
    let (graph, weights) = built(|n| {
        let y = norm(n, "bn", n.dense("dense", n.x(&[3]), 4), 1);
        let bias = n.b.expr(first(n, "dense/bias").value());
        n.output("penalty", (bias * bias).sum_all());
        descend(n, y, |loss| loss);
    });
    train_with(graph, weights, Pipeline::training()).refused("is used by more than");
}

fn first<'b>(n: &'b Net, name: &str) -> Expr<'b> {
    let id = n.b.graph().input(name).expect("declared");
    n.b.expr(foldgrad::ir::Value { node: id, output: 0 })
}

#[test]
fn a_protected_bias_stays() {
    let (graph, weights) = built(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[3]), 4), 1), |loss| loss));
    let pipeline = Pipeline::training().protect("dense/bias", "it is constrained to be positive");
    train_with(graph, weights, pipeline).refused("it is constrained to be positive");
}

#[test]
fn a_bias_of_two_layers_stays() {
    train(|n| {
        let (x, w, b) = (n.x(&[3]), n.weight("dense/kernel", &[3, 4]), n.weight("dense/bias", &[4]));
        let left = norm(n, "bn1", x.dense(w, Some(b)), 1);
        descend(n, left + x.tanh().dense(w, Some(b)), |loss| loss);
    })
    .refused("is used by more than");
}

#[test]
fn a_value_before_batch_norm_that_is_seen_elsewhere() {
    train(|n| {
        let z = n.dense("dense", n.x(&[3]), 4);
        n.output("z", z);
        descend(n, norm(n, "bn", z, 1), |loss| loss);
    })
    .refused("is given out");
    train(|n| {
        let z = n.dense("dense", n.x(&[3]), 4);
        descend(n, norm(n, "bn", z, 1) + z, |loss| loss);
    })
    .refused("is also used by");
}

#[test]
fn two_batch_norms_on_one_biased_product() {
    train(|n| {
        let z = n.dense("dense", n.x(&[3]), 4);
        descend(n, norm(n, "bn1", z, 1) * norm(n, "bn2", z, 1), |loss| loss);
    })
    .refused("is also used by");
    train(|n| {
        let z = n.dense("dense", n.x(&[3]), 4);
        n.output("y", norm(n, "bn1", z, 1) * norm(n, "bn2", z, 1));
    })
    .refused("is also used by");
}

#[test]
fn channels_that_are_not_the_units() {
    // [batch, 4, 4] over axis 1: a bias of the units is no shift of a time step's batch.
    train(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[4, 3]), 4), 1), |loss| loss))
        .refused("its channels are not the units of");
    train(|n| {
        let z = n.x(&[4, 3]).dot(n.weight("dense/kernel", &[3, 4])) + n.weight("dense/bias", &[4]);
        descend(n, norm(n, "bn", z, 1), |loss| loss);
    })
    .leaves(&[("batch_norm_train", 1)]);
    train(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[4, 3]), 4), 2), |loss| loss))
        .leaves(&[("dense", 0), ("batch_norm_train", 1)]);
}

#[test]
fn an_activation_before_batch_norm_keeps_the_bias() {
    train(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[3]), 4).relu(), 1), |loss| loss))
        .leaves(&[("dense", 1), ("batch_norm_train", 1)]);
}

#[test]
fn a_scalar_bias_and_one_that_is_data() {
    train(|n| {
        let z = n.x(&[3]).dot(n.weight("dense/kernel", &[3, 4])) + n.weight("dense/bias", &[]);
        descend(n, norm(n, "bn", z, 1), |loss| loss);
    })
    .leaves(&[("batch_norm_train", 1)]);
    // A shift of each example is no shift of the batch.
    let trained = train(|n| {
        let z = n.x(&[3]).dot(n.weight("dense/kernel", &[3, 4])) + n.data("offset", &[1]);
        descend(n, norm(n, "bn", z, 1), |loss| loss);
    });
    assert!(trained.outcome.fired.iter().all(|fired| !fired.rule.name.starts_with("bias_before")));
}

#[test]
fn rules_that_are_switched_off_one_by_one() {
    for rule in ["bias_before_batch_norm", "bias_before_batch_norm_grad", "sum_of_batch_norm_grad"] {
        let (graph, weights) = built(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[3]), 4), 1), |loss| loss));
        train_with(graph, weights, Pipeline::training().without(rule));
    }
    for rewrites in 0..4 {
        let (graph, weights) = built(|n| descend(n, norm(n, "bn", n.dense("dense", n.x(&[3]), 4), 1), |loss| loss));
        train_with(graph, weights, Pipeline::training().stop_after(rewrites));
    }
}

#[test]
fn gradients_through_the_batch_mean() {
    // The bias of a batch mean that someone differentiates has a gradient, and keeps it.
    train(|n| {
        let z = n.dense("dense", n.x(&[3]), 4);
        let [gamma, beta, _, _] = n.moments("bn", 4);
        let normed = z.batch_norm_train(gamma, beta, 1, EPSILON);
        descend(n, normed.y + normed.mean * normed.var, |loss| loss);
    });
}

#[test]
fn a_stack_of_layers() {
    train(|n| {
        let mut x = n.x(&[3]);
        for index in 0..3 {
            x = norm(n, &format!("bn{index}"), n.dense(&format!("dense{index}"), x, 4), 1).relu();
        }
        descend(n, n.dense("top", x, 2), |loss| loss);
    })
    .leaves(&[("dense", 1), ("batch_norm_train", 3), ("batch_norm_grad", 3)]);
}

#[test]
fn values_are_as_declared() {
    // The checks above compare what they are given; here the comparison itself is shown to see a change.
    let (graph, weights) = built(|n| n.output("y", n.dense("dense", n.x(&[3]), 4)));
    let data = data(&graph, 3);
    let truth = values::<Magnitude>(&graph, &feeds(&data, &weights)).expect("a value");
    let mut other = weights.clone();
    other["dense/bias"] = foldgrad::Tensor::zeros(DType::F64, [4]);
    let found = values::<f64>(&graph, &feeds(&data, &other)).expect("a value");
    assert!(close("y", &truth["y"], &found["y"], 1e-11).is_err());
}
