//! What can be wrong with data from outside. Each message says what was looked at, what was expected, what
//! was found, and how to mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a data set could not be had.
///
/// The text of each error is meant for the user as it is: it names the file and the field, what was expected
/// and what was found, and ends with what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is there neither under its name nor under the same name with `.gz` added or taken away.
    #[error(
        "{}: no such file, neither plain nor with .gz; name a directory that holds the four files of \
         Fashion-MNIST, or name none and let foldgrad look in its cache and download them",
        path.display()
    )]
    Missing {
        /// The file as it was asked for.
        path: PathBuf,
    },

    /// Something other than a regular file stands where a file should be.
    #[error("{}: expected a file, found {found}; name the directory that holds the IDX files", path.display())]
    NotAFile {
        /// What was opened.
        path: PathBuf,
        /// What is there: a directory, or a pipe, socket or device.
        found: &'static str,
    },

    /// What was named as the directory of the data set is none.
    #[error(
        "{}: expected a directory with the four files of Fashion-MNIST, found {found}; correct the name, or name \
         none and let foldgrad look in its cache and download them",
        path.display()
    )]
    NotADirectory {
        /// What was named.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },

    /// The operating system refused.
    #[error("{}: cannot {action}: {source}; mend that, or name another directory", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb: `read`, `write`, `rename into place` ...
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },

    /// A gzip stream that is cut short or damaged.
    #[error(
        "{}: the gzip stream ends or breaks after {decoded} good bytes: {source}; the file is cut short or \
         damaged: delete it and let foldgrad download it again, or copy it anew",
        path.display()
    )]
    Gzip {
        /// The compressed file.
        path: PathBuf,
        /// How many bytes it gave before it broke.
        decoded: u64,
        /// What the decoder said.
        source: io::Error,
    },

    /// A field of the IDX header is not what it has to be.
    #[error(
        "{}: the {field} in the IDX header: expected {expected}, found {found}; this is another kind of file: \
         check its name, or replace it",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The field: `magic number`, `element type`, `rank`.
        field: &'static str,
        /// What the field has to be.
        expected: String,
        /// What the field is.
        found: String,
    },

    /// The header promises more than foldgrad reads into memory.
    #[error(
        "{}: the header promises {promised} bytes, more than the {limit} that foldgrad reads from one file; the \
         header is damaged, or the set has to be split",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The promised sizes, as a product: `60000 x 28 x 28`.
        promised: String,
        /// The limit, in bytes.
        limit: u64,
    },

    /// The file ends before its header, or what the header promises, is complete.
    #[error(
        "truncated: the header of {} promises {promised} = {expected} bytes, the file holds {found}; delete the \
         file and let foldgrad download it again, or copy it anew",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The promised sizes, as a product: `10000 x 28 x 28`, or `a header of 4 x 4` if that is cut already.
        promised: String,
        /// The promised length, in bytes.
        expected: u64,
        /// How many bytes there were.
        found: u64,
    },

    /// The file goes on after what the header promises.
    #[error(
        "{}: the header promises {promised} = {expected} bytes, the file holds more; its header or its end is \
         damaged: delete the file and let foldgrad download it again, or copy it anew",
        path.display()
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// The promised sizes, as a product.
        promised: String,
        /// The promised length, in bytes.
        expected: u64,
    },

    /// No image, no label, or images without pixels.
    #[error("{what}: the number of {field} is 0, expected at least 1; an empty set teaches nothing: name another")]
    Empty {
        /// The file, or what was handed over.
        what: String,
        /// Which number: `images`, `labels`, `rows`, `columns`, `classes`.
        field: &'static str,
    },

    /// A size differs from the one that was asked for.
    #[error("{what}: {field}: expected {expected}, found {found}; {mend}")]
    Shape {
        /// The file, or what was handed over.
        what: String,
        /// Which size.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
        /// What to do about it.
        mend: &'static str,
    },

    /// As many labels as images are needed.
    #[error(
        "{images} holds {image_count} images, {labels} holds {label_count} labels, expected as many; the two \
         belong to different sets: take both from the same one"
    )]
    CountMismatch {
        /// Where the images come from.
        images: String,
        /// How many there are.
        image_count: usize,
        /// Where the labels come from.
        labels: String,
        /// How many there are.
        label_count: usize,
    },

    /// A label names a class that does not exist.
    #[error(
        "{what}: label {index}: expected 0 to {last}, found {found}; these are not the labels of this set: \
         replace the file", last = classes.saturating_sub(1)
    )]
    Label {
        /// The file, or what was handed over.
        what: String,
        /// Which label, counted from 0.
        index: usize,
        /// The label.
        found: u8,
        /// The number of classes.
        classes: usize,
    },

    /// A part of a set was asked for that the set does not have.
    #[error("images {start}..{end}: expected at least one image, within 0..{len}; ask for another range")]
    Range {
        /// The first image asked for.
        start: usize,
        /// One past the last.
        end: usize,
        /// The number of images in the set.
        len: usize,
    },

    /// No source gave the file.
    #[error(
        "{file}: not downloaded into {}; {}; check the network, or put the file there by hand", directory.display(),
        Attempts(attempts)
    )]
    Download {
        /// The name of the file.
        file: String,
        /// Where it should have gone.
        directory: PathBuf,
        /// What each source answered, in the order in which they were asked.
        attempts: Vec<Attempt>,
    },
}

/// What one source answered when it was asked for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The address that was asked.
    pub url: String,
    /// Why it did not give the file.
    pub reason: String,
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no source to ask");
        }
        for (i, attempt) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", attempt.url, attempt.reason)?;
        }
        Ok(())
    }
}
