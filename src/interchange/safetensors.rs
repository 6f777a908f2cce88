//! Weights in [safetensors](https://github.com/huggingface/safetensors) files, which PyTorch, JAX and others read.
//!
//! ```text
//! u64 n, little-endian │ n bytes of JSON: name → { dtype, shape, data_offsets: [begin, end] } │ the data, row-major
//! ```
//!
//! **Invariant.** Equal weights and metadata are equal bytes, and what is loaded has the bits that were saved.

mod header;

use super::bytes::{self, elements};
use super::replace;
use crate::ir::{DType, Tensor, Weights};
use header::{Entry, Header};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Remarks that travel with the weights.
pub type Metadata = BTreeMap<String, String>;

// The format's own metadata is written in no fixed order: one entry, whose value is JSON with sorted keys, keeps equal
// weights equal bytes.
const METADATA: &str = "__metadata__";
const OURS: &str = "foldgrad";

/// Why weights could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
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
    #[error("`{}` is not a regular file; name the weights file itself", path.display())]
    NotAFile {
        /// What was named.
        path: Box<Path>,
    },
    /// The file is cut short, or of another format: its header cannot be where it says.
    #[error(
        "`{}` is no whole safetensors file: its header should end at byte {expected}, and the file has {found} bytes; \
         it was cut short, or is of another format: copy or save it again, or name another",
        path.display()
    )]
    HeaderLength {
        /// The file.
        path: Box<Path>,
        /// Where the first eight bytes say that the header ends.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
    /// The header is longer than any reader of the format accepts.
    #[error("the header of `{}` has {found} bytes, more than the limit of {limit}; {HELP_HEADER}", path.display())]
    HeaderTooLong {
        /// The file.
        path: Box<Path>,
        /// The length that was found.
        found: u64,
        /// The longest that is accepted.
        limit: u64,
    },
    /// The header is not the JSON that it should be.
    #[error("the header of `{}` is wrong: expected {expected}, found {found}; save the weights again", path.display())]
    Header {
        /// The file.
        path: Box<Path>,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// One name for two tensors.
    #[error("`{}` has two tensors named `{tensor}`; give each its own name and save again", path.display())]
    Duplicate {
        /// The file.
        path: Box<Path>,
        /// The name.
        tensor: Box<str>,
    },
    /// A tensor cannot be what the header, or the caller, says.
    #[error("`{}`, tensor `{tensor}`, {field}: expected {expected}, found {found}; {help}", path.display())]
    Tensor {
        /// The file.
        path: Box<Path>,
        /// The tensor's name.
        tensor: Box<str>,
        /// Which part of its description is wrong: `name`, `dtype`, `shape`, `data_offsets` or `data`.
        field: &'static str,
        /// What should be there.
        expected: Box<str>,
        /// What is there.
        found: Box<str>,
        /// How to mend it.
        help: &'static str,
    },
    /// The data ends before the last tensor does, or after it.
    #[error("`{}` should have {expected} bytes, but has {found}; {}", path.display(), wrong_length(*expected, *found))]
    DataLength {
        /// The file.
        path: Box<Path>,
        /// Where the last tensor ends.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
}

const HELP_HEADER: &str = "save fewer tensors, or shorter names and metadata, in one file";
const HELP_SAVE: &str = "save the weights again";

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; check who may read and write there",
        io::ErrorKind::StorageFull => "; make room and save again",
        _ => "",
    }
}

fn wrong_length(expected: u64, found: u64) -> &'static str {
    if found < expected { "it was cut short: copy or save it again" } else { "something was appended: save it again" }
}

