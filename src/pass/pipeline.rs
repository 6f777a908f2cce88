//! Passes in order, with the hygiene that finds a wrong one: proof and verifier after each, time and work of each, a dump,
//! rules and passes that can be switched off by name, and a stop after so many rewrites.

use crate::ir::{Diagnostics, Graph, Weights, verify};
use crate::rewrite::{
    Equality, Fired, GraphWork, Prover, ProverError, Refused, RewriteError, Rewriter, Rule, Unequal, rules, work,
};
use indexmap::{IndexMap, IndexSet};
use std::time::{Duration, Instant};

/// What a pass does.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Applies rules until none fires.
    Rules(&'static [&'static [&'static Rule]]),
    /// Rebuilds the graph with the same meaning; dropped where that is more work.
    Rebuild(fn(&Graph) -> Result<Graph, Diagnostics>),
}

/// A step of a pipeline: from a graph to one that means the same.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The stable name.
    pub name: &'static str,
    /// One line on what it is for.
    pub about: &'static str,
    /// What it does.
    pub action: Action,
}

/// What one pass did.
#[derive(Clone, Debug)]
pub struct PassRecord {
    /// The pass.
    pub name: &'static str,
    /// How long it took, without its proof.
    pub seconds: f64,
    /// How long its proof took.
    pub proof_seconds: f64,
    /// Work before and after.
    pub work: [GraphWork; 2],
    /// How many rewrites there were.
    pub rewrites: usize,
}

/// What a pipeline made of a graph.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The graph, which means the same as the one before.
    pub graph: Graph,
    /// The passes that ran, in order; one that was called for again is there again.
    pub passes: Vec<PassRecord>,
    /// Every rewrite, in order.
    pub fired: Vec<Fired>,
    /// Every rule that found its pattern and was refused, at the end of its pass.
    pub refused: Vec<Refused>,
}

/// A pipeline could not finish. The graph that it was given is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// A rule is wrong.
    #[error("pass `{pass}`: {error}")]
    Rewrite {
        /// The pass.
        pass: &'static str,
        /// What its rule did.
        error: RewriteError,
    },
    /// A pass changed the meaning of the graph.
    #[error(
        "pass `{pass}` changed the graph's meaning: {unequal}; leave it out with `.without(\"{pass}\")` and report this"
    )]
    Unequal {
        /// The pass.
        pass: &'static str,
        /// What differs.
        unequal: Box<Unequal>,
    },
    /// A pass made something that is no graph.
    #[error("pass `{pass}` made a graph that does not hold together; report this\n{errors}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What the verifier says.
        errors: Box<Diagnostics>,
    },
    /// The graph is too large to be proved, or the weights do not fit it.
    #[error("{0}")]
    Proof(#[from] ProverError),
    /// There is nothing of that name to switch off.
    #[error("there is no pass or rule `{name}` to leave out; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
}

/// Called with the name of each pass and the graph that it leaves behind.
pub type Dump<'d> = dyn FnMut(&str, &Graph) + 'd;

/// A list of passes and how to run them. [Presets](super::presets) make one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pipeline {
    passes: Vec<Pass>,
    // Where to go on from after a pass that has rewritten something: what it leaves may be of use to an earlier one.
    again: Option<Again>,
    without: Vec<String>,
    protected: Vec<(String, String)>,
    stop_after: Option<usize>,
    proved: bool,
}

/// After a pass of that name has rewritten something, the pipeline goes on from an earlier one.
#[derive(Clone, Copy, Debug)]
struct Again {
    after: &'static str,
    from: &'static str,
}

impl Pipeline {
    /// These passes, proved in debug builds.
    pub fn new(passes: impl Into<Vec<Pass>>) -> Pipeline {
        Pipeline {
            passes: passes.into(),
            again: None,
            without: Vec::new(),
            protected: Vec::new(),
            stop_after: None,
            proved: cfg!(debug_assertions),
        }
    }

    /// The passes, in order.
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Goes on from the pass `from` each time that the later pass `after` has rewritten something.
    pub(super) fn again(mut self, from: &'static str, after: &'static str) -> Pipeline {
        self.again = Some(Again { after, from });
        self
    }

    /// Leaves out a pass, a rule, or one firing of a rule: `affine_after_affine@2` is its third.
    pub fn without(mut self, name: impl Into<String>) -> Pipeline {
        self.without.push(name.into());
        self
    }

    /// Keeps a parameter as it is, for this reason.
    pub fn protect(mut self, parameter: impl Into<String>, reason: impl Into<String>) -> Pipeline {
        self.protected.push((parameter.into(), reason.into()));
        self
    }

    /// Stops after that many rewrites, so that the first wrong one can be found by bisection.
    pub fn stop_after(mut self, rewrites: usize) -> Pipeline {
        self.stop_after = Some(rewrites);
        self
    }

    /// Whether each pass is proved: in F_p, and where a rule is no algebra by f64 samples.
    pub fn proved(mut self, proved: bool) -> Pipeline {
        self.proved = proved;
        self
    }

    /// Runs every pass.
    ///
    /// # Errors
    /// [`PassError`]: a name that does not exist, or a pass that is wrong.
    pub fn run(&self, graph: &Graph) -> Result<Outcome, PassError> {
        self.run_with(graph, &Weights::new(), &mut |_, _| {})
    }

