//! Applies rules to a fixed point, and enforces what no rule is trusted with.
//!
//! One sweep reads the graph in id order and builds the next one; where a rule fires, its replacement stands in for the
//! node, and everything else is copied. Replacements that share a node wait for the next sweep. After each sweep dead
//! nodes go, and every replaced value is proved. A sweep counts only if the [work](super::work()) has fallen, so it ends; a
//! rewrite that does not pay is skipped, and the others go on.

use super::facts::Facts;
use super::proof::{Claim, Equality, Prover, ProverError, Which};
use super::report::{Fired, Refused, RewriteError, Subject};
use super::rule::{Match, Miss, Rewrite, Rule};
use super::work::{GraphWork, work};
use crate::ir::{Diagnostics, Graph, NodeId, Rebuild, Value, Weights};
use indexmap::IndexMap;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// So many rewrites that do not pay together are tried again without the last one; of more, the first half.
const FEW: usize = 8;

/// Applies rules, and keeps the log of what fired and what was refused.
#[derive(Debug, Default)]
pub struct Rewriter {
    weights: Option<Weights>,
    protected: IndexMap<String, String>,
    // A rule's name, and which of its firings, or all.
    disabled: Vec<(String, Option<usize>)>,
    // Firings that were switched off, by rule and node of the graph at hand: they stay off in later sweeps.
    off: HashSet<(&'static str, NodeId)>,
    // Firings that would not pay, by rule and node of the graph at hand, and what they would cost: skipped until nothing
    // else fires.
    unpaid: HashMap<(&'static str, NodeId), String>,
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
        self.unpaid.clear();
        // How many rewrites the next sweep may do, and whether the graph has changed since all of them were tried.
        let (mut most, mut changed) = (usize::MAX, false);
        loop {
            let (left, occurrences) = (self.left, self.occurrences.clone());
            let (off, unpaid) = (self.off.clone(), self.unpaid.clone());
            let mut sweep = Sweep::of_at_most(most);
            let next = self.sweep(&current, rules, &mut sweep)?;
            most = usize::MAX;
            let Some(next) = next else {
                if std::mem::take(&mut changed) && !self.unpaid.is_empty() {
                    // What did not pay may do so now.
                    self.unpaid.clear();
                    continue;
                }
                self.refused.extend(sweep.refused);
                return Ok(current);
            };
            let (before, after): (GraphWork, GraphWork) = (work(&current), work(&next));
            if after < before {
                self.prove(&current, &next, &sweep)?;
                current = self.trimmed(&next)?;
                self.fired.append(&mut sweep.fired);
                changed = true;
                continue;
            }
            (self.off, self.unpaid) = (off, unpaid);
            let fired = sweep.fired.len();
            if fired > 1 {
                // Each of them may pay, but not together: one keeps alive what another has written anew. Of few, the last
                // one is left out, since some pay only together.
                most = if fired > FEW { fired / 2 } else { fired - 1 };
            } else {
                // What does not pay must be right all the same.
                self.prove(&current, &next, &sweep)?;
                if self.left == Some(0) {
                    // It may pay together with what was to come.
                    self.refused.extend(sweep.refused);
                    return Ok(current);
                }
                self.unpaid.extend(sweep.sites().map(|site| (site, does_not_pay(before, after))));
            }
            (self.left, self.occurrences) = (left, occurrences);
        }
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
        self.unpaid.retain(|&(_, id), _| !replaced(id));
        self.renumber(&rebuild);
        // Values of the new graph keep their ids until dead nodes go, after the proof.
        Ok(Some(rebuild.finish()?))
    }

    fn trimmed(&mut self, graph: &Graph) -> Result<Graph, Diagnostics> {
        let rebuild = live_copy(graph);
        self.renumber(&rebuild);
        rebuild.finish()
    }

    /// Switched-off and skipped firings at nodes of the old graph, at those of the new one.
    fn renumber(&mut self, rebuild: &Rebuild<'_>) {
        let renumbered = |(rule, id): (&'static str, NodeId)| {
            let new = rebuild.get(Value::first(id));
            (!new.is_poisoned()).then(|| (rule, new.value().node))
        };
        self.off = self.off.drain().filter_map(renumbered).collect();
        self.unpaid = self.unpaid.drain().filter_map(|(site, why)| Some((renumbered(site)?, why))).collect();
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
            if let Some(reason) = self.unpaid.get(&(rule.name, id)) {
                sweep.refused.push(Refused { rule, subject: Subject::of(graph, id), reason: reason.clone() });
                continue;
            }
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

    /// Which rules fired, and where.
    fn sites(&self) -> impl Iterator<Item = (&'static str, NodeId)> + '_ {
        self.blamed.iter().zip(&self.claims).map(|(&at, claim)| (self.fired[at].rule.name, claim.before.node))
    }

    fn is_full(&self) -> bool {
        self.fired.len() >= self.most
    }

    /// Whether a rewrite would touch what another one of this sweep has touched.
    fn meets(&self, root: NodeId, rewrite: &Rewrite) -> bool {
        rewrite.absorbed.iter().chain(&rewrite.into).chain([&root]).any(|node| self.claimed.contains(node))
    }
}

fn does_not_pay(before: GraphWork, after: GraphWork) -> String {
    let (before, after) = (before.operations, after.operations);
    match after > before {
        true => format!("it does not pay: a run would take {after} operations instead of {before}"),
        false => format!("it does not pay: a run would take {after} operations, as it does now"),
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
