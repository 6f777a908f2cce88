//! Which form of the tutorial network a command is about.

use super::CommandError;
use crate::nn::Model;
use crate::zoo::{self, BatchNorm};
use clap::ValueEnum;
use std::collections::BTreeMap;

/// The form of the tutorial network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(super) struct Network {
    /// Where the batch norms stand.
    #[arg(long, value_enum, default_value_t = Placement::Before)]
    pub(super) bn: Placement,
    /// A bias in every Dense, also where a batch norm makes it pointless.
    #[arg(long)]
    pub(super) bias: bool,
}

/// Where the tutorial network has its batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Placement {
    /// Dense, batch norm, ReLU.
    Before,
    /// Dense, ReLU, batch norm.
    After,
    /// As before, but with no ReLU behind the first batch norm, as in the author's notebook.
    Notebook,
    /// Dense with bias, ReLU.
    None,
}

impl Placement {
    fn name(self) -> &'static str {
        match self {
            Placement::Before => "before",
            Placement::After => "after",
            Placement::Notebook => "notebook",
            Placement::None => "none",
        }
    }
}

impl Network {
    pub(super) fn model(self) -> Result<Model, CommandError> {
        let batch_norm = match self.bn {
            Placement::Before => BatchNorm::Before,
            Placement::After => BatchNorm::After,
            Placement::Notebook => BatchNorm::Notebook,
            Placement::None => BatchNorm::None,
        };
        Ok(if self.bias { zoo::tutorial_with_biases(batch_norm)? } else { zoo::tutorial(batch_norm)? })
    }

    /// What a file says of the network that its weights belong to.
    pub(super) fn metadata(self, float: crate::ir::DType) -> BTreeMap<String, String> {
        let bias = if self.bias { "every" } else { "needed" };
        [("network", "tutorial"), ("bn", self.bn.name()), ("bias", bias), ("float", float.name())]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// The network that a file's metadata tells of; files without `bias` are from before there was a choice.
    pub(super) fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Network> {
        let name = metadata.get("bn")?;
        let bn = Placement::value_variants().iter().copied().find(|placement| placement.name() == name)?;
        Some(Network { bn, bias: metadata.get("bias").is_some_and(|bias| bias == "every") })
    }
}