    /// Runs every pass, with the values of the weights for rules that depend on signs, and shows what each leaves behind.
    ///
    /// # Errors
    /// [`PassError`]: a name that does not exist, weights of another type than the graph's, or a pass that is wrong.
    pub fn run_with(&self, graph: &Graph, weights: &Weights, dump: &mut Dump<'_>) -> Result<Outcome, PassError> {
        self.run_proved(graph, weights, dump).map(|(outcome, _)| outcome)
    }

    /// The outcome, with the prover that has seen the graphs on the way.
    pub(super) fn run_proved(
        &self,
        graph: &Graph,
        weights: &Weights,
        dump: &mut Dump<'_>,
    ) -> Result<(Outcome, Option<Prover>), PassError> {
        self.check_names()?;
        let mut rewriter = Rewriter::new();
        if !weights.is_empty() {
            rewriter = rewriter.weights(weights.clone());
        }
        for (parameter, reason) in &self.protected {
            rewriter = rewriter.protect(parameter, reason);
        }
        for name in &self.without {
            let (rule, occurrence) = split(name);
            rewriter = rewriter.disable(rule, occurrence);
        }
        if let Some(rewrites) = self.stop_after {
            rewriter = rewriter.stop_after(rewrites);
        }
        let mut prover = match self.proved {
            true => Some(Prover::with_weights(graph, weights)?),
            false => None,
        };
        let mut outcome = Outcome { graph: graph.clone(), passes: Vec::new(), fired: Vec::new(), refused: Vec::new() };
        let passes: Vec<&Pass> =
            self.passes.iter().filter(|pass| !self.without.iter().any(|name| name == pass.name)).collect();
        // By pass: its last turn says what is refused in the end.
        let mut refused: IndexMap<&str, Vec<Refused>> = IndexMap::new();
        let mut at = 0;
        while let Some(&pass) = passes.get(at) {
            let (started, before) = (Instant::now(), outcome.fired.len());
            let (next, proof) = run_one(pass, &outcome.graph, &mut rewriter, &mut prover)?;
            refused.insert(pass.name, rewriter.take_refused());
            outcome.fired.extend(rewriter.take_fired());
            outcome.passes.push(PassRecord {
                name: pass.name,
                seconds: (started.elapsed().saturating_sub(proof)).as_secs_f64(),
                proof_seconds: proof.as_secs_f64(),
                work: [work(&outcome.graph), work(&next)],
                rewrites: outcome.fired.len() - before,
            });
            dump(pass.name, &next);
            outcome.graph = next;
            // Every rewrite lowers the work and no pass raises it, so this ends.
            let rewritten = outcome.fired.len() > before;
            let back = self.again.filter(|again| rewritten && again.after == pass.name);
            let back = back.and_then(|again| passes[..at].iter().position(|pass| pass.name == again.from));
            at = back.unwrap_or(at + 1);
        }
        outcome.refused = refused.into_values().flatten().collect();
        Ok((outcome, prover))
    }

    fn check_names(&self) -> Result<(), PassError> {
        let passes: IndexSet<&str> = self.passes.iter().map(|pass| pass.name).collect();
        let own =
            self.passes.iter().filter_map(|pass| if let Action::Rules(sets) = pass.action { Some(sets) } else { None });
        let own = own.flatten().copied().flatten().copied();
        let rules: IndexSet<&str> = rules::all().chain(own).map(|rule| rule.name).collect();
        let is_known = |name: &str| passes.contains(name) || rules.contains(split(name).0);
        match self.without.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => {
                let known = passes.into_iter().chain(rules).collect::<Vec<_>>().join(", ");
                Err(PassError::Unknown { name: name.clone(), known })
            }
        }
    }
}

/// `rule@2` is the third firing of a rule.
fn split(name: &str) -> (&str, Option<usize>) {
    let parts = name.split_once('@').and_then(|(rule, occurrence)| Some((rule, occurrence.parse().ok()?)));
    parts.map_or((name, None), |(rule, occurrence)| (rule, Some(occurrence)))
}

/// The graph after a pass, and how long its proof took.
fn run_one(
    pass: &Pass,
    graph: &Graph,
    rewriter: &mut Rewriter,
    prover: &mut Option<Prover>,
) -> Result<(Graph, Duration), PassError> {
    let proved = prover.is_some();
    let (next, proof) = match pass.action {
        Action::Rules(sets) => {
            let rules: Vec<&'static Rule> = sets.iter().copied().flatten().copied().collect();
            rewriter.prover = prover.take();
            let next = rewriter.run_on(graph, &rules);
            *prover = rewriter.prover.take();
            let next = next.map_err(|error| PassError::Rewrite { pass: pass.name, error })?;
            (next, rewriter.take_proof_time())
        }
        Action::Rebuild(rebuild) => {
            let broken = |errors| PassError::Broken { pass: pass.name, errors: Box::new(errors) };
            let next = rebuild(graph).map_err(broken)?;
            if work(&next) > work(graph) {
                // A pass may see a gain where there is none.
                return Ok((graph.clone(), Duration::ZERO));
            }
            rewriter.forget_nodes();
            let mut proof = Duration::ZERO;
            if let Some(prover) = prover {
                let started = Instant::now();
                let check = prover.check(graph, &next, &[], Equality::Algebraic);
                check.map_err(|unequal| PassError::Unequal { pass: pass.name, unequal })?;
                proof = started.elapsed();
            }
            (next, proof)
        }
    };
    if proved {
        verify(&next).map_err(|errors| PassError::Broken { pass: pass.name, errors: Box::new(errors) })?;
    }
    Ok((next, proof))
}
