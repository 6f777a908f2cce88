//! Which file takes which name from which file, read from `use` declarations and from paths in the code.
//!
//! A name that a module only hands on (`pub use`) counts as taken from the file that defines it. What is compiled for
//! tests alone is not looked at.

use crate::source::{Source, is_part_of_word, words};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

/// The library as modules, one a file.
pub struct Modules<'s> {
    sources: Vec<&'s Source>,
    /// By path below the crate: `exec::run`; the empty one is `lib.rs`.
    by_path: HashMap<String, usize>,
    paths: Vec<String>,
    uses: Vec<Vec<Use>>,
}

/// One name of a `use` declaration.
struct Use {
    at: usize,
    declaration: Range<usize>,
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// What a file takes from another one: where it says so, and the name.
pub type Taken = (String, String);

impl<'s> Modules<'s> {
    pub fn of(sources: &'s [Source]) -> Modules<'s> {
        let mut modules = Modules { sources: Vec::new(), by_path: HashMap::new(), paths: Vec::new(), uses: Vec::new() };
        for source in sources {
            let Some(path) = module_path(&source.path) else { continue };
            modules.by_path.insert(path.clone(), modules.sources.len());
            modules.sources.push(source);
            modules.paths.push(path);
            modules.uses.push(uses(&source.library));
        }
        modules
    }

    pub fn source(&self, module: usize) -> &'s Source {
        self.sources[module]
    }

    /// Whether `module` lies inside of `outer`.
    pub fn is_inside(&self, module: usize, outer: usize) -> bool {
        let outer = &self.paths[outer];
        outer.is_empty() || self.paths[module].strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with("::"))
    }

    /// For each file, what it takes from which others.
    pub fn imports(&self) -> Vec<BTreeMap<usize, Taken>> {
        (0..self.sources.len()).map(|module| self.imports_of(module)).collect()
    }

    fn imports_of(&self, module: usize) -> BTreeMap<usize, Taken> {
        let source = self.sources[module];
        let code = without(&source.library, &self.uses[module]);
        let mut taken = BTreeMap::new();
        let mut take = |at: usize, path: &[String]| {
            if let Some(from) = self.resolve(module, path, 0).filter(|&from| from != module) {
                let name = path.last().cloned().unwrap_or_default();
                taken.entry(from).or_insert_with(|| (source.at(at), name));
            }
        };
        for use_ in &self.uses[module] {
            // What is handed on is used here only if the code names it.
            if !use_.is_public || words(&code, &use_.name).next().is_some() {
                take(use_.at, &use_.path);
            }
        }
        for (at, path) in paths(&code) {
            let is_name_alone = path.len() == 1;
            if !is_name_alone {
                take(at, &path);
            }
        }
        taken
    }

    /// The file that defines what `path` names where `module` says it; none for a module, and for other crates.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first().filter(|_| depth < 32)?;
        let own = self.paths[module].as_str();
        let at = |path: &str| self.by_path.get(path).copied();
        match first.as_str() {
            "crate" => return self.resolve(at("")?, rest, depth + 1),
            "self" => return self.resolve(module, rest, depth + 1),
            "super" => {
                return self.resolve(at(own.rsplit_once("::").map_or("", |(parent, _)| parent))?, rest, depth + 1);
            }
            _ => {}
        }
        let child = at(&if own.is_empty() { first.clone() } else { format!("{own}::{first}") });
        let imported = self.uses[module].iter().find(|use_| use_.name == *first);
        match (child, imported) {
            (Some(child), _) if !rest.is_empty() => self.resolve(child, rest, depth + 1),
            (_, Some(import)) => {
                // A path that starts nowhere in this crate belongs to another one.
                let start = import.path[0].as_str();
                let known = ["crate", "self", "super"].contains(&start)
                    || at(&if own.is_empty() { start.to_owned() } else { format!("{own}::{start}") }).is_some()
                    || self.uses[module].iter().any(|other| other.name == start && other.path != import.path);
                let path: Vec<String> = import.path.iter().chain(rest).cloned().collect();
                if known { self.resolve(module, &path, depth + 1) } else { None }
            }
            (Some(_), None) => None,
            // Defined here, if anywhere in this crate.
            (None, None) => Some(module),
        }
    }
}

/// `exec::run` for `src/exec/run.rs`; none for what is no module of the library.
fn module_path(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").ok()?.with_extension("");
    let mut names: Vec<&str> = inside.iter().filter_map(|name| name.to_str()).collect();
    match names.last() {
        Some(&"main") => return None,
        Some(&("mod" | "lib")) => _ = names.pop(),
        _ => {}
    }
    Some(names.join("::"))
}

