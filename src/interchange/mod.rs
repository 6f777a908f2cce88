//! Files of other tools, written and read.
//!
//! **Invariants.** What is read is hostile until checked: every length is bounded by the file's own before anything is
//! allocated, and every refusal names the file, the part of it that is wrong, and what was expected. What is written is
//! whole or not there: a new file replaces the old one in one step.

mod bytes;
pub mod fused;
pub mod onnx;
pub(crate) mod replace;
pub mod safetensors;

pub use fused::FusedError;
pub use onnx::OnnxError;
pub use safetensors::WeightsError;
