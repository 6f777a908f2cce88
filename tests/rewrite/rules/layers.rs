//! R6: names, types and origins survive. Every node of an example stands in a layer and on a line of its own here, so
//! that what a rule made can be traced to what it replaces.

use super::golden::all;
use foldgrad::ir::{Expr, Node, NodeId, Role, Source, TensorType};
use foldgrad::pass::Pipeline;
use foldgrad::rewrite::{Fired, Subject};
use foldgrad::{Builder, Graph};
use std::collections::BTreeSet;

/// The graph with every node in a layer of its own, `layer of %3`, on the line that it had.
fn layered(graph: &Graph) -> Graph {
    let builder = Builder::new();
    let mut values: Vec<Vec<Expr<'_>>> = Vec::new();
    for (id, node) in graph.nodes() {
        let operands: Vec<Expr<'_>> =
            node.operands().iter().map(|operand| values[operand.node.index()][operand.output as usize]).collect();
        let build = || match graph.as_input(id) {
            Some((name, role)) => vec![builder.declare(name, role, node.types()[0].clone())],
            None => builder.push_all(node.op().clone(), &operands),
        };
        let results = builder.attributed(node.origins()[0].source, || builder.scoped(&format!("layer of {id}"), build));
        values.push(results);
    }
    for (name, value) in graph.outputs() {
        builder.output(name, values[value.node.index()][value.output as usize]);
    }
    for (state, next) in graph.updates() {
        builder.update(values[state.index()][0], values[next.node.index()][next.output as usize]);
    }
    builder.finish().expect("as well typed as the graph")
}

type Interface = (Vec<(String, Role, TensorType)>, Vec<(String, TensorType)>, Vec<(String, TensorType)>);

/// Inputs, outputs and updates by name, in order, with their types.
fn interface(graph: &Graph) -> Interface {
    let role = |id| graph.as_input(id).map_or(Role::Data, |(_, role)| role);
    let input = |(name, id)| (String::from(name), role(id), graph.node(id).types()[0].clone());
    let name = |id| graph.as_input(id).map_or(String::new(), |(name, _)| name.to_owned());
    (
        graph.inputs().map(input).collect(),
        graph.outputs().map(|(name, value)| (name.to_owned(), graph.ty(value).clone())).collect(),
        graph.updates().map(|(state, next)| (name(state), graph.ty(next).clone())).collect(),
    )
}

/// What a rewrite touched.
fn touched(fired: &Fired) -> impl Iterator<Item = &Subject> {
    fired.absorbed.iter().chain(&fired.into).chain([&fired.root])
}

#[test]
fn r6_names_types_and_origins_survive() {
    let mut made = 0;
    for example in all(true) {
        let graph = layered(&example.graph);
        let mut rewriter = example.rewriter();
        let after = example.run(&mut rewriter, &graph);
        assert_eq!(interface(&after), interface(&graph), "{}", example.label());
        let layers: BTreeSet<&str> =
            rewriter.fired().iter().flat_map(touched).filter_map(|subject| subject.layer.as_deref()).collect();
        assert!(rewriter.fired().iter().all(|fired| fired.root.place.is_some()), "{}", example.label());
        for (id, node) in after.nodes() {
            let described = after.describe(id);
            let label = || format!("{}: {described}", example.label());
            assert!(!node.origins().is_empty(), "{}", label());
            assert!(described.contains("(line "), "{}", label());
            let layer = after.scope(id).unwrap_or_else(|| panic!("{}: no layer", label()));
            match node.origins()[0].source {
                Source::Rewritten { rule, .. } => {
                    assert_eq!(rule, example.rule.name, "{}", label());
                    assert!(layers.contains(layer), "{}: not one of {layers:?}", label());
                    made += 1;
                }
                // What was copied says of itself what it said before.
                Source::Parsed { .. } => {
                    let same = |(old, before): (NodeId, &Node)| {
                        let source = before.origins()[0].source == node.origins()[0].source;
                        source && before.op() == node.op() && graph.scope(old) == Some(layer)
                    };
                    assert!(graph.nodes().any(same), "{}: no node of the graph says so", label());
                }
                source => panic!("{}: {source:?}", label()),
            }
        }
    }
    assert!(made > 100, "{made} nodes were made by rules");
}

/// A model's layers: the folded weights belong to the layer that lives on, and a person can tell where they come from.
#[test]
fn folded_nodes_name_their_layer() {
    use foldgrad::DType;
    use foldgrad::nn::{BatchNormalization, Dense, Flatten, Mode, Sequential};
    let model = Sequential::new([2, 3])
        .add(BatchNormalization::new().axis(1))
        .add(Flatten::new())
        .add(Dense::new(4))
        .add(BatchNormalization::new())
        .build()
        .expect("well formed");
    let graph = model.graph(Mode::Inference, DType::F32).expect("well typed");
    let outcome = Pipeline::inference().proved(true).run(&graph).expect("right rules");
    assert_eq!(interface(&outcome.graph), interface(&graph));
    for (id, node) in outcome.graph.nodes() {
        let described = outcome.graph.describe(id);
        assert!(described.contains("layers.rs:"), "{described}");
        assert!(matches!(outcome.graph.as_input(id), Some((_, Role::Data))) || described.contains("in layer `"));
        if node.op().name() == "dense" {
            assert!(described.contains("in layer `dense`"), "{described}");
        }
    }
    let layers: Vec<_> =
        outcome.fired.iter().map(|fired| fired.into.as_ref().and_then(|into| into.layer.as_deref())).collect();
    assert_eq!(layers, [Some("dense"), Some("dense")], "{:?}", outcome.fired);
}
