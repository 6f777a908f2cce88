//! Asks for cache lines ahead of their use. Lines that another core has read since are otherwise waited for one by one when
//! they are written; and the hardware does not foresee where a share's piece of the next row begins.

/// Asks for the lines of `len` elements, to be written. Addresses need not be valid.
#[inline(always)]
pub(super) fn claim<T>(start: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    ask::<{ std::arch::x86_64::_MM_HINT_ET0 }>(start.cast(), len * size_of::<T>());
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, len);
}

/// Asks for the lines of `len` elements, to be read. Addresses need not be valid.
#[inline(always)]
pub(super) fn fetch<T>(start: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    ask::<{ std::arch::x86_64::_MM_HINT_T0 }>(start.cast(), len * size_of::<T>());
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, len);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ask<const HINT: i32>(start: *const i8, bytes: usize) {
    const LINE: usize = 64;
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: a hint touches no memory that the program could see, whatever the address.
        unsafe { std::arch::x86_64::_mm_prefetch::<HINT>(start.wrapping_add(at)) };
    }
}
