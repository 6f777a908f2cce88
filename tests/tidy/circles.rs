//! Files import each other in no circle: each can be read with what it imports, and without what imports it.
//!
//! A file may use the words that a module around it defines (`plan/mod.rs` says what a buffer is, for all of `plan/`):
//! that is where a folder's shared words stand, and no import between files in this sense.

use crate::imports::{Modules, Taken};
use crate::source::sources;
use crate::{ROOMS, none};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn files_import_each_other_in_no_circle() {
    let sources = sources(&["src"]);
    let modules = Modules::of(&sources);
    let mut imports = modules.imports();
    for (from, imports) in imports.iter_mut().enumerate() {
        imports.retain(|&to, _| !modules.is_inside(from, to));
    }
    let path = |module: usize| modules.source(module).path.display().to_string();
    let room = |&module: &usize| modules.source(module).room();
    // The graph holds ops, and an op's definition builds graphs: these rooms are one group by design.
    let in_group = |module: &usize| room(module).is_some_and(|room| ROOMS[0].contains(&room.as_str()));
    let mut offences = Vec::new();
    for circle in circles(&imports).into_iter().filter(|circle| !circle.iter().all(in_group)) {
        offences.push(circle.iter().map(|&module| path(module)).collect::<Vec<_>>().join(", "));
        for &from in &circle {
            for (to, (at, name)) in imports[from].iter().filter(|(to, _)| circle.contains(to)) {
                offences.push(format!("  {at}: `{name}` of {}", path(*to)));
            }
        }
    }
    none("files import each other in no circle; what both need belongs in a file that neither is above", offences);
}

/// The sets of more than one file that all reach each other.
fn circles(imports: &[BTreeMap<usize, Taken>]) -> Vec<BTreeSet<usize>> {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(imports.len(), 0);
    let files: Vec<NodeIndex> = imports.iter().map(|_| graph.add_node(())).collect();
    for (from, imports) in imports.iter().enumerate() {
        imports.keys().for_each(|&to| _ = graph.add_edge(files[from], files[to], ()));
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|circle| circle.len() > 1);
    circles.map(|circle| circle.into_iter().map(NodeIndex::index).collect()).collect()
}

#[test]
fn circles_are_found() {
    let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (5, 0), (5, 6), (6, 7)];
    let mut imports: Vec<BTreeMap<usize, Taken>> = vec![BTreeMap::new(); 8];
    edges.iter().for_each(|&(from, to)| _ = imports[from].insert(to, Taken::default()));
    assert_eq!(circles(&imports), [BTreeSet::from([3, 4]), BTreeSet::from([0, 1, 2])]);
}
