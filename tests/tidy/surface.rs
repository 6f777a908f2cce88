//! What users see names no type of a crate that serves the inside alone, so that such a crate can be updated or left
//! without breaking anyone.

use crate::none;
use crate::source::{Source, is_part_of_word, item_len, sources, words};
use std::collections::{BTreeMap, BTreeSet};

/// The types that stay inside, and the crates they come from.
const INSIDE: &[&str] = &["SmallVec", "IndexMap", "IndexSet", "smallvec", "indexmap"];

#[test]
fn public_signatures_name_no_type_of_the_inside() {
    let sources = sources(&["src"]);
    let seen = names(&sources, |item| item.is_public && ["struct", "enum", "trait", "union"].contains(&item.kind));
    // Another name for such a type is no better.
    let aliases = names(&sources, |item| item.kind == "type" && names_any(item.text, INSIDE));
    let inside: Vec<&str> = INSIDE.iter().copied().chain(aliases.iter().map(String::as_str)).collect();
    let mut offences = Vec::new();
    for source in &sources {
        for item in items(&source.library, 0) {
            for (at, signature) in signatures(&item, &seen) {
                if names_any(signature, &inside) {
                    let first = signature.lines().next().unwrap_or_default();
                    offences.push(format!("{}: {}", source.at(at), first.trim()));
                }
            }
        }
    }
    none(
        "a public signature names no type of smallvec or indexmap; give it a type of ours, a slice or an iterator",
        offences,
    );
}

/// Public enums that users match in full: a wildcard would let the new case of tomorrow pass in silence where each needs an
/// answer of its own. What a value is and where it stands in a graph, and what a rule or an op may answer.
const MATCHED_IN_FULL: &[&str] = &[
    // What a value is.
    "DType",
    "Dim",
    "TensorData",
    "TensorDataMut",
    "Array",
    "Attr",
    "Axis",
    "Domain",
    // What it is for, and where it comes from.
    "Role",
    "VariableKind",
    "Mode",
    "Source",
    "Direction",
    // What an op computes.
    "Compare",
    "Reduction",
    "GeluForm",
    // What an op or a rule answers.
    "Cotangent",
    "NoVjp",
    "Rows",
    "Miss",
];

#[test]
fn public_enums_may_grow_unless_they_are_matched_in_full() {
    let mut unneeded: BTreeSet<&str> = MATCHED_IN_FULL.iter().copied().collect();
    let mut offences = Vec::new();
    // The kernels are no part of what users see.
    for source in sources(&["src"]).iter().filter(|source| source.room().is_some_and(|room| room != "kernel")) {
        for item in items(&source.library, 0).iter().filter(|item| item.is_public && item.kind == "enum") {
            let before = &source.code[..item.at];
            let attributes = &before[before.rfind(['}', ';']).unwrap_or(0)..];
            let is_open = attributes.contains("#[non_exhaustive]");
            if is_open == MATCHED_IN_FULL.contains(&item.name) {
                offences.push(format!("{}: {}", source.at(item.at), item.name));
            }
            unneeded.remove(item.name);
        }
    }
    offences.extend(unneeded.iter().map(|name| format!("there is no public enum {name}")));
    none("a public enum is `#[non_exhaustive]`, or in MATCHED_IN_FULL of tests/tidy/surface.rs", offences);
}

/// Names that two public types share. A layer is named as in Keras, the op that it writes as in other compilers.
const SHARED_NAMES: &[&str] = &["Dense", "Dropout", "Input", "Reshape"];

#[test]
fn public_types_of_one_name_are_one_type() {
    let sources = sources(&["src"]);
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.room().is_some_and(|room| room != "kernel")) {
        for item in items(&source.library, 0) {
            if item.is_public && ["struct", "enum", "trait", "union", "type"].contains(&item.kind) {
                places.entry(item.name.to_owned()).or_default().push(source.at(item.at));
            }
        }
    }
    let offence = |(name, places): (&String, &Vec<String>)| {
        (SHARED_NAMES.contains(&name.as_str()) != (places.len() > 1)).then(|| format!("{name}: {}", places.join(", ")))
    };
    let offences = places.iter().filter_map(offence).collect();
    none("two public types have two names; those of SHARED_NAMES in tests/tidy/surface.rs mean one thing", offences);
}

fn names_any(text: &str, names: &[&str]) -> bool {
    names.iter().any(|name| words(text, name).next().is_some())
}

/// The names of the items that are `wanted`, in all files.
fn names(sources: &[Source], wanted: impl Fn(&Item<'_>) -> bool) -> BTreeSet<String> {
    let all = sources.iter().flat_map(|source| items(&source.library, 0));
    all.filter(wanted).map(|item| item.name.to_owned()).collect()
}

/// One item: a function, a type, an implementation.
struct Item<'c> {
    /// Where it starts in the file.
    at: usize,
    is_public: bool,
    kind: &'c str,
    /// Of an implementation, the type that it is for.
    name: &'c str,
    text: &'c str,
}

impl<'c> Item<'c> {
    /// Up to its body, if it has one.
    fn head(&self) -> &'c str {
        self.text.find('{').map_or(self.text, |body| &self.text[..body])
    }

    /// What is in its braces, and where that starts in the file.
    fn body(&self) -> (&'c str, usize) {
        match (self.text.find('{'), self.text.rfind('}')) {
            (Some(open), Some(close)) if open < close => (&self.text[open + 1..close], self.at + open + 1),
            _ => ("", self.at),
        }
    }
}

