//! The text form of a graph; [`parse`](super::parse) reads it back.
//!
//! ```text
//! graph {
//!   %0 = input() {name="x", role=data, type=f32[batch,784]} : f32[batch,784]
//!   %1 = relu(%0) : f32[batch,784]
//!   output "y" = %1
//! }
//! ```
//! One line a node, `%id = op(operands) {attributes} : types`; `update %3 = %9` pairs a state input with its next
//! value; a comment runs from `//` to the end of the line. A symbolic dimension whose name is no plain word is quoted.

use super::{Graph, NodeId};
use std::fmt::{self, Write};

/// The graph as text.
pub fn print(graph: &Graph) -> String {
    render(graph, |_| None)
}

/// The graph as text, with the layer and line behind each node as a comment.
pub fn print_with_origins(graph: &Graph) -> String {
    render(graph, |id| {
        let described = graph.describe(id);
        let from = described.find(" in ").or(described.find(" ("))?;
        Some(described[from..].trim().to_owned())
    })
}

/// The graph as text, each node followed by the comment that `comment` gives.
pub(crate) fn render(graph: &Graph, mut comment: impl FnMut(NodeId) -> Option<String>) -> String {
    let mut text = String::from("graph {\n");
    for (id, _) in graph.nodes() {
        text.push_str("  ");
        // Writing to a string cannot fail.
        let _ = write_node(&mut text, graph, id);
        if let Some(comment) = comment(id) {
            text.push_str("  // ");
            text.push_str(&comment.replace(char::is_control, " "));
        }
        text.push('\n');
    }
    for (name, value) in graph.outputs() {
        let _ = writeln!(text, "  output {} = {value}", super::quote(name));
    }
    for (state, next) in graph.updates() {
        let _ = writeln!(text, "  update {state} = {next}");
    }
    text.push_str("}\n");
    text
}

/// One node as its line of the text form.
pub(crate) fn write_node(text: &mut String, graph: &Graph, id: NodeId) -> fmt::Result {
    let node = graph.node(id);
    write!(text, "{id} = {}(", node.op.name())?;
    for (slot, operand) in node.operands().iter().enumerate() {
        write!(text, "{}{operand}", if slot > 0 { ", " } else { "" })?;
    }
    text.push(')');
    let attrs = node.op.attrs();
    if !attrs.is_empty() {
        text.push_str(" {");
        for (index, (name, attr)) in attrs.iter().enumerate() {
            write!(text, "{}{name}={attr}", if index > 0 { ", " } else { "" })?;
        }
        text.push('}');
    }
    text.push_str(" : ");
    for (index, ty) in node.types().iter().enumerate() {
        write!(text, "{}{ty}", if index > 0 { ", " } else { "" })?;
    }
    Ok(())
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}
