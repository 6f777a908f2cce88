//! Applies rules to a fixed point, and enforces what no rule is trusted with.
//!
//! One sweep reads the graph in id order and builds the next one; where a rule fires, its replacement stands in for the
//! node, and everything else is copied. Replacements that share a node wait for the next sweep. After each sweep dead
//! nodes go, the [work](super::work()) must have fallen (so it ends), and every replaced value is proved.

use super::facts::{Facts, Weights};
use super::proof::{Claim, Equality, Prover, ProverError, Unequal, Which};
use super::rule::{Match, Miss, Rewrite, Rule};
use super::work::{Work, work};
use crate::ir::{Diagnostics, Graph, NodeId, Place, Rebuild, Value};
use indexmap::{IndexMap, IndexSet};
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

/// A node as a report names it, after the graph that it was in is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Op, layer and line, as in [`Graph::describe`] but without the id.
    pub text: String,
    /// The layer, if it belongs to one.
    pub layer: Option<String>,
    /// The op's name.
    pub op: &'static str,
    /// The input's name, for an input.
    pub input: Option<String>,
    /// The line behind it.
    pub place: Option<Place>,
}

impl Subject {
    /// The node in that graph.
    pub fn of(graph: &Graph, id: NodeId) -> Subject {
        let text = graph.describe(id);
        Subject {
            text: text.split_once(' ').map_or(text.clone(), |(_, rest)| rest.to_owned()),
            layer: graph.scope(id).map(str::to_owned),
            op: graph.node(id).op().name(),
            input: graph.as_input(id).map(|(name, _)| name.to_owned()),
            place: graph.place(id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A rule that fired.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The rule.
    pub rule: &'static Rule,
    /// The node that was replaced.
    pub root: Subject,
    /// Other nodes that are superfluous now.
    pub absorbed: Vec<Subject>,
    /// The node that lives on, changed.
    pub into: Option<Subject>,
    /// How it is proved.
    pub equality: Equality,
}

/// A rule whose pattern was there, and what stood in its way.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The rule.
    pub rule: &'static Rule,
    /// What it was refused for.
    pub subject: Subject,
    /// Why.
    pub reason: String,
}

/// Rewriting failed: a rule is wrong, and its result was thrown away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RewriteError {
    /// A replacement has another type than what it replaces.
    #[error("rule `{rule}` at {node}: the replacement is {found}, not {expected}; disable the rule and report this")]
    Type {
        /// The rule.
        rule: &'static str,
        /// The node it was applied to.
        node: String,
        /// The type of the node.
        expected: String,
        /// The type of its replacement.
        found: String,
    },
    /// Rules undo each other's work.
    #[error(
        "the rules {rules} do not reduce the work (from {before} to {after} operations); disable one and report this"
    )]
    Cycle {
        /// Their names.
        rules: String,
        /// Work before the sweep.
        before: u64,
        /// Work after it.
        after: u64,
    },
    /// A rewrite changed a value.
    #[error("{}{unequal}; disable the rule and report this", blame(rule, node))]
    Unequal {
        /// The rule, where one rewrite is to blame.
        rule: Option<&'static str>,
        /// The node it was applied to.
        node: Option<String>,
        /// What differs.
        unequal: Box<Unequal>,
    },
    /// A rule built something that is no graph.
    #[error("a rewrite built a graph that does not hold together; report this\n{0}")]
    Graph(#[from] Box<Diagnostics>),
}

fn blame(rule: &Option<&'static str>, node: &Option<String>) -> String {
    match (rule, node) {
        (Some(rule), Some(node)) => format!("rule `{rule}` at {node}: "),
        _ => String::new(),
    }
}

impl From<Diagnostics> for RewriteError {
    fn from(errors: Diagnostics) -> RewriteError {
        RewriteError::Graph(Box::new(errors))
    }
}

