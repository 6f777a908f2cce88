//! One reference interpreter, many number types: the slow definition that every fast form is checked against.
//!
//! [`interpret`] evaluates a graph over any [`Number`]: `f32`, `f64`, [`Dual`] numbers (exact forward-mode
//! derivatives), [`ComplexStep`], and the prime field [`Fp`], in which two graphs that agree on random inputs are equal
//! as algebra with no tolerance at all.

mod array;
mod complex_step;
mod dual;
mod field;
mod interpret;
mod number;

pub use array::{Array, NdArray};
pub use complex_step::ComplexStep;
pub use dual::Dual;
pub use field::Fp;
pub use interpret::{EvalError, Interpreted, interpret, interpret_all};
pub use number::Number;

pub(crate) use array::{each_kind, index_of, strides_of};
pub(crate) use interpret::{MOST_ELEMENTS, eval_op};
