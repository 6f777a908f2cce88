//! Compiles a loop for an instruction set that is chosen when the program runs.

use pulp::{Arch, Simd, WithSimd};

/// An instruction set to run kernels with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level(Arch);

impl Level {
    /// The widest of this machine.
    pub(crate) fn widest() -> Level {
        Level(Arch::new())
    }

    /// AVX2 with fused multiply-add, where the machine has it.
    pub(crate) fn avx2() -> Option<Level> {
        #[cfg(target_arch = "x86_64")]
        let level = pulp::x86::V3::try_new().map(|level| Level(Arch::V3(level)));
        #[cfg(not(target_arch = "x86_64"))]
        let level = None;
        level
    }

    /// What every machine of the architecture has.
    pub(crate) fn baseline() -> Level {
        Level(Arch::Scalar)
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Arch::Scalar => "baseline",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(_) => "NEON",
            _ => "another",
        }
    }

    /// Whether kernels written for AVX2 itself may run.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        !matches!(self.0, Arch::Scalar)
    }

    /// Whether multiplying and adding with one rounding is one instruction.
    pub(crate) fn has_fused(self) -> bool {
        cfg!(target_arch = "aarch64") || !matches!(self.0, Arch::Scalar)
    }

    /// Runs a kernel written for pulp's vectors.
    pub(crate) fn dispatch<K: WithSimd>(self, kernel: K) -> K::Output {
        self.0.dispatch(kernel)
    }

    /// Runs a kernel over memory that it holds pointers to.
    ///
    /// # Safety
    /// The kernel's own: see where it implements [`OverMemory`].
    pub(crate) unsafe fn dispatch_over_memory<K: OverMemory>(self, kernel: K) -> K::Output {
        self.0.dispatch(Vouched(kernel))
    }

    /// Runs `body`, which must be an `#[inline(always)]` closure, compiled for this level.
    ///
    /// A closure handed to pulp itself would be called through a shim that is not inlined, and so compiled for the
    /// baseline instruction set only.
    pub(crate) fn vectorise(self, body: impl FnMut()) {
        self.dispatch(Vectorised(body));
    }
}

/// A kernel that holds pointers. To make one is safe, to run it is not.
pub(crate) trait OverMemory {
    /// What it gives besides what it writes.
    type Output;

    /// Runs it; `#[inline(always)]`, so that it is compiled for the vectors of `simd`.
    ///
    /// # Safety
    /// The memory behind its pointers is as the kernel wants it.
    unsafe fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A kernel for whose memory someone has vouched.
struct Vouched<K>(K);

impl<K: OverMemory> WithSimd for Vouched<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        // SAFETY: only `dispatch_over_memory` makes one of these, whose caller vouches for the memory.
        unsafe { self.0.run(simd) }
    }
}

struct Vectorised<F>(F);

impl<F: FnMut()> WithSimd for Vectorised<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        (self.0)();
    }
}
