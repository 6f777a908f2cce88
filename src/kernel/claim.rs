//! Asks for cache lines ahead of writing them. After a phase in which another core has read them, each would otherwise be
//! waited for in turn.

/// Asks for the lines of `len` elements. Addresses need not be valid.
#[inline(always)]
pub(super) fn claim<T>(start: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        const LINE: usize = 64;
        for at in (0..len * size_of::<T>()).step_by(LINE) {
            // SAFETY: a hint touches no memory that the program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(start.cast::<i8>().wrapping_add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, len);
}
