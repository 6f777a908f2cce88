//! What a user is told: what went wrong, on which line of theirs, where each operand came from, how to mend it.
//!
//! ```text
//! error[shape]: dense: x has 784 features, kernel expects 768
//!   --> examples/tutorial.rs:15:13
//!    |
//! 15 |     let h = x.dense(w, None);
//!    |             ^
//! note: x: f32[batch,784] was made here
//!   --> examples/tutorial.rs:13:13
//! help: give kernel the shape [784, units]
//! ```

use std::fmt;
use std::panic::Location;

/// The stable label of a kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Code {
    Shape,
    DType,
    Attribute,
    Name,
    Graph,
    NotDifferentiable,
    Syntax,
    Unbound,
    Data,
    Value,
}

impl Code {
    /// The label as printed: `error[shape]`.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Shape => "shape",
            Code::DType => "dtype",
            Code::Attribute => "attribute",
            Code::Name => "name",
            Code::Graph => "graph",
            Code::NotDifferentiable => "not-differentiable",
            Code::Syntax => "syntax",
            Code::Unbound => "unbound",
            Code::Data => "data",
            Code::Value => "value",
        }
    }
}

/// Where something was written. Prints as `src/main.rs:12:9`, or `line 3` of a text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the user's program.
    User(&'static Location<'static>),
    /// In a text form that was parsed.
    Text {
        /// 1-based line.
        line: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::User(at) => write!(f, "{}:{}:{}", at.file(), at.line(), at.column()),
            Place::Text { line } => write!(f, "line {line}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    message: String,
    place: Option<Place>,
}

/// One mistake, with its place, its context and a way to mend it. `Display` renders the whole report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Diagnostic {
    code: Code,
    title: String,
    place: Option<Place>,
    notes: Vec<Note>,
    help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a place yet.
    pub fn new(code: Code, title: impl Into<String>) -> Diagnostic {
        Diagnostic { code, title: title.into(), place: None, notes: Vec::new(), help: None }
    }

    /// Sets the user's line.
    pub fn at(mut self, location: &'static Location<'static>) -> Diagnostic {
        self.place = Some(Place::User(location));
        self
    }

    pub(crate) fn at_place(mut self, place: Option<Place>) -> Diagnostic {
        self.place = place;
        self
    }

    /// Adds context.
    pub fn note(mut self, message: impl Into<String>) -> Diagnostic {
        self.notes.push(Note { message: message.into(), place: None });
        self
    }

    pub(crate) fn note_at(mut self, message: impl Into<String>, place: Option<Place>) -> Diagnostic {
        self.notes.push(Note { message: message.into(), place });
        self
    }

    /// Says how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The kind of mistake.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The user's line, if the mistake has one.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.place {
            Some(Place::User(location)) => Some(location),
            _ => None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.name(), self.title)?;
        write_place(f, self.place, Snippet::Show)?;
        for note in &self.notes {
            write!(f, "\nnote: {}", note.message)?;
            write_place(f, note.place, Snippet::Hide)?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

#[derive(PartialEq)]
enum Snippet {
    Show,
    Hide,
}

fn write_place(f: &mut fmt::Formatter<'_>, place: Option<Place>, snippet: Snippet) -> fmt::Result {
    let location = match place {
        None => return Ok(()),
        Some(Place::Text { line }) => return write!(f, "\n  --> line {line}"),
        Some(Place::User(location)) => location,
    };
    let (line, column) = (location.line(), location.column());
    write!(f, "\n  --> {}:{line}:{column}", location.file())?;
    if snippet == Snippet::Hide {
        return Ok(());
    }
    // The source is a help, not a promise: a program may run far from its sources.
    let Ok(source) = std::fs::read_to_string(location.file()) else { return Ok(()) };
    let Some(text) = source.lines().nth(line as usize - 1) else { return Ok(()) };
    let gutter = " ".repeat(line.to_string().len());
    let caret = " ".repeat(column as usize - 1);
    write!(f, "\n{gutter} |\n{line} | {text}\n{gutter} | {caret}^")
}

/// Everything that is wrong with a graph, in the order in which it was written down; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// `None` when there is nothing to report.
    pub fn from_vec(diagnostics: Vec<Diagnostic>) -> Option<Diagnostics> {
        if diagnostics.is_empty() { None } else { Some(Diagnostics(diagnostics)) }
    }

    /// The diagnostics, first mistake first.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// The first mistake; later ones may follow from it.
    pub fn first(&self) -> &Diagnostic {
        &self.0[0]
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
