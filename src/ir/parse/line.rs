//! One line of the text form and a cursor in it; every complaint carries the line's number and text.

use crate::ir::diagnostic::Place;
use crate::ir::{Code, Diagnostic};

/// A line without its comment, and what of it was not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'t> {
    /// 1-based.
    pub(super) number: u32,
    text: &'t str,
    rest: &'t str,
}

impl<'t> Line<'t> {
    /// The lines that hold more than space and comments.
    pub(super) fn all(text: &'t str) -> impl Iterator<Item = Line<'t>> {
        let lines = text.lines().enumerate().map(|(index, line)| {
            let text = without_comment(line).trim();
            Line { number: u32::try_from(index + 1).unwrap_or(u32::MAX), text, rest: text }
        });
        lines.filter(|line| !line.text.is_empty())
    }

    /// Where the text ends.
    pub(super) fn at_end(text: &'t str) -> Line<'t> {
        let number = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
        Line { number, text: "", rest: "" }
    }

    /// The same line, read from its start again.
    pub(super) fn start(self) -> Line<'t> {
        Line { rest: self.text, ..self }
    }

    /// The next character that is no space.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Reads `token`, if it comes next.
    pub(super) fn eat(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.rest = &self.rest[token.len_utf8()..];
        }
        found
    }

    pub(super) fn require(&mut self, token: char, after: &str) -> Result<(), Diagnostic> {
        if self.eat(token) {
            return Ok(());
        }
        Err(self
            .error(format!("expected `{token}` after {after}, found {}", self.found()))
            .help("a node is `%id = op(operands) {attributes} : types`, all on one line"))
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self, after: &str) -> Result<(), Diagnostic> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self
                .error(format!("expected the end of the line after {after}, found {}", self.found()))
                .help("write one item a line; `//` starts a comment")),
        }
    }

    /// The letters, digits and underscores that come next; empty if there are none.
    pub(super) fn word(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// The name behind a `%`.
    pub(super) fn id(&mut self) -> Result<&'t str, Diagnostic> {
        let found = self.found();
        let sigil = self.eat('%');
        if sigil && self.rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(self.word());
        }
        Err(self
            .error(format!("expected a value such as %3 or %3#1, found {found}"))
            .help("an id is `%` and letters, digits or `_`"))
    }

    /// The text up to one of `stops`, or to the end of the line, outside of quotes and brackets.
    pub(super) fn until(&mut self, stops: &[char], what: &str) -> Result<&'t str, Diagnostic> {
        let (mut depth, mut quotes) = (0usize, Quotes::default());
        let mut end = self.rest.len();
        for (at, c) in self.rest.char_indices() {
            if quotes.inside(c) {
                continue;
            }
            match c {
                '[' => depth += 1,
                ']' if depth == 0 => {
                    return Err(self
                        .error(format!("a `]` without its `[` in {what}"))
                        .help("remove it, or open the list with `[`"));
                }
                ']' => depth -= 1,
                _ if depth == 0 && stops.contains(&c) => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        if quotes.open() || depth > 0 {
            let (found, close) = if quotes.open() { ("quote", '"') } else { ("bracket", ']') };
            return Err(self
                .error(format!("the line ends inside a {found} in {what}"))
                .help(format!("close it with `{close}` on the same line")));
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(text.trim())
    }

    /// What comes next, for a complaint.
    pub(super) fn found(&self) -> String {
        match self.rest.trim_start() {
            "" => "the end of the line".to_owned(),
            rest => {
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let first = rest.chars().next().map_or(0, char::len_utf8);
                format!("`{}`", excerpt(&rest[..word.max(first)]))
            }
        }
    }

    pub(super) fn error(&self, title: impl Into<String>) -> Diagnostic {
        self.coded(Code::Syntax, title)
    }

    pub(super) fn coded(&self, code: Code, title: impl Into<String>) -> Diagnostic {
        self.place(Diagnostic::new(code, title))
    }

    /// The complaint, at this line.
    pub(super) fn place(&self, diagnostic: Diagnostic) -> Diagnostic {
        let diagnostic = diagnostic.at_place(Some(Place::Text { line: self.number }));
        match self.text {
            "" => diagnostic,
            text => diagnostic.note(format!("the line reads: {}", excerpt(text))),
        }
    }
}

/// Follows a text through quotes and their escapes.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Whether `c`, the next character, belongs to a quoted string, its quotes included.
    fn inside(&mut self, c: char) -> bool {
        let was_open = self.open;
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = was_open,
            '"' => self.open = !was_open,
            _ => {}
        }
        was_open || self.open
    }

    fn open(&self) -> bool {
        self.open
    }
}

fn without_comment(line: &str) -> &str {
    let mut quotes = Quotes::default();
    for (at, c) in line.char_indices() {
        if !quotes.inside(c) && line[at..].starts_with("//") {
            return &line[..at];
        }
    }
    line
}

/// At most a screen line of `text`, control characters shown as spaces.
pub(super) fn excerpt(text: &str) -> String {
    const WIDTH: usize = 90;
    let mut shown: String = text.chars().take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(WIDTH).is_some() {
        shown.push('…');
    }
    shown
}

/// The candidate that differs from `word` by the fewest edits, if that is few enough to be a slip.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 40;
    if word.len() > LONGEST {
        return None;
    }
    let close = candidates.filter(|candidate| candidate.len() <= LONGEST);
    let best = close.map(|candidate| (edits(word, candidate), candidate)).min()?;
    if best.0 <= word.len() / 3 { Some(best.1) } else { None }
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_end_outside_of_quotes_only() {
        assert_eq!(without_comment(r#"a "//" b // c"#), r#"a "//" b "#);
        assert_eq!(without_comment(r#"a "\"//" // "c"#), r#"a "\"//" "#);
        assert_eq!(without_comment("// all"), "");
        assert_eq!(without_comment(r#""open // quote"#), r#""open // quote"#);
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let names = ["relu", "selu", "batch_norm_train", "add"];
        assert_eq!(nearest("rellu", names.into_iter()), Some("relu"));
        assert_eq!(nearest("batchnorm_train", names.into_iter()), Some("batch_norm_train"));
        assert_eq!(nearest("convolution", names.into_iter()), None);
        assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "")), (3, 3, 3));
    }
}
