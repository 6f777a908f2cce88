//! R4: a rule that may run before differentiation changes no gradient.
//!
//! Before and after the rule, `Σ c⊙y` over every float output and update `y`, with a random `c` for each, is
//! differentiated by every float input; the gradients are compared exactly, in the field.

use super::golden::{Example, all};
use crate::common::gradient_name;
use foldgrad::autodiff::gradients;
use foldgrad::ir::{Expr, Value};
use foldgrad::rewrite::{Equality, Prover, rules};
use foldgrad::{Builder, Graph};

/// The graph with a gradient for every float input, in place of its outputs and updates.
fn differentiated(graph: &Graph, label: &str) -> Graph {
    let builder = Builder::new();
    let mut values: Vec<Vec<Expr<'_>>> = Vec::new();
    for (id, node) in graph.nodes() {
        let operands: Vec<Expr<'_>> =
            node.operands().iter().map(|operand| values[operand.node.index()][operand.output as usize]).collect();
        values.push(match graph.as_input(id) {
            Some((name, role)) => vec![builder.declare(name, role, node.types()[0].clone())],
            None => builder.push_all(node.op().clone(), &operands),
        });
    }
    let get = |value: Value| values[value.node.index()][value.output as usize];
    let outputs = graph.outputs().map(|(name, value)| (name.to_owned(), value));
    let updates = graph.updates().map(|(state, next)| (format!("update of {state}"), next));
    let mut losses = Vec::new();
    for (name, value) in outputs.chain(updates) {
        let y = get(value);
        if y.dtype().is_float() {
            let c = builder.input(&format!("cotangent of {name}"), y.dtype(), y.shape());
            losses.push((y * c).sum_all());
        }
    }
    let wrt: Vec<(&str, Expr<'_>)> = graph.inputs().map(|(name, id)| (name, values[id.index()][0])).collect();
    let wrt: Vec<(&str, Expr<'_>)> = wrt.into_iter().filter(|(_, x)| x.dtype().is_float()).collect();
    let inputs: Vec<Expr<'_>> = wrt.iter().map(|&(_, x)| x).collect();
    if !losses.is_empty() {
        let found = gradients(&losses, &inputs).unwrap_or_else(|error| panic!("{label}: {error}"));
        for ((name, _), gradient) in wrt.iter().zip(found) {
            builder.output(&gradient_name(name), gradient);
        }
    }
    builder.finish().unwrap_or_else(|errors| panic!("{label}: {errors}"))
}

fn examples() -> Vec<Example> {
    let may_run = |example: &Example| {
        let mut training = rules::DEAD_BIAS.iter().chain(rules::IDENTITIES);
        training.any(|rule| rule.name == example.rule.name)
    };
    all(true).into_iter().filter(may_run).collect()
}

#[test]
fn r4_a_rule_changes_no_gradient() {
    let mut compared = 0;
    for example in examples() {
        let [before, after] =
            [&example.graph, &example.rewritten()].map(|graph| differentiated(graph, &example.label()));
        let mut prover = Prover::new(&before).expect("small inputs").points(4);
        let proof = prover.check(&before, &after, &[], Equality::Algebraic);
        proof.unwrap_or_else(|unequal| panic!("{}: {unequal}", example.label()));
        compared += before.outputs().len();
    }
    assert!(compared > 60, "{compared} gradients");
}

/// The bias that a rule drops has the gradient 0 but for the batch mean that somebody differentiates.
#[test]
fn the_gradient_of_a_dropped_bias_is_zero() {
    let g = Builder::new();
    let (x, w) = (g.input("x", foldgrad::DType::F32, ["batch", "3"]), g.parameter("w", foldgrad::DType::F32, [3, 4]));
    let [b, gamma, beta] = ["b", "gamma", "beta"].map(|name| g.parameter(name, foldgrad::DType::F32, [4]));
    let y = x.dense(w, Some(b)).batch_norm_train(gamma, beta, 1, 1e-3).y;
    let db = gradients(&[(y * y * y).sum_all()], &[b]).expect("differentiable")[0];
    g.output("db", db);
    let before = g.finish().expect("well typed");
    let outcome = foldgrad::pass::Pipeline::training().proved(true).run(&before).expect("right rules");
    let db = outcome.graph.output("db").expect("it is still asked for");
    // A plain zero: nothing of the backward pass is left.
    let ops: Vec<&str> = outcome.graph.nodes().map(|(_, node)| node.op().name()).filter(|&op| op != "input").collect();
    assert!(ops.iter().all(|op| ["constant", "broadcast"].contains(op)), "{ops:?} for {db}");
}
