//! Golden files of rules, `tests/rewrite/rules/golden/NAME.ir`: the equation, graphs that the rule changes, graphs that it leaves.
//!
//! ```text
//! ; EQUATION                               the rule's own
//! ; example: TITLE                         the rule fires
//! ; weights: NAME in [LOW, HIGH]           the rule asks for signs: every weight gets a value, this one in that range
//! graph { .. }
//! ; becomes                                written by the test: the graph once the rule alone ran to its fixed point
//! graph { .. }
//! ; structure: dense=1 relu=1 add=0        nodes that a run goes through, of each op there was or is
//! ; counterexample: TITLE                  the rule does not fire, the graph stays byte for byte as it is
//! ; protect: NAME because REASON
//! graph { .. }
//! ; refused: SUBJECT: REASON               or `; absent`, where the pattern is not there
//! ```
//!
//! Line numbers of subjects and reasons count from the line `graph {`, which is line 1.

use super::draw::{self, Range};
use foldgrad::Graph;
use foldgrad::ir;
use foldgrad::ir::{OrderedMap, Role, Weights};
use foldgrad::rewrite::{Rewriter, Rule, rules};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// What stands under an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The graph afterwards, printed.
    Becomes(String),
    /// The refusals, as `SUBJECT: REASON`; none where the pattern is not there.
    Stays(Vec<String>),
}

#[derive(Clone, Debug)]
pub struct Example {
    pub rule: &'static Rule,
    pub title: String,
    pub fires: bool,
    pub ranges: OrderedMap<String, Range>,
    pub protected: Vec<(String, String)>,
    pub graph: Graph,
    pub expected: Expected,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rewrite/rules/golden")
}

pub fn path(rule: &Rule) -> PathBuf {
    folder().join(rule.name).with_extension("ir")
}

impl Example {
    /// The rule with its place in the golden file, for messages.
    pub fn label(&self) -> String {
        format!("{}, {}", self.rule.name, self.title)
    }

    /// Values for all weights, if the rule asks for signs.
    pub fn weights(&self, seed: u64) -> Option<Weights> {
        let all = || draw::weights(&self.graph, &self.ranges, &self.label(), seed);
        (!self.ranges.is_empty()).then(all)
    }

    /// A rewriter that knows what the example says.
    pub fn rewriter(&self) -> Rewriter {
        self.rewriter_with(self.weights(0))
    }

    pub fn rewriter_with(&self, weights: Option<Weights>) -> Rewriter {
        let mut rewriter = Rewriter::new();
        if let Some(weights) = weights {
            rewriter = rewriter.weights(weights);
        }
        self.protected.iter().fold(rewriter, |rewriter, (name, reason)| rewriter.protect(name, reason))
    }

    /// The graph once the rule alone ran to its fixed point.
    pub fn rewritten(&self) -> Graph {
        self.run(&mut self.rewriter(), &self.graph)
    }

    #[track_caller]
    pub fn run(&self, rewriter: &mut Rewriter, graph: &Graph) -> Graph {
        rewriter.run(graph, &[self.rule]).unwrap_or_else(|error| panic!("{}: {error}", self.label()))
    }

    /// What the rule does to the graph.
    fn outcome(&self) -> Expected {
        let mut rewriter = self.rewriter();
        let after = self.run(&mut rewriter, &self.graph);
        match rewriter.fired() {
            [] => {
                let line = |refused: &foldgrad::rewrite::Refused| format!("{}: {}", refused.subject, refused.reason);
                Expected::Stays(rewriter.refused().iter().map(line).collect())
            }
            _ => Expected::Becomes(ir::print(&after)),
        }
    }

    /// The example as its file should have it, under its directives.
    fn written(&self, outcome: &Expected) -> String {
        match outcome {
            Expected::Becomes(text) => {
                let after = ir::parse(text).unwrap_or_else(|error| panic!("{}: {error}", self.label()));
                assert_eq!(ir::print(&after), *text, "{}", self.label());
                format!("; becomes\n{text}; structure: {}\n", structure(&self.graph, &after))
            }
            Expected::Stays(reasons) if reasons.is_empty() => "; absent\n".to_owned(),
            Expected::Stays(reasons) => reasons.iter().map(|reason| format!("; refused: {reason}\n")).collect(),
        }
    }
}

/// Which nodes a run goes through: all, if weights change from run to run, otherwise those that depend on data.
fn is_run(graph: &Graph) -> Vec<bool> {
    let mut run = vec![graph.updates().len() > 0; graph.len()];
    for (id, node) in graph.nodes() {
        let data = matches!(graph.as_input(id), Some((_, Role::Data)));
        run[id.index()] |= data || node.operands().iter().any(|operand| run[operand.node.index()]);
    }
    run
}

/// How many nodes of an op a run goes through.
fn counts(graph: &Graph) -> OrderedMap<&'static str, usize> {
    let (live, run) = (graph.live(), is_run(graph));
    let mut counts = OrderedMap::new();
    for (id, node) in graph.nodes() {
        if live[id.index()] && run[id.index()] && node.op().name() != "input" {
            *counts.or_insert(node.op().name(), 0) += 1;
        }
    }
    counts
}

fn structure(before: &Graph, after: &Graph) -> String {
    let after = counts(after);
    let mut all = counts(before);
    all.values_mut().for_each(|count| *count = 0);
    all.extend(after);
    all.iter().map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(" ")
}

