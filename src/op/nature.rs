//! What kind of thing an op is: the one answer from which the passes know how to look at it.

use crate::ir::DType;
use crate::ops::{Binary, Compare, Unary};

/// What an op does with its operands, in the widest sense in which rewriting, counting and planning ask.
///
/// It is the op's own answer, [`OpDef::nature`](super::OpDef::nature), and says only what holds of every instance with
/// these attributes. A law evaluates it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature<'a> {
    /// It has no operands: it comes from outside, or is known before a run.
    Source,
    /// The elements of its operand at other places. Nothing is computed.
    View(Rearrangement<'a>),
    /// An element of the result is a function of the elements at its place, of operands of one shape: of this function, or,
    /// for a composite, of one that only its definition says.
    Elementwise(Option<Function>),
    /// Sums of products of its first two operands, in which it is linear.
    Contraction {
        /// The operand whose axes are named.
        operand: usize,
        /// Its axes that are summed over.
        axes: &'a [usize],
        /// Whether a third operand is added to the sums.
        biased: bool,
    },
    /// Its operand folded along axes, which are gone from the result.
    Reduction {
        /// The axes.
        axes: &'a [usize],
    },
    /// Running totals of its operand along an axis: an element of the result depends on those up to it on its line, or on
    /// those from it on.
    Scan {
        /// The axis.
        axis: usize,
    },
    /// Elements that are taken from where integers say, or added there; nothing else is computed.
    Indexing,
    /// The elements of its operands side by side in a larger result; a scalar fills what is left.
    Assembly,
    /// It draws random numbers, at a [site](super::OpDef::site) of its own.
    Random,
    /// Its first operand brought to scale, by statistics that it takes or is given; a composite.
    Normalisation {
        /// Arithmetic operations for each element of the first operand.
        operations: usize,
    },
}

/// Where a view's elements are in its operand.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rearrangement<'a> {
    /// Where they were.
    Same,
    /// In the same row-major order, under another shape.
    Reshape,
    /// Axis `i` of the result is that axis of the operand.
    Permute(&'a [usize]),
    /// Axis `i` of the operand is that axis of the result, or has size 1; the result repeats along all others.
    Stretch(&'a [usize]),
    /// Every `stride`-th index of one axis.
    Cut {
        /// The axis.
        axis: usize,
        /// The first index taken.
        start: usize,
        /// The distance between indices taken.
        stride: usize,
    },
}

/// A function of one element of each operand that machines compute as it stands.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Of one float.
    Unary(Unary),
    /// Of two numbers.
    Binary(Binary),
    /// Whether two elements compare so.
    Compare(Compare),
    /// The second where the first holds, the third elsewhere.
    Select,
    /// The element as one of that type.
    Cast(DType),
}

impl Nature<'_> {
    /// Whether nothing is computed: the result is its operand, read in another way.
    pub fn is_view(self) -> bool {
        matches!(self, Nature::View(_))
    }

    /// Whether each element of the result needs the elements at its place alone.
    pub fn is_elementwise(self) -> bool {
        matches!(self, Nature::Elementwise(_) | Nature::View(Rearrangement::Same))
    }

    /// Whether it is a product: the arithmetic of a network.
    pub fn is_contraction(self) -> bool {
        matches!(self, Nature::Contraction { .. })
    }
}
