//! Compiles a loop for the widest instruction set of the machine it runs on.

use pulp::{Arch, Simd, WithSimd};

struct Vectorised<F>(F);

impl<F: FnMut()> WithSimd for Vectorised<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        (self.0)();
    }
}

/// Runs `body`, which must be an `#[inline(always)]` closure, compiled for the best instruction set at hand.
///
/// A closure handed to pulp itself would be called through a shim that is not inlined, and so compiled for the baseline
/// instruction set only.
pub(crate) fn vectorise(body: impl FnMut()) {
    Arch::new().dispatch(Vectorised(body));
}
