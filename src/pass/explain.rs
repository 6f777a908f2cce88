//! What became of every layer, batch norm and bias of a folded model, in one line each that a newcomer understands.

use super::fold::Folded;
use crate::ir::{Graph, NodeId, Place, Role};
use crate::op::{Nature, Op, Rearrangement};
use crate::rewrite::{Fired, multiply_adds, weights_of};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// What a graph costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of its products, for one example.
    pub multiply_adds: u64,
    /// Elements of its parameters and states.
    pub parameters: u64,
    /// Bytes of its parameters and states.
    pub bytes: u64,
    /// Nodes that are computed at each run.
    pub nodes: usize,
}

impl Cost {
    /// What a graph costs to run and to store.
    pub fn of(graph: &Graph) -> Cost {
        let (live, weight) = (graph.live(), weights_of(graph));
        let mut cost = Cost::default();
        for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
            match graph.as_input(id) {
                Some((_, Role::Parameter | Role::State)) => {
                    let ty = &node.types()[0];
                    let elements: u64 = ty.shape.iter().map(|dim| dim.known().unwrap_or(1) as u64).product();
                    cost.parameters += elements;
                    cost.bytes += elements * ty.dtype.size() as u64;
                }
                Some((_, Role::Data)) => {}
                None if weight[id.index()] => {}
                None => {
                    cost.nodes += usize::from(!node.op().nature().is_view());
                    cost.multiply_adds += multiply_adds(graph, id, 1);
                }
            }
        }
        cost
    }
}

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFate {
    /// Its name.
    pub layer: String,
    /// What it was declared to compute.
    pub declared: String,
    /// What became of it.
    pub fate: String,
    /// The rules that were at work.
    pub rules: Vec<&'static str>,
    /// The line that declared it.
    pub place: Option<Place>,
}

/// What became of every layer, and what it saves. Prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In the order of the declaration.
    pub layers: Vec<LayerFate>,
    /// Before and after.
    pub cost: [Cost; 2],
}

impl Folded {
    /// What became of every layer, batch norm and bias.
    pub fn explanation(&self) -> Explanation {
        Explanation::of(self)
    }
}

impl Explanation {
    fn of(folded: &Folded) -> Explanation {
        let (declared, now) = (Layers::of(&folded.declared), Layers::of(&folded.graph));
        let fate = |layer: &str| {
            let (fate, rules) = fate(folded, layer, &declared, &now);
            LayerFate {
                layer: layer.to_owned(),
                declared: declared.describe(layer),
                fate,
                rules,
                place: declared.nodes(layer).first().and_then(|&id| folded.declared.place(id)),
            }
        };
        let layers = declared.names().map(fate).collect();
        Explanation { layers, cost: [Cost::of(&folded.declared), Cost::of(&folded.graph)] }
    }
}

/// The nodes of each layer that compute something from data.
struct Layers<'g> {
    graph: &'g Graph,
    layers: indexmap::IndexMap<&'g str, Vec<NodeId>>,
}

