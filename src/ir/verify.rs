//! The published list of what holds of every graph, and the check that it does.
//!
//! Whatever [`Builder`](super::Builder) makes holds by construction. The verifier guards what is written beside it:
//! passes, readers of files, and the builder itself. It runs after every pass in tests and debug builds.

#[cfg(test)]
mod tests;

use super::print::write_node;
use super::{Code, Diagnostic, Diagnostics, Graph, NodeId, Role, Source, TensorType, Value};
use crate::op::{InferCx, Op};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One invariant of a graph.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The stable name, as in `error[V4]`.
    pub label: &'static str,
    /// What holds.
    pub about: &'static str,
    run: fn(&Graph, &mut Report),
}

/// Every invariant that [`verify`] checks.
pub const CHECKS: &[Check] = &[
    Check { label: "V1", about: "an operand is a result of an earlier node", run: operands_are_earlier },
    Check { label: "V2", about: "an operand names a result that its node has", run: operands_exist },
    Check { label: "V3", about: "a node has as many operands as its op takes", run: arity },
    Check { label: "V4", about: "the stored types are those that the op infers", run: types_are_inferred },
    Check { label: "V5", about: "the edges mirror the operand list, slot by slot", run: edges_mirror_operands },
    Check { label: "V6", about: "the table of inputs and the input nodes agree, name by name", run: inputs_agree },
    Check { label: "V7", about: "an output names an existing result", run: outputs_exist },
    Check { label: "V8", about: "an update pairs a parameter or state with a value of its type", run: updates_fit },
    Check {
        label: "V9",
        about: "a node has an origin, and origins name existing nodes and layers",
        run: origins_exist,
    },
    Check { label: "V10", about: "no two nodes are equal", run: nodes_are_unique },
    Check { label: "V11", about: "no two random ops draw at one site, gradients aside", run: sites_are_unique },
];

/// Checks every invariant of [`CHECKS`], in time linear in the graph.
///
/// ```
/// use foldgrad::{Builder, DType, ir};
/// let g = Builder::new();
/// let x = g.input("x", DType::F32, ["batch"]);
/// g.output("y", x.tanh());
/// ir::verify(&g.finish()?)?;
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// # Errors
/// Every violation, each with its label and inline at the guilty line of the text form:
///
/// ```text
/// error[graph]: V4: relu is stored as f32[7], but infers f32[2]
/// note: in the graph
///   %0 = input() {name="x", role=data, type=f32[2]} : f32[2]
///   %1 = relu(%0) : f32[7]  // error[V4]: relu is stored as f32[7], but infers f32[2]
///   ⋮
/// help: the stored types are those that the op infers; only `Builder` makes nodes
/// ```
pub fn verify(graph: &Graph) -> Result<(), Diagnostics> {
    let diagnostics = violations(graph).into_iter().map(|violation| violation.diagnostic(graph)).collect();
    Diagnostics::from_vec(diagnostics).map_or(Ok(()), Err)
}

fn violations(graph: &Graph) -> Vec<Violation> {
    let mut report = Report { check: CHECKS[0], found: Vec::new() };
    for &check in CHECKS {
        report.check = check;
        (check.run)(graph, &mut report);
    }
    report.found
}

struct Report {
    check: Check,
    found: Vec<Violation>,
}

impl Report {
    fn push(&mut self, site: Site, message: impl Into<String>) {
        self.found.push(Violation { check: self.check, site, message: message.into() });
    }
}

/// The line of the text form that is guilty.
#[derive(Clone, Debug)]
enum Site {
    Node(NodeId),
    Output(String, Value),
    Update(NodeId, Value),
}

struct Violation {
    check: Check,
    site: Site,
    message: String,
}

impl Violation {
    fn diagnostic(&self, graph: &Graph) -> Diagnostic {
        let place = match &self.site {
            Site::Node(id) if id.index() < graph.len() => graph.place(*id),
            _ => None,
        };
        Diagnostic::new(Code::Graph, format!("{}: {}", self.check.label, self.message))
            .at_place(place)
            .note(format!("in the graph\n{}", self.excerpt(graph).join("\n")))
            .help(format!("{}; only `Builder` makes nodes", self.check.about))
    }

