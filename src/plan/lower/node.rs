//! A node in the making, as an op with a kernel of its own sees it.

use super::Lowering;
use crate::ir::{DType, NodeId, Value};
use crate::kernel::{BufferId, Kernel, LowerCx, View};

pub(super) struct NodeCx<'l, 'a> {
    pub lowering: &'l mut Lowering<'a>,
    pub id: NodeId,
}

impl NodeCx<'_, '_> {
    fn operand_value(&self, slot: usize) -> Value {
        self.lowering.graph.node(self.id).operands()[slot]
    }

    fn result_value(&self, result: usize) -> Value {
        Value { node: self.id, output: result as u32 }
    }
}

impl LowerCx for NodeCx<'_, '_> {
    fn operands(&self) -> usize {
        self.lowering.graph.node(self.id).operands().len()
    }

    fn operand(&self, slot: usize) -> View {
        self.lowering.view(self.operand_value(slot))
    }

    fn packed(&mut self, slot: usize) -> View {
        self.lowering.packed(self.operand_value(slot))
    }

    fn shape(&self, result: usize) -> &[usize] {
        self.lowering.shape(self.result_value(result))
    }

    fn dtype(&self, result: usize) -> DType {
        self.lowering.dtype(self.result_value(result))
    }

    fn result(&mut self) -> BufferId {
        self.lowering.next_result(self.id)
    }

    fn result_is(&mut self, view: View) {
        self.lowering.views[self.id.index()].push(view);
    }

    fn copied(&mut self, view: View) -> View {
        self.lowering.copied(self.id, view)
    }

    fn call(&mut self, call: Kernel) {
        self.lowering.push(self.id, call);
    }
}
