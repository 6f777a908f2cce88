//! The house rules, as tests. Each names the file and line that breaks it, and the rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src/`, in the order of the stream: a room imports only from itself, its group, and groups before.
const ROOMS: &[&[&str]] = &[
    &["ir", "op", "ops", "reference", "random"],
    &["autodiff"],
    &["rewrite"],
    &["pass"],
    &["kernel"],
    &["plan"],
    &["exec"],
    &["data"],
    &["interchange"],
    &["nn"],
    &["train"],
    &["zoo"],
    &["cli"],
];

/// Rooms that may hold `unsafe` code.
const UNSAFE_ROOMS: &[&str] = &["kernel", "exec"];

/// Lines of the longest Rust file.
const LONGEST: usize = 500;

struct Source {
    /// Relative to the project.
    path: PathBuf,
    text: String,
    /// `text` with comments and the insides of strings blanked.
    code: String,
    /// `code` without what is compiled for tests only.
    library: String,
}

impl Source {
    /// The top-level module that the file belongs to; none for `lib.rs`, `main.rs` and files outside of `src/`.
    fn room(&self) -> Option<String> {
        let inside = self.path.strip_prefix("src").ok()?;
        let first = Path::new(inside.components().next()?.as_os_str());
        let room = first.file_stem()?.to_str()?;
        if ["lib", "main"].contains(&room) { None } else { Some(room.to_owned()) }
    }

    fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), self.text[..offset].matches('\n').count() + 1)
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|have| have == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let paths = folders.iter().flat_map(|folder| files(&project().join(folder), "rs"));
    let mut sources: Vec<Source> = paths
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let code = blank_comments_and_strings(&text);
            let library = blank_tests(&code);
            let path = path.strip_prefix(project()).expect("inside the project").to_owned();
            Source { path, text, code, library }
        })
        .collect();
    // A module that its parent declares under `#[cfg(test)]` is no library code either.
    let tests: BTreeSet<PathBuf> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        if tests.contains(&source.path) || tests.iter().any(|test| source.path.starts_with(test.with_extension(""))) {
            source.library = String::new();
        }
    }
    assert!(!sources.is_empty(), "the sources are missing");
    sources
}

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
            offences.push(format!("{}: the room `{room}` is not in ROOMS of tests/tidy.rs", source.path.display()));
            continue;
        };
        for (at, import) in imports(&source.library) {
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
fn links_of_the_documents_lead_somewhere() {
    let mut documents = files(&project().join("docs"), "md");
    documents.extend(fs::read_dir(project()).expect("the project").map(|entry| entry.expect("an entry").path()));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut offences = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document is UTF-8");
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&text) {
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            let missing = !target.exists()
                || anchor.is_some_and(|anchor| {
                    let is_document = target.extension().is_some_and(|extension| extension == "md");
                    is_document && !anchors(&fs::read_to_string(&target).unwrap_or_default()).contains(anchor)
                });
            if missing {
                offences.push(format!("{}: {link}", document.display()));
            }
        }
    }
    none("a link of a document leads to a file, and its anchor to a heading", offences);
}

/// Replaces comments and the insides of strings and characters by spaces, line by line in place.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut blank = vec![false; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            blank[at..at + end].fill(true);
            end
        } else if rest.starts_with("/*") {
            let end = block_comment(rest);
            blank[at..at + end].fill(true);
            end
        } else if let Some((open, close, end)) = string(text, at) {
            blank[at + open..at + end - close].fill(true);
            end
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += end;
    }
    let keep = |(at, &byte): (usize, &u8)| if blank[at] && byte != b'\n' { b' ' } else { byte };
    String::from_utf8(bytes.iter().enumerate().map(keep).collect()).expect("whole characters are blanked")
}