/// Applies rules, and keeps the log of what fired and what was refused.
#[derive(Debug, Default)]
pub struct Rewriter {
    weights: Option<Weights>,
    protected: IndexMap<String, String>,
    // A rule's name, and which of its firings, or all.
    disabled: Vec<(String, Option<usize>)>,
    // Firings that were switched off, by rule and node of the graph at hand: they stay off in later sweeps.
    off: HashSet<(&'static str, NodeId)>,
    // How many more rewrites may happen.
    left: Option<usize>,
    // How often each rule was about to fire.
    occurrences: IndexMap<&'static str, usize>,
    pub(crate) prover: Option<Prover>,
    proof_time: Duration,
    fired: Vec<Fired>,
    refused: Vec<Refused>,
}

impl Rewriter {
    /// Proves nothing, knows no weights.
    pub fn new() -> Rewriter {
        Rewriter::default()
    }

    /// The values of the graph's parameters and states, for rules that depend on signs.
    pub fn weights(mut self, weights: Weights) -> Rewriter {
        self.weights = Some(weights);
        self
    }

    /// Leaves a parameter as it is, for this reason.
    pub fn protect(mut self, parameter: impl Into<String>, reason: impl Into<String>) -> Rewriter {
        self.protected.insert(parameter.into(), reason.into());
        self
    }

    /// Switches a rule off, or one of its firings, counted from 0 over the whole run.
    pub fn disable(mut self, rule: impl Into<String>, occurrence: Option<usize>) -> Rewriter {
        self.disabled.push((rule.into(), occurrence));
        self
    }

    /// Stops after that many rewrites: for finding the one that is wrong.
    pub fn stop_after(mut self, rewrites: usize) -> Rewriter {
        self.left = Some(rewrites);
        self
    }

    /// Proves each sweep of the graphs that come from `graph`.
    ///
    /// # Errors
    /// Weights of other types than the graph's inputs, or inputs too large to be held.
    pub fn proved(mut self, graph: &Graph) -> Result<Rewriter, ProverError> {
        self.prover = Some(match &self.weights {
            Some(weights) => Prover::with_weights(graph, weights)?,
            None => Prover::new(graph)?,
        });
        Ok(self)
    }

    /// What fired so far, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// What was refused at the end of each run, and why.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    pub(crate) fn take_fired(&mut self) -> Vec<Fired> {
        std::mem::take(&mut self.fired)
    }

    pub(crate) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn take_proof_time(&mut self) -> Duration {
        std::mem::take(&mut self.proof_time)
    }

