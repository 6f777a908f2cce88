//! [ONNX](https://onnx.ai) files: an inference graph with its weights, for runtimes and tools of every kind.
//!
//! ```text
//! graph + weights  →  one .onnx file, and beside it .onnx.data where the weights are too large for one
//! ```
//!
//! **Invariant.** What a runtime computes from the file is what the graph computes: each op becomes ONNX's own, or its
//! definition in smaller ops, or the export refuses and names everything that stands in the way. Law L8 holds every op to
//! this. Equal graphs and weights are equal bytes.
//!
//! Files are of operator set 18 in format version 8, of ONNX 1.13: every reduction takes its axes as an input from then
//! on, PyTorch exports the same set by default, and ONNX Runtime reads it since 1.14. What each op becomes is listed in
//! `docs/ONNX.md`.
//!
//! ```
//! use foldgrad::interchange::onnx::{self, ExportOptions};
//! use foldgrad::nn::{Dense, Mode, Sequential};
//! use foldgrad::DType;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.onnx");
//! let model = Sequential::new([4]).add(Dense::new(2)).build()?;
//! let graph = model.graph(Mode::Inference, DType::F32)?;
//! let weights = model.initial_values(42);
//! onnx::save(&path, &graph, &weights, &ExportOptions::new().metadata([("epoch", "3")]))?;
//! let file = onnx::load(&path)?;
//! assert_eq!(file.metadata["epoch"], "3");
//! assert_eq!(file.initializers["dense/kernel"], weights["dense/kernel"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod emit;
mod error;
mod expand;
mod export;
mod proto;
mod read;
mod write;

pub use error::{OnnxError, Unsupported};
pub use read::{Axis, OnnxFile, OnnxPort, Other, load};
pub use write::{ExportOptions, Saved, save, to_bytes};

/// The operator set of the files that are written.
pub const OPSET: i64 = 18;

/// The version of the file format that is written.
pub const IR_VERSION: i64 = 8;
