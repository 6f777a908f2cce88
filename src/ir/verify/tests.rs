//! Each check fires on a graph that was broken on purpose, and only the checks that it breaks do.

use super::*;
use crate::ir::{Builder, DType, Origin, Rebuild};
use crate::ops::Unary;
use std::collections::BTreeSet;

/// `x`, `state`, their batch norm, a dropout, a gradient, a second random op.
fn valid() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "features"]);
    let state = g.state("state", DType::F32, ["features"]);
    let key = g.state("key", DType::I32, [2]);
    let normed = g.scoped("norm", || x.batch_norm_train(state, state, 1, 1e-3));
    let dropped = normed.y.dropout(key, 0.5).dropout(key, 0.25);
    let loss = (dropped * dropped).mean_all();
    let dx = crate::autodiff::gradients(&[loss], &[x]).unwrap()[0];
    g.output("dx", dx);
    g.output("mean", normed.mean);
    g.update(state, normed.var);
    g.finish().unwrap()
}

fn find(graph: &Graph, op: &str) -> NodeId {
    graph.nodes().find(|(_, node)| node.op.name() == op).map(|(id, _)| id).unwrap()
}

fn index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.index())
}

/// Replaces an operand in the list and in the edges.
fn redirect(graph: &mut Graph, id: NodeId, slot: usize, to: Value) {
    graph.dag[index(id)].operands[slot] = to;
    let edges = graph.dag.edges_directed(index(id), Direction::Incoming);
    let edge = edges.filter(|edge| *edge.weight() == slot as u32).map(|edge| edge.id()).next().unwrap();
    graph.dag.remove_edge(edge);
    if to.node.index() < graph.len() {
        graph.dag.add_edge(index(to.node), index(id), slot as u32);
    }
}

type Break = fn(&mut Graph);

