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

    /// Positions that stay together: the width of a register tile, whichever shares out most evenly between two. It
    /// depends on the extent alone, so that equal splits have equal shares.
    pub(crate) fn unit(self) -> usize {
        // The width, and percent of the time of a full tile for as many columns.
        const WIDTHS: [(usize, usize); 3] = [(48, 100), (32, 101), (16, 130)];
        const VECTOR: usize = 16;
        if self.extent < 64 {
            return if self.extent < 32 { 16 } else { 8 };
        }
        let time = |&(unit, percent): &(usize, usize)| {
            let half = pieces(self.extent, unit) / 2 * unit;
            percent * half.max(self.extent - half).div_ceil(VECTOR)
        };
        WIDTHS.iter().min_by_key(|width| time(width)).map_or(VECTOR, |&(unit, _)| unit)
    }

    /// The number of pieces that can be shared out.
    pub(crate) fn units(self) -> usize {
        pieces(self.extent, self.unit())
    }

    /// The positions of one of `shares` shares; some may be empty.
    pub(crate) fn range(self, share: usize, shares: usize) -> Range<usize> {
        let (unit, units) = (self.unit(), self.units());
        let at = |share: usize| if share == shares { self.extent } else { units * share / shares * unit };
        at(share)..at(share + 1)
    }

    /// The elements of a run that belong to these positions.
    pub(crate) fn within(self, run: Range<usize>, positions: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (first, len) = (positions.start * self.inner, positions.len() * self.inner);
        // From one element of a position to the next of the same.
        let period = (self.inner * self.extent).max(1);
        let periods = if len == 0 { 0..0 } else { run.start / period..run.end.div_ceil(period) };
        periods.filter_map(move |at| {
            let start = at * period + first;
            let part = start.max(run.start)..(start + len).min(run.end);
            (!part.is_empty()).then_some(part)
        })
    }

    /// The positions of the largest share.
    pub(crate) fn largest(self, shares: usize) -> usize {
        let shares = shares.max(1);
        (0..shares).map(|share| self.range(share, shares).len()).max().unwrap_or(0)
    }
}

/// Pieces of `unit` positions that make up an extent. What is left over is a piece of its own, or joins the last one if it
/// is no more than half of one: a tile of few columns takes as long as one of twice as many.
pub(crate) fn pieces(extent: usize, unit: usize) -> usize {
    ((extent + unit.div_ceil(2) - 1) / unit).max(usize::from(extent > 0))
}
