//! What every kernel call says about itself. The plan asks, and knows of no kernel what the kernel does not say.
//!
//! A call is data: which buffers it reads and writes, with what sizes. The planner decides where buffers lie, in which order
//! calls run and how each is shared out; it does so by these answers alone. None has a default: what a kernel needs can be
//! wrong, but not forgotten.

mod costs;
mod lower;
mod memory;
mod notes;
mod rates;
mod split;
#[cfg(test)]
mod tests;
mod touch;
mod view;
mod work;

pub use costs::Costs;
pub(crate) use costs::largest_share;
pub(crate) use lower::{Lower, LowerCx};
pub(crate) use memory::{Memory, Share, Workspace, by_type};
pub(crate) use notes::Notes;
pub use rates::{Rate, RateError};
pub(crate) use split::{Split, pieces};
pub(crate) use touch::{Cut, Effect, Own, Region, Touch};
pub(crate) use view::{Pattern, View};
pub use work::Work;

use smallvec::SmallVec;
use std::fmt::Debug;

/// Which of a plan's buffers, by its place in the plan's table.
pub(crate) type BufferId = usize;

/// One call of a kernel.
pub(crate) trait Call: Debug {
    /// Everything that the call reads and writes, and how a split cuts it. This is what [`run`](Call::run) keeps to: the plan
    /// verifier holds every plan against it, and a test each kernel.
    fn touches(&self) -> Vec<Touch>;

    /// How its work can be shared out.
    fn splits(&self) -> Splits;

    /// What it has to do, whatever the machine.
    fn work(&self) -> Work;

    /// Nanoseconds until the last share is done, without the price of a call.
    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64;

    /// Bytes of scratch that a worker needs for it.
    fn scratch(&self) -> usize;

    /// What it is called.
    fn describe(&self) -> Description;

    /// Computes a share of it.
    ///
    /// # Safety
    /// `memory` leads to every buffer that [`touches`](Call::touches) names, whole and of its type. What this share reads of
    /// them was written before; while it runs, no one writes that, and no one else touches what it writes. The
    /// workspace has the scratch that [`scratch`](Call::scratch) asks for, and no one else uses it.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace);
}

/// How the work of a call can be shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splits {
    /// The splits that suit it, the best first.
    pub own: SmallVec<[Suited; 2]>,
    /// The elements of a call that takes any split which divides them, such as that of an operand.
    pub any_of: Option<usize>,
}

impl Splits {
    pub(crate) fn none() -> Splits {
        Splits { own: SmallVec::new(), any_of: None }
    }

    pub(crate) fn of(splits: impl IntoIterator<Item = Split>) -> Splits {
        let own = splits.into_iter().map(|split| Suited { split, footprint: None }).collect();
        Splits { own, any_of: None }
    }
}

/// A split that suits a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suited {
    pub split: Split,
    /// What a share keeps coming back to, if that should stay in cache.
    pub footprint: Option<Footprint>,
}

/// Memory that a share comes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Bytes of a position.
    pub bytes: usize,
    /// Positions below which a share is too small to be worth it.
    pub least: usize,
}

impl Footprint {
    /// Into how many pieces a share of so many positions is better cut.
    pub(crate) fn pieces(self, positions: usize) -> usize {
        const CACHE: usize = 192 << 10;
        (positions * self.bytes).div_ceil(CACHE).min(positions / self.least).max(1)
    }
}

/// What a call is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// The kernel: `gemm`, `map`.
    pub kernel: &'static str,
    /// Its sizes, in short: `32×784×300`.
    pub sizes: String,
    /// Everything that matters: the text form of a plan.
    pub detail: String,
    /// Whether it is a product of matrices.
    pub is_product: bool,
}

/// Sizes with a × between them.
pub(crate) fn sizes(extent: &[usize]) -> String {
    extent.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// `(outer, size, inner)` as [`sizes`], without an inner extent of 1.
pub(crate) fn sizes_around(extent: [usize; 3]) -> String {
    sizes(if extent[2] == 1 { &extent[..2] } else { &extent })
}

/// `(outer, size, inner)` of a packed shape around one axis.
pub(crate) fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}
