//! What makes a wrong pass findable: rules end and are deterministic, and can be switched off, stopped, watched and timed.

use super::golden::all;
use foldgrad::ir;
use foldgrad::ir::Weights;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Mode, Sequential};
use foldgrad::pass::{PassError, Pipeline};
use foldgrad::rewrite::{Rewriter, rules};
use foldgrad::{Builder, DType, Graph};

#[test]
fn a_second_run_fires_nothing() {
    for example in all(true) {
        let after = example.rewritten();
        let mut again = example.rewriter();
        assert_eq!(ir::print(&example.run(&mut again, &after)), ir::print(&after), "{}", example.label());
        assert!(again.fired().is_empty(), "{}", example.label());
    }
}

#[test]
fn the_same_graph_gives_the_same_graph() {
    for example in all(true) {
        let [mut one, mut other] = [example.rewriter(), example.rewriter()];
        let [a, b] = [&mut one, &mut other].map(|rewriter| example.run(rewriter, &example.graph));
        assert_eq!(ir::print_with_origins(&a), ir::print_with_origins(&b), "{}", example.label());
        assert_eq!(format!("{:?}", one.fired()), format!("{:?}", other.fired()), "{}", example.label());
    }
}

#[test]
fn a_disabled_rule_does_not_fire() {
    for example in all(true) {
        let mut rewriter = example.rewriter().disable(example.rule.name, None);
        assert_eq!(ir::print(&example.run(&mut rewriter, &example.graph)), ir::print(&example.graph));
        assert!(rewriter.fired().is_empty(), "{}", example.label());
        let mut stopped = example.rewriter().stop_after(0);
        assert_eq!(ir::print(&example.run(&mut stopped, &example.graph)), ir::print(&example.graph));
    }
}

/// Five times `x + 0`, each with an activation of its own.
fn five() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch"]);
    let y = [x.relu(), x.tanh(), x.exp(), x.sigmoid(), x.sin()];
    y.iter().enumerate().for_each(|(index, &y)| g.output(&index.to_string(), y + y.zeros_like()));
    g.finish().expect("well typed")
}

/// Which outputs of [`five`] are still sums.
fn sums(graph: &Graph) -> Vec<usize> {
    let is_sum = |(index, (_, value)): (usize, (&str, ir::Value))| {
        (graph.node(value.node).op().name() == "add").then_some(index)
    };
    graph.outputs().enumerate().filter_map(is_sum).collect()
}

/// A switched-off firing stays off: in later sweeps of its pass, and in later passes with that rule.
#[test]
fn one_firing_can_be_switched_off() {
    let graph = five();
    for occurrence in 0..5 {
        let pipeline = Pipeline::inference().without(format!("add_zero@{occurrence}"));
        let outcome = pipeline.run(&graph).expect("right rules");
        assert_eq!(sums(&outcome.graph), [occurrence], "{}", outcome.graph);
        assert_eq!(outcome.fired.len(), 4);
    }
    let outcome = Pipeline::inference().without("add_zero@1").without("add_zero@3").run(&graph).expect("right rules");
    assert_eq!(sums(&outcome.graph), [1, 3]);
    let none = Pipeline::inference().without("add_zero@7").run(&graph).expect("right rules");
    assert_eq!(sums(&none.graph), [0; 0]);
    // A rewriter that is used for another graph counts on, and holds nothing against its nodes.
    let mut rewriter = Rewriter::new().disable("add_zero", Some(1));
    for expected in [&[1][..], &[]] {
        let after = rewriter.run(&graph, rules::IDENTITIES).expect("right rules");
        assert_eq!(sums(&after), expected);
    }
}

#[test]
fn rewriting_stops_after_so_many_rewrites() {
    let graph = five();
    for rewrites in 0..7 {
        let outcome = Pipeline::inference().stop_after(rewrites).run(&graph).expect("right rules");
        assert_eq!(outcome.fired.len(), rewrites.min(5));
        assert_eq!(sums(&outcome.graph), (rewrites.min(5)..5).collect::<Vec<_>>());
    }
}

fn network() -> Graph {
    let block =
        |net: Sequential, units| net.add(Dense::new(units)).add(BatchNormalization::new()).add(Activation::Relu);
    let net = block(block(Sequential::new([6]), 5), 4).add(Dense::new(3)).build().expect("well formed");
    net.graph(Mode::Inference, DType::F32).expect("well typed")
}

#[test]
fn every_pass_is_dumped_timed_and_weighed() {
    let graph = network();
    let mut dumped = Vec::new();
    let pipeline = Pipeline::inference().proved(true);
    let outcome = pipeline
        .run_with(&graph, &Weights::new(), &mut |name, graph| dumped.push((name.to_owned(), ir::print(graph))))
        .expect("right rules");
    let names: Vec<&str> = pipeline.passes().iter().map(|pass| pass.name).collect();
    assert_eq!(dumped.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    assert_eq!(outcome.passes.iter().map(|record| record.name).collect::<Vec<_>>(), names);
    assert_eq!(dumped.last().map(|(_, text)| text.as_str()), Some(ir::print(&outcome.graph).as_str()));
    assert_eq!(outcome.passes.iter().map(|record| record.rewrites).sum::<usize>(), outcome.fired.len());
    for record in &outcome.passes {
        assert!(record.seconds > 0.0 && record.seconds < 60.0, "{record:?}");
        assert!(record.proof_seconds > 0.0 || record.rewrites == 0, "{record:?}");
        assert!((record.work[1] < record.work[0]) == (record.rewrites > 0), "{record:?}");
    }
    for pair in outcome.passes.windows(2) {
        assert_eq!(pair[0].work[1], pair[1].work[0]);
    }
    let unproved = Pipeline::inference().proved(false).run(&graph).expect("right rules");
    assert!(unproved.passes.iter().all(|record| record.proof_seconds == 0.0));
    assert_eq!(ir::print(&unproved.graph), ir::print(&outcome.graph));
}

#[test]
fn a_pass_can_be_left_out() {
    let graph = network();
    let outcome = Pipeline::inference().without("fold").without("fold_scales").run(&graph).expect("right rules");
    assert!(outcome.passes.iter().all(|record| record.name != "fold" && record.name != "fold_scales"));
    let norms = |graph: &Graph| graph.nodes().filter(|(_, node)| node.op().name() == "batch_norm_infer").count();
    assert_eq!((norms(&graph), norms(&outcome.graph)), (2, 2));
    let folded = Pipeline::inference().run(&graph).expect("right rules").graph;
    assert_eq!(norms(&folded), 0);
}

#[test]
fn an_unknown_name_is_an_error() {
    for name in ["affine_into_product", "fold@1x", "", "@", "@1", "add_zero@", "add_zero@-1", "Fold"] {
        let error = Pipeline::inference().without(name).run(&five()).expect_err("no such name");
        let PassError::Unknown { name: found, known } = &error else { panic!("{error}") };
        assert_eq!(found, name);
        assert!(known.contains("fold_scales") && known.contains("add_zero"), "{known}");
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    // A pass has no firings of its own.
    let error = Pipeline::inference().without("fold@1").run(&five()).expect_err("a pass, not a rule");
    assert!(matches!(error, PassError::Unknown { .. }), "{error}");
}

#[test]
fn weights_of_another_type_are_an_error() {
    let weights: Weights = [("dense/bias".to_owned(), foldgrad::Tensor::zeros(DType::F32, [7]))].into();
    let error = Pipeline::inference().proved(true).run_with(&network(), &weights, &mut |_, _| {});
    assert!(matches!(error, Err(PassError::Proof(_))), "{error:?}");
}
