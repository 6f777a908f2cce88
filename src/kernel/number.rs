//! The float types that kernels are written for.

use crate::ir::Element;
use crate::reference::Number;

/// `f32` or `f64`, with the operators that inner loops use.
pub(crate) trait Real:
    Number
    + Element
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
    + std::ops::DivAssign
    + PartialOrd
    + faer::traits::ComplexField
    + faer::traits::Conjugate<Canonical = Self>
{
    const ZERO: Self;
    const ONE: Self;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
}
