//! What a rule is, what it may ask about the node it is tried at, and how it says why it did not fire.

use super::facts::Facts;
use super::proof::Equality;
use super::work::operations_of;
use crate::ir::{DType, Dim, Expr, Graph, Node, NodeId, Rebuild, Shape, TensorType, Value};
use crate::op::{Nature, Op, Rearrangement};
use std::cell::Cell;
use std::fmt;

/// Why a rule did not fire at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The pattern is not there.
    Absent,
    /// The pattern is there, and this stands in the way: a whole sentence for the user.
    Refused(String),
}

/// Ends a rule with the reason why it does not fire, unless the condition holds.
macro_rules! need {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::rewrite::Miss::Refused(format!($($reason)+)));
        }
    };
}
pub(crate) use need;

/// What takes the place of a node.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// A value of the new graph for each result of the replaced node.
    pub results: Vec<Value>,
    /// Nodes of the old graph that the replacement makes superfluous, besides the replaced one.
    pub absorbed: Vec<NodeId>,
    /// The node of the old graph that lives on, changed: the Dense that takes a batch norm in.
    pub into: Option<NodeId>,
}

impl Rewrite {
    /// A replacement of a node's only result.
    pub fn by(result: Expr<'_>) -> Rewrite {
        Rewrite { results: vec![result.value()], absorbed: Vec::new(), into: None }
    }

    /// Says which other nodes this makes superfluous.
    pub fn absorbing(mut self, nodes: impl IntoIterator<Item = NodeId>) -> Rewrite {
        self.absorbed.extend(nodes);
        self
    }

    /// Says which node lives on, changed.
    pub fn into(mut self, node: NodeId) -> Rewrite {
        self.into = Some(node);
        self
    }
}

/// A rewrite rule: one equation, read from left to right.
pub struct Rule {
    /// The stable name, by which it is disabled, explained and tested.
    pub name: &'static str,
    /// `before ⇒ after`, with its side conditions.
    pub equation: &'static str,
    /// How its results are proved equal to what they replace, unless a rewrite [rests on signs](Match::rests_on_signs).
    pub equality: Equality,
    /// Builds the replacement of the matched node in the new graph, or says why there is none.
    pub apply: for<'g> fn(&Match<'g>) -> Result<Rewrite, Miss>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.equation)
    }
}