/// Length of the block comment that `text` starts with; block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The string or character literal at `at`: length of its opening, of its closing, and of all.
fn string(text: &str, at: usize) -> Option<(usize, usize, usize)> {
    let rest = &text[at..];
    let after_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix("br").or(rest.strip_prefix('r')).filter(|_| !after_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len());
            return Some((open, close.len(), end));
        }
    }
    let quote = *rest.as_bytes().first()?;
    // A quote that is not closed after one character, escaped or not, starts a lifetime.
    let is_character = || {
        let mut chars = rest[1..].chars();
        match chars.next() {
            Some('\\') => true,
            Some(_) => chars.next() == Some('\''),
            None => false,
        }
    };
    if quote != b'"' && (quote != b'\'' || !is_character()) {
        return None;
    }
    let mut escaped = false;
    for (offset, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return Some((1, 1, offset + 1)),
            _ => {}
        }
    }
    Some((1, 0, rest.len()))
}

const CFG_TEST: &str = "#[cfg(test)]";

/// Blanks each item under `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    let mut library = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(CFG_TEST) {
        let (before, item) = rest.split_at(at);
        library.push_str(before);
        let end = item_len(item);
        library.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    library + rest
}

/// Bytes up to the end of the item that `code` starts with: its `;`, or its closing brace.
fn item_len(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The files of the modules that `source` declares under `#[cfg(test)]`.
fn test_modules(source: &Source) -> Vec<PathBuf> {
    let folder = match source.path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => source.path.parent().expect("a file is in a folder").to_owned(),
        _ => source.path.with_extension(""),
    };
    let items = source.code.match_indices(CFG_TEST).filter_map(|(at, _)| {
        let item = &source.code[at + CFG_TEST.len()..];
        let name = item.trim_start().strip_prefix("mod ")?.split_once(';')?.0;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    });
    items.flat_map(|name| [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]).collect()
}

/// Where `word` stands in `code` as a word of its own.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .filter(move |(at, _)| !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part))
        .map(|(at, _)| at)
}

/// What comes after each `crate::`, also inside of `crate::{…}`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for at in words(code, "crate") {
        let Some(path) = code[at + "crate".len()..].strip_prefix("::") else { continue };
        let Some(group) = path.strip_prefix('{') else {
            found.push((at, name(path)));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (offset, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' => start = depth == 0,
                c if c.is_whitespace() => {}
                _ if start => {
                    found.push((at, name(&group[offset..])));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// `text` without fenced blocks and inline code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of links that stay inside the project.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.match_indices("](").filter_map(|(at, _)| prose[at + 2..].split_once(')'));
    let inline = inline.map(|(link, _)| link.split_whitespace().next().unwrap_or("").to_owned());
    let references = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let references = references.map(|(_, link)| link.trim().to_owned());
    inline.chain(references).filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// The anchors of a document's headings: lower case, without punctuation, spaces as hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    let slug = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(slug).collect()
}

/// The rules are only as good as their reading of Rust.
mod reading {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_in_place() {
        let code = "a // panic!(\n/* /* unsafe */ */ b \"\\\"unsafe\" 'x' '\\'' 'a: r#\"\"unsafe\"# c br\"\\\" d r#mod";
        let blanked = blank_comments_and_strings(code);
        let shown = "a           \n                   b \"        \" ' ' '  ' 'a: r#\"       \"# c br\" \" d r#mod";
        assert_eq!(blanked, shown);
    }

    #[test]
    fn test_items_are_blanked() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c() } }\nfn d() {}\n#[cfg(test)]\nuse e;\nfn f() {}";
        let library = blank_tests(code);
        assert_eq!(library.split_whitespace().collect::<Vec<_>>().join(" "), "fn a() {} fn d() {} fn f() {}");
        assert_eq!(library.len(), code.len());
    }

    #[test]
    fn imports_are_found_in_groups_too() {
        let code =
            "use crate::ir::{Graph, Value}; use crate::{op::{Op, Attr}, plan}; mycrate::exec; crate::nn::Dense::new()";
        let names: Vec<String> = imports(code).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["ir", "op", "plan", "nn"]);
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

    #[test]
    fn links_and_anchors_are_found() {
        let text =
            "# One, two: `three`\n[a](b.md#c \"t\") `[x](y)` [w](https://e.org)\n```\n[f](g)\n# no\n```\n[r]: s.md\n";
        assert_eq!(links(text), ["b.md#c", "s.md"]);
        assert_eq!(anchors(text), BTreeSet::from(["one-two-three".to_owned()]));
    }
}