const BREAKS: &[(&str, &[&str], Break)] = &[
    ("an operand is the node itself", &["V1", "V4"], |g| {
        let id = find(g, "mul");
        redirect(g, id, 1, Value::first(id));
        // Its own stored type fits; a longer way round does not.
        g.dag[index(id)].types = [TensorType::scalar(DType::F32)].into();
    }),
    ("an operand is a later node", &["V1", "V4"], |g| {
        let (id, later) = (find(g, "dropout"), NodeId(g.len() as u32 - 1));
        redirect(g, id, 1, Value::first(later));
    }),
    ("an operand is beyond the graph", &["V1", "V5"], |g| {
        let id = find(g, "mul");
        redirect(g, id, 0, Value::first(NodeId(999_999)));
    }),
    ("an operand names a fourth result of three", &["V2"], |g| {
        let (id, norm) = (find(g, "dropout"), find(g, "batch_norm_train"));
        redirect(g, id, 0, Value { node: norm, output: 3 });
    }),
    ("an operand is missing", &["V3"], |g| {
        let id = find(g, "batch_norm_train");
        g.dag[index(id)].operands.pop();
        let edges = g.dag.edges_directed(index(id), Direction::Incoming);
        let edge = edges.filter(|edge| *edge.weight() == 2).map(|edge| edge.id()).next().unwrap();
        g.dag.remove_edge(edge);
    }),
    ("a stored type is another", &["V4"], |g| {
        let last = NodeId(g.len() as u32 - 1);
        g.dag[index(last)].types = [TensorType::new(DType::F64, [7])].into();
        g.outputs.shift_remove("dx");
    }),
    ("a stored type is missing", &["V2", "V4"], |g| {
        let id = find(g, "batch_norm_train");
        let types = &mut g.dag[index(id)].types;
        *types = types[..types.len() - 1].iter().cloned().collect();
        g.updates.clear();
    }),
    ("an operand has a type that the op does not take", &["V4"], |g| {
        let (id, key) = (find(g, "dropout"), find(g, "input"));
        redirect(g, id, 1, Value::first(key));
    }),
    ("an operand was changed behind the edges' back", &["V5"], |g| {
        let (id, x) = (find(g, "dropout"), find(g, "input"));
        g.dag[index(id)].operands[0] = Value::first(x);
    }),
    ("an edge is missing", &["V5"], |g| {
        let id = find(g, "mul");
        let edge = g.dag.edges_directed(index(id), Direction::Incoming).map(|edge| edge.id()).next().unwrap();
        g.dag.remove_edge(edge);
    }),
    ("an edge is there twice", &["V5"], |g| {
        let id = find(g, "mul");
        let source = g.node(id).operands[0].node;
        g.dag.add_edge(index(source), index(id), 0);
    }),
    ("an edge goes to a slot that is not there", &["V5"], |g| {
        let id = find(g, "mul");
        g.dag.add_edge(index(NodeId(0)), index(id), 9);
    }),
    ("two edges have changed slots", &["V5"], |g| {
        let id = find(g, "batch_norm_train");
        let slot = |g: &Graph, slot: u32| {
            let edges = g.dag.edges_directed(index(id), Direction::Incoming);
            edges.filter(|edge| *edge.weight() == slot).map(|edge| edge.id()).next().unwrap()
        };
        let (first, second) = (slot(g, 0), slot(g, 1));
        g.dag[first] = 1;
        g.dag[second] = 0;
    }),
    ("an input is not in the table", &["V6"], |g| {
        g.inputs.shift_remove("key");
    }),
    ("an input is in the table under another name", &["V6"], |g| {
        let id = g.inputs.shift_remove("key").unwrap();
        g.inputs.insert("lock".to_owned(), id);
    }),
    ("the table names a node that is no input", &["V6"], |g| {
        let id = find(g, "dropout");
        g.inputs.insert("dropped".to_owned(), id);
    }),
    ("the table names a node beyond the graph", &["V6"], |g| {
        g.inputs.insert("nowhere".to_owned(), NodeId(999_999));
    }),
    ("an output is beyond the graph", &["V7"], |g| {
        g.outputs.insert("y".to_owned(), Value::first(NodeId(999_999)));
    }),
    ("an output names a second result of one", &["V7"], |g| {
        let node = find(g, "dropout");
        g.outputs.insert("y\n\"".to_owned(), Value { node, output: 1 });
    }),
    ("data is updated", &["V8"], |g| {
        g.updates.insert(NodeId(0), Value::first(NodeId(0)));
    }),
    ("a computed value is updated", &["V8"], |g| {
        let id = find(g, "dropout");
        g.updates.insert(id, Value::first(id));
    }),
    ("a state takes a value of another type", &["V8"], |g| {
        let key = g.inputs["key"];
        g.updates.insert(key, Value::first(NodeId(0)));
    }),
    ("a state takes a value that does not exist", &["V8"], |g| {
        let key = g.inputs["key"];
        g.updates.insert(key, Value { node: key, output: 1 });
    }),
    ("a state beyond the graph is updated", &["V8"], |g| {
        g.updates.insert(NodeId(999_999), Value::first(NodeId(0)));
    }),
    ("a node has no origin", &["V9"], |g| {
        let id = find(g, "mul");
        g.dag[index(id)].origins.clear();
    }),
    ("a gradient's primal is beyond the graph", &["V9"], |g| {
        let id = find(g, "mul");
        g.dag[index(id)].origins.push(Origin { source: Source::GradientOf(NodeId(999_999)), scope: None });
    }),
    ("a node's layer does not exist", &["V9"], |g| {
        let id = find(g, "mul");
        g.dag[index(id)].origins[0].scope = Some(99);
    }),
    ("two nodes are equal", &["V10"], |g| {
        let mut node = g.node(NodeId(0)).clone();
        node.op = Unary::Exp.into();
        node.operands = SmallVec::from_slice(&[Value::first(NodeId(0))]);
        for _ in 0..2 {
            let id = g.dag.add_node(node.clone());
            g.dag.add_edge(NodeIndex::new(0), id, 0);
        }
    }),
    ("two dropouts draw the same mask", &["V11"], |g| {
        let (id, x) = (find(g, "dropout"), Value::first(NodeId(0)));
        let node = g.node(id).clone();
        let key = node.operands[1];
        let copy = g.dag.add_node(node);
        g.dag[copy].operands[0] = x;
        g.dag.add_edge(index(x.node), copy, 0);
        g.dag.add_edge(index(key.node), copy, 1);
    }),
];

fn labels(graph: &Graph) -> BTreeSet<&'static str> {
    violations(graph).iter().map(|violation| violation.check.label).collect()
}

