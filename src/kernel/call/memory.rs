//! What a call is handed when it runs: the memory of its buffers, its share of the work, and scratch of its own.

use super::{BufferId, Notes, Split};
use crate::ir::DType;
use crate::kernel::{Level, Stretches};
use std::ops::Range;

/// The memory of a run.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    /// Where each buffer is.
    pub buffers: &'a [*mut u8],
    pub level: Level,
    /// What kernels find out about magnitudes.
    pub notes: &'a Notes,
    /// For each fed input, what its magnitudes are not above, where the caller knows.
    pub vouched: &'a [Option<f64>],
    /// Whether products that are never stored are to be looked at for what is not finite.
    pub watches_products: bool,
}

impl Memory<'_> {
    /// Where a buffer begins.
    pub(crate) fn at<E>(&self, buffer: BufferId) -> *mut E {
        self.buffers[buffer].cast()
    }

    /// A stretch of a buffer: `range` of blocks of `block` elements.
    ///
    /// # Safety
    /// The buffer holds elements of type `E` there, and no one writes them while the borrow lasts.
    pub(crate) unsafe fn part<E>(&self, buffer: BufferId, range: Range<usize>, block: usize) -> &[E] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.at::<E>(buffer).add(range.start * block), range.len() * block) }
    }

    /// As [`Memory::part`], to be written.
    ///
    /// # Safety
    /// As [`Memory::part`], and no one else touches these elements while the borrow lasts.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part_mut<E>(&self, buffer: BufferId, range: Range<usize>, block: usize) -> &mut [E] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.at::<E>(buffer).add(range.start * block), range.len() * block) }
    }
}

/// A share of a call: a range of the positions of its split, or all of it.
#[derive(Clone, Debug)]
pub(crate) struct Share<'a> {
    pub split: Option<Split>,
    pub positions: Range<usize>,
    /// The results whose magnitudes are to be noted, and where.
    pub notes: &'a [(BufferId, usize)],
}

impl Share<'_> {
    /// The share as a range of blocks, of a call that is split by its outermost axis.
    pub(crate) fn outer(&self, blocks: usize) -> Range<usize> {
        if self.split.is_some() { self.positions.clone() } else { 0..blocks }
    }

    /// The share as stretches of `len` elements.
    pub(crate) fn stretches(&self, len: usize) -> Stretches {
        match self.split {
            None => Stretches::whole(len),
            Some(Split { inner, extent }) => Stretches {
                first: self.positions.start * inner,
                len: self.positions.len() * inner,
                stride: inner * extent,
                count: len / (inner * extent),
            },
        }
    }

    /// Where the magnitudes of a result are to be noted, if they are.
    pub(crate) fn note_of(&self, result: BufferId) -> Option<usize> {
        self.notes.iter().find(|(buffer, _)| *buffer == result).map(|&(_, slot)| slot)
    }
}

/// What one worker has for itself.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The number of the worker.
    pub worker: usize,
    /// Scratch, aligned to cache lines.
    pub scratch: *mut u8,
    /// Whether a product that was [looked at](Memory::watches_products) came out infinite or NaN.
    pub overflowed: bool,
}

/// One of two bodies, by the float type that a kernel works on.
pub(crate) fn by_type<R>(dtype: DType, f32: impl FnOnce() -> R, f64: impl FnOnce() -> R) -> R {
    // Type rules admit only floats to these kernels.
    if dtype == DType::F32 { f32() } else { f64() }
}
