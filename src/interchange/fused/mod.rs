//! Fused ONNX files that remember where they came from: [`unfuse`] gives back the trained weights, bit for bit.
//!
//! Beside the folded graph, the file's metadata holds the graph as declared, the recipe (a graph from the trained weights
//! to the folded ones), and what the folded weights do not determine. Most of a trained weight is determined: where the
//! recipe multiplies it by known numbers, `W' = M ⊙ W`, the quotient `W'/M` is off by a unit in the last place at most,
//! so the correction takes about a bit an element.

mod originals;

use super::onnx::{self, ExportOptions, OnnxError, Saved};
use crate::ir::{Graph, Weights, parse};
use crate::pass::Folded;
use crate::reference::EvalError;
use std::collections::BTreeMap;
use std::path::Path;

const DECLARED: &str = "foldgrad.declared";
const RECIPE: &str = "foldgrad.recipe";
const ORIGINALS: &str = "foldgrad.originals";
const EXPLANATION: &str = "foldgrad.explanation";

/// A fused file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FusedError {
    /// The ONNX file itself.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file lacks a part of its recipe.
    #[error(
        "`{path}` has no `{key}` in its metadata; only a fused file that Foldgrad wrote can be unfused or explained"
    )]
    Missing {
        /// The file.
        path: Box<str>,
        /// The key of the part.
        key: &'static str,
    },
    /// A part of the recipe is damaged.
    #[error("`{path}`: `{key}` in the metadata: {what}; export the model again")]
    Damaged {
        /// The file.
        path: Box<str>,
        /// The key of the part.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The recipe could not be carried out.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// What was written does not lead back to the trained weights.
    #[error("the recipe does not give back `{name}` bit for bit; report this, and export the graph as declared")]
    NotReversible {
        /// The weight.
        name: String,
    },
    /// A weight is missing from what is to be saved.
    #[error("there is no value for `{name}`, which the declared graph reads; give the weights that were folded")]
    NoValue {
        /// The weight.
        name: String,
    },
}

/// Writes a folded graph to an ONNX file, with the recipe that leads back to `trained`: the weights that were folded, and
/// any others that belong to the model. The file is read back, and must give them back, before this returns.
///
/// # Errors
/// What cannot be written as ONNX, or a file system that refuses.
pub fn save(
    path: impl AsRef<Path>,
    folded: &Folded,
    trained: &Weights,
    metadata: &BTreeMap<String, String>,
) -> Result<Saved, FusedError> {
    let path = path.as_ref();
    let originals = originals::encode(&folded.recipe, &folded.weights, trained)?;
    let recipe = [
        (DECLARED, folded.declared.to_string()),
        (RECIPE, folded.recipe.to_string()),
        (ORIGINALS, originals),
        (EXPLANATION, folded.explanation().to_string()),
    ];
    let own = recipe.into_iter().map(|(key, value)| (key.to_owned(), value));
    let metadata = metadata.iter().map(|(key, value)| (key.clone(), value.clone())).chain(own);
    let saved = onnx::save(path, &folded.graph, &folded.weights, &ExportOptions::new().metadata(metadata))?;
    let back = unfuse(path)?;
    for (name, tensor) in trained {
        if back.weights.get(name).is_none_or(|found| !originals::same_bits(found, tensor)) {
            return Err(FusedError::NotReversible { name: name.clone() });
        }
    }
    Ok(saved)
}

/// What a fused file was made from.
#[derive(Clone, Debug)]
pub struct Unfused {
    /// The inference graph as it was declared.
    pub graph: Graph,
    /// The trained weights.
    pub weights: Weights,
    /// Remarks that were saved with the file, other than the recipe.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the model that a fused file was made from: weights bit for bit as they were trained.
///
/// # Errors
/// A file that is no ONNX file, was not written by [`save`], or is damaged.
pub fn unfuse(path: impl AsRef<Path>) -> Result<Unfused, FusedError> {
    let path = path.as_ref();
    let file = onnx::load(path)?;
    let graph = |key| -> Result<Graph, FusedError> {
        parse(part(path, &file.metadata, key)?).map_err(|errors| damaged(path, key, errors.to_string()))
    };
    let (declared, recipe) = (graph(DECLARED)?, graph(RECIPE)?);
    let originals = part(path, &file.metadata, ORIGINALS)?;
    let weights = originals::decode(&recipe, &file.initializers, originals).map_err(|error| match error {
        originals::DecodeError::Damaged(what) => damaged(path, ORIGINALS, what),
        originals::DecodeError::Evaluation(error) => error.into(),
    })?;
    let own = [DECLARED, RECIPE, ORIGINALS, EXPLANATION];
    let metadata = file.metadata.into_iter().filter(|(key, _)| !own.contains(&key.as_str())).collect();
    Ok(Unfused { graph: declared, weights, metadata })
}

/// The explanation that was saved with a fused file: what became of every layer.
///
/// # Errors
/// A file that is no ONNX file, or was not written by [`save`].
pub fn explanation(path: impl AsRef<Path>) -> Result<String, FusedError> {
    let path = path.as_ref();
    let file = onnx::load(path)?;
    part(path, &file.metadata, EXPLANATION).map(str::to_owned)
}

fn part<'m>(path: &Path, metadata: &'m BTreeMap<String, String>, key: &'static str) -> Result<&'m str, FusedError> {
    let missing = || FusedError::Missing { path: path.display().to_string().into(), key };
    metadata.get(key).map(String::as_str).ok_or_else(missing)
}

fn damaged(path: &Path, key: &'static str, what: String) -> FusedError {
    FusedError::Damaged { path: path.display().to_string().into(), key, what }
}
