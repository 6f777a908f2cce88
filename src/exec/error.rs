//! What can be wrong with a run.

use crate::ir::Tensor;
use crate::plan::Port;

/// A run could not be made, or was stopped before any state changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The number of tensors given is not what the graph has.
    #[error(
        "the graph has {expected} {what} ({names}), but {found} were given; give one tensor for each, in that order"
    )]
    Count {
        /// Data inputs or states.
        what: &'static str,
        /// Their names.
        names: String,
        /// How many there are.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A tensor does not have the type that was planned for.
    #[error(
        "`{name}` is {expected} in this plan, but {found} was given; give that type, or plan for another batch size"
    )]
    Type {
        /// The input's name.
        name: String,
        /// Planned type.
        expected: String,
        /// Given type.
        found: String,
    },
    /// The executable was not made to hold its state.
    #[error("the executable holds no state; make it with `Options::holds_state(true)`, or call `run`")]
    NotHolding,
    /// The parameters were to be shared, but the executable was made to hold its own.
    #[error(
        "the executable holds its state in a layout of its own; make it without `Options::holds_state` to share tensors"
    )]
    Holding,
    /// The parameters were to be shared, but a run writes one of them.
    #[error(
        "a run of this graph updates `{name}`, so it cannot be shared; run it with `Executable::run`, or freeze it first"
    )]
    Updates {
        /// The parameter or state.
        name: String,
    },
    /// The guarded output is NaN or infinite; parameters and state are as they were before the run.
    #[error("`{output}` is {value}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NotFinite {
        /// The guarded output.
        output: String,
        /// Its value.
        value: f64,
        /// What first made it so.
        cause: Option<Cause>,
    },
    /// A next value would be NaN or infinite, or is made from what is; parameters and state are as they were before the
    /// run.
    #[error("the next value of `{state}` is not finite{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NotFiniteUpdate {
        /// The parameter or state.
        state: String,
        /// What first made it so.
        cause: Option<Cause>,
    },
    /// A guard was asked for over an output that the graph does not have.
    #[error("the graph has no output `{name}` to guard; it has {known}")]
    UnknownOutput {
        /// The name.
        name: String,
        /// The names of the outputs.
        known: String,
    },
    /// A kernel has panicked in an earlier run, which left memory half written.
    #[error("an earlier run of this executable panicked, which left its memory half written; make another executable")]
    Spoilt,
}

/// Where a NaN or an infinity came from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// It was given: an element of an input, a parameter or a state.
    Given {
        /// The input's name.
        name: String,
        /// Which element, row-major.
        element: usize,
        /// The element.
        value: f64,
    },
    /// A node made it of finite operands; the node as a person would name it, and the ranges of its operands.
    Made(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Given { name, element, value } => write!(f, "element {element} of `{name}` was given as {value}"),
            Cause::Made(node) => f.write_str(node),
        }
    }
}

/// Compares what was given with what was planned; everything the kernels trust is checked here.
pub(super) fn check<'t>(
    what: &'static str,
    ports: &[Port],
    found: usize,
    tensors: impl Iterator<Item = &'t Tensor>,
) -> Result<(), RunError> {
    check_count(what, ports, found)?;
    for (port, tensor) in ports.iter().zip(tensors) {
        if port.dtype != tensor.dtype() || port.shape != tensor.shape() {
            return Err(RunError::Type {
                name: port.name.clone(),
                expected: format!("{}{:?}", port.dtype, port.shape),
                found: format!("{}{:?}", tensor.dtype(), tensor.shape()),
            });
        }
    }
    Ok(())
}

pub(super) fn check_count(what: &'static str, ports: &[Port], found: usize) -> Result<(), RunError> {
    if ports.len() == found {
        return Ok(());
    }
    let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    Err(RunError::Count { what, names, expected: ports.len(), found })
}
