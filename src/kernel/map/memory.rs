//! Where the inputs and outputs of a map are while it runs.

/// Where an input of a map lies: its element number `first` is at `start`. Other than 0, where only a part of the input is
/// in memory, it is that of an input of pattern `Full`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputAt {
    pub start: *const u8,
    pub first: usize,
}

impl InputAt {
    /// Element `at`, which is not before the first; `size` is that of an element.
    ///
    /// # Safety
    /// The element lies within, or just behind, the memory that `start` leads to.
    #[inline(always)]
    pub unsafe fn element(self, at: usize, size: usize) -> *const u8 {
        // SAFETY: the caller's.
        unsafe { self.start.add((at - self.first) * size) }
    }
}

/// The memory of one run of a map: one origin for each input (at its offset), one pointer for each output, and scratch for
/// one chunk of each input and scratch slot.
pub(crate) struct MapMemory<'a> {
    pub inputs: &'a [InputAt],
    pub outputs: &'a [*mut u8],
    pub scratch: *mut u8,
}