/// Saves `weights` and `metadata` to `path`, replacing a file that is there in one step.
///
/// ```
/// use foldgrad::{Tensor, interchange::safetensors};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// let weights = [("dense/kernel".to_owned(), Tensor::new([2, 1], vec![0.5f32, -1.0])?)].into();
/// let metadata = [("epoch".to_owned(), "3".to_owned())].into();
/// safetensors::save(&path, &weights, &metadata)?;
/// assert_eq!(safetensors::load(&path)?, (weights, metadata));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`WeightsError`]; a file that was at `path` is then as it was, and nothing new is beside it.
pub fn save(path: impl AsRef<Path>, weights: &Weights, metadata: &Metadata) -> Result<(), WeightsError> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(WeightsError::NotAFile { path: path.into() });
    }
    if weights.contains_key(METADATA) {
        return Err(WeightsError::Tensor {
            path: path.into(),
            tensor: METADATA.into(),
            field: "name",
            expected: "a name that the format does not use itself".into(),
            found: format!("`{METADATA}`").into(),
            help: "give the tensor another name",
        });
    }
    let bytes = to_bytes(weights, metadata).map_err(|error| match error {
        safetensors::SafeTensorError::HeaderTooLarge => {
            let length = |name: &String| name.len() as u64;
            let found = weights.keys().map(length).sum::<u64>() + metadata.values().map(length).sum::<u64>();
            WeightsError::HeaderTooLong { path: path.into(), found, limit: header::LIMIT }
        }
        other => {
            let found = other.to_string();
            WeightsError::Header { path: path.into(), expected: "weights that the format can hold", found }
        }
    })?;
    replace::write(path, &bytes).map_err(|source| WeightsError::Io { path: path.into(), action: "write", source })
}

/// Loads the weights and metadata of `path`, in the order in which the file holds them.
///
/// Files of other tools load as well, when their tensors are of the element types of [`DType`]; their metadata is
/// taken as it is.
///
/// # Errors
/// [`WeightsError`]: a file that is missing, cut short, of another format or inconsistent is refused, with the name of
/// the tensor and the part of its description that is wrong.
pub fn load(path: impl AsRef<Path>) -> Result<(Weights, Metadata), WeightsError> {
    let path = path.as_ref();
    let io = |source| WeightsError::Io { path: path.into(), action: "read", source };
    // Asked before opening: opening a pipe would wait for its writer.
    let about = fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        return Err(WeightsError::NotAFile { path: path.into() });
    }
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let Header { entries, metadata } = Header::read(path, &mut file, about.len())?;
    let mut weights = Weights::with_capacity(entries.len());
    for entry in entries {
        // The entry's length was compared with the file's.
        let mut bytes = vec![0; entry.byte_len()];
        file.read_exact(&mut bytes).map_err(io)?;
        let tensor = entry.tensor(path, &bytes)?;
        weights.insert(entry.name, tensor);
    }
    Ok((weights, metadata))
}

fn to_bytes(weights: &Weights, metadata: &Metadata) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let ours = match metadata.is_empty() {
        true => None,
        false => Some(HashMap::from([(OURS.to_owned(), serde_json::to_string(metadata)?)])),
    };
    safetensors::serialize(weights.iter().map(|(name, tensor)| (name, Bytes(tensor))), ours)
}

/// A tensor as the format's little-endian bytes.
struct Bytes<'a>(&'a Tensor);

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I32 => Dtype::I32,
            DType::Bool => Dtype::BOOL,
        }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(bytes::of(self.0))
    }

    fn data_len(&self) -> usize {
        self.0.len() * self.0.dtype().size()
    }
}

impl Entry {
    /// The tensor that these bytes are, `byte_len` of them.
    fn tensor(&self, path: &Path, bytes: &[u8]) -> Result<Tensor, WeightsError> {
        let shape = self.shape.clone();
        let tensor = match self.dtype {
            DType::F32 => Tensor::new(shape, elements(bytes, f32::from_le_bytes)),
            DType::F64 => Tensor::new(shape, elements(bytes, f64::from_le_bytes)),
            DType::I32 => Tensor::new(shape, elements(bytes, i32::from_le_bytes)),
            DType::Bool => {
                if let Some(at) = bytes.iter().position(|&byte| byte > 1) {
                    let found = format!("the byte {} for element {at}", bytes[at]);
                    return Err(self.refuse(path, "data", "0 or 1 for each element", found, HELP_SAVE));
                }
                Tensor::new(shape, bytes.iter().map(|&byte| byte == 1).collect())
            }
        };
        tensor.map_err(|error| self.refuse(path, "shape", "the shape of its data", error.to_string(), HELP_SAVE))
    }
}
