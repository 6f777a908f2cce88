//! Matrices stored as blocks of columns, each contiguous.
//!
//! A layer that is split by columns then reads and updates its own blocks only, so that no cache line moves between
//! cores, and the tiles of a product stream through memory. A block is a piece of a split by columns.

use crate::kernel::call::{Split, pieces};
use std::ops::Range;

/// A matrix stored as blocks of columns, one after another, each of them row-major. The last takes up what would be a
/// narrow one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub rows: usize,
    pub columns: usize,
    pub width: usize,
}

impl Blocks {
    /// The columns of the block that holds one.
    pub(crate) fn around(self, column: usize) -> Range<usize> {
        let last = pieces(self.columns, self.width).saturating_sub(1);
        let at = (column / self.width).min(last);
        at * self.width..if at == last { self.columns } else { (at + 1) * self.width }
    }

    /// The blocks that columns are in, those at the ends cut off.
    pub(crate) fn within(self, columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut from = columns.start;
        std::iter::from_fn(move || {
            let part = (from < columns.end).then(|| from..self.around(from).end.min(columns.end))?;
            from = part.end;
            Some(part)
        })
    }

    /// Where an element is.
    pub(crate) fn at(self, row: usize, column: usize) -> usize {
        let block = self.around(column);
        block.start * self.rows + row * block.len() + column - block.start
    }

    /// Columns of the widest block.
    pub(crate) fn widest(self) -> usize {
        self.around(self.columns.saturating_sub(1)).len().max(self.width.min(self.columns))
    }

    /// The layout of a matrix that is worth the trouble.
    pub(crate) fn worthwhile(shape: &[usize]) -> Option<Blocks> {
        // With fewer columns a product is not shared out by them.
        const FEWEST_COLUMNS: usize = 96;
        let &[rows, columns] = shape else { return None };
        let width = Split::columns(columns).unit();
        (columns >= FEWEST_COLUMNS && rows > 0).then_some(Blocks { rows, columns, width })
    }
}
