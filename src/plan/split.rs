//! How a step's work is shared out: element `i` of a buffer belongs to position `(i / inner) % extent`, and a share is a
//! range of positions.
//!
//! Rows of a matrix of `n` columns are `inner = n`; its columns are `inner = 1, extent = n`. Two steps that touch a buffer
//! with one split can run one after the other in each share, without waiting for the other shares.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Split {
    pub inner: usize,
    pub extent: usize,
}

impl Split {
    pub(crate) fn columns(n: usize) -> Split {
        Split { inner: 1, extent: n }
    }

    pub(crate) fn rows(m: usize, n: usize) -> Split {
        Split { inner: n, extent: m }
    }

    /// Positions that stay together: the width of a register tile, or less where that shares out more evenly between two.
    /// It depends on the extent alone, so that equal splits have equal shares.
    pub(crate) fn unit(self) -> usize {
        // Percent of the time of a full tile, for as many columns.
        const WIDTHS: [(usize, usize); 2] = [(32, 100), (16, 130)];
        let time = |&(width, percent): &(usize, usize)| {
            let half = self.extent.div_ceil(width) / 2 * width;
            percent * half.max(self.extent - half)
        };
        let best = WIDTHS.iter().min_by_key(|width| time(width));
        best.filter(|_| self.extent >= 64).map_or(if self.extent < 32 { 16 } else { 8 }, |&(width, _)| width)
    }

    /// The number of pieces that can be shared out.
    pub(crate) fn units(self) -> usize {
        self.extent.div_ceil(self.unit())
    }

    /// The positions of one of `shares` shares; some may be empty.
    pub(crate) fn range(self, share: usize, shares: usize) -> Range<usize> {
        let at = |share: usize| (self.units() * share / shares * self.unit()).min(self.extent);
        at(share)..at(share + 1)
    }

    /// The positions of the largest share.
    pub(crate) fn largest(self, shares: usize) -> usize {
        (self.units().div_ceil(shares.max(1)) * self.unit()).min(self.extent)
    }
}
