//! The float types that kernels are written for, and vectors of them.

use super::partial::Partial;
use super::total::{Compensated, Total};
use crate::ir::Element;
use crate::reference::Number;
use pulp::{Scalar, Simd};

/// `f32` or `f64`, with the operators that inner loops use.
pub(crate) trait Real:
    Number
    + Element
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::DivAssign
    + PartialOrd
    + faer::traits::ComplexField
    + faer::traits::Conjugate<Canonical = Self>
{
    const ZERO: Self;
    const ONE: Self;

    /// What blocks of a long sum or product are added up in.
    type Total: Total<Self>;

    /// The number that a byte is.
    fn from_byte(byte: u8) -> Self;

    /// `a·b + c`, rounded once.
    fn fused(a: Self, b: Self, c: Self) -> Self;

    /// A magnitude as an integer, in the order of magnitudes, NaN above them all.
    type Ordered: Ord + Copy;

    fn ordered(self) -> Self::Ordered;

    fn of_ordered(ordered: Self::Ordered) -> Self;

    /// A vector register of an instruction set.
    type Vector<S: Simd>: Copy;
    /// Which lanes of a vector are in memory.
    type Mask<S: Simd>: Copy;

    /// Lanes of a vector.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }

    /// 0 for what is below 0; NaN stays NaN.
    fn vector_relu<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;

    /// `a` where the gate is above 0, and 0 elsewhere.
    fn vector_gated<S: Simd>(simd: S, gate: Self::Vector<S>, a: Self::Vector<S>) -> Self::Vector<S>;

    /// The lane of a vector that has one.
    fn only(vector: Self::Vector<Scalar>) -> Self;

    /// The value in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

    /// `a·b + c`, rounded once where the instruction set can.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;

    /// `a + b`.
    fn vector_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a − b`.
    fn vector_sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `|a|`.
    fn vector_abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;

    /// `a·b`.
    fn vector_mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// The first `count` lanes.
    fn first<S: Simd>(simd: S, count: usize) -> Self::Mask<S>;

    /// Loads the lanes of the mask, and zero in the others.
    ///
    /// # Safety
    /// `from` is readable in those lanes.
    unsafe fn load_masked<S: Simd>(simd: S, mask: Self::Mask<S>, from: *const Self) -> Self::Vector<S>;

    /// Stores the lanes of the mask.
    ///
    /// # Safety
    /// `to` is writable in those lanes.
    unsafe fn store_masked<S: Simd>(simd: S, mask: Self::Mask<S>, to: *mut Self, vector: Self::Vector<S>);

    /// Loads a whole vector.
    ///
    /// # Safety
    /// `from` is readable for as many elements; any alignment will do.
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> Self::Vector<S> {
        // SAFETY: the caller's; every bit pattern is a vector of floats.
        unsafe { from.cast::<Self::Vector<S>>().read_unaligned() }
    }

    /// Stores a whole vector.
    ///
    /// # Safety
    /// `to` is writable for as many elements; any alignment will do.
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, vector: Self::Vector<S>) {
        // SAFETY: the caller's.
        unsafe { to.cast::<Self::Vector<S>>().write_unaligned(vector) }
    }
}

macro_rules! real {
    ($float:ident, $total:ty, $vector:ident, $mask:ident, $splat:ident, $mul_add:ident, $add:ident, $sub:ident, $abs:ident, $mul:ident, $less:ident, $select:ident,
     $between:ident, $index:ty, $signed:ty, $load:ident, $store:ident) => {
        impl Real for $float {
            const ZERO: $float = 0.0;
            const ONE: $float = 1.0;

            type Total = $total;

            #[inline(always)]
            fn from_byte(byte: u8) -> $float {
                $float::from(byte)
            }

            #[inline(always)]
            fn fused(a: $float, b: $float, c: $float) -> $float {
                a.mul_add(b, c)
            }

            // Without its sign, a signed integer: vectors of these have a maximum.
            type Ordered = $signed;

            #[inline(always)]
            fn ordered(self) -> $signed {
                (self.to_bits() & (<$index>::MAX >> 1)) as $signed
            }

            #[inline(always)]
            fn of_ordered(ordered: $signed) -> $float {
                $float::from_bits(ordered as $index)
            }

            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = Partial<S::$mask>;

            #[inline(always)]
            fn vector_relu<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                let zero = simd.$splat(0.0);
                simd.$select(simd.$less(a, zero), zero, a)
            }

            #[inline(always)]
            fn vector_gated<S: Simd>(simd: S, gate: S::$vector, a: S::$vector) -> S::$vector {
                let zero = simd.$splat(0.0);
                simd.$select(simd.$less(zero, gate), a, zero)
            }

            #[inline(always)]
            fn only(vector: $float) -> $float {
                vector
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: $float) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn vector_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn vector_sub<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn vector_abs<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$abs(a)
            }

            #[inline(always)]
            fn vector_mul<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn first<S: Simd>(simd: S, count: usize) -> Partial<S::$mask> {
                Partial { mask: simd.$between(0, count as $index), count }
            }

            /// # Safety
            /// As the trait says.
            #[inline(always)]
            unsafe fn load_masked<S: Simd>(simd: S, mask: Partial<S::$mask>, from: *const $float) -> S::$vector {
                #[cfg(target_arch = "x86_64")]
                if super::partial::is_avx2::<S>() {
                    // SAFETY: the caller's; these are the vectors of AVX2.
                    return unsafe { std::mem::transmute_copy(&super::partial::$float::load(from, mask.count)) };
                }
                // SAFETY: the caller's.
                unsafe { simd.$load(mask.mask, from) }
            }

            /// # Safety
            /// As the trait says.
            #[inline(always)]
            unsafe fn store_masked<S: Simd>(simd: S, mask: Partial<S::$mask>, to: *mut $float, vector: S::$vector) {
                #[cfg(target_arch = "x86_64")]
                if super::partial::is_avx2::<S>() {
                    // SAFETY: the caller's; these are the vectors of AVX2.
                    return unsafe { super::partial::$float::store(to, mask.count, std::mem::transmute_copy(&vector)) };
                }
                // SAFETY: the caller's.
                unsafe { simd.$store(mask.mask, to, vector) }
            }
        }
    };
}

real!(
    f32,
    f64,
    f32s,
    m32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s,
    sub_f32s,
    abs_f32s,
    mul_f32s,
    less_than_f32s,
    select_f32s,
    mask_between_m32s,
    u32,
    i32,
    mask_load_ptr_f32s,
    mask_store_ptr_f32s
);
real!(
    f64,
    Compensated,
    f64s,
    m64s,
    splat_f64s,
    mul_add_e_f64s,
    add_f64s,
    sub_f64s,
    abs_f64s,
    mul_f64s,
    less_than_f64s,
    select_f64s,
    mask_between_m64s,
    u64,
    i64,
    mask_load_ptr_f64s,
    mask_store_ptr_f64s
);
