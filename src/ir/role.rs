//! What the inputs of a graph stand for.

/// What a graph input stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Fed by the caller at every run.
    Data,
    /// Trained: gradients are taken with respect to it, and an optimiser updates it.
    Parameter,
    /// Carried from run to run but not trained: running statistics, counters, optimiser slots.
    State,
}

impl Role {
    /// The name used by the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Data => "data",
            Role::Parameter => "parameter",
            Role::State => "state",
        }
    }
}
