//! The pipelines that are used, as prose.

use super::pipeline::{Action, Pass, Pipeline};
use crate::rewrite::{rules, share_sums, trimmed};

const TIDY: Pass = Pass {
    name: "identities",
    about: "remove operations that change nothing",
    action: Action::Rules(&[rules::IDENTITIES]),
};

const REST: Pass = Pass {
    name: "at_rest",
    about: "remove what only differentiation needs",
    action: Action::Rules(&[rules::AT_REST, rules::IDENTITIES]),
};

const DEAD_BIAS: Pass = Pass {
    name: "dead_bias",
    about: "drop each bias that training batch norm makes pointless",
    action: Action::Rules(&[rules::DEAD_BIAS, rules::IDENTITIES]),
};

const SHARE_SUMS: Pass = Pass {
    name: "share_sums",
    about: "write sums over the same axes as multiples of as few as possible",
    action: Action::Rebuild(share_sums),
};

const FOLD: Pass = Pass {
    name: "fold",
    about: "fold batch norms and other affine maps into the products before and behind them",
    action: Action::Rules(&[rules::FOLDS, rules::IDENTITIES]),
};

const FOLD_SCALES: Pass = Pass {
    name: "fold_scales",
    about: "fold the scale of what could not be folded whole",
    action: Action::Rules(&[rules::PARTIAL_FOLDS, rules::FOLDS, rules::IDENTITIES]),
};

const DEAD_CODE: Pass =
    Pass { name: "dead_code", about: "drop what no output needs", action: Action::Rebuild(trimmed) };

impl Pipeline {
    /// For a graph with gradients, before an optimiser is added: forward, loss, backward.
    ///
    /// Shared sums lay bare more biases that are pointless; where one is dropped, sums are shared once more.
    pub fn training() -> Pipeline {
        Pipeline::new([TIDY, DEAD_BIAS, SHARE_SUMS, DEAD_BIAS, DEAD_CODE]).again(SHARE_SUMS.name, DEAD_BIAS.name)
    }

    /// For a graph that is only run: no gradients, fixed weights.
    pub fn inference() -> Pipeline {
        Pipeline::new([TIDY, REST, FOLD, FOLD_SCALES, DEAD_CODE])
    }

    /// The inference graph as it was declared, without what no output needs.
    pub fn as_declared() -> Pipeline {
        Pipeline::new([DEAD_CODE])
    }
}
