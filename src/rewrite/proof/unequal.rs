//! What a proof found wrong: which value, which element, and what it is before and after.

use super::Equality;
use crate::ir::{Role, TensorType, Value};
use crate::reference::EvalError;
use std::fmt;

/// Two graphs are not equal, or could not be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{which}: {difference}")]
pub struct Unequal {
    /// What differs.
    pub which: Which,
    /// How it differs.
    pub difference: Difference,
}

/// The part of two graphs that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The claim of that number, counted from 0.
    Claim(usize),
    /// The output of that name.
    Output(String),
    /// The next value of the state of that name.
    Update(String),
    /// The input of that name.
    InputSpec(String),
    /// The whole graph before the rewrite.
    Before,
    /// The whole graph after the rewrite.
    After,
}

/// How it differs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// An element has another value.
    Element {
        /// Its multi-index.
        index: Vec<usize>,
        /// Its value before: a residue of the field, a number, an integer or a mask.
        before: String,
        /// Its value after.
        after: String,
        /// How the two were compared.
        equality: Equality,
    },
    /// The types differ.
    Type {
        /// The type before.
        before: Box<TensorType>,
        /// The type after.
        after: Box<TensorType>,
    },
    /// The roles differ.
    Role {
        /// The role before.
        before: Role,
        /// The role after.
        after: Role,
    },
    /// The graph after does not have it.
    Missing,
    /// Only the graph after has it.
    New,
    /// A claim names a value that its graph does not have.
    NoSuchValue(Value),
    /// A graph could not be evaluated.
    Unevaluated(EvalError),
}

impl Difference {
    pub(super) fn of_types(before: &TensorType, after: &TensorType) -> Difference {
        Difference::Type { before: Box::new(before.clone()), after: Box::new(after.clone()) }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Claim(index) => write!(f, "claim {index} of the rewrite"),
            Which::Output(name) => write!(f, "the output `{name}`"),
            Which::Update(name) => write!(f, "the next value of `{name}`"),
            Which::InputSpec(name) => write!(f, "the input `{name}`"),
            Which::Before => f.write_str("the graph before the rewrite"),
            Which::After => f.write_str("the graph after the rewrite"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Element { index, before, after, equality } => {
                let place = match equality {
                    Equality::Algebraic => "at a random point of the field with 2⁶¹ − 1 elements",
                    Equality::Sampled => "at a sampled point",
                };
                write!(f, "{place}, element {index:?} is {before} before the rewrite and {after} after it")
            }
            Difference::Type { before, after } => write!(f, "it is {before} before the rewrite and {after} after it"),
            Difference::Role { before, after } => {
                write!(f, "it is {} before the rewrite and {} after it", before.name(), after.name())
            }
            Difference::Missing => {
                f.write_str("it is missing after the rewrite; a rewrite keeps what a graph computes")
            }
            Difference::New => f.write_str("it is new; a rewrite adds nothing to what a graph takes and gives"),
            Difference::NoSuchValue(value) => {
                write!(f, "there is no value {value}; name values of the graphs that are compared")
            }
            Difference::Unevaluated(error) => write!(f, "it cannot be evaluated: {error}"),
        }
    }
}

/// The points of a proof could not be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProverError {
    /// A weight does not fit the graph's input.
    #[error("the weight `{name}` is {found}, but the graph declares {expected}; give the weights of this graph")]
    Weight {
        /// The input's name.
        name: String,
        /// Its type with the sizes that the proof gives to symbols.
        expected: Box<TensorType>,
        /// The weight's type.
        found: Box<TensorType>,
    },
    /// The inputs cannot be sampled.
    #[error(transparent)]
    Inputs(#[from] EvalError),
}
