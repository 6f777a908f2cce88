//! The house rules, as tests. Each names the file and line that breaks it, and the rule.

mod circles;
mod documents;
mod imports;
#[path = "../common/skip.rs"]
mod skip;
mod source;
mod surface;

use source::{Source, sources, words};

/// The rooms of `src/`, in the order of the stream: a room imports only from itself, its group, and groups before.
const ROOMS: &[&[&str]] = &[
    &["ir", "op", "ops", "reference", "random"],
    &["autodiff"],
    &["nn"],
    &["rewrite"],
    &["pass"],
    &["kernel"],
    &["plan"],
    &["exec"],
    &["data"],
    &["interchange"],
    &["train"],
    &["zoo"],
    &["cli"],
];

/// Rooms that may hold `unsafe` code.
const UNSAFE_ROOMS: &[&str] = &["kernel", "exec"];

/// Lines of the longest Rust file.
const LONGEST: usize = 500;

#[track_caller]
fn none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}\n  {}", offences.join("\n  "));
}

#[test]
fn files_are_short() {
    let long = |source: &Source| (source.text.lines().count() > LONGEST).then(|| source.path.display().to_string());
    let offences = sources(&["src", "tests", "examples", "benches"]).iter().filter_map(long).collect();
    none(&format!("a Rust file has at most {LONGEST} lines; split it by what it is about"), offences);
}

#[test]
fn every_file_says_what_it_is_about() {
    let silent = |source: &Source| (!source.text.starts_with("//! ")).then(|| source.path.display().to_string());
    let offences = sources(&["src", "tests", "examples", "benches"]).iter().filter_map(silent).collect();
    none("a Rust file opens with `//! ` and its equation or invariant", offences);
}

#[test]
fn library_code_does_not_panic() {
    const PANICS: &[&str] = &[
        ".unwrap()",
        ".unwrap_err()",
        ".expect(",
        ".expect_err(",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "unreachable!()",
    ];
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        for panic in PANICS {
            offences.extend(source.library.match_indices(panic).map(|(at, _)| format!("{}: {panic}", source.at(at))));
        }
    }
    none("library code returns errors; `unreachable!` takes a message that says why", offences);
}

#[test]
fn unsafe_code_is_rare_and_explained() {
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        for at in words(&source.code, "unsafe") {
            let allowed = source.room().is_some_and(|room| UNSAFE_ROOMS.contains(&room.as_str()));
            if !allowed {
                offences.push(format!("{}: unsafe code belongs in {}", source.at(at), UNSAFE_ROOMS.join(" and ")));
            } else if !source.code[at..].starts_with("unsafe fn(") && !is_explained(&source.text, at) {
                // A function pointer type makes no promise of its own.
                offences.push(format!("{}: no `// SAFETY:` or `# Safety` above it", source.at(at)));
            }
        }
    }
    none("unsafe code says why it is sound", offences);
}

/// Whether the line of `offset`, the statement it ends, or the comments just above say why it is safe.
fn is_explained(text: &str, offset: usize) -> bool {
    const STATEMENT: usize = 3;
    let explains = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    let end = text[offset..].find('\n').map_or(text.len(), |end| offset + end);
    let mut lines = text[..end].lines().rev();
    let mut code = 0;
    lines.find_map(|line| {
        if explains(line) {
            return Some(true);
        }
        let line = line.trim_start();
        if !line.starts_with("//") && !line.starts_with("#[") {
            code += 1;
        }
        (code > STATEMENT).then_some(false)
    }) == Some(true)
}

#[test]
fn rooms_import_only_leftwards() {
    let position = |room: &str| ROOMS.iter().position(|group| group.contains(&room));
    let mut offences = Vec::new();
    for source in sources(&["src"]) {
        let Some(room) = source.room() else { continue };
        let Some(own) = position(&room) else {
            offences
                .push(format!("{}: the room `{room}` is not in ROOMS of tests/tidy/main.rs", source.path.display()));
            continue;
        };
        for (at, import) in imports::rooms(&source.library) {
            if position(&import).is_some_and(|position| position > own) {
                offences.push(format!("{}: `{room}` imports from `{import}`", source.at(at)));
            }
        }
    }
    none("a room imports only from rooms to its left", offences);
}

#[test]
fn every_test_runs() {
    let mut offences = Vec::new();
    for source in sources(&["src", "tests"]) {
        offences.extend(source.code.match_indices("#[ignore").map(|(at, _)| source.at(at)));
    }
    none("no test is ignored; a slow one is made faster, a broken one mended", offences);
}

#[test]
fn tests_skip_through_one_helper() {
    let mut offences = Vec::new();
    for source in sources(&["tests"]).iter().filter(|source| !source.path.ends_with("common/skip.rs")) {
        offences.extend(own_skips(&source.text).into_iter().map(|at| source.at(at)));
    }
    none("a test that cannot check something says so by `skip`, of tests/common/skip.rs, which fails in CI", offences);
}

/// Where a text prints by itself that something is skipped.
fn own_skips(text: &str) -> Vec<usize> {
    let prints = text.match_indices("println!(\"").map(|(at, print)| (at, text[at + print.len()..].to_lowercase()));
    let is_skip = |said: &str| ["skip", "not checked", "not tested"].iter().any(|word| said.starts_with(word));
    prints.filter(|(_, said)| is_skip(said)).map(|(at, _)| at).collect()
}

#[test]
fn what_is_skipped_fails_in_ci() {
    for ci in [None, Some(""), Some("0"), Some("false")] {
        assert_eq!(skip::verdict(ci, &"no data"), Ok("SKIPPED: no data".to_owned()));
    }
    for ci in ["true", "1", "yes"] {
        assert!(skip::verdict(Some(ci), &"no data").unwrap_err().contains("no data"), "{ci}");
    }
}

mod reading {
    use super::*;

    #[test]
    fn skips_of_a_test_s_own_are_seen() {
        assert_eq!(own_skips("    eprintln!(\"SKIPPED: no data\");").len(), 1);
        assert_eq!(own_skips("println!(\"not checked here\"); println!(\"{skipped} of many\");").len(), 1);
    }

    #[test]
    fn explanations_stand_just_above() {
        let explained = |text: &str| is_explained(text, text.find("unsafe").expect("there"));
        assert!(explained("// SAFETY: in bounds\nlet x = unsafe { y };"));
        assert!(explained("/// # Safety\n/// `p` is valid.\n#[inline]\nunsafe fn f() {}"));
        assert!(explained("// SAFETY: both\nlet x =\n    unsafe { y };"));
        assert!(!explained("// SAFETY: far\na;\nb;\nc;\nd;\nunsafe { y };"));
        assert!(!explained("let x = unsafe { y };\n// SAFETY: below"));
    }
}
