//! The first lanes of a vector, where memory ends before the vector does.
//!
//! AVX-512 has masks in registers of their own. AVX2 has loads and stores that take a mask in a vector, which are written
//! here: the general way around them is an indirect jump, in the innermost loop of a product's last columns.

use pulp::MemMask;
#[cfg(target_arch = "x86_64")]
use pulp::Simd;

/// The first lanes of a vector: as a mask of the instruction set, and their number.
#[derive(Clone, Copy)]
pub(crate) struct Partial<M> {
    pub mask: MemMask<M>,
    pub count: usize,
}

/// Whether a kernel is being compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn is_avx2<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<pulp::x86::V3>()
}

/// Defines a load and a store of the first lanes for a float type.
#[cfg(target_arch = "x86_64")]
macro_rules! by_avx2 {
    ($module:ident, $float:ty, $vector:ty, $lanes:literal, $integer:ty, $load:ident, $store:ident) => {
        pub(super) mod $module {
            use std::arch::x86_64::*;

            /// A mask of `n` lanes begins `n` places before the middle.
            static LANES: [$integer; 2 * $lanes] = {
                let mut lanes = [0; 2 * $lanes];
                let mut lane = 0;
                while lane < $lanes {
                    lanes[lane] = -1;
                    lane += 1;
                }
                lanes
            };

            /// # Safety
            /// The machine has AVX2.
            #[inline(always)]
            unsafe fn mask(count: usize) -> __m256i {
                // SAFETY: the caller's; a mask of up to all lanes lies within the table.
                unsafe { _mm256_loadu_si256(LANES.as_ptr().add($lanes - count.min($lanes)).cast()) }
            }

            /// The first `count` elements, and zeros.
            ///
            /// # Safety
            /// The machine has AVX2, and `from` is readable for as many elements.
            #[inline(always)]
            pub unsafe fn load(from: *const $float, count: usize) -> $vector {
                // SAFETY: the caller's.
                unsafe { $load(from, mask(count)) }
            }

            /// Stores the first `count` lanes.
            ///
            /// # Safety
            /// The machine has AVX2, and `to` is writable for as many elements.
            #[inline(always)]
            pub unsafe fn store(to: *mut $float, count: usize, vector: $vector) {
                // SAFETY: the caller's.
                unsafe { $store(to, mask(count), vector) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
by_avx2!(f32, f32, __m256, 8, i32, _mm256_maskload_ps, _mm256_maskstore_ps);
#[cfg(target_arch = "x86_64")]
by_avx2!(f64, f64, __m256d, 4, i64, _mm256_maskload_pd, _mm256_maskstore_pd);

#[cfg(test)]
mod tests {
    use crate::kernel::simd::OverMemory;
    use crate::kernel::{Level, Real};
    use pulp::Simd;

    /// Brings the first lanes from one array to another.
    struct Bring<T> {
        from: *const T,
        to: *mut T,
        count: usize,
    }

    impl<T: Real> OverMemory for Bring<T> {
        /// How many there were.
        type Output = usize;

        /// # Safety
        /// There are as many elements on both sides.
        #[inline(always)]
        unsafe fn run<S: Simd>(self, simd: S) -> usize {
            let count = self.count.min(T::lanes::<S>());
            let mask = T::first(simd, count);
            // SAFETY: the caller's.
            unsafe { T::store_masked(simd, mask, self.to, T::load_masked(simd, mask, self.from)) };
            count
        }
    }

    fn check<T: Real + std::fmt::Debug>() {
        for level in [Some(Level::widest()), Level::avx2(), Some(Level::baseline())].into_iter().flatten() {
            for count in 0..=16 {
                // What lies at the end of its memory, so that a read beyond it is seen by whoever watches memory.
                let from: Vec<T> = (0..count).map(|i| T::from_f64(i as f64 + 1.0)).collect();
                let mut to = vec![T::from_f64(-1.0); 20];
                let bring = Bring { from: from.as_ptr(), to: to.as_mut_ptr(), count };
                // SAFETY: both have as many elements.
                let brought = unsafe { level.dispatch_over_memory(bring) };
                let expected = |i: usize| if i < brought { T::from_f64(i as f64 + 1.0) } else { T::from_f64(-1.0) };
                assert!(to.iter().enumerate().all(|(i, &value)| value == expected(i)), "{level:?}, {count}: {to:?}");
            }
        }
    }

    #[test]
    fn the_first_lanes_are_brought_and_no_others() {
        check::<f32>();
        check::<f64>();
    }
}
