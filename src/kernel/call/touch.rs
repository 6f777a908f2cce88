//! Which elements of which buffers a call reads and writes, and which of them belong to a share of it.

use super::{BufferId, Split, View};
use crate::ir::DType;
use crate::kernel::gemm::Blocks;
use smallvec::SmallVec;
use std::ops::Range;

/// Elements of one buffer that a call reads or writes.
#[derive(Clone, Debug)]
pub(crate) struct Touch {
    pub buffer: BufferId,
    pub dtype: DType,
    pub effect: Effect,
    /// The elements that all shares touch together.
    pub region: Region,
    /// Which of them one share touches.
    pub cut: Cut,
    /// The layout that the call takes the buffer to be stored in, if not row-major. Regions are in row-major terms.
    pub layout: Option<Blocks>,
    /// For a read: a result may lie over it, element for element.
    pub is_in_place: bool,
    /// For a read: the call gains if the step that makes the buffer is split as this call is.
    pub is_wished: bool,
    /// For a write: the kernel notes a bound of its magnitudes, where it is asked to.
    pub is_bounded: bool,
}

/// How a buffer is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
    /// As a write, over which later steps may write again.
    Fill,
}

impl Touch {
    pub(crate) fn read(buffer: BufferId, dtype: DType, region: Region, cut: Cut) -> Touch {
        let (effect, layout) = (Effect::Read, None);
        Touch { buffer, dtype, effect, region, cut, layout, is_in_place: false, is_wished: false, is_bounded: false }
    }

    pub(crate) fn write(buffer: BufferId, dtype: DType, region: Region, cut: Cut) -> Touch {
        Touch { effect: Effect::Write, ..Touch::read(buffer, dtype, region, cut) }
    }

    pub(crate) fn writes(&self) -> bool {
        self.effect != Effect::Read
    }

    /// What one share touches of the buffer under a split.
    pub(crate) fn own(&self, split: Option<Split>) -> Own {
        match (split, self.cut) {
            (None, _) => Own::First,
            (Some(_), Cut::Whole) => Own::All,
            (Some(split), Cut::Same) => Own::Positions(split),
            (Some(split), Cut::When { call, buffer }) if call == split => Own::Positions(buffer),
            (Some(_), Cut::When { .. }) => Own::All,
            (Some(split), Cut::Periodic { period, repeat }) => {
                let inner = split.inner / repeat.max(1);
                let is_regular = split.inner.is_multiple_of(repeat) && period.is_multiple_of(inner * split.extent);
                if is_regular { Own::Positions(Split { inner, ..split }) } else { Own::All }
            }
        }
    }

    /// The split of a call that takes any, under which each of its shares touches of this buffer what is its own already.
    pub(crate) fn following(&self, made: Split) -> Option<Split> {
        match self.cut {
            Cut::Same => Some(made),
            Cut::Periodic { repeat, .. } => Some(Split { inner: made.inner * repeat, ..made }),
            Cut::Whole | Cut::When { .. } => None,
        }
    }

    /// The elements that a share with these positions touches, run by run.
    pub(crate) fn ranges(&self, split: Option<Split>, positions: &Range<usize>) -> Vec<Range<usize>> {
        let runs = self.region.runs();
        match self.own(split) {
            Own::All | Own::First => runs,
            Own::Positions(split) => runs.into_iter().flat_map(|run| split.within(run, positions)).collect(),
        }
    }
}

/// Which elements of a buffer a share of a call touches, of those that the call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of them, whichever share.
    Whole,
    /// Those at its own positions.
    Same,
    /// Under the split `call`, its own positions by the split `buffer`; under any other, all.
    When { call: Split, buffer: Split },
    /// Element `(i / repeat) % period` for the `i`-th of what is split.
    Periodic { period: usize, repeat: usize },
}

/// What one share touches of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Its own positions.
    Positions(Split),
    /// Anything.
    All,
    /// Anything, but only the first share runs.
    First,
}

impl Own {
    /// Whether a share that touches the one needs nothing that another share does to the other.
    pub(crate) fn is_apart(self, other: Own) -> bool {
        self == other && self != Own::All
    }
}

/// Elements of a buffer: `first + Σ iₖ·strideₖ` for all `iₖ < sizeₖ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    first: usize,
    // Sizes and strides.
    axes: SmallVec<[(usize, usize); 3]>,
}

impl Region {
    /// `len` elements one after another.
    pub(crate) fn run(first: usize, len: usize) -> Region {
        Region { first, axes: SmallVec::from_slice(&[(len, 1)]) }
    }

    pub(crate) fn of_view(view: &View) -> Region {
        Region::strided(view.offset, view.shape.iter().copied().zip(view.strides.iter().copied()))
    }

    /// Sizes and strides of any number of axes.
    pub(crate) fn strided(first: usize, axes: impl IntoIterator<Item = (usize, usize)>) -> Region {
        Region { first, axes: axes.into_iter().collect() }
    }

    /// The elements as runs, each as long as can be where strides are nested.
    fn runs(&self) -> Vec<Range<usize>> {
        if self.axes.iter().any(|&(size, _)| size == 0) {
            return Vec::new();
        }
        // A stride of 0 comes to the same element again.
        let mut axes: SmallVec<[(usize, usize); 4]> =
            self.axes.iter().copied().filter(|&(size, stride)| size > 1 && stride > 0).collect();
        axes.sort_unstable_by_key(|&(_, stride)| stride);
        let mut len = 1;
        let dense = axes.iter().take_while(|&&(size, stride)| {
            let is_next = stride == len;
            len *= if is_next { size } else { 1 };
            is_next
        });
        let dense = dense.count();
        let mut starts = vec![self.first];
        for &(size, stride) in axes[dense..].iter().rev() {
            starts = starts.into_iter().flat_map(|start| (0..size).map(move |i| start + i * stride)).collect();
        }
        starts.into_iter().map(|start| start..start + len).collect()
    }
}