/// Every name that `code` imports or hands on.
fn uses(code: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for at in words(code, "use") {
        let end = at + code[at..].find(';').unwrap_or(code.len() - at);
        let before = code[..at].trim_end();
        let is_public = before.ends_with("pub")
            || (before.ends_with(')')
                && before.rfind("pub(").is_some_and(
                    // The visibility just before, and not that of something further up.
                    |open| before[open..].find(')').is_some_and(|close| open + close + 1 == before.len()),
                ));
        let mut names = Vec::new();
        tree(&code[at + "use".len()..end], &[], &mut names);
        found.extend((names.into_iter()).map(|(name, path)| Use { at, declaration: at..end, name, path, is_public }));
    }
    found
}

/// `code` with its `use` declarations blanked.
fn without(code: &str, uses: &[Use]) -> String {
    let mut code = code.to_owned();
    for use_ in uses {
        code.replace_range(use_.declaration.clone(), &" ".repeat(use_.declaration.len()));
    }
    code
}

/// The names of a `use` tree below `prefix`, each with its path.
fn tree(text: &str, prefix: &[String], names: &mut Vec<(String, Vec<String>)>) {
    for item in split(text) {
        let (path, group) = match item.split_once('{') {
            Some((path, group)) => (path, group.rsplit_once('}').map(|(group, _)| group)),
            None => (item, None),
        };
        let (path, alias) = path.split_once(" as ").map_or((path, None), |(path, alias)| (path, Some(alias.trim())));
        let mut full = prefix.to_vec();
        full.extend(path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
        if let Some(group) = group {
            tree(group, &full, names);
            continue;
        }
        if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
            full.pop();
        }
        if let Some(name) = alias.map(str::to_owned).or(full.last().cloned()) {
            names.push((name, full));
        }
    }
}

/// `text` at its commas that are in no braces.
fn split(text: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items.retain(|item| !item.trim().is_empty());
    items
}

/// Every path of names, `a::b::c`, where its first name stands.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found: Vec<(usize, Vec<String>)> = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find(is_part_of_word).map(|offset| at + offset) {
        let name =
            |from: usize| -> usize { code[from..].find(|c| !is_part_of_word(c)).map_or(code.len(), |n| from + n) };
        let mut end = name(start);
        let mut path = vec![code[start..end].to_owned()];
        while code[end..].starts_with("::") && code[end + 2..].starts_with(is_part_of_word) {
            let next = end + 2;
            end = name(next);
            path.push(code[next..end].to_owned());
        }
        // A field or a method of something, or the rest of `<T as Trait>::name`, starts no path.
        if !code[..start].ends_with('.') && !code[..start].ends_with("::") {
            found.push((start, path));
        }
        at = end;
    }
    found
}

/// The rooms that `code` names after `crate::`, also inside of `crate::{…}`.
pub fn rooms(code: &str) -> Vec<(usize, String)> {
    let room = |path: &[String]| (path[0] == "crate").then(|| path.get(1).cloned()).flatten();
    let declared: Vec<Use> = uses(code);
    let mut rooms: Vec<(usize, String)> =
        declared.iter().filter_map(|use_| Some((use_.at, room(&use_.path)?))).collect();
    rooms.extend(paths(&without(code, &declared)).iter().filter_map(|(at, path)| Some((*at, room(path)?))));
    rooms.sort();
    rooms.dedup();
    rooms
}

mod reading {
    use super::*;
    use crate::source::Source;

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into(), code: text.into(), library: text.into() }
    }

    #[test]
    fn rooms_are_found_in_groups_too() {
        let code =
            "use crate::ir::{Graph, Value}; use crate::{op::{Op, Attr}, plan}; mycrate::exec; crate::nn::Dense::new()";
        let names: Vec<String> = rooms(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["ir", "op", "plan", "nn"]);
    }

    #[test]
    fn names_are_followed_to_the_file_that_defines_them() {
        let sources = [
            file("src/lib.rs", "pub mod a;\npub mod b;\npub use a::One;"),
            file("src/a/mod.rs", "mod one;\nmod two;\npub use one::{One, self as first};\npub(crate) use two::Two;"),
            file("src/a/one.rs", "pub struct One;\nfn f() { super::two::g(); x.super_; }"),
            file("src/a/two.rs", "use std::fmt::{self, Write};\nuse super::One as Other;\npub struct Two;"),
            file("src/b.rs", "use crate::{One, a::{self, Two}};\nfn f() { a::first::g() }"),
            file("src/c.rs", "use crate::b;\nuse crate::a;"),
            file("src/d.rs", "pub use crate::b::B;\npub use crate::c::C;\nfn f() -> C { super::a::two::Two::new() }"),
        ];
        let modules = Modules::of(&sources);
        let imports = modules.imports();
        let taken: Vec<Vec<usize>> = imports.iter().map(|of| of.keys().copied().collect()).collect();
        assert_eq!(taken, [vec![], vec![], vec![3], vec![2], vec![2, 3], vec![], vec![3, 5]]);
        assert_eq!(imports[3][&2], ("src/a/two.rs:2".to_owned(), "One".to_owned()));
    }
}
