//! Which graph of a model is built, and what of it is trained.

/// Which of its two graphs a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch statistics, dropout, running averages that move.
    Training,
    /// A pure function of input and variables.
    Inference,
}

/// Whether the parameters of a layer are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trainability {
    Trained,
    Frozen,
}

impl Trainability {
    /// Inside a frozen model everything is frozen.
    pub(super) fn within(self, outer: Trainability) -> Trainability {
        if outer == Trainability::Frozen { Trainability::Frozen } else { self }
    }
}
