//! The only maker of nodes: infers types, hash-conses, records origins, and collects every mistake.

use super::diagnostic::Place;
use super::{
    Code, DType, Diagnostic, Diagnostics, Expr, Graph, Node, NodeId, Origin, Role, Source, Tensor, TensorType, Value,
};
use crate::op::{InferCx, Mismatch, Op};
use crate::ops::{Constant, Input};
use hashbrown::{DefaultHashBuilder, HashTable};
use petgraph::graph::NodeIndex;
use smallvec::SmallVec;
use std::cell::{Ref, RefCell};
use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::Location;

/// Builds a [`Graph`]. Methods take `&self`, so that expressions can be combined freely:
///
/// ```
/// use foldgrad::{Builder, DType};
/// let g = Builder::new();
/// let x = g.input("x", DType::F32, ["batch", "features"]);
/// let y = (x * x + 1.0).tanh();
/// g.output("y", y);
/// let graph = g.finish()?;
/// assert_eq!(graph.outputs().len(), 1);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// A mistake does not stop the building: the expression becomes *poisoned*, later uses of it are silent, and
/// [`Builder::finish`] reports every mistake with the user's line.
#[derive(Debug, Default)]
pub struct Builder {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    graph: Graph,
    // Hash-consing: node ids, hashed and compared by (op, operands).
    table: HashTable<NodeId>,
    hasher: DefaultHashBuilder,
    errors: Vec<Diagnostic>,
    scope: Option<u32>,
    source: Option<Source>,
    next_site: u32,
}

/// The operand of an expression that was already reported as wrong.
pub(crate) const POISON: Value = Value { node: NodeId(u32::MAX), output: 0 };

// A value that is built again and again needs no endless list of places.
const MAX_ORIGINS: usize = 4;

impl Builder {
    /// An empty graph.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Continues an existing graph: its nodes keep their ids and new ones are appended.
    pub fn resume(graph: Graph) -> Builder {
        let mut inner = Inner::default();
        for (id, node) in graph.nodes() {
            let hash = hash_of(&inner.hasher, &node.op, &node.operands);
            let hasher = &inner.hasher;
            inner.table.insert_unique(hash, id, |&id| rehash(hasher, &graph, id));
            if let Some(site) = node.op.site() {
                inner.next_site = inner.next_site.max(site.saturating_add(1));
            }
        }
        inner.graph = graph;
        Builder { inner: RefCell::new(inner) }
    }