    /// Rewrites `graph` until no rule fires.
    ///
    /// # Errors
    /// [`RewriteError`]: a rule that is wrong. Nothing of a user's can cause it.
    pub fn run(&mut self, graph: &Graph, rules: &[&'static Rule]) -> Result<Graph, RewriteError> {
        self.forget_nodes();
        self.run_on(graph, rules)
    }

    /// What was switched off belongs to a graph that is no longer at hand.
    pub(crate) fn forget_nodes(&mut self) {
        self.off.clear();
    }

    /// [`run`](Rewriter::run) on the graph that the last run gave.
    pub(crate) fn run_on(&mut self, graph: &Graph, rules: &[&'static Rule]) -> Result<Graph, RewriteError> {
        let mut current = self.trimmed(graph)?;
        // How many rewrites the next sweep may do, and the rules of those that did not pay together.
        let (mut most, mut suspects) = (usize::MAX, IndexSet::new());
        loop {
            let (left, occurrences, off) = (self.left, self.occurrences.clone(), self.off.clone());
            let mut sweep = Sweep::of_at_most(most);
            let next = self.sweep(&current, rules, &mut sweep)?;
            let Some(next) = next else {
                self.refused.extend(sweep.refused);
                return Ok(current);
            };
            let (before, after): (Work, Work) = (work(&current), work(&next));
            if after >= before {
                suspects.extend(sweep.fired.iter().map(|fired| fired.rule.name));
            }
            if after >= before && sweep.fired.len() > 1 {
                // Each of them pays, but not together: one keeps alive what another has written anew.
                (self.left, self.occurrences, self.off) = (left, occurrences, off);
                most = sweep.fired.len() / 2;
                continue;
            }
            self.prove(&current, &next, &sweep)?;
            let next = self.trimmed(&next)?;
            if after >= before && self.is_restricted() {
                // A rewrite may pay only together with one that was switched off.
                self.refused.extend(sweep.refused);
                return Ok(current);
            }
            if after >= before {
                let (before, after) = (before.operations, after.operations);
                let rules = suspects.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                return Err(RewriteError::Cycle { rules, before, after });
            }
            self.fired.append(&mut sweep.fired);
            suspects.clear();
            most = usize::MAX;
            current = next;
        }
    }

    /// Whether some rewrites are switched off.
    fn is_restricted(&self) -> bool {
        !self.disabled.is_empty() || self.left == Some(0)
    }

    /// One pass over the nodes; `None` when nothing fired.
    fn sweep(
        &mut self,
        graph: &Graph,
        rules: &[&'static Rule],
        sweep: &mut Sweep,
    ) -> Result<Option<Graph>, RewriteError> {
        let weights = self.weights.take();
        let protected = std::mem::take(&mut self.protected);
        let facts = Facts::new(graph, weights.as_ref(), &protected);
        let mut rebuild = Rebuild::new(graph);
        let mut outcome = Ok(());
        for id in graph.ids().filter(|id| facts.live[id.index()]) {
            match self.rewrite_one(&facts, &rebuild, id, rules, sweep) {
                Ok(Some(results)) => rebuild.replace(id, &results),
                Ok(None) => rebuild.copy(id),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        drop(facts);
        (self.weights, self.protected) = (weights, protected);
        outcome?;
        if sweep.fired.is_empty() {
            return Ok(None);
        }
        let replaced = |id: NodeId| sweep.claims.iter().any(|claim| claim.before.node == id);
        self.off.retain(|&(_, id)| !replaced(id));
        self.renumber(&rebuild);
        // Values of the new graph keep their ids until dead nodes go, after the proof.
        Ok(Some(rebuild.finish()?))
    }

    fn trimmed(&mut self, graph: &Graph) -> Result<Graph, Diagnostics> {
        let rebuild = live_copy(graph);
        self.renumber(&rebuild);
        rebuild.finish()
    }

    /// Switched-off firings at nodes of the old graph, at those of the new one.
    fn renumber(&mut self, rebuild: &Rebuild<'_>) {
        let renumbered = |(rule, id)| {
            let new = rebuild.get(Value::first(id));
            (!new.is_poisoned()).then(|| (rule, new.value().node))
        };
        self.off = self.off.drain().filter_map(renumbered).collect();
    }

    /// The replacement of one node, if a rule has one.
    fn rewrite_one(
        &mut self,
        facts: &Facts<'_>,
        rebuild: &Rebuild<'_>,
        id: NodeId,
        rules: &[&'static Rule],
        sweep: &mut Sweep,
    ) -> Result<Option<Vec<Value>>, RewriteError> {
        let graph = facts.graph;
        for &rule in rules {
            let m = Match { facts, new: rebuild, root: id, subject: Cell::new(id), equality: Cell::new(rule.equality) };
            let apply = || rebuild.attributed(rule.name, id, || (rule.apply)(&m));
            let rewrite = match apply() {
                Ok(rewrite) => rewrite,
                Err(Miss::Absent) => continue,
                Err(Miss::Refused(reason)) => {
                    sweep.refused.push(Refused { rule, subject: Subject::of(graph, m.subject.get()), reason });
                    continue;
                }
            };
            // A sweep is proved as a whole, so one that is algebra waits for nothing that is not.
            let mixes = !sweep.fired.is_empty() && sweep.equality != m.equality.get();
            if mixes || sweep.is_full() || sweep.meets(id, &rewrite) || !self.allows(rule, id) {
                continue;
            }
            sweep.equality = m.equality.get();
            check_types(rule, graph, id, rebuild, &rewrite)?;
            sweep.claimed.extend(rewrite.absorbed.iter().chain(&rewrite.into).copied().chain([id]));
            let results = rewrite.results.iter().enumerate();
            let claim =
                |(output, &after): (usize, &Value)| Claim { before: Value { node: id, output: output as u32 }, after };
            sweep.claims.extend(results.map(claim));
            sweep.blamed.extend(rewrite.results.iter().map(|_| sweep.fired.len()));
            let absorbed = rewrite.absorbed.iter().filter(|&&absorbed| absorbed != id);
            sweep.fired.push(Fired {
                rule,
                root: Subject::of(graph, id),
                absorbed: absorbed.map(|&absorbed| Subject::of(graph, absorbed)).collect(),
                into: rewrite.into.map(|into| Subject::of(graph, into)),
                equality: m.equality.get(),
            });
            return Ok(Some(rewrite.results));
        }
        Ok(None)
    }

    /// Whether a rule may fire once more, at that node.
    fn allows(&mut self, rule: &Rule, id: NodeId) -> bool {
        if self.off.contains(&(rule.name, id)) {
            return false;
        }
        let count = self.occurrences.entry(rule.name).or_insert(0);
        let this = *count;
        *count += 1;
        let disabled = |(name, occurrence): &(String, Option<usize>)| {
            name == rule.name && occurrence.is_none_or(|occurrence| occurrence == this)
        };
        if self.disabled.iter().any(disabled) {
            self.off.insert((rule.name, id));
            return false;
        }
        match &mut self.left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    fn prove(&mut self, before: &Graph, after: &Graph, sweep: &Sweep) -> Result<(), RewriteError> {
        let Some(prover) = &mut self.prover else { return Ok(()) };
        let started = Instant::now();
        let proof = prover.check(before, after, &sweep.claims, sweep.equality);
        self.proof_time += started.elapsed();
        proof.map_err(|unequal| {
            let claim = if let Which::Claim(claim) = unequal.which { sweep.blamed.get(claim) } else { None };
            let blamed = claim.map(|&at| &sweep.fired[at]);
            RewriteError::Unequal {
                rule: blamed.map(|fired| fired.rule.name),
                node: blamed.map(|fired| fired.root.to_string()),
                unequal,
            }
        })
    }
}

/// What one sweep did.
#[derive(Debug)]
struct Sweep {
    // How many rewrites it may do.
    most: usize,
    // How all of it is proved.
    equality: Equality,
    fired: Vec<Fired>,
    refused: Vec<Refused>,
    claims: Vec<Claim>,
    // For each claim, the rewrite that made it.
    blamed: Vec<usize>,
    claimed: HashSet<NodeId>,
}

impl Sweep {
    fn of_at_most(most: usize) -> Sweep {
        Sweep {
            most,
            equality: Equality::Algebraic,
            fired: Vec::new(),
            refused: Vec::new(),
            claims: Vec::new(),
            blamed: Vec::new(),
            claimed: HashSet::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.fired.len() >= self.most
    }

    /// Whether a rewrite would touch what another one of this sweep has touched.
    fn meets(&self, root: NodeId, rewrite: &Rewrite) -> bool {
        rewrite.absorbed.iter().chain(&rewrite.into).chain([&root]).any(|node| self.claimed.contains(node))
    }
}

fn check_types(
    rule: &'static Rule,
    graph: &Graph,
    id: NodeId,
    rebuild: &Rebuild<'_>,
    rewrite: &Rewrite,
) -> Result<(), RewriteError> {
    let types = graph.node(id).types();
    let found: Vec<_> = rewrite.results.iter().map(|&value| rebuild.builder().expr(value)).collect();
    if found.iter().any(|value| value.is_poisoned())
        && let Some(errors) = rebuild.builder().errors()
    {
        return Err(errors.into());
    }
    if found.iter().map(|value| value.ty()).eq(types.iter().cloned()) {
        return Ok(());
    }
    let list = |types: Vec<String>| types.join(", ");
    Err(RewriteError::Type {
        rule: rule.name,
        node: graph.describe(id),
        expected: list(types.iter().map(ToString::to_string).collect()),
        found: list(found.iter().map(|value| value.ty().to_string()).collect()),
    })
}

/// The graph without the nodes that no output and no update needs; every input stays.
pub(crate) fn trimmed(graph: &Graph) -> Result<Graph, Diagnostics> {
    live_copy(graph).finish()
}

fn live_copy(graph: &Graph) -> Rebuild<'_> {
    let live = graph.live();
    let mut rebuild = Rebuild::new(graph);
    graph.ids().filter(|id| live[id.index()]).for_each(|id| rebuild.copy(id));
    rebuild
}
