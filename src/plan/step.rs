//! A step of a plan: a kernel call with its place in the graph and in the schedule.

use crate::ir::NodeId;
use crate::kernel::{BufferId, Kernel, Split};
use smallvec::SmallVec;

/// One kernel call, and the graph node it computes.
#[derive(Debug)]
pub(crate) struct Step {
    pub node: NodeId,
    /// A node of the step that it has been joined with.
    pub joined: Option<NodeId>,
    pub call: Kernel,
    /// How its work is shared out; `None` where one share does it all.
    pub split: Option<Split>,
    /// The results whose magnitudes its kernel notes, and where.
    pub notes: SmallVec<[(BufferId, usize); 1]>,
}

impl Step {
    pub(crate) fn new(node: NodeId, call: impl Into<Kernel>) -> Step {
        Step { node, joined: None, call: call.into(), split: None, notes: SmallVec::new() }
    }
}
