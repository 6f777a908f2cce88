//! Where a data set came from, and what has to be said about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the images came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataSource {
    /// The directory that the user named.
    Directory(PathBuf),
    /// The user's cache, which already held all the files.
    Cache(PathBuf),
    /// The user's cache, into which at least one file was downloaded just now.
    Downloaded(PathBuf),
    /// The drawn data set of [`silhouettes`](super::silhouettes): **not** Fashion-MNIST.
    BuiltIn {
        /// Why the real one could not be had.
        reason: String,
    },
}

/// The width of the notice, frame included.
const WIDTH: usize = 78;

impl DataSource {
    /// The directory that was read, if one was.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::Cache(path) | Self::Downloaded(path) => Some(path),
            Self::BuiltIn { .. } => None,
        }
    }

    /// What the user has to be told before anything else: a framed text of several lines, 78 columns wide, or
    /// `None` if the images are what was asked for.
    ///
    /// ```
    /// use foldgrad::data::DataSource;
    /// let source = DataSource::BuiltIn { reason: "there is no network".into() };
    /// let notice = source.notice().unwrap_or_default();
    /// assert!(notice.contains("NOT FASHION-MNIST") && notice.contains("there is no network"));
    /// assert_eq!(DataSource::Directory("data".into()).notice(), None);
    /// ```
    pub fn notice(&self) -> Option<String> {
        let Self::BuiltIn { reason } = self else { return None };
        let mut frame = Frame { text: String::new() };
        frame.rule('╔', '╗');
        frame.paragraph("", "");
        frame.paragraph("   ", "THIS IS NOT FASHION-MNIST. A built-in data set is used in its place.");
        frame.paragraph("", "");
        frame.paragraph("Why:   ", reason);
        frame.paragraph(
            "What:  ",
            "Garments drawn by a program from a fixed seed, in the form of Fashion-MNIST (28 x 28 bytes, ten classes). \
             Each run draws the same images, so results repeat.",
        );
        frame.paragraph("Note:  ", "The figures of this run are NOT comparable with any figure for Fashion-MNIST.");
        frame.paragraph(
            "Mend:  ",
            "Run again with a network and foldgrad downloads Fashion-MNIST (30 MB, once). Or put its four files, \
             {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz, into a directory and name that: --data DIR, or the \
             environment variable FASHION_MNIST_DIR.",
        );
        frame.paragraph("", "");
        frame.rule('╚', '╝');
        Some(frame.text)
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "Fashion-MNIST from {}", path.display()),
            Self::Cache(path) => write!(f, "Fashion-MNIST from the cache {}", path.display()),
            Self::Downloaded(path) => write!(f, "Fashion-MNIST, downloaded into {}", path.display()),
            Self::BuiltIn { .. } => f.write_str("built-in silhouettes (NOT Fashion-MNIST)"),
        }
    }
}

struct Frame {
    text: String,
}

impl Frame {
    fn rule(&mut self, left: char, right: char) {
        self.text.push(left);
        self.text.extend(std::iter::repeat_n('═', WIDTH - 2));
        self.text.push(right);
        if left == '╔' {
            self.text.push('\n');
        }
    }

    /// Wraps `text` at spaces, and inside words that are longer than a line; `head` stands before the first line.
    fn paragraph(&mut self, head: &str, text: &str) {
        let indent = head.chars().count();
        let room = WIDTH - 6 - indent;
        let mut lines = vec![String::new()];
        let mut used = 0;
        for word in text.split_whitespace() {
            let letters: Vec<char> = word.chars().collect();
            for (i, piece) in letters.chunks(room).enumerate() {
                let gap = usize::from(used > 0 && i == 0);
                if used + gap + piece.len() > room {
                    lines.push(String::new());
                    used = 0;
                }
                if let Some(line) = lines.last_mut() {
                    if used > 0 && gap > 0 {
                        line.push(' ');
                        used += 1;
                    }
                    line.extend(piece);
                    used += piece.len();
                }
            }
        }
        for (i, line) in lines.iter().enumerate() {
            let head = if i == 0 { head } else { "" };
            self.text.push_str(&format!("║  {head:indent$}{line:room$}  ║\n"));
        }
    }
}