/// The items of `code`, which starts at `offset` of its file.
fn items(code: &str, offset: usize) -> Vec<Item<'_>> {
    const KINDS: &[&str] =
        &["fn", "struct", "enum", "union", "trait", "type", "impl", "const", "static", "mod", "use", "macro_rules"];
    let (mut items, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let rest = &code[at..];
        if rest.starts_with(char::is_whitespace) {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        if rest.starts_with('#') {
            at += rest.find(']').map_or(rest.len(), |end| end + 1);
            continue;
        }
        let text = &rest[..item_len(rest)];
        let is_public = text.starts_with("pub ");
        let mut found = text.split(|c| !is_part_of_word(c)).filter(|word| !word.is_empty());
        // `const fn` and `unsafe impl` are a function and an implementation.
        let qualifies = |word: &&str| KINDS.contains(word) && !(*word == "const" && text.contains("const fn"));
        if let Some(kind) = found.find(qualifies) {
            let name = if kind == "impl" { implemented(text) } else { found.next().unwrap_or_default() };
            items.push(Item { at: offset + at, is_public, kind, name, text });
        }
        at += text.len();
    }
    items
}

/// The type that an implementation is for.
fn implemented(text: &str) -> &str {
    let head = &text[..text.find('{').unwrap_or(text.len())];
    let head = head.split(" where").next().unwrap_or(head);
    let after = match head.find(" for ").filter(|&at| !head[at..].starts_with(" for <")) {
        Some(at) => &head[at + " for ".len()..],
        None => {
            // Behind the generics of `impl<…>`.
            let mut depth = 0;
            let end = head.char_indices().find(|&(_, c)| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0 && (c == '>' || c == ' ')
            });
            end.map_or("", |(at, _)| &head[at + 1..])
        }
    };
    let path = after.trim_start().trim_start_matches(['&', '\'']);
    let path = path.split(|c: char| !is_part_of_word(c) && c != ':').next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or(path)
}

/// What users see of an item, where the types of these names are public.
fn signatures<'c>(item: &Item<'c>, seen: &BTreeSet<String>) -> Vec<(usize, &'c str)> {
    let (body, start) = item.body();
    match item.kind {
        "fn" | "type" | "const" | "static" if item.is_public => vec![(item.at, item.head())],
        "enum" if item.is_public => vec![(item.at, item.text)],
        "struct" if item.is_public => {
            let fields = if body.is_empty() { item.text } else { body };
            let start = if body.is_empty() { item.at + "pub ".len() } else { start };
            let fields = fields.strip_prefix("pub ").unwrap_or(fields);
            let public = words(fields, "pub").filter(|&at| fields[at..].starts_with("pub "));
            let field = |at: usize| &fields[at..at + fields[at..].find("\n").unwrap_or(fields.len() - at)];
            public.map(|at| (start + at, field(at))).collect()
        }
        "trait" if item.is_public => items(body, start).iter().map(|inner| (inner.at, inner.head())).collect(),
        "impl" if seen.contains(item.name) => {
            let is_of_trait = item.head().contains(" for ");
            let inner = items(body, start);
            let inner = inner.iter().filter(|inner| inner.is_public || (is_of_trait && inner.kind == "type"));
            [(item.at, item.head())].into_iter().chain(inner.map(|inner| (inner.at, inner.head()))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn signatures_are_found() {
    let code = "use smallvec::SmallVec;\n\
        pub struct A(SmallVec<[u8; 1]>);\n\
        pub struct B { pub b: SmallVec<[u8; 1]>,\n c: SmallVec<[u8; 1]> }\n\
        pub(crate) struct C { pub c: SmallVec<[u8; 1]> }\n\
        impl<'a, T: Into<SmallVec<u8>>> A<'a, T> { pub fn d(self) -> u8 { SmallVec::new() } fn e() -> SmallVec<u8> {} }\n\
        impl C { pub fn f() -> SmallVec<u8> {} }\n\
        impl Iterator for A { type Item = SmallVec<u8>; fn next(&mut self) {} }\n\
        impl From<SmallVec<u8>> for A {}\n\
        pub const fn g(x: SmallVec<u8>) {}\n\
        pub enum D { E(SmallVec<u8>) }\n\
        pub trait F { fn h(&self) -> SmallVec<u8>; }\n";
    let seen: BTreeSet<String> = ["A", "B", "D", "F"].map(str::to_owned).into();
    let all = items(code, 0);
    let found: Vec<&str> = all.iter().flat_map(|item| signatures(item, &seen)).map(|(_, text)| text).collect();
    let bad: Vec<&str> = found.into_iter().filter(|text| names_any(text, INSIDE)).collect();
    assert_eq!(
        bad.iter().map(|text| text.trim()).collect::<Vec<_>>(),
        [
            "pub b: SmallVec<[u8; 1]>,",
            "impl<'a, T: Into<SmallVec<u8>>> A<'a, T>",
            "type Item = SmallVec<u8>;",
            "impl From<SmallVec<u8>> for A",
            "pub const fn g(x: SmallVec<u8>)",
            "pub enum D { E(SmallVec<u8>) }",
            "fn h(&self) -> SmallVec<u8>;",
        ]
    );
}