    /// A named input that is fed at every run.
    #[track_caller]
    pub fn input(&self, name: &str, dtype: DType, shape: impl Into<super::Shape>) -> Expr<'_> {
        self.declare(name, Role::Data, TensorType::new(dtype, shape))
    }

    /// A named trainable parameter.
    #[track_caller]
    pub fn parameter(&self, name: &str, dtype: DType, shape: impl Into<super::Shape>) -> Expr<'_> {
        self.declare(name, Role::Parameter, TensorType::new(dtype, shape))
    }

    /// Named state that is carried from run to run but not trained: running statistics, counters, optimiser slots.
    #[track_caller]
    pub fn state(&self, name: &str, dtype: DType, shape: impl Into<super::Shape>) -> Expr<'_> {
        self.declare(name, Role::State, TensorType::new(dtype, shape))
    }

    /// A named input of any role.
    #[track_caller]
    pub fn declare(&self, name: &str, role: Role, ty: TensorType) -> Expr<'_> {
        let place = self.place(Location::caller());
        if self.inner.borrow().graph.inputs.contains_key(name) {
            let first = self.inner.borrow().graph.inputs[name];
            let first = self.inner.borrow().graph.place(first);
            self.report(
                Diagnostic::new(Code::Name, format!("the name `{name}` is taken"))
                    .at_place(Some(place))
                    .note_at("the first input of that name was declared here", first)
                    .help("give each input, parameter and state its own name"),
            );
            return self.poisoned();
        }
        let expr = self.push(Input::new(name, role, ty).into(), &[]);
        if expr.value != POISON {
            self.inner.borrow_mut().graph.inputs.insert(name.to_owned(), expr.value.node);
        }
        expr
    }

    /// A constant tensor.
    #[track_caller]
    pub fn constant(&self, tensor: Tensor) -> Expr<'_> {
        self.push(Constant::new(tensor).into(), &[])
    }

    /// A scalar constant, rounded once to `dtype`; as an integer it must be whole.
    #[track_caller]
    pub fn scalar(&self, dtype: DType, value: f64) -> Expr<'_> {
        if dtype == DType::I32 && f64::from(value as i32) != value {
            self.report(
                Diagnostic::new(Code::Value, format!("the number {value} is no {dtype}"))
                    .at_place(Some(self.place(Location::caller())))
                    .help("give a whole number of 32 bits, or first convert the expression with `.cast(DType::F32)`"),
            );
            return self.poisoned();
        }
        self.constant(Tensor::full(dtype, [], value))
    }

    /// Names a result of the graph.
    #[track_caller]
    pub fn output(&self, name: &str, value: Expr<'_>) {
        let place = self.place(Location::caller());
        let Some(value) = self.admit(value, place) else { return };
        let first = self.inner.borrow_mut().graph.outputs.insert(name.to_owned(), value);
        if let Some(first) = first {
            let first = self.inner.borrow().graph.place(first.node);
            self.report(
                Diagnostic::new(Code::Name, format!("the output name `{name}` is taken"))
                    .at_place(Some(place))
                    .note_at("the value of the first output of that name was made here", first)
                    .help("give each output its own name"),
            );
        }
    }

    /// Says what a parameter or state becomes after a run.
    #[track_caller]
    pub fn update(&self, state: Expr<'_>, next: Expr<'_>) {
        let place = self.place(Location::caller());
        let (Some(state), Some(next)) = (self.admit(state, place), self.admit(next, place)) else { return };
        let mistake = {
            let graph = &self.inner.borrow().graph;
            let (have, want) = (graph.ty(next), graph.ty(state));
            match graph.as_input(state.node) {
                Some((name, Role::Parameter | Role::State)) if have == want => match graph.updates.get(&state.node) {
                    Some(&first) if first != next => Some(
                        Diagnostic::new(Code::Graph, format!("`{name}` is updated twice"))
                            .note_at("its first next value was made here", graph.place(first.node))
                            .help("a parameter or state has one next value: combine the two"),
                    ),
                    _ => None,
                },
                Some((name, Role::Parameter | Role::State)) => Some(
                    Diagnostic::new(
                        Code::Shape,
                        format!("the next value of `{name}` is {have}, but `{name}` is {want}"),
                    )
                    .note_at(format!("`{name}` was declared here"), graph.place(state.node))
                    .help("give it that type, with `.cast`, `.reshape` or `.broadcast_to`"),
                ),
                Some((name, Role::Data)) => Some(
                    Diagnostic::new(Code::Graph, format!("`{name}` is data, which cannot be updated"))
                        .note_at(format!("`{name}` was declared here"), graph.place(state.node))
                        .help("declare it with `parameter` or `state`"),
                ),
                None => Some(
                    Diagnostic::new(Code::Graph, "only a parameter or state can be updated")
                        .note(format!("this is {}", graph.describe(state.node)))
                        .help("update what `parameter` or `state` has returned"),
                ),
            }
        };
        match mistake {
            Some(mistake) => self.report(mistake.at_place(Some(place))),
            None => drop(self.inner.borrow_mut().graph.updates.insert(state.node, next)),
        }
    }

    /// Runs `body` with every new node marked as part of that layer.
    pub fn scoped<T>(&self, scope: &str, body: impl FnOnce() -> T) -> T {
        let before = {
            let inner = &mut *self.inner.borrow_mut();
            let index = inner.graph.scopes.insert_full(scope.to_owned()).0;
            inner.scope.replace(index as u32)
        };
        let result = body();
        self.inner.borrow_mut().scope = before;
        result
    }

    /// Runs `body` with every new node attributed to `source` instead of the calling line.
    pub fn attributed<T>(&self, source: Source, body: impl FnOnce() -> T) -> T {
        let before = self.inner.borrow_mut().source.replace(source);
        let result = body();
        self.inner.borrow_mut().source = before;
        result
    }

    /// The finished graph, or every mistake that was made in building it.
    ///
    /// # Errors
    /// Every mistake, each at the user's line; a poisoned expression adds none of its own.
    pub fn finish(self) -> Result<Graph, Diagnostics> {
        let inner = self.inner.into_inner();
        match Diagnostics::from_vec(inner.errors) {
            Some(errors) => Err(errors),
            None => Ok(inner.graph),
        }
    }

    /// The mistakes so far.
    pub fn errors(&self) -> Option<Diagnostics> {
        Diagnostics::from_vec(self.inner.borrow().errors.clone())
    }

    /// The graph as built so far.
    pub fn graph(&self) -> Ref<'_, Graph> {
        Ref::map(self.inner.borrow(), |inner| &inner.graph)
    }

    /// Records a mistake.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.inner.borrow_mut().errors.push(diagnostic);
    }

    /// Wraps a value of this graph as an expression.
    pub fn expr(&self, value: Value) -> Expr<'_> {
        Expr { builder: self, value }
    }

    /// An expression that was already reported as wrong.
    pub fn poisoned(&self) -> Expr<'_> {
        self.expr(POISON)
    }

    /// A number that no other random op of this graph has, so that two dropouts never draw the same mask.
    pub(crate) fn next_site(&self) -> u32 {
        let mut inner = self.inner.borrow_mut();
        inner.next_site += 1;
        inner.next_site - 1
    }

    /// The first result of a node. See [`Builder::push_all`].
    #[track_caller]
    pub fn push(&self, op: Op, operands: &[Expr<'_>]) -> Expr<'_> {
        self.expr(self.node(op, operands).map_or(POISON, Value::first))
    }

    /// Every result of the node for `op` over `operands`: an existing equal node, or a new one.
    /// Poisoned expressions, after reporting, when the operands do not fit the op.
    #[track_caller]
    pub fn push_all(&self, op: Op, operands: &[Expr<'_>]) -> Vec<Expr<'_>> {
        let results = op.results();
        match self.node(op, operands) {
            Some(node) => (0..results as u32).map(|output| self.expr(Value { node, output })).collect(),
            None => vec![self.poisoned(); results],
        }
    }

    #[track_caller]
    fn node(&self, op: Op, operands: &[Expr<'_>]) -> Option<NodeId> {
        let caller = Location::caller();
        let place = self.place(caller);
        let operands: Option<SmallVec<[Value; 3]>> =
            operands.iter().map(|&operand| self.admit(operand, place)).collect();
        let operands = operands?;
        let inner = &mut *self.inner.borrow_mut();
        let origin = Origin { source: inner.source.unwrap_or(Source::User(caller)), scope: inner.scope };
        let hash = hash_of(&inner.hasher, &op, &operands);
        let graph = &inner.graph;
        let same = |id: &NodeId| graph.node(*id).op == op && graph.node(*id).operands == operands;
        if let Some(&id) = inner.table.find(hash, same) {
            let origins = &mut inner.graph.dag[NodeIndex::new(id.index())].origins;
            if origins.len() < MAX_ORIGINS && !origins.contains(&origin) {
                origins.push(origin);
            }
            return Some(id);
        }
        let inferred = {
            let types: SmallVec<[&TensorType; 3]> = operands.iter().map(|&operand| graph.ty(operand)).collect();
            op.infer(&InferCx::new(op.operand_names(), &types))
        };
        let types = match inferred {
            Ok(types) => types,
            Err(mismatch) => {
                let diagnostic = explain_mismatch(graph, &op, &operands, mismatch, origin.source);
                inner.errors.push(diagnostic);
                return None;
            }
        };
        // A copied op keeps its site; the next new one must not draw there.
        if let Some(site) = op.site() {
            inner.next_site = inner.next_site.max(site.saturating_add(1));
        }
        let id = inner.graph.append(Node { op, operands, types, origins: SmallVec::from_buf([origin]) });
        let (hasher, graph) = (&inner.hasher, &inner.graph);
        inner.table.insert_unique(hash, id, |&id| rehash(hasher, graph, id));
        Some(id)
    }

    /// The line that a mistake is reported at: the one that nodes are attributed to, or the caller's.
    fn place(&self, caller: &'static Location<'static>) -> Place {
        match self.inner.borrow().source {
            Some(Source::User(location)) => Place::User(location),
            Some(Source::Parsed { line }) => Place::Text { line },
            Some(Source::Rewritten { at: Some(place), .. }) => place,
            _ => Place::User(caller),
        }
    }

    /// The value behind an operand, unless it is poisoned or belongs to another graph.
    fn admit(&self, operand: Expr<'_>, place: Place) -> Option<Value> {
        if operand.value == POISON {
            return None;
        }
        if !std::ptr::eq(operand.builder, self) {
            self.report(
                Diagnostic::new(Code::Graph, "this expression belongs to another graph")
                    .at_place(Some(place))
                    .note_at("it was made here", operand.builder.graph().place(operand.value.node))
                    .help("combine only expressions of one builder; carry values between graphs as named inputs"),
            );
            return None;
        }
        Some(operand.value)
    }
}

impl Graph {
    /// Appends a node and mirrors its operands as edges.
    fn append(&mut self, node: Node) -> NodeId {
        let operands = node.operands.clone();
        let index = self.dag.add_node(node);
        for (slot, operand) in operands.iter().enumerate() {
            self.dag.add_edge(NodeIndex::new(operand.node.index()), index, slot as u32);
        }
        NodeId(index.index() as u32)
    }
}

fn hash_of(hasher: &DefaultHashBuilder, op: &Op, operands: &[Value]) -> u64 {
    let mut state = hasher.build_hasher();
    op.hash(&mut state);
    operands.hash(&mut state);
    state.finish()
}

fn rehash(hasher: &DefaultHashBuilder, graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    hash_of(hasher, &node.op, &node.operands)
}

/// Turns an op's complaint into a report that names the user's line and where each operand came from.
fn explain_mismatch(graph: &Graph, op: &Op, operands: &[Value], mismatch: Mismatch, source: Source) -> Diagnostic {
    let place = match source {
        Source::User(location) => Some(Place::User(location)),
        Source::Parsed { line } => Some(Place::Text { line }),
        Source::GradientOf(node) if node.index() < graph.len() => graph.place(node),
        Source::GradientOf(_) => None,
        Source::Rewritten { at, .. } => at,
    };
    let names = op.operand_names();
    let mut diagnostic = Diagnostic::new(mismatch.code, format!("{}: {}", op.name(), mismatch.message)).at_place(place);
    for (slot, &operand) in operands.iter().enumerate().take(8) {
        let name = names.get(slot).or(names.last()).map_or("operand", |name| name.trim_end_matches('.'));
        let input = graph.as_input(operand.node).map(|(name, _)| format!(" (input `{name}`)")).unwrap_or_default();
        let message = format!("{name}{input}: {} was made here", graph.ty(operand));
        diagnostic = diagnostic.note_at(message, graph.place(operand.node));
    }
    match mismatch.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
