//! A drawing of a graph in Graphviz' language.
//!
//! **Invariant.** Whatever names a graph has, the drawing is a valid text and shows them literally: every text is a
//! double-quoted string in which quotes, backslashes, entities and control characters are escaped, and node ids are
//! ours, never a user's.

use super::{Graph, NodeId, Role, Source};
use crate::op::{Attr, Op};
use indexmap::IndexMap;
use std::fmt::Write;

// Fill colours: light enough for black text, told apart by lightness too.
const DATA: &str = "#cfe8fc";
const PARAMETER: &str = "#ffe3a3";
const STATE: &str = "#d9f2d0";
const CONSTANT: &str = "#f2f2f2";
const FORWARD: &str = "#ffffff";
const GRADIENT: &str = "#f6d5e5";
const OUTPUT: &str = "#c9c4f0";

/// The graph as a Graphviz text; `dot -Tsvg graph.dot -o graph.svg` draws it.
///
/// Inputs are ellipses, parameters boxes with a folded corner, state cylinders, outputs double ovals; nodes of the
/// reverse sweep are filled and dashed; each layer is a frame. An edge into an op of several operands carries the slot
/// and the operand's name, its tail the result when that is not the first; a dotted edge leads from a next value to
/// its state.
///
/// ```
/// use foldgrad::{Builder, DType, ir};
/// let g = Builder::new();
/// let x = g.input("say \"x\"", DType::F32, ["batch"]);
/// g.output("y", x.tanh());
/// let drawing = ir::to_dot(&g.finish()?);
/// assert!(drawing.starts_with("digraph"));
/// assert!(drawing.contains(r#"say \"x\""#));
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
pub fn to_dot(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph foldgrad {\n\
         \x20 graph [fontname=\"Helvetica\", ranksep=0.35, nodesep=0.25];\n\
         \x20 node [fontname=\"Helvetica\", fontsize=11, style=filled, shape=box, margin=\"0.12,0.06\"];\n\
         \x20 edge [fontname=\"Helvetica\", fontsize=9, fontcolor=\"#555555\", color=\"#555555\", arrowsize=0.7];\n",
    );
    for (id, _) in graph.nodes() {
        write_node(&mut text, graph, id);
    }
    write_layers(&mut text, graph);
    for (id, node) in graph.nodes() {
        for (slot, operand) in node.operands().iter().enumerate() {
            let mut attributes = Vec::new();
            if node.operands().len() > 1 {
                attributes.push(format!("label={}", quoted(&format!("{slot} {}", operand_name(node.op(), slot)))));
            }
            if operand.output > 0 {
                attributes.push(format!("taillabel={}", quoted(&format!("#{}", operand.output))));
            }
            write_edge(&mut text, &format!("n{}", operand.node.0), &format!("n{}", id.0), &attributes);
        }
    }
    for (index, (name, value)) in graph.outputs().enumerate() {
        let label = quoted(&format!("output {}\n{}", visible(name), graph.ty(value)));
        push(
            &mut text,
            format_args!("  o{index} [label={label}, shape=oval, peripheries=2, fillcolor=\"{OUTPUT}\"];\n"),
        );
        let tail = (value.output > 0).then(|| format!("taillabel={}", quoted(&format!("#{}", value.output))));
        write_edge(&mut text, &format!("n{}", value.node.0), &format!("o{index}"), tail.as_slice());
    }
    for (state, next) in graph.updates() {
        let mut attributes =
            vec!["style=dotted".to_owned(), "label=\"next\"".to_owned(), "constraint=false".to_owned()];
        if next.output > 0 {
            attributes.push(format!("taillabel={}", quoted(&format!("#{}", next.output))));
        }
        write_edge(&mut text, &format!("n{}", next.node.0), &format!("n{}", state.0), &attributes);
    }
    text.push_str("}\n");
    text
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}

fn write_node(text: &mut String, graph: &Graph, id: NodeId) {
    let node = graph.node(id);
    let types: Vec<String> = node.types().iter().map(ToString::to_string).collect();
    let types = types.join(", ");
    let gradient = is_gradient(graph, id);
    let (label, shape, fill) = match node.op() {
        Op::Input(input) => {
            let (shape, fill) = match input.role {
                Role::Data => ("ellipse", DATA),
                Role::Parameter => ("note", PARAMETER),
                Role::State => ("cylinder", STATE),
            };
            (format!("{}\n{} {types}", visible(input.name()), input.role.name()), shape, fill)
        }
        op => {
            let fill = match op {
                _ if gradient => GRADIENT,
                Op::Constant(_) => CONSTANT,
                _ => FORWARD,
            };
            let attrs: Vec<String> = op.attrs().iter().map(|(name, attr)| format!("{name}={}", brief(attr))).collect();
            let shape = if matches!(op, Op::Constant(_)) { "plain" } else { "box" };
            let length: usize = attrs.iter().map(String::len).sum();
            let attrs = attrs.join(if length > 24 { "\n" } else { ", " });
            let attrs = if attrs.is_empty() { attrs } else { attrs + "\n" };
            (format!("{id} {}\n{attrs}{types}", op.name()), shape, fill)
        }
    };
    let style = if gradient { ", style=\"filled,dashed\"" } else { "" };
    let (label, number) = (quoted(&label), id.0);
    push(text, format_args!("  n{number} [label={label}, shape={shape}, fillcolor=\"{fill}\"{style}];\n"));
}

/// Whether the reverse sweep made the node.
fn is_gradient(graph: &Graph, id: NodeId) -> bool {
    let first = graph.node(id).origins().first();
    first.is_some_and(|origin| matches!(origin.source, Source::GradientOf(_)))
}

/// A frame around the nodes of each layer, and another around those of its gradient.
fn write_layers(text: &mut String, graph: &Graph) {
    let mut layers: IndexMap<(&str, bool), Vec<NodeId>> = IndexMap::new();
    for (id, node) in graph.nodes() {
        if let (Some(scope), false) = (graph.scope(id), matches!(node.op(), Op::Input(_))) {
            layers.entry((scope, is_gradient(graph, id))).or_default().push(id);
        }
    }
    for (index, ((scope, gradient), ids)) in layers.iter().enumerate() {
        let label = quoted(&format!("{}{}", if *gradient { "gradient of " } else { "" }, visible(scope)));
        push(
            text,
            format_args!("  subgraph cluster_{index} {{\n    label={label}; style=rounded; color=\"#999999\";\n   "),
        );
        for id in ids {
            push(text, format_args!(" n{};", id.0));
        }
        text.push_str("\n  }\n");
    }
}

fn write_edge(text: &mut String, from: &str, to: &str, attributes: &[String]) {
    push(text, format_args!("  {from} -> {to}"));
    if !attributes.is_empty() {
        push(text, format_args!(" [{}]", attributes.join(", ")));
    }
    text.push_str(";\n");
}

fn operand_name(op: &Op, slot: usize) -> &'static str {
    let names = op.operand_names();
    names.get(slot).or(names.last()).map_or("", |name| name.trim_end_matches('.'))
}

fn brief(attr: &Attr) -> String {
    const WIDTH: usize = 32;
    match attr {
        // Its type stands below; a long constant is not worth writing out.
        Attr::Literal(literal) if literal.len() > 16 => "…".to_owned(),
        Attr::Literal(literal) => {
            let text = Attr::Literal(literal.clone()).to_string();
            shortened(text.split_once(' ').map_or(text.as_str(), |(_, values)| values), WIDTH)
        }
        attr => shortened(&visible(&attr.to_string()), WIDTH),
    }
}

fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A name on one line, of bounded length, that can be seen.
fn visible(name: &str) -> String {
    const WIDTH: usize = 60;
    if name.is_empty() {
        return "\"\"".to_owned();
    }
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => shown.push(c),
        }
    }
    shortened(&shown, WIDTH)
}

/// `text` as a string of Graphviz' language; a line break becomes one of the label.
fn quoted(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            // Labels know the entities of HTML.
            '&' => string.push_str("&amp;"),
            '\n' => string.push_str("\\n"),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}
