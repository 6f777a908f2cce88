//! Wrong rules: the driver takes none of them on trust, and its errors say which rule, at which node, in which pass.

use foldgrad::ir::{Expr, Value};
use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
use foldgrad::op::Op;
use foldgrad::ops::{Binary, Unary};
use foldgrad::pass::{Action, Pass, PassError, Pipeline};
use foldgrad::rewrite::{Difference, Equality, Match, Miss, Refused, Rewrite, RewriteError, Rewriter, Rule, Which};
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
    // Not even together with twenty that pay.
    much_more_work: Algebraic |m| for_tanh(m, |x| (0..60).fold(x, |x, _| -x).tanh());
    wrong_and_more_work: Algebraic |m| for_tanh(m, |x| (x * 2.0).tanh() * 3.0);
    // x + 0 ⇒ x: a right one, that pays.
    add_zero: Algebraic |m| match m.op() {
        Op::Binary(Binary::Add) if m.is_number(m.operand(1), 0.0) => Ok(Rewrite::by(m.get(m.operand(0)))),
        _ => Err(Miss::Absent),
    };
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

/// A rule that does not pay is no error: the graph stays as it is, and the reason is told.
#[test]
fn rewrites_that_do_not_lower_the_work_are_skipped() {
    for (bad, at) in [(&nothing_gained, "tanh"), (&more_work, "tanh"), (&swap, "mul")] {
        let mut rewriter = Rewriter::new().stop_after(100).proved(&graph()).expect("small inputs");
        let after = rewriter.run(&graph(), &[bad]).expect("skipped");
        assert_eq!(after.to_string(), graph().to_string());
        assert!(rewriter.fired().is_empty());
        let [Refused { rule, subject, reason }] = rewriter.refused() else { panic!("{:?}", rewriter.refused()) };
        assert_eq!((rule.name, subject.op), (bad.name, at));
        assert!(subject.text.contains("in layer `hidden` (") && subject.text.contains("bad.rs:"), "{subject}");
        assert!(reason.contains("does not pay") && reason.contains("operations"), "{reason}");
        // More operations, or as many as before.
        assert_eq!(reason.contains("instead of"), bad.name == more_work.name, "{reason}");
    }
    // All that were skipped are told, each once.
    let mut rewriter = Rewriter::new().stop_after(100);
    let after = rewriter.run(&graph(), &[&swap, &more_work]).expect("skipped");
    assert_eq!(after.to_string(), graph().to_string());
    let names: Vec<&str> = rewriter.refused().iter().map(|refused| refused.rule.name).collect();
    assert_eq!(names, ["more_work", "swap"]);
}

/// What does not pay keeps nothing else from being done, wherever it stands: in the same sweep, before and behind it.
#[test]
fn what_does_not_pay_stops_nothing_else() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch"]);
    // 20 of each in turn, more than are tried one by one less.
    for index in 0..20 {
        let y = (x * (index as f64 + 0.5)).tanh();
        g.output(&format!("y{index}"), y + y.zeros_like());
    }
    let graph = g.finish().expect("well typed");
    let both = |rules: &[&'static Rule]| {
        let mut rewriter = Rewriter::new().proved(&graph).expect("small inputs");
        let after = rewriter.run(&graph, rules).expect("skipped");
        (after.to_string(), rewriter.fired().len(), rewriter.refused().len())
    };
    let alone = both(&[&add_zero]);
    assert_eq!((alone.1, alone.2), (20, 0));
    for rules in [[&much_more_work, &add_zero], [&add_zero, &much_more_work]] {
        assert_eq!(both(&rules), (alone.0.clone(), 20, 20));
    }
}

/// A wrong rule is an error even where it would not pay.
#[test]
fn a_wrong_value_that_does_not_pay_is_found_too() {
    let error = error(&graph(), &wrong_and_more_work);
    assert!(matches!(error, RewriteError::Unequal { rule: Some("wrong_and_more_work"), .. }), "{error}");
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
