//! Wrong rules: the driver takes none of them on trust, and its errors say which rule, at which node, in which pass.

use foldgrad::ir::{Expr, Value};
use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
use foldgrad::op::Op;
use foldgrad::ops::{Binary, Unary};
use foldgrad::pass::{Action, Pass, PassError, Pipeline};
use foldgrad::rewrite::{Difference, Equality, Match, Miss, Rewrite, RewriteError, Rewriter, Rule, Which};
use foldgrad::{Builder, DType, Graph};

/// What a rule makes of the operand of a tanh.
fn for_tanh(m: &Match<'_>, make: for<'g> fn(Expr<'g>) -> Expr<'g>) -> Result<Rewrite, Miss> {
    match m.op() {
        Op::Unary(Unary::Tanh) => Ok(Rewrite::by(make(m.get(m.operand(0))))),
        _ => Err(Miss::Absent),
    }
}

macro_rules! wrong_rules {
    ($($name:ident: $equality:ident $apply:expr;)*) => {$(
        #[allow(non_upper_case_globals)]
        static $name: Rule = Rule {
            name: stringify!($name),
            equation: "a wrong rule ⇒ an error",
            equality: Equality::$equality,
            apply: $apply,
        };
    )*};
}

wrong_rules! {
    other_shape: Algebraic |m| for_tanh(m, |x| x.sum(&[0]));
    other_type: Algebraic |m| for_tanh(m, |x| x.cast(DType::F64));
    no_result: Algebraic |m| match m.op() {
        Op::Unary(Unary::Tanh) => Ok(Rewrite { results: Vec::new(), absorbed: Vec::new(), into: None }),
        _ => Err(Miss::Absent),
    };
    ill_typed: Algebraic |m| for_tanh(m, |x| x.transpose(&[0, 0, 7]));
    nothing_gained: Algebraic |m| for_tanh(m, |x| x.tanh());
    more_work: Algebraic |m| for_tanh(m, |x| (-(-x)).tanh());
    operand_for_result: Algebraic |m| for_tanh(m, |x| x);
    operand_for_result_sampled: Sampled |m| for_tanh(m, |x| x);
    // a · b ⇒ b · a and back: each is right, and together they never end.
    swap: Algebraic |m| match m.op() {
        Op::Binary(Binary::Mul) => Ok(Rewrite::by(m.get(m.operand(1)) * m.get(m.operand(0)))),
        _ => Err(Miss::Absent),
    };
    // bn(x·W + b) ⇒ x·(W·diag s) + (b + t): the bias is added but not scaled.
    bias_not_scaled: Algebraic |m| {
        let (Op::BatchNormInfer(op), &[h, gamma, beta, mean, var]) = (m.op(), m.operands()) else {
            return Err(Miss::Absent);
        };
        let Op::Dense(_) = m.producer(h) else { return Err(Miss::Absent) };
        let &[x, w, b] = m.node(h.node).operands() else { return Err(Miss::Absent) };
        let [x, w, b, gamma, beta, mean, var] = [x, w, b, gamma, beta, mean, var].map(|value: Value| m.get(value));
        let scale = (var + op.eps.0).rsqrt() * gamma;
        Ok(Rewrite::by(x.dense(w * scale, Some(b + (beta - mean * scale)))).absorbing([h.node]))
    };
}

fn graph() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch"]);
    let z = g.input("z", DType::F32, ["batch"]);
    g.scoped("hidden", || g.output("y", x.tanh() * z));
    g.finish().expect("well typed")
}

fn network() -> Graph {
    let net = Sequential::new([3]).add(Dense::new(4)).add(BatchNormalization::new()).build().expect("well formed");
    net.graph(Mode::Inference, DType::F32).expect("well typed")
}

#[track_caller]
fn error(graph: &Graph, rule: &'static Rule) -> RewriteError {
    // A rule that never ends is stopped and fails the test.
    let mut rewriter = Rewriter::new().stop_after(100).proved(graph).expect("small inputs");
    match rewriter.run(graph, &[rule]) {
        Err(error) => error,
        Ok(after) => panic!("{rule:?} was accepted:\n{after}"),
    }
}