    /// The guilty line with its neighbours.
    fn excerpt(&self, graph: &Graph) -> Vec<String> {
        const AROUND: usize = 2;
        let comment = format!("  // error[{}]: {}", self.check.label, self.message);
        let (first, last, tail) = match &self.site {
            Site::Node(id) => (id.index().saturating_sub(AROUND), id.index() + AROUND, None),
            Site::Output(name, value) => {
                let line = format!("  output {} = {value}", super::quote(name));
                (value.node.index(), value.node.index(), Some(line))
            }
            Site::Update(state, next) => {
                (next.node.index(), next.node.index(), Some(format!("  update {state} = {next}")))
            }
        };
        let mut lines = Vec::new();
        if first > 0 {
            lines.push("  ⋮".to_owned());
        }
        for id in (first..=last).map(|index| NodeId(index as u32)).filter(|id| id.index() < graph.len()) {
            let mut line = String::from("  ");
            // Writing to a string cannot fail.
            let _ = write_node(&mut line, graph, id);
            shorten(&mut line);
            if matches!(self.site, Site::Node(guilty) if guilty == id) {
                line.push_str(&comment);
            }
            lines.push(line);
        }
        if last + 1 < graph.len() {
            lines.push("  ⋮".to_owned());
        }
        if let Some(mut line) = tail {
            shorten(&mut line);
            lines.push(line + &comment);
        }
        lines
    }
}

/// Constants can be long.
fn shorten(line: &mut String) {
    const WIDTH: usize = 140;
    if let Some((at, _)) = line.char_indices().nth(WIDTH) {
        line.truncate(at);
        line.push('…');
    }
}

/// The type of a value, if the graph has that value.
fn type_of(graph: &Graph, value: Value) -> Option<&TensorType> {
    let node = graph.dag.node_weight(NodeIndex::new(value.node.index()))?;
    node.types.get(value.output as usize)
}

fn operands_are_earlier(graph: &Graph, report: &mut Report) {
    for (id, node) in graph.nodes() {
        for (slot, operand) in node.operands.iter().enumerate().filter(|(_, operand)| operand.node >= id) {
            report.push(Site::Node(id), format!("operand {slot} is {operand}, which is no earlier node"));
        }
    }
}

fn operands_exist(graph: &Graph, report: &mut Report) {
    for (id, node) in graph.nodes() {
        for (slot, &operand) in node.operands.iter().enumerate() {
            if operand.node.index() < graph.len() && type_of(graph, operand).is_none() {
                let results = graph.node(operand.node).types.len();
                let message = format!("operand {slot} is {operand}, but {} has {results} results", operand.node);
                report.push(Site::Node(id), message);
            }
        }
    }
}

fn arity(graph: &Graph, report: &mut Report) {
    let any = TensorType::scalar(super::DType::F32);
    for (id, node) in graph.nodes() {
        let types: SmallVec<[&TensorType; 8]> = node.operands.iter().map(|_| &any).collect();
        if let Err(mismatch) = InferCx::new(node.op.operand_names(), &types).check_arity(&node.op) {
            report.push(Site::Node(id), format!("{} {}", node.op.name(), mismatch.message));
        }
    }
}

fn types_are_inferred(graph: &Graph, report: &mut Report) {
    for (id, node) in graph.nodes() {
        let types: Option<SmallVec<[&TensorType; 8]>> =
            node.operands.iter().map(|&operand| type_of(graph, operand)).collect();
        // Without its operands a node has no types to infer; V1 and V2 say so.
        let Some(types) = types else { continue };
        let cx = InferCx::new(node.op.operand_names(), &types);
        if cx.check_arity(&node.op).is_err() {
            continue;
        }
        let list = |types: &[TensorType]| types.iter().map(TensorType::to_string).collect::<Vec<_>>().join(", ");
        match node.op.infer(&cx) {
            Ok(inferred) if inferred == node.types => {}
            Ok(inferred) => {
                let (name, stored) = (node.op.name(), list(&node.types));
                report.push(Site::Node(id), format!("{name} is stored as {stored}, but infers {}", list(&inferred)));
            }
            Err(mismatch) => {
                let message = format!("{} does not take its operands: {}", node.op.name(), mismatch.message);
                report.push(Site::Node(id), message);
            }
        }
    }
}