/// Declares rules: the first line of the doc comment is the equation that `explain` prints.
macro_rules! rules {
    ($(
        #[doc = $equation:literal]
        $(#[doc = $more:literal])*
        fn $name:ident($m:ident) $(: $equality:ident)? $body:block
    )*) => {$(
        #[doc = $equation]
        $(#[doc = $more])*
        #[allow(non_upper_case_globals)]
        pub static $name: $crate::rewrite::Rule = $crate::rewrite::Rule {
            name: stringify!($name),
            equation: $equation.trim_ascii(),
            equality: $crate::rewrite::rule::rules!(@equality $($equality)?),
            apply: {
                fn $name($m: &$crate::rewrite::Match<'_>)
                    -> Result<$crate::rewrite::Rewrite, $crate::rewrite::Miss> $body
                $name
            },
        };
    )*};
    (@equality) => { $crate::rewrite::Equality::Algebraic };
    (@equality sampled) => { $crate::rewrite::Equality::Sampled };
}
pub(crate) use rules;

/// A node of the graph that is being read, with the new graph that is being built.
#[derive(Debug)]
pub struct Match<'g> {
    pub(super) facts: &'g Facts<'g>,
    pub(super) new: &'g Rebuild<'g>,
    pub(super) root: NodeId,
    // The node that a refusal is about, where that is not the root.
    pub(super) subject: Cell<NodeId>,
    // How the rewrite is to be proved.
    pub(super) equality: Cell<Equality>,
}

impl<'g> Match<'g> {
    /// The graph that is being read.
    pub fn graph(&self) -> &'g Graph {
        self.facts.graph
    }

    /// The node that the rule is tried at.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The op of that node.
    pub fn op(&self) -> &'g Op {
        self.node(self.root).op()
    }

    /// Says that what is refused from here on is about another node than the root: a batch norm before a Dense.
    pub fn concerns(&self, node: NodeId) {
        self.subject.set(node);
    }

    /// Says that the rewrite holds for the signs at hand and is no algebra: it is proved by samples then.
    pub fn rests_on_signs(&self) {
        self.equality.set(Equality::Sampled);
    }

    /// The operands of that node.
    pub fn operands(&self) -> &'g [Value] {
        self.node(self.root).operands()
    }

    /// The first result of that node.
    pub fn result(&self) -> Value {
        Value::first(self.root)
    }

    /// An operand of that node.
    pub fn operand(&self, slot: usize) -> Value {
        self.node(self.root).operands()[slot]
    }

    /// A node of the old graph.
    pub fn node(&self, id: NodeId) -> &'g Node {
        self.graph().node(id)
    }

    /// The op that computes an old value.
    pub fn producer(&self, value: Value) -> &'g Op {
        self.node(value.node).op()
    }

    /// The type of an old value.
    pub fn ty(&self, value: Value) -> &'g TensorType {
        self.graph().ty(value)
    }

    /// The shape of an old value.
    pub fn shape(&self, value: Value) -> &'g Shape {
        &self.ty(value).shape
    }

    /// An old value in the new graph.
    pub fn get(&self, value: Value) -> Expr<'g> {
        self.new.get(value)
    }

    /// Whether a value depends on parameters, states and constants alone, so that it can be computed before any run.
    pub fn is_weight(&self, value: Value) -> bool {
        self.facts.is_weight(value.node)
    }

    /// Whether a value is a weight, or the copies of one along other axes, whose sizes need not be known.
    pub fn is_laid_weight(&self, value: Value) -> bool {
        let of_weight = |node: &Node| {
            matches!(node.op().nature(), Nature::View(Rearrangement::Stretch(_))) && self.is_weight(node.operands()[0])
        };
        self.is_weight(value) || of_weight(self.node(value.node))
    }

    /// Whether a constant has this number in every element, looking through broadcasts and reshapes.
    pub fn is_number(&self, value: Value, number: f64) -> bool {
        self.facts.number(value) == Some(number)
    }

    /// Whether every element of a weight of the new graph is positive and finite, as far as the weights are known.
    pub fn is_positive(&self, value: Expr<'_>) -> bool {
        self.facts.elements(self.new, value).is_some_and(|all| all.iter().all(|&x| x > 0.0 && x.is_finite()))
    }

    /// Whether every element of a weight of the new graph is finite once it is rounded to its type, as far as the weights
    /// are known.
    pub fn is_finite(&self, value: Expr<'_>) -> bool {
        let single = value.dtype() == DType::F32;
        let finite = |x: f64| if single { (x as f32).is_finite() } else { x.is_finite() };
        self.facts.elements(self.new, value).is_some_and(|all| all.iter().all(|&x| finite(x)))
    }

    /// Refuses a value that something besides this node reads, or that the graph gives out.
    ///
    /// # Errors
    /// A sentence that names the other reader.
    pub fn single_use(&self, value: Value) -> Result<(), Miss> {
        self.single_use_by(self.root, value)
    }

    /// Refuses a value that something besides that node reads, or that the graph gives out.
    ///
    /// # Errors
    /// As for [`single_use`](Match::single_use).
    pub fn single_use_by(&self, user: NodeId, value: Value) -> Result<(), Miss> {
        match self.facts.second_use(value, user) {
            None => Ok(()),
            Some(who) => Err(Miss::Refused(format!("{} is also used by {who}", self.name(value.node)))),
        }
    }

    /// The nodes that read an old value, once each for every operand.
    pub fn users(&self, value: Value) -> impl Iterator<Item = NodeId> {
        self.facts.users(value)
    }

    /// Whether the graph gives this value out, or updates a state with it.
    pub fn is_root(&self, value: Value) -> bool {
        self.facts.is_root(value)
    }

    /// Why this parameter has to stay as it is, if someone said so.
    pub fn protection(&self, value: Value) -> Option<String> {
        let (name, _) = self.graph().as_input(value.node)?;
        self.facts.protected.get(name).cloned()
    }

    /// Whether `from` has an effect through `gate` alone, its own update aside.
    pub fn reaches_only_through(&self, from: Value, gate: Value) -> bool {
        self.facts.reaches_only_through(from.node, gate.node)
    }

    /// What a run of these nodes costs.
    pub(crate) fn operations(&self, nodes: &[NodeId]) -> u64 {
        nodes.iter().map(|&node| operations_of(self.graph(), node)).fold(0, u64::saturating_add)
    }

    /// The element-wise operations that a node takes for each element.
    pub fn elementwise_operations(&self, node: NodeId) -> usize {
        if let Nature::Normalisation { operations } = self.node(node).op().nature() { operations } else { 1 }
    }

    /// Runs `body` with every new node marked as part of the layer of an old one.
    pub fn in_layer_of<T>(&self, node: NodeId, body: impl FnOnce() -> T) -> T {
        match self.graph().scope(node) {
            Some(layer) => self.new.builder().scoped(layer, body),
            None => body(),
        }
    }

    /// How a person would name a node: its op, its layer, and the line behind it.
    pub fn name(&self, id: NodeId) -> String {
        self.graph().describe(id)
    }

    /// A dimension that must be a number.
    ///
    /// # Errors
    /// A symbol: the rule is not about it, and stays silent.
    pub fn known(&self, dim: Dim) -> Result<usize, Miss> {
        dim.known().ok_or(Miss::Absent)
    }
}
