//! Where the inputs and outputs of a map are while it runs.

use super::call::MapCall;
use crate::kernel::call::Memory;

/// Where an input of a map lies: its element number `first` is at `start`. Other than 0, where only a part of the input is
/// in memory, it is that of an input of pattern `Full`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub start: *const u8,
    pub first: usize,
}

impl Origin {
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
    pub inputs: &'a [Origin],
    pub outputs: &'a [*mut u8],
    pub scratch: *mut u8,
}

/// Bytes of the lists that lead to the inputs and outputs of a map.
pub(super) fn list_bytes(map: &MapCall) -> usize {
    map.inputs.len() * size_of::<Origin>() + map.outputs.len() * size_of::<*mut u8>()
}

/// Writes the lists that lead to the inputs and outputs of a map to `scratch`.
///
/// # Safety
/// `scratch` is aligned to cache lines and writable for [`list_bytes`], and no one else uses it while the borrow lasts.
pub(in crate::kernel) unsafe fn lists<'s>(
    map: &MapCall,
    memory: &Memory<'_>,
    scratch: *mut u8,
) -> (&'s mut [Origin], &'s mut [*mut u8]) {
    let origins: *mut Origin = scratch.cast();
    // SAFETY: the caller's; the second list begins where the first ends, which is aligned for pointers.
    unsafe {
        for (at, input) in map.inputs.iter().enumerate() {
            let start: *const u8 = memory.at(input.buffer);
            let start = start.wrapping_add(input.offset * input.dtype.size());
            origins.add(at).write(Origin { start, first: 0 });
        }
        let outputs: *mut *mut u8 = origins.add(map.inputs.len()).cast();
        for (at, output) in map.outputs.iter().enumerate() {
            outputs.add(at).write(memory.at(output.buffer));
        }
        let inputs = std::slice::from_raw_parts_mut(origins, map.inputs.len());
        (inputs, std::slice::from_raw_parts_mut(outputs, map.outputs.len()))
    }
}
