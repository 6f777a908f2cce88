//! Wrong uses, and what the user is told: what is wrong, where (file and line, or file and field), how to mend it.
//!
//! Each snapshot is a whole message. A place in these tests stands as the mark at the end of its line, `// HERE`, in
//! the line number's stead: the message names the right line, and no edit above it breaks the test.

mod declarations;
mod files;
mod gradients;
mod layers;
mod models;
mod running;
mod shapes;
mod training;

#[cfg(feature = "cli")]
mod command_line;

use foldgrad::{Builder, Diagnostics, Graph};
use std::fmt::Display;
use std::path::Path;

/// The mistakes that are made in building a graph, as the user reads them.
#[track_caller]
fn refused(build: impl FnOnce(&Builder)) -> String {
    let g = Builder::new();
    build(&g);
    report(g.finish())
}

/// A graph that is right.
#[track_caller]
fn accepted(build: impl FnOnce(&Builder)) -> Graph {
    let g = Builder::new();
    build(&g);
    g.finish().unwrap_or_else(|errors: Diagnostics| panic!("{errors}"))
}

/// The error's text, with marks for line numbers.
#[track_caller]
fn report<T, E: Display>(outcome: Result<T, E>) -> String {
    let Err(error) = outcome else { panic!("a wrong use was accepted") };
    let text = error.to_string();
    let sources = ["src/", "src\\"];
    assert!(!sources.iter().any(|source| text.contains(source)), "the message points into the library:\n{text}");
    let lines: Vec<String> = text.lines().map(|line| snippet(line).unwrap_or_else(|| marked(line))).collect();
    lines.join("\n")
}

/// [`report`], of an error that names files in a temporary `folder`.
#[track_caller]
fn report_in<T, E: Display>(folder: &Path, outcome: Result<T, E>) -> String {
    report(outcome.map_err(|error| error.to_string().replace(&folder.display().to_string(), "FOLDER")))
}

/// A line of the quoted source, `12 |     let y = a + b; // HERE`, without its number and mark.
fn snippet(line: &str) -> Option<String> {
    let (gutter, code) = line.split_once(" |")?;
    if !gutter.chars().all(|c| c.is_ascii_digit() || c == ' ') {
        return None;
    }
    let number = if gutter.trim().is_empty() { "  " } else { "LL" };
    let code = code.rsplit_once(" // ").map_or(code, |(code, _)| code);
    Some(format!("{number} |{code}"))
}

/// The line with each `tests/…/file.rs:12:5` of these tests as `tests/…/file.rs:HERE:5`.
fn marked(line: &str) -> String {
    const EXTENSION: &str = ".rs:";
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(EXTENSION) {
        let (before, after) = rest.split_at(at + EXTENSION.len());
        shown.push_str(before);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let file = before.trim_end_matches(':').rsplit([' ', '(', '`']).next().unwrap_or_default();
        let number = after[..digits].parse().unwrap_or_else(|_| panic!("no line number in {line}"));
        shown.push_str(&mark(file, number));
        rest = &after[digits..];
    }
    shown + rest
}

/// The mark at the end of that line.
fn mark(file: &str, number: usize) -> String {
    let source = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let line = source.lines().nth(number - 1).unwrap_or_default();
    let is_mark = |mark: &&str| mark.chars().all(|c| c.is_ascii_uppercase());
    let mark = line.rsplit_once(" // ").map(|(_, mark)| mark).filter(is_mark);
    mark.unwrap_or_else(|| panic!("{file}:{number} is named, but has no mark: {line}")).to_owned()
}