#[test]
fn a_replacement_of_another_type_is_refused() {
    for (bad, wanted, got) in [(&other_shape, "f32[batch]", "f32[]"), (&other_type, "f32[batch]", "f64[batch]")] {
        let error = error(&graph(), bad);
        let RewriteError::Type { rule, node, expected, found } = &error else { panic!("{error}") };
        assert_eq!((*rule, expected.as_str(), found.as_str()), (bad.name, wanted, got));
        assert!(node.contains("tanh in layer `hidden` (") && node.contains("bad.rs:"), "{node}");
        assert!(error.to_string().contains(bad.name) && error.to_string().contains(node.as_str()), "{error}");
    }
    assert!(matches!(error(&graph(), &no_result), RewriteError::Type { rule: "no_result", .. }));
    let error = error(&graph(), &ill_typed);
    assert!(matches!(error, RewriteError::Graph(_)) && error.to_string().contains("transpose"), "{error}");
}

#[test]
fn rules_that_do_not_lower_the_work_are_named() {
    for bad in [&nothing_gained, &more_work, &swap] {
        let error = error(&graph(), bad);
        let RewriteError::Cycle { rules, before, after } = &error else { panic!("{error}") };
        assert_eq!(*rules, format!("`{}`", bad.name));
        assert!(after >= before, "{error}");
        assert!(error.to_string().contains(bad.name), "{error}");
    }
    // All that fired in the sweep are named, each once.
    let error = Rewriter::new().stop_after(100).run(&graph(), &[&swap, &more_work]).expect_err("no progress");
    let RewriteError::Cycle { rules, .. } = &error else { panic!("{error}") };
    assert!(rules.contains("`swap`") && rules.contains("`more_work`"), "{error}");
}

#[test]
fn a_wrong_value_is_found_and_blamed_on_its_rule() {
    for (graph, bad, at) in [
        (graph(), &operand_for_result, "tanh in layer `hidden` ("),
        (graph(), &operand_for_result_sampled, "tanh in layer `hidden` ("),
        (network(), &bias_not_scaled, "batch_norm_infer in layer `batch_normalization` ("),
    ] {
        let error = error(&graph, bad);
        let RewriteError::Unequal { rule, node, unequal } = &error else { panic!("{error}") };
        assert_eq!(*rule, Some(bad.name));
        assert!(node.as_deref().is_some_and(|node| node.contains(at)), "{node:?}");
        assert_eq!(unequal.which, Which::Claim(0));
        assert!(matches!(&unequal.difference, Difference::Element { equality, .. } if *equality == bad.equality));
        for part in [bad.name, at, "bad.rs:"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

/// A rewrite that only the proof can refuse goes through without one: the proof is what the tests above test.
#[test]
fn only_the_proof_finds_a_wrong_value() {
    for (graph, bad) in [(graph(), &operand_for_result), (network(), &bias_not_scaled)] {
        let mut unproved = Rewriter::new();
        unproved.run(&graph, &[bad]).expect("well typed, and less work");
        assert_eq!(unproved.fired().len(), 1);
    }
}

#[test]
fn a_pipeline_names_the_pass_too() {
    const WRONG: &[&Rule] = &[&bias_not_scaled];
    let pass = |action| Pass { name: "shortcut", about: "wrong", action };
    let pipeline = Pipeline::new([pass(Action::Rules(&[WRONG]))]).proved(true);
    let error = pipeline.run(&network()).expect_err("a wrong rule");
    let PassError::Rewrite { pass: "shortcut", error: RewriteError::Unequal { .. } } = &error else {
        panic!("{error}")
    };
    for part in ["pass `shortcut`", "rule `bias_not_scaled`", "batch_norm_infer in layer `batch_normalization`"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // The rules of a pipeline's own passes can be switched off like the others.
    let outcome = pipeline.clone().without("bias_not_scaled").run(&network()).expect("nothing fires");
    assert!(outcome.fired.is_empty());
    let rebuild = Action::Rebuild(|graph| {
        let g = Builder::new();
        let x = g.input("x", DType::F32, ["batch"]);
        let z = g.input("z", DType::F32, ["batch"]);
        g.output("y", x * z);
        assert_eq!(graph.outputs().len(), 1);
        g.finish()
    });
    let error = Pipeline::new([pass(rebuild)]).proved(true).run(&graph()).expect_err("another value");
    let PassError::Unequal { pass: "shortcut", unequal } = &error else { panic!("{error}") };
    assert_eq!(unequal.which, Which::Output("y".to_owned()));
    assert!(error.to_string().contains("pass `shortcut`"), "{error}");
}
