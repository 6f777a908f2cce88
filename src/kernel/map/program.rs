//! Maps that are compiled as a whole: the updates of the usual optimisers, which run over every weight in every step and are
//! otherwise bound by passing values between instructions.

use crate::ir::DType;

/// A program over `[gradient, rate, velocity, momentum, parameter]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `p − r·g`.
    Descent,
    /// `v′ = m·v − r·g`, `p + v′`.
    Momentum,
    /// `v′ = m·v − r·g`, `p + (m·v′ − r·g)`.
    Nesterov,
}

/// A program with the inputs of the map that it runs over, by role, and the map's outputs, the velocity's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Native {
    pub program: Program,
    pub dtype: DType,
    pub inputs: [usize; 5],
    pub outputs: [usize; 2],
}
