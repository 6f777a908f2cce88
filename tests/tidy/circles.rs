//! Files import each other in no circle: each can be read with what it imports, and without what imports it.
//!
//! A file may use the words that a module around it defines (`plan/mod.rs` says what a buffer is, for all of `plan/`):
//! that is where a folder's shared words stand, and no import between files in this sense.

use crate::imports::{Modules, Taken};
use crate::source::sources;
use crate::{ROOMS, none};
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

/// The sets of more than one file that all reach each other, by Tarjan's algorithm.
fn circles(imports: &[BTreeMap<usize, Taken>]) -> Vec<BTreeSet<usize>> {
    // (file, its imports that are still to be followed)
    type Visit = (usize, Vec<usize>);
    let mut order = vec![None; imports.len()];
    let mut low = vec![0; imports.len()];
    let (mut stack, mut on_stack, mut count, mut found) = (Vec::new(), BTreeSet::new(), 0, Vec::new());
    for root in 0..imports.len() {
        let mut visits: Vec<Visit> = Vec::new();
        let mut next = order[root].is_none().then_some(root);
        loop {
            if let Some(file) = next.take() {
                (order[file], low[file]) = (Some(count), count);
                count += 1;
                stack.push(file);
                on_stack.insert(file);
                visits.push((file, imports[file].keys().copied().collect()));
            }
            let Some((file, left)) = visits.last_mut() else { break };
            let file = *file;
            if let Some(import) = left.pop() {
                match order[import] {
                    None => next = Some(import),
                    Some(order) if on_stack.contains(&import) => low[file] = low[file].min(order),
                    Some(_) => {}
                }
                continue;
            }
            visits.pop();
            if let Some((below, _)) = visits.last() {
                low[*below] = low[*below].min(low[file]);
            }
            if order[file] == Some(low[file]) {
                let at = stack.iter().rposition(|&other| other == file).expect("a file is on the stack until closed");
                let circle: BTreeSet<usize> = stack.drain(at..).collect();
                circle.iter().for_each(|file| _ = on_stack.remove(file));
                found.extend((circle.len() > 1).then_some(circle));
            }
        }
    }
    found
}

#[test]
fn circles_are_found() {
    let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (5, 0), (5, 6), (6, 7)];
    let mut imports: Vec<BTreeMap<usize, Taken>> = vec![BTreeMap::new(); 8];
    edges.iter().for_each(|&(from, to)| _ = imports[from].insert(to, Taken::default()));
    assert_eq!(circles(&imports), [BTreeSet::from([3, 4]), BTreeSet::from([0, 1, 2])]);
}