impl<'g> Layers<'g> {
    fn of(graph: &'g Graph) -> Layers<'g> {
        let (live, weight) = (graph.live(), weights_of(graph));
        let mut layers: indexmap::IndexMap<&str, Vec<NodeId>> = indexmap::IndexMap::new();
        for id in graph.ids().filter(|id| live[id.index()] && !weight[id.index()]) {
            if let (Some(layer), None) = (graph.scope(id), graph.as_input(id)) {
                layers.entry(layer).or_default().push(id);
            }
        }
        Layers { graph, layers }
    }

    fn names(&self) -> impl Iterator<Item = &'g str> + '_ {
        self.layers.keys().copied()
    }

    fn nodes(&self, layer: &str) -> &[NodeId] {
        self.layers.get(layer).map_or(&[], Vec::as_slice)
    }

    /// What a layer computes: `784 × 300 + bias, softmax`.
    fn describe(&self, layer: &str) -> String {
        let parts: Vec<String> = self.nodes(layer).iter().filter_map(|&id| self.part(id)).collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }

    fn part(&self, id: NodeId) -> Option<String> {
        let node = self.graph.node(id);
        let shape = |slot: usize| &self.graph.ty(node.operands()[slot]).shape;
        let sizes = |slot: usize| shape(slot).iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
        Some(match (node.op(), node.op().nature()) {
            (_, Nature::View(Rearrangement::Stretch(_))) => return None,
            (_, Nature::Contraction { biased, .. }) => format!("{}{}", sizes(1), if biased { " + bias" } else { "" }),
            (Op::BatchNormInfer(op), _) => format!("batch norm of {} channels", shape(0)[op.axis]),
            (op, _) => op.name().to_owned(),
        })
    }

    fn is_views_alone(&self, layer: &str) -> bool {
        self.nodes(layer).iter().all(|&id| self.graph.node(id).op().nature().is_view())
    }
}

/// What became of a layer, and the rules behind it.
fn fate(folded: &Folded, layer: &str, declared: &Layers<'_>, now: &Layers<'_>) -> (String, Vec<&'static str>) {
    let gone: Vec<&Fired> = folded.fired.iter().filter(|fired| left(fired, layer)).collect();
    let taken: Vec<&Fired> = folded.fired.iter().filter(|fired| took_in(fired, layer)).collect();
    let mut rules: BTreeSet<&'static str> = gone.iter().chain(&taken).map(|fired| fired.rule.name).collect();
    let mut text = String::new();
    match (gone.last().and_then(|fired| fired.into.as_ref()?.layer.as_deref()), now.nodes(layer).is_empty()) {
        (Some(host), true) => {
            let _ = write!(text, "gone: {} `{host}`", verb(declared, layer));
            // Where the host has gone in turn.
            let mut at = host;
            let onward = |from: &str| folded.fired.iter().rev().find(|fired| left(fired, from));
            while let Some(next) = onward(at).and_then(|fired| fired.into.as_ref()?.layer.as_deref()) {
                if !now.nodes(at).is_empty() || next == at {
                    break;
                }
                let _ = write!(text, ", and with it into `{next}`");
                at = next;
            }
        }
        (Some(host), false) => {
            let _ = write!(text, "its scale is folded into `{host}`; what stays is {}", now.describe(layer));
        }
        (None, true) => text.push_str("gone: it changed nothing"),
        (None, false) if now.is_views_alone(layer) => text.push_str("a change of shape: nothing is computed"),
        (None, false) => {
            let (was, is) = (declared.describe(layer), now.describe(layer));
            text.push_str(&if was == is { "kept".to_owned() } else { format!("now {is}") });
        }
    }
    let hosts: Vec<String> = guests(&taken, layer);
    if !hosts.is_empty() && !now.nodes(layer).is_empty() {
        let _ = write!(text, "; {} folded into its weights", hosts.join(", "));
    }
    let has_batch_norm = now.nodes(layer).iter().any(|&id| matches!(folded.graph.node(id).op(), Op::BatchNormInfer(_)));
    if has_batch_norm {
        let own = folded.refused.iter().filter(|refused| refused.subject.layer.as_deref() == Some(layer));
        let reasons: BTreeSet<String> =
            own.map(|refused| format!("{} ({})", refused.reason, refused.rule.name)).collect();
        rules.clear();
        if !reasons.is_empty() {
            let _ = write!(text, ": {}", reasons.into_iter().collect::<Vec<_>>().join("; "));
        }
    }
    (text, rules.into_iter().collect())
}

fn verb(declared: &Layers<'_>, layer: &str) -> &'static str {
    let product = |&id: &NodeId| declared.graph.node(id).op().nature().is_contraction();
    if declared.nodes(layer).iter().any(product) { "multiplied into" } else { "folded into the weights of" }
}

/// Whether a rewrite moved nodes of this layer to another one.
fn left(fired: &Fired, layer: &str) -> bool {
    let elsewhere = fired.into.as_ref().is_some_and(|into| into.layer.as_deref() != Some(layer));
    elsewhere
        && fired.absorbed.iter().chain([&fired.root]).any(|gone| gone.folds && gone.layer.as_deref() == Some(layer))
}

/// Whether a rewrite moved something of another layer into this one.
fn took_in(fired: &Fired, layer: &str) -> bool {
    fired.into.as_ref().is_some_and(|into| into.layer.as_deref() == Some(layer)) && !guests(&[fired], layer).is_empty()
}

/// The layers that were folded into this one.
fn guests(fired: &[&Fired], layer: &str) -> Vec<String> {
    let moved = fired.iter().flat_map(|fired| fired.absorbed.iter().chain([&fired.root]));
    let named = moved.filter(|gone| gone.folds).filter_map(|gone| gone.layer.as_deref());
    let mut names: Vec<String> = named.filter(|&name| name != layer).map(|name| format!("`{name}`")).collect();
    names.dedup();
    names
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&LayerFate) -> usize, title: usize| {
            self.layers.iter().map(column).max().unwrap_or(0).max(title)
        };
        let (first, second) =
            (width(|fate| fate.layer.chars().count(), 13), width(|fate| fate.declared.chars().count(), 8));
        writeln!(f, "{:first$}  {:second$}  what became of it", "layer", "declared")?;
        for LayerFate { layer, declared, fate, rules, place } in &self.layers {
            write!(f, "{layer:first$}  {declared:second$}  {fate}")?;
            if !rules.is_empty() {
                write!(f, "  [{}", rules.join(", "))?;
                place.as_ref().map_or(Ok(()), |place| write!(f, "; {place}"))?;
                write!(f, "]")?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        let [before, after] = self.cost;
        let second = second.max(12);
        writeln!(f, "{:first$}  {:>second$}  {:>12}", "", "declared", "folded")?;
        let rows = [
            ("multiply-adds", before.multiply_adds, after.multiply_adds),
            ("parameters", before.parameters, after.parameters),
            ("bytes", before.bytes, after.bytes),
            ("operations", before.nodes as u64, after.nodes as u64),
        ];
        for (name, before, after) in rows {
            writeln!(f, "{name:first$}  {:>second$}  {:>12}", grouped(before), grouped(after))?;
        }
        Ok(())
    }
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
