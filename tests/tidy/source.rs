//! The Rust files of the project, with comments, strings and tests blanked in place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Source {
    /// Relative to the project.
    pub path: PathBuf,
    pub text: String,
    /// `text` with comments and the insides of strings blanked.
    pub code: String,
    /// `code` without what is compiled for tests only.
    pub library: String,
}

impl Source {
    /// The top-level module that the file belongs to; none for `lib.rs`, `main.rs` and files outside of `src/`.
    pub fn room(&self) -> Option<String> {
        let inside = self.path.strip_prefix("src").ok()?;
        let first = Path::new(inside.components().next()?.as_os_str());
        let room = first.file_stem()?.to_str()?;
        if ["lib", "main"].contains(&room) { None } else { Some(room.to_owned()) }
    }

    pub fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), self.text[..offset].matches('\n').count() + 1)
    }
}

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
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

pub fn sources(folders: &[&str]) -> Vec<Source> {
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

/// Replaces comments and the insides of strings and characters by spaces, line by line in place.
pub fn blank_comments_and_strings(text: &str) -> String {
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
pub fn block_comment(text: &str) -> usize {
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
pub fn string(text: &str, at: usize) -> Option<(usize, usize, usize)> {
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

pub const CFG_TEST: &str = "#[cfg(test)]";

/// Blanks each item under `#[cfg(test)]`.
pub fn blank_tests(code: &str) -> String {
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
pub fn item_len(code: &str) -> usize {
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
pub fn test_modules(source: &Source) -> Vec<PathBuf> {
    let folder = match source.path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => source.path.parent().expect("a file is in a folder").to_owned(),
        _ => source.path.with_extension(""),
    };
    let items = source.code.match_indices(CFG_TEST).filter_map(|(at, _)| {
        let item = &source.code[at + CFG_TEST.len()..];
        let name = item.trim_start().trim_start_matches("pub(crate) ").strip_prefix("mod ")?.split_once(';')?.0;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    });
    items.flat_map(|name| [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]).collect()
}

/// Where `word` stands in `code` as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .filter(|(at, _)| {
            !code[..*at].ends_with(is_part_of_word) && !code[at + word.len()..].starts_with(is_part_of_word)
        })
        .map(|(at, _)| at)
}

pub fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
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
}
