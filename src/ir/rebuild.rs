//! Rewriting is building a new graph while reading an old one; nodes keep their origins.

use super::builder::POISON;
use super::{Builder, Diagnostics, Expr, Graph, NodeId, Source, Value};
use smallvec::SmallVec;

/// Copies nodes of an old graph into a new one, in order, with some of them replaced.
#[derive(Debug)]
pub struct Rebuild<'g> {
    old: &'g Graph,
    builder: Builder,
    // For each old node, the new values of its results.
    map: Vec<SmallVec<[Value; 1]>>,
}

impl<'g> Rebuild<'g> {
    /// Starts an empty copy of `old`. Every input is declared at once, used or not, so that signatures survive.
    pub fn new(old: &'g Graph) -> Rebuild<'g> {
        let mut rebuild = Rebuild::without_inputs(old);
        for (_, id) in old.inputs() {
            rebuild.copy(id);
        }
        rebuild
    }

    /// Starts an empty copy of `old` that has only the inputs that are copied.
    pub fn without_inputs(old: &'g Graph) -> Rebuild<'g> {
        Rebuild::onto(old, Builder::new())
    }

    /// Starts copying `old` behind what a builder holds already.
    pub(crate) fn onto(old: &'g Graph, builder: Builder) -> Rebuild<'g> {
        Rebuild { old, builder, map: vec![SmallVec::new(); old.len()] }
    }

    /// The builder of the new graph, to be continued.
    pub(crate) fn into_builder(self) -> Builder {
        self.builder
    }

    /// The graph being read.
    pub fn old(&self) -> &'g Graph {
        self.old
    }

    /// The builder of the new graph.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// Whether the old node was copied or replaced already.
    pub fn is_done(&self, id: NodeId) -> bool {
        !self.map[id.index()].is_empty()
    }

    /// The new expression for an old value.
    pub fn get(&self, old: Value) -> Expr<'_> {
        self.builder.expr(self.map[old.node.index()].get(old.output as usize).copied().unwrap_or(POISON))
    }

    /// Copies an old node; its operands were copied or replaced before.
    pub fn copy(&mut self, id: NodeId) {
        if self.is_done(id) {
            return;
        }
        let node = self.old.node(id);
        let operands: SmallVec<[Value; 3]> = node.operands().iter().map(|&operand| self.get(operand).value).collect();
        self.insert_like(id, node.op.clone(), &operands);
    }

    /// Says that the results of an old node are now these values of the new graph.
    pub fn replace(&mut self, id: NodeId, with: &[Value]) {
        self.map[id.index()] = SmallVec::from_slice(with);
    }

    /// Replaces an old node by its expansion into smaller ops; `false` for a primitive, which is left alone.
    pub fn expand(&mut self, id: NodeId) -> bool {
        let node = self.old.node(id);
        let operands: Vec<Expr<'_>> = node.operands().iter().map(|&operand| self.get(operand)).collect();
        let expand = || node.op.expand(&operands);
        // A gradient stays one, and a rewrite too.
        let results = self.attributed("expand", id, || match self.source(id) {
            source @ (Source::GradientOf(_) | Source::Rewritten { .. }) => self.builder.attributed(source, expand),
            _ => expand(),
        });
        let Some(results) = results else { return false };
        let values: SmallVec<[Value; 1]> = results.iter().map(|result| result.value).collect();
        self.map[id.index()] = values;
        true
    }

    /// Runs `body` with every new node attributed to a rule that replaces an old node, in the old node's layer.
    pub fn attributed<T>(&self, rule: &'static str, id: NodeId, body: impl FnOnce() -> T) -> T {
        let source = Source::Rewritten { rule, at: self.old.place(id) };
        let body = || self.builder.attributed(source, body);
        match self.old.scope(id) {
            Some(scope) => self.builder.scoped(scope, body),
            None => body(),
        }
    }

    /// Names the outputs and updates as the old graph did, and finishes.
    ///
    /// # Errors
    /// What a rewrite built wrongly, as [`Builder::finish`] tells it.
    pub fn finish(self) -> Result<Graph, Diagnostics> {
        for (name, value) in self.old.outputs() {
            self.builder.output(name, self.get(value));
        }
        for (state, next) in self.old.updates() {
            self.builder.update(self.get(Value::first(state)), self.get(next));
        }
        self.builder.finish()
    }

    /// Finishes with the outputs and updates that the new graph was given.
    ///
    /// # Errors
    /// As for [`finish`](Rebuild::finish).
    pub fn finish_as_built(self) -> Result<Graph, Diagnostics> {
        self.builder.finish()
    }

    /// Where an old node came from, in terms of the new graph. Gradient origins name nodes by id, which the copy
    /// renumbers; where the primal was not copied, the line behind it is what remains.
    fn source(&self, id: NodeId) -> Source {
        let mut from = id;
        loop {
            match self.old.node(from).origins.first().map(|origin| origin.source) {
                Some(Source::GradientOf(primal)) => match self.map[primal.index()].first() {
                    Some(value) => return Source::GradientOf(value.node),
                    None if primal < from => from = primal,
                    None => break,
                },
                Some(source) => return source,
                None => break,
            }
        }
        Source::Rewritten { rule: "copy", at: self.old.place(id) }
    }

    fn insert_like(&mut self, id: NodeId, op: crate::op::Op, operands: &[Value]) {
        let node = self.old.node(id);
        let operands: Vec<Expr<'_>> = operands.iter().map(|&operand| self.builder.expr(operand)).collect();
        let source = self.source(id);
        let results = self.builder.attributed(source, || {
            let push = || match &op {
                crate::op::Op::Input(input) => {
                    vec![self.builder.declare(input.name(), input.role, node.types[0].clone())]
                }
                _ => self.builder.push_all(op.clone(), &operands),
            };
            match self.old.scope(id) {
                Some(scope) => self.builder.scoped(scope, push),
                None => push(),
            }
        });
        self.map[id.index()] = results.iter().map(|result| result.value).collect();
    }
}
