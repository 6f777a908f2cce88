//! `y[i] = f(x[i])` for the elementary functions, without a branch or a call in the loop: the compiler makes SIMD of it.
//!
//! A function is written for one element of either float type. Over its whole range it is at most 2 ulp from the exact
//! result, also where that is subnormal; 1.5 is the most that was found. NaN gives NaN, odd functions keep the sign of
//! zero, and limits are reached exactly. Powers have too many special cases for this form and stay with the library.
//!
//! Polynomials are minimax: a Remez exchange in 60 digits over the interval that stands at the table, in powers of the
//! variable, then each coefficient rounded to the nearest float. The error that stands there is the one after rounding.
//!
//! Results are the same bits under AVX2 and AVX-512. Without a fused multiply-add they may differ, within the 2 ulp.

mod erf;
mod exp;
mod lane;
mod log;
mod sin_cos;
mod tanh;
#[cfg(test)]
mod tests;

pub(crate) use erf::Erf;
pub(crate) use exp::{Exp, Expm1};
pub(crate) use log::{Log, Log1p};
pub(crate) use sin_cos::{Cos, Sin};
pub(crate) use tanh::{Sigmoid, Tanh};

use crate::ir::DType;
use crate::kernel::{Level, Real};
use crate::ops::Unary;
use lane::Lane;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// A function of one float.
pub(crate) trait Function {
    /// The op, whose scalar form stands in beyond [`REACH`](Self::REACH).
    const OP: Unary;
    /// The largest magnitude that [`apply`](Self::apply) takes; NaN it always takes.
    const REACH: f64 = f64::INFINITY;

    /// `f(x)`. `FUSED` says that the machine multiplies and adds in one instruction.
    fn apply<T: Lane, const FUSED: bool>(x: T) -> T;
}

/// `y[i] = f(a[i])`.
///
/// # Safety
/// `a` is readable and `y` writable for `n` elements; they are apart or equal.
pub(crate) unsafe fn each<F: Function, T: Real>(level: Level, a: *const T, y: *mut T, n: usize) {
    match T::DTYPE {
        // SAFETY: the caller's, and `T` is `f32`.
        DType::F32 => unsafe { Loop::<F, f32>::new(a.cast(), y.cast(), n) }.run(level),
        // SAFETY: the caller's, and `T` is `f64`: there is no other.
        _ => unsafe { Loop::<F, f64>::new(a.cast(), y.cast(), n) }.run(level),
    }
}

/// A loop that may be run: its pointers are good.
struct Loop<F, T> {
    a: *const T,
    y: *mut T,
    n: usize,
    function: PhantomData<F>,
}

/// Elements taken at a time. They pass through memory of the loop's own, so that the compiler need not prove that
/// input and output are apart, and so that the last few run in the same instructions as the others.
const BLOCK: usize = 64;

impl<F: Function, T: Lane> Loop<F, T> {
    /// # Safety
    /// As [`each`].
    unsafe fn new(a: *const T, y: *mut T, n: usize) -> Self {
        Loop { a, y, n, function: PhantomData }
    }

    fn run(self, level: Level) {
        level.dispatch(self);
    }

    #[inline(always)]
    fn blocks<const FUSED: bool>(&self) {
        for start in (0..self.n).step_by(BLOCK) {
            let len = BLOCK.min(self.n - start);
            let mut x = [T::ZERO; BLOCK];
            // SAFETY: `new` was told that `start + len <= n` elements are there on both sides.
            let (a, to) = unsafe { (self.a.add(start), self.y.add(start)) };
            if len == BLOCK {
                // SAFETY: as above; a copy of known size is no call.
                x = unsafe { a.cast::<[T; BLOCK]>().read() };
            } else {
                // SAFETY: as above.
                unsafe { std::ptr::copy_nonoverlapping(a, x.as_mut_ptr(), len) };
            }
            let mut y = [T::ZERO; BLOCK];
            for (y, &x) in y.iter_mut().zip(&x) {
                *y = F::apply::<T, FUSED>(x);
            }
            if F::REACH < f64::INFINITY {
                let far = T::of(F::REACH);
                if x.iter().fold(false, |any, x| any | (x.magnitude() > far)) {
                    for (y, x) in y.iter_mut().zip(x).filter(|(_, x)| x.magnitude() > far) {
                        *y = F::OP.apply(x);
                    }
                }
            }
            if len == BLOCK {
                // SAFETY: as above.
                unsafe { to.cast::<[T; BLOCK]>().write(y) };
            } else {
                // SAFETY: as above.
                unsafe { std::ptr::copy_nonoverlapping(y.as_ptr(), to, len) };
            }
        }
    }
}

impl<F: Function, T: Lane> WithSimd for Loop<F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Every level of pulp's but the scalar one has the instruction, WebAssembly's aside.
        if S::IS_SCALAR || cfg!(target_family = "wasm") { self.blocks::<false>() } else { self.blocks::<true>() }
    }
}
