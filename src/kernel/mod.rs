//! The kernels: what a plan calls, and the only place with SIMD. Each has a slow twin in [`reference`](crate::reference)
//! that it is checked against.
//!
//! A kernel is a file (or a folder): the call as data, what it says about itself ([`Call`]), the loop, and, where an op is
//! computed by it, how the op becomes calls ([`Lower`]). SIMD comes from `pulp`, which picks the instruction set when the
//! program runs, so an ordinary release build is the fast one.
#![allow(unsafe_code)]

pub(crate) mod bytes;
mod call;
pub(crate) mod ceiling;
mod claim;
mod map;
mod math;
mod measure;
mod norm;
mod number;
mod partial;
mod simd;
mod stretches;
mod total;

pub(crate) use batch_norm_grad::BatchNormGradCall;
pub(crate) use batch_norm_train::BatchNormTrainCall;
pub(crate) use call::{
    BufferId, Call, Description, Effect, Lower, LowerCx, Memory, Notes, Own, Pattern, Share, Split, Splits, Touch,
    View, Workspace,
};
pub use call::{Costs, Rate, RateError, Work};
pub(crate) use copy::CopyCall;
pub(crate) use gemm::{Blocks, Finish, GemmCall, GemmMapCall, Method};
pub(crate) use map::{MapCall, MapInput, MapInstruction, MapOp, MapOutput, Native, Program, Slot, Then};
pub(crate) use measure::MeasureCall;
pub(crate) use number::Real;
pub(crate) use reduce::{Extent, reduce};
pub(crate) use simd::Level;
pub(crate) use stretches::Stretches;

use crate::op::Op;

/// Bytes of a cache line: what memory that kernels work on is aligned to.
pub(crate) const LINE: usize = 64;

/// An op with a kernel, whichever that is.
macro_rules! computed {
    ($op:ident by $kernel:ident) => {
        Some($op)
    };
}

/// From THE list of ops: the files of the kernels that ops name, and one enum of all calls.
macro_rules! kernels {
    ($($file:ident { $($op:ident $(by $kernel:ident($code:ident::$call:ident))?),+ },)*) => {
        $($($(mod $code;)?)+)*

        /// A call of any kernel: those that ops are computed by, and those that the planner makes.
        #[derive(Debug)]
        pub(crate) enum Kernel {
            /// A fused element-wise expression.
            Map(MapCall),
            /// A product, window by window, and a map over each.
            GemmMap(GemmMapCall),
            /// The largest magnitude of a buffer.
            Measure(MeasureCall),
            $($($(#[doc = concat!("See `", stringify!($call), "`.")] $kernel($code::$call),)?)+)*
        }

        macro_rules! each {
            ($of:expr, $inner:ident => $body:expr) => {
                match $of {
                    Kernel::Map($inner) => $body,
                    Kernel::GemmMap($inner) => $body,
                    Kernel::Measure($inner) => $body,
                    $($($(Kernel::$kernel($inner) => $body,)?)+)*
                }
            };
        }

        $($($(impl From<$code::$call> for Kernel {
            fn from(call: $code::$call) -> Kernel {
                Kernel::$kernel(call)
            }
        })?)+)*

        #[cfg(test)]
        impl Kernel {
            pub(crate) const NAMES: &[&str] =
                &["Map", "GemmMap", "Measure", $($($(stringify!($kernel),)?)+)*];

            pub(crate) fn name(&self) -> &'static str {
                match self {
                    Kernel::Map(_) => "Map",
                    Kernel::GemmMap(_) => "GemmMap",
                    Kernel::Measure(_) => "Measure",
                    $($($(Kernel::$kernel(_) => stringify!($kernel),)?)+)*
                }
            }
        }

        /// How an op becomes calls, if a kernel of its own computes it.
        pub(crate) fn lowers(op: &Op) -> Option<&dyn Lower> {
            match op {
                $($($(Op::$op(op) => computed!(op by $kernel),)?)+)*
                _ => None,
            }
        }
    };
}
crate::op::all_ops!(kernels);

impl From<MapCall> for Kernel {
    fn from(call: MapCall) -> Kernel {
        Kernel::Map(call)
    }
}

impl From<MeasureCall> for Kernel {
    fn from(call: MeasureCall) -> Kernel {
        Kernel::Measure(call)
    }
}

impl Call for Kernel {
    fn touches(&self) -> Vec<Touch> {
        each!(self, call => call.touches())
    }

    fn splits(&self) -> Splits {
        each!(self, call => call.splits())
    }

    fn work(&self) -> Work {
        each!(self, call => call.work())
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        each!(self, call => call.time(costs, split, threads))
    }

    fn scratch(&self) -> usize {
        each!(self, call => call.scratch())
    }

    fn describe(&self) -> Description {
        each!(self, call => call.describe())
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { each!(self, call => call.run(memory, share, own)) }
    }
}

impl Kernel {
    /// The buffers that the call reads, in the order of its operands; one that it reads twice is there twice.
    pub(crate) fn reads(&self) -> Vec<BufferId> {
        self.touches().iter().filter(|touch| !touch.writes()).map(|touch| touch.buffer).collect()
    }

    /// The buffers that the call writes, in the order of its results.
    pub(crate) fn writes(&self) -> Vec<BufferId> {
        self.touches().iter().filter(|touch| touch.writes()).map(|touch| touch.buffer).collect()
    }
}
