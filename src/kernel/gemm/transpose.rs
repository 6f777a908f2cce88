//! Copies a transposed window, 8 × 8 elements at a time where the machine has AVX2.

use crate::kernel::Real;
use crate::kernel::simd::Level;

/// Rows of the target that are written together, so that the lines they are on stay in the first-level cache.
const STRIP: usize = 16;

/// `to[i·width + j] = from[i + j·stride]` for `i < depth`, `j < width`.
///
/// # Safety
/// `from` is readable over the window, and `to` writable for `depth·width` elements.
pub(super) unsafe fn transpose<T: Real>(
    level: Level,
    from: *const T,
    stride: usize,
    [depth, width]: [usize; 2],
    to: *mut T,
) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && level.has_avx2() {
        let (whole_rows, whole_columns) = (depth / 8 * 8, width / 8 * 8);
        // SAFETY: the caller's; the level says that the instructions are there, and an f32 has 4 bytes.
        unsafe {
            avx2::squares(from.cast(), stride, [whole_rows, whole_columns], to.cast(), width);
            let (right, below) = (from.wrapping_add(whole_columns * stride), from.wrapping_add(whole_rows));
            one_by_one(right, stride, [whole_rows, width - whole_columns], to.wrapping_add(whole_columns), width);
            one_by_one(below, stride, [depth - whole_rows, width], to.wrapping_add(whole_rows * width), width);
        }
        return;
    }
    let _ = level;
    // SAFETY: the caller's.
    unsafe { one_by_one(from, stride, [depth, width], to, width) };
}

/// # Safety
/// As [`transpose`], with rows of `to` that are `pitch` apart.
unsafe fn one_by_one<T: Copy>(from: *const T, stride: usize, [depth, width]: [usize; 2], to: *mut T, pitch: usize) {
    for strip in (0..depth).step_by(STRIP) {
        for column in 0..width {
            for row in strip..depth.min(strip + STRIP) {
                // SAFETY: the caller's.
                unsafe { to.add(row * pitch + column).write(from.add(row + column * stride).read()) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`transpose`](super::transpose), for multiples of 8, on a machine with AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn squares(
        from: *const f32,
        stride: usize,
        [depth, width]: [usize; 2],
        to: *mut f32,
        pitch: usize,
    ) {
        for column in (0..width).step_by(8) {
            for row in (0..depth).step_by(8) {
                // SAFETY: the caller's.
                unsafe { square(from.add(row + column * stride), stride, to.add(row * pitch + column), pitch) };
            }
        }
    }

    /// Transposes 8 rows of 8: pairs of elements, pairs of pairs, then halves change places.
    ///
    /// # Safety
    /// As [`squares`], for one square.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn square(from: *const f32, stride: usize, to: *mut f32, pitch: usize) {
        // SAFETY: the caller's.
        let r: [__m256; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * stride)) });
        let pairs: [__m256; 8] = std::array::from_fn(|i| {
            let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
            if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
        });
        let fours: [__m256; 8] = std::array::from_fn(|i| {
            let (half, place) = (i / 4 * 4, i % 4);
            let (a, b) = (pairs[half + place / 2], pairs[half + place / 2 + 2]);
            if place % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
        });
        for i in 0..4 {
            let (low, high) = (fours[i], fours[i + 4]);
            // SAFETY: the caller's.
            unsafe {
                _mm256_storeu_ps(to.add(i * pitch), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to.add((i + 4) * pitch), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }
}
