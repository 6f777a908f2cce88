//! One block of memory, aligned to cache lines.

use crate::kernel::LINE;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// A zeroed block of bytes, aligned to [`LINE`].
pub(super) struct Arena {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an arena owns its block, and hands out pointers only through `&mut self`.
unsafe impl Send for Arena {}
// SAFETY: as above; nothing can be read or written through `&Arena`.
unsafe impl Sync for Arena {}

impl Arena {
    /// `None` where the system has no such block.
    pub(super) fn new(bytes: usize) -> Option<Arena> {
        let layout = Layout::from_size_align(bytes.max(1), LINE).ok()?;
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        Some(Arena { start: NonNull::new(start)?, layout })
    }

    pub(super) fn start(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} bytes)", self.layout.size())
    }
}
