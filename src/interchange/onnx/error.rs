//! Why a graph could not be exported or a file not read: each error says what, where, what was expected, how to mend it.

use std::fmt;
use std::io;
use std::path::Path;

/// Something of a graph that ONNX has no equal for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The op's name.
    pub op: &'static str,
    /// The node as a person would name it: its op, its layer, its line.
    pub node: String,
    /// What stands in the way.
    pub why: String,
    /// What to do instead.
    pub help: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.node, self.why, self.help)
    }
}

/// Why a graph could not be exported, or a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The system refused.
    #[error("cannot {action} `{}`: {source}{}", path.display(), hint(source))]
    Io {
        /// The file.
        path: Box<Path>,
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory or a device.
    #[error("`{}` is not a regular file; name the model file itself", path.display())]
    NotAFile {
        /// What was named.
        path: Box<Path>,
    },
    /// Parts of the graph have no equal in ONNX; every one of them.
    #[error("ONNX cannot hold {} of this graph:{}", count(.0), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// Weights that are missing or do not fit the graph; every one of them.
    #[error("the weights do not fit the graph:{}", list(.0))]
    Weights(Vec<String>),
    /// A name that ONNX would misread.
    #[error("the {what} `{name}` {why}")]
    Name {
        /// What has the name: `input` or `output`.
        what: &'static str,
        /// The name.
        name: Box<str>,
        /// What is wrong with it, and how to mend it.
        why: &'static str,
    },
    /// More bytes than one ONNX file may have, or than the caller allows without a data file.
    #[error("the model has {bytes} bytes, more than the {limit} that {}", too_large(*limit))]
    TooLarge {
        /// The size of the model in one file.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The file is no ONNX model, or was cut short.
    #[error("`{}` is no whole ONNX model: expected {expected}, found {found}; {HELP_MODEL}", path.display())]
    NotOnnx {
        /// The file.
        path: Box<Path>,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// One name for two things of a kind.
    #[error("`{}` has two {what} named `{name}`; give each its own name and export it again", path.display())]
    Duplicate {
        /// The file.
        path: Box<Path>,
        /// What they are: `initialisers`, say.
        what: &'static str,
        /// The name.
        name: Box<str>,
    },
    /// An initialiser cannot be what the file says.
    #[error("`{}`, initialiser `{tensor}`, {field}: expected {expected}, found {found}; {help}", path.display())]
    Tensor {
        /// The file.
        path: Box<Path>,
        /// The initialiser's name.
        tensor: Box<str>,
        /// Which part of its description is wrong: `dims`, `data`, `location`, `offset` or `length`.
        field: &'static str,
        /// What should be there.
        expected: Box<str>,
        /// What is there.
        found: Box<str>,
        /// How to mend it.
        help: &'static str,
    },
}

const HELP_MODEL: &str = "it was cut short, or is of another format: copy or export it again, or name another";

/// What one protocol buffer may have at most.
pub(super) const LIMIT: u64 = i32::MAX as u64;

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check who may read and write there",
        io::ErrorKind::StorageFull => "; make room and export again",
        _ => "",
    }
}

fn count(unsupported: &[Unsupported]) -> String {
    match unsupported.len() {
        1 => "one part".to_owned(),
        parts => format!("{parts} parts"),
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

fn too_large(limit: u64) -> &'static str {
    if limit < LIMIT {
        "the options allow in one file; use `save`, which writes the weights into a file beside it, or raise \
         `external_data_above`"
    } else {
        "one ONNX file may have; use `save`, which writes the weights into a file beside it"
    }
}
