//! An op's own sampling domain: instances and operand ranges for the laws, away from kinks and poles.

use super::Op;
use crate::ir::{DType, TensorType};

/// The values that an operand is sampled from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Uniform in a range.
    Range(f64, f64),
    /// Uniform in ±[low, high]: away from a kink or pole at zero.
    AwayFromZero(f64, f64),
    /// Distinct multiples of a step in random order, so that no two entries tie.
    Distinct(f64),
    /// Integers in `low..high`.
    Integers(i32, i32),
    /// Random masks.
    Mask,
}

/// How an operand is sampled.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its type; every dimension known. `F64` stands for either float type.
    pub ty: TensorType,
    /// Its values.
    pub domain: Domain,
}

impl Sample {
    /// A float operand.
    pub fn float(shape: &[usize], domain: Domain) -> Sample {
        Sample { ty: TensorType::new(DType::F64, shape), domain }
    }

    /// A float operand in ±2.
    pub fn any(shape: &[usize]) -> Sample {
        Sample::float(shape, Domain::Range(-2.0, 2.0))
    }

    /// An integer operand in `low..high`.
    pub fn integers(shape: &[usize], low: i32, high: i32) -> Sample {
        Sample { ty: TensorType::new(DType::I32, shape), domain: Domain::Integers(low, high) }
    }

    /// A mask.
    pub fn mask(shape: &[usize]) -> Sample {
        Sample { ty: TensorType::new(DType::Bool, shape), domain: Domain::Mask }
    }
}

/// One instance of an op with its operands.
#[derive(Clone, Debug)]
pub struct Case {
    /// The instance.
    pub op: Op,
    /// Its operands, in order.
    pub operands: Vec<Sample>,
}

impl Case {
    /// An instance over `operands`.
    pub fn new(op: impl Into<Op>, operands: impl Into<Vec<Sample>>) -> Case {
        Case { op: op.into(), operands: operands.into() }
    }
}

/// Shapes that every element-wise op is tried on: scalar, size 1, empty, prime, several axes.
pub(crate) const SHAPES: &[&[usize]] = &[&[], &[1], &[7], &[0, 3], &[2, 3], &[5, 1, 3], &[13, 11]];
