//! How an op with a kernel of its own becomes calls: written beside the kernel.

use super::{BufferId, View};
use crate::ir::DType;
use crate::kernel::Kernel;

/// An op that a kernel computes.
pub(crate) trait Lower {
    /// Appends the calls that compute the op, and says where its results are.
    fn lower(&self, cx: &mut dyn LowerCx);
}

/// What an op sees of the planner while it is lowered: its operands as they lie in memory, and room for what it makes.
pub(crate) trait LowerCx {
    /// Number of operands.
    fn operands(&self) -> usize;

    /// An operand, as it lies in memory.
    fn operand(&self, slot: usize) -> View;

    /// An operand whose elements lie one after another in a buffer that holds nothing else; copied if need be.
    fn packed(&mut self, slot: usize) -> View;

    /// The shape of a result.
    fn shape(&self, result: usize) -> &[usize];

    /// The element type of a result.
    fn dtype(&self, result: usize) -> DType;

    /// A new buffer for the next result, row-major.
    fn result(&mut self) -> BufferId;

    /// The next result is this.
    fn result_is(&mut self, view: View);

    /// A new buffer with the elements of a view, row-major.
    fn copied(&mut self, view: View) -> View;

    /// Appends a call.
    fn call(&mut self, call: Kernel);
}