#[test]
fn each_break_is_seen_by_its_check() {
    assert!(labels(&valid()).is_empty());
    for (name, expected, break_it) in BREAKS {
        let mut graph = valid();
        break_it(&mut graph);
        assert_eq!(labels(&graph), expected.iter().copied().collect(), "{name}");
        let report = verify(&graph).unwrap_err();
        assert_eq!(report.iter().count(), violations(&graph).len(), "every violation is reported");
        for (diagnostic, violation) in report.iter().zip(violations(&graph)) {
            let text = diagnostic.to_string();
            assert!(diagnostic.title().starts_with(violation.check.label), "{name}: {text}");
            assert!(text.contains(violation.check.about), "{name}: {text}");
            let inline = text.lines().filter(|line| line.contains(&format!("  // error[{}]", violation.check.label)));
            // A node that does not exist has no line.
            let missing = matches!(violation.site, Site::Node(id) if id.index() >= graph.len());
            assert_eq!(inline.count(), usize::from(!missing), "{name}: {text}");
        }
    }
}

#[test]
fn each_check_is_seen_to_fail() {
    let broken: BTreeSet<&str> = BREAKS.iter().flat_map(|(_, labels, _)| labels.iter().copied()).collect();
    let published: BTreeSet<&str> = CHECKS.iter().map(|check| check.label).collect();
    assert_eq!(broken, published);
}

#[test]
fn a_report_shows_the_guilty_line() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, [2]);
    g.output("y", x.relu().exp());
    let mut graph = g.finish().unwrap();
    graph.dag[NodeIndex::new(1)].types = [TensorType::new(DType::F32, [7])].into();
    graph.outputs.insert("z".to_owned(), Value { node: NodeId(0), output: 4 });
    let report = verify(&graph).unwrap_err().to_string();
    let shown =
        report.lines().filter(|line| !line.contains("-->") && !line.contains('|')).collect::<Vec<_>>().join("\n");
    assert_eq!(
        shown,
        r#"error[graph]: V4: relu is stored as f32[7], but infers f32[2]
note: in the graph
  %0 = input() {name="x", role=data, type=f32[2]} : f32[2]
  %1 = relu(%0) : f32[7]  // error[V4]: relu is stored as f32[7], but infers f32[2]
  %2 = exp(%1) : f32[2]
help: the stored types are those that the op infers; only `Builder` makes nodes

error[graph]: V4: exp is stored as f32[2], but infers f32[7]
note: in the graph
  %0 = input() {name="x", role=data, type=f32[2]} : f32[2]
  %1 = relu(%0) : f32[7]
  %2 = exp(%1) : f32[2]  // error[V4]: exp is stored as f32[2], but infers f32[7]
help: the stored types are those that the op infers; only `Builder` makes nodes

error[graph]: V7: there is no value %0#4
note: in the graph
  %0 = input() {name="x", role=data, type=f32[2]} : f32[2]
  ⋮
  output "z" = %0#4  // error[V7]: there is no value %0#4
help: an output names an existing result; only `Builder` makes nodes"#
    );
}

#[test]
fn a_rebuilt_graph_is_valid() {
    let graph = valid();
    let live = graph.live();
    let mut rebuild = Rebuild::new(&graph);
    for id in graph.ids().filter(|id| live[id.index()]) {
        rebuild.copy(id);
    }
    let rebuilt = rebuild.finish().unwrap();
    assert!(rebuilt.len() < graph.len());
    verify(&rebuilt).unwrap();
    // The primals of the first cotangents are gone: their lines are kept, not their ids.
    let gradient_of = |graph: &Graph, id: NodeId| match graph.node(id).origins[0].source {
        Source::GradientOf(primal) => Some(graph.node(primal).op.name()),
        _ => None,
    };
    let last = |graph: &Graph| graph.ids().next_back().unwrap();
    assert_eq!(gradient_of(&rebuilt, last(&rebuilt)), gradient_of(&graph, last(&graph)));
    for id in rebuilt.ids() {
        assert!(rebuilt.place(id).is_some(), "{}", rebuilt.describe(id));
    }
}

#[test]
fn a_new_dropout_draws_at_a_new_site() {
    let g = Builder::new();
    let (x, key) = (g.input("x", DType::F32, ["n"]), g.input("key", DType::I32, [2]));
    g.output("y", x.dropout(key, 0.5));
    let graph = g.finish().unwrap();
    let mut rebuild = Rebuild::new(&graph);
    for id in graph.ids() {
        rebuild.copy(id);
    }
    let input = |name: &str| rebuild.get(Value::first(graph.inputs[name]));
    rebuild.builder().output("z", input("x").exp().dropout(input("key"), 0.5));
    verify(&rebuild.finish().unwrap()).unwrap();
}
