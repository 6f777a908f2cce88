//! The kernels: the only place with SIMD. Each has a slow twin in [`reference`](crate::reference) that it is checked
//! against.
//!
//! Kernels take plain slices, or raw pointers where an output may overwrite an input element by element. SIMD comes
//! from `pulp`, which picks the instruction set when the program runs, so an ordinary release build is the fast one.
#![allow(unsafe_code)]

pub(crate) mod bytes;
pub(crate) mod ceiling;
mod claim;
pub(crate) mod copy;
pub(crate) mod gemm;
pub(crate) mod index;
pub(crate) mod map;
mod math;
pub(crate) mod measure;
mod native;
pub(crate) mod norm;
mod number;
pub(crate) mod reduce;
mod simd;
mod total;

pub(crate) use number::Real;
pub(crate) use simd::Level;
