//! How an operand is laid out: the op sees a view, and gradients are taken with respect to what lies beneath.

use foldgrad::Expr;

/// The way from an input to the operand that an op sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The input itself.
    Contiguous,
    /// The input has its axes in reverse order.
    Transposed,
    /// Every other element along each axis, from the second one.
    Sliced,
    /// The input lacks the leading axis.
    Broadcast,
    /// The input has size 1 in the last axis.
    Stretched,
}

impl Layout {
    pub const ALL: [Layout; 5] =
        [Layout::Contiguous, Layout::Transposed, Layout::Sliced, Layout::Broadcast, Layout::Stretched];

    /// The shape of the input beneath an operand of `shape`.
    pub fn source(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Layout::Contiguous, _) => shape.to_vec(),
            (Layout::Transposed | Layout::Stretched, []) => vec![1, 1],
            (Layout::Broadcast, []) => vec![1],
            (Layout::Sliced, []) => vec![3],
            (Layout::Transposed, _) => shape.iter().rev().copied().collect(),
            (Layout::Sliced, _) => shape.iter().map(|&size| 2 * size + 1).collect(),
            (Layout::Broadcast, _) => shape[1..].to_vec(),
            (Layout::Stretched, _) => shape[..shape.len() - 1].iter().copied().chain([1]).collect(),
        }
    }

    /// The operand of `shape` over its input.
    pub fn view<'b>(self, source: Expr<'b>, shape: &[usize]) -> Expr<'b> {
        match (self, shape) {
            (Layout::Contiguous, _) => source,
            (Layout::Sliced, []) => source.slice(0, 1..2).reshape(shape),
            (Layout::Transposed, []) => source.transpose(&[1, 0]).reshape(shape),
            (_, []) => source.reshape(shape),
            (Layout::Transposed, _) => source.transpose(&(0..shape.len()).rev().collect::<Vec<_>>()),
            (Layout::Sliced, _) => {
                shape.iter().enumerate().fold(source, |value, (axis, &size)| value.slice_by(axis, 1..2 * size + 1, 2))
            }
            (Layout::Broadcast | Layout::Stretched, _) => source.broadcast_to(shape),
        }
    }
}