/// Every example of a rule's file, in order.
pub fn examples(rule: &'static Rule) -> Vec<Example> {
    let path = path(rule);
    let content = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    split(&content).1.iter().map(|case| example(rule, case)).collect()
}

/// Every example of every rule that fires, or of every one that does not.
pub fn all(fires: bool) -> Vec<Example> {
    rules::all().flat_map(examples).filter(|example| example.fires == fires).collect()
}

/// What stands above the first example, and each example with what stands under it.
fn split(content: &str) -> (String, Vec<String>) {
    let mut head = String::new();
    let mut cases: Vec<String> = Vec::new();
    for line in content.lines() {
        if line.starts_with("; example:") || line.starts_with("; counterexample:") {
            cases.push(String::new());
        }
        let part = cases.last_mut().unwrap_or(&mut head);
        part.push_str(line);
        part.push('\n');
    }
    (head, cases)
}

/// The lines of an example that its author wrote: up to the end of its first graph.
fn authored(case: &str) -> &str {
    let end = case.find("\n}\n").map_or(case.len(), |end| end + "\n}\n".len());
    &case[..end]
}

fn example(rule: &'static Rule, case: &str) -> Example {
    let authored = authored(case);
    let at = authored.find("graph {").unwrap_or_else(|| panic!("{}: an example without a graph\n{case}", rule.name));
    let (directives, text) = authored.split_at(at);
    let title = directives.lines().next().unwrap_or_default();
    let graph = ir::parse(text).unwrap_or_else(|error| panic!("{}, {title}\n{error}\n{text}", rule.name));
    let mut example = Example {
        rule,
        title: title.to_owned(),
        fires: title.starts_with("; example:"),
        ranges: OrderedMap::new(),
        protected: Vec::new(),
        graph,
        expected: expected(&case[authored.len()..]),
    };
    for line in directives.lines() {
        if let Some(range) = line.strip_prefix("; weights: ") {
            let (name, range) = range.split_once(" in ").unwrap_or_else(|| panic!("{title}: {line}"));
            let range = range.trim_matches(['[', ']']).split_once(", ");
            let range = range.and_then(|(low, high)| Some(Range(low.parse().ok()?, high.parse().ok()?)));
            assert!(example.graph.input(name).is_some(), "{title}: there is no input {name}");
            example.ranges.insert(name.to_owned(), range.unwrap_or_else(|| panic!("{title}: {line}")));
        } else if let Some(protect) = line.strip_prefix("; protect: ") {
            let (name, reason) = protect.split_once(" because ").unwrap_or_else(|| panic!("{title}: {line}"));
            example.protected.push((name.to_owned(), reason.to_owned()));
        }
    }
    example
}

fn expected(lines: &str) -> Expected {
    match lines.find("graph {") {
        Some(at) => Expected::Becomes(authored(&lines[at..]).to_owned()),
        None => Expected::Stays(
            lines.lines().filter_map(|line| line.strip_prefix("; refused: ")).map(str::to_owned).collect(),
        ),
    }
}

/// Each file says what its rule does: the equation, every result, every refusal.
#[test]
fn golden_files() {
    let mut wrong = String::new();
    for rule in rules::all() {
        let path = path(rule);
        let content = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (head, cases) = split(&content);
        let mut golden = format!("; {}\n", rule.equation);
        head.lines().skip(1).for_each(|line| writeln!(golden, "{line}").expect("a string"));
        for case in &cases {
            let example = example(rule, case);
            let outcome = example.outcome();
            let fires = matches!(outcome, Expected::Becomes(_));
            // Not even a blessing turns an example into a counterexample.
            assert_eq!(fires, example.fires, "{}: {outcome:?}", example.label());
            golden.push_str(authored(case));
            golden.push_str(&example.written(&outcome));
            golden.push('\n');
        }
        golden.truncate(golden.trim_end().len());
        golden.push('\n');
        if golden != content {
            if std::env::var("FOLDGRAD_BLESS").is_ok_and(|value| value == "1") {
                std::fs::write(&path, golden).expect("the goldens are writable");
            } else {
                writeln!(wrong, "--- {}\n{golden}", path.display()).expect("a string");
            }
        }
    }
    assert!(wrong.is_empty(), "goldens differ (FOLDGRAD_BLESS=1 rewrites them):\n{wrong}");
}

/// Every rule has its file, with enough in it, and every file has its rule.
#[test]
fn every_rule_has_its_file() {
    let have: BTreeSet<PathBuf> =
        std::fs::read_dir(folder()).expect("the goldens").map(|entry| entry.expect("an entry").path()).collect();
    let want: BTreeSet<PathBuf> = rules::all().map(path).collect();
    assert_eq!(have, want, "one file for each rule, and no other");
    let folds = [rules::FOLDS, rules::PARTIAL_FOLDS, rules::DEAD_BIAS].concat();
    for rule in rules::all() {
        let least = if folds.iter().any(|fold| fold.name == rule.name) { 2 } else { 1 };
        let (fire, stay): (Vec<_>, Vec<_>) = examples(rule).into_iter().partition(|example| example.fires);
        assert!(fire.len() >= least && stay.len() >= least, "{}: {least} examples of each kind", rule.name);
        let refused = |example: &&Example| example.expected != Expected::Stays(Vec::new());
        assert!(least == 1 || stay.iter().any(|example| refused(&example)), "{}: nothing is refused", rule.name);
    }
}