fn edges_mirror_operands(graph: &Graph, report: &mut Report) {
    for (id, node) in graph.nodes() {
        let mut mirrored: SmallVec<[bool; 8]> = SmallVec::from_elem(false, node.operands.len());
        for edge in graph.dag.edges_directed(NodeIndex::new(id.index()), Direction::Incoming) {
            let (slot, source) = (*edge.weight() as usize, NodeId(edge.source().index() as u32));
            match node.operands.get(slot) {
                Some(operand) if operand.node == source && !mirrored[slot] => mirrored[slot] = true,
                _ => report.push(Site::Node(id), format!("the edge from {source} to slot {slot} mirrors no operand")),
            }
        }
        for (slot, operand) in node.operands.iter().enumerate().filter(|(slot, _)| !mirrored[*slot]) {
            report.push(Site::Node(id), format!("operand {slot}, {operand}, has no edge"));
        }
    }
}

fn inputs_agree(graph: &Graph, report: &mut Report) {
    let named = |id: NodeId| graph.dag.node_weight(NodeIndex::new(id.index())).map(|node| &node.op);
    for (name, &id) in &graph.inputs {
        match named(id) {
            Some(Op::Input(input)) if input.name() == name => {}
            Some(op) => report.push(Site::Node(id), format!("the table calls {} node the input `{name}`", op.name())),
            None => report.push(Site::Node(id), format!("the table has an input `{name}`, {id}, which does not exist")),
        }
    }
    for (id, node) in graph.nodes() {
        if let Op::Input(input) = &node.op
            && graph.inputs.get(input.name()) != Some(&id)
        {
            report.push(Site::Node(id), format!("the input `{}` is not in the table", input.name()));
        }
    }
}

fn outputs_exist(graph: &Graph, report: &mut Report) {
    for (name, &value) in &graph.outputs {
        if type_of(graph, value).is_none() {
            report.push(Site::Output(name.clone(), value), format!("there is no value {value}"));
        }
    }
}

fn updates_fit(graph: &Graph, report: &mut Report) {
    for (&state, &next) in &graph.updates {
        let site = Site::Update(state, next);
        let Some(ty) = type_of(graph, Value::first(state)) else {
            report.push(site, format!("there is no node {state}"));
            continue;
        };
        if !matches!(graph.as_input(state), Some((_, Role::Parameter | Role::State))) {
            report.push(site, format!("{state} is {}, no parameter or state", graph.node(state).op.name()));
            continue;
        }
        match type_of(graph, next) {
            Some(found) if found == ty => {}
            Some(found) => report.push(site, format!("{state} is {ty}, but its next value is {found}")),
            None => report.push(site, format!("there is no value {next}")),
        }
    }
}

fn origins_exist(graph: &Graph, report: &mut Report) {
    for (id, node) in graph.nodes() {
        if node.origins.is_empty() {
            report.push(Site::Node(id), "nothing says where the node comes from");
        }
        for origin in &node.origins {
            // A rewritten node was replaced in the graph before, whose ids are gone. A gradient may be of a later
            // node: where a cotangent is an older value, the older node gains that origin.
            if let Source::GradientOf(primal) = origin.source
                && primal.index() >= graph.len()
            {
                report.push(Site::Node(id), format!("it is the gradient of {primal}, which does not exist"));
            }
            if let Some(scope) = origin.scope
                && graph.scopes.get_index(scope as usize).is_none()
            {
                report.push(Site::Node(id), format!("it belongs to layer number {scope}, which does not exist"));
            }
        }
    }
}

fn nodes_are_unique(graph: &Graph, report: &mut Report) {
    let mut seen: HashMap<(&Op, &[Value]), NodeId> = HashMap::with_capacity(graph.len());
    for (id, node) in graph.nodes() {
        match seen.entry((&node.op, &node.operands)) {
            Entry::Occupied(first) => report.push(Site::Node(id), format!("it equals {}", first.get())),
            Entry::Vacant(slot) => drop(slot.insert(id)),
        }
    }
}

fn sites_are_unique(graph: &Graph, report: &mut Report) {
    let mut seen: HashMap<(&str, u32), NodeId> = HashMap::new();
    for (id, node) in graph.nodes() {
        let Some(site) = node.op.site() else { continue };
        // A gradient draws the mask of its primal once more.
        if node.origins.iter().any(|origin| matches!(origin.source, Source::GradientOf(_))) {
            continue;
        }
        match seen.entry((node.op.name(), site)) {
            Entry::Occupied(first) => {
                report.push(Site::Node(id), format!("it draws at site {site}, as {} does", first.get()));
            }
            Entry::Vacant(slot) => drop(slot.insert(id)),
        }
    }
}
