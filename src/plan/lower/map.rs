//! Emits a group of fused nodes as one map: a straight-line program over its inputs, with the members that others read
//! as outputs.

use super::Lowering;
use super::contract::contract;
use super::fuse::is_alias;
use super::recognise::recognise;
use crate::ir::{NodeId, Value};
use crate::kernel::{MapCall, MapInput, MapInstruction, MapOp, MapOutput, Pattern, Slot};
use crate::op::Nature;
use smallvec::SmallVec;
use std::collections::HashMap;

impl Lowering<'_> {
    /// Emits a fused group at the position of its last member.
    pub(super) fn map(&mut self, last: NodeId, group: usize) {
        let members = &self.fusion.members[group];
        let mut map = MapCall {
            len: self.shape(Value::first(last)).iter().product(),
            inputs: Vec::new(),
            code: Vec::new(),
            outputs: Vec::new(),
            scratch: 0,
            native: None,
        };
        let mut slots: HashMap<NodeId, Slot> = HashMap::new();
        for &member in members {
            let node = self.graph.node(member);
            let mut operands = [Slot::Unused; 4];
            for (slot, &operand) in operands.iter_mut().zip(node.operands()) {
                *slot = self.map_operand(&mut map, &slots, operand);
            }
            let Nature::Elementwise(Some(function)) = node.op().nature() else {
                unreachable!("{} is no instruction", node.op().name());
            };
            let op = MapOp::from(function);
            let dtype = self.dtype(node.operands()[usize::from(op == MapOp::Select)]);
            let result = if self.fusion.stored[member.index()] {
                let buffer = self.next_result(member);
                let dtype = self.dtype(Value::first(member));
                let slot = Slot::Output(map.outputs.len());
                map.outputs.push(MapOutput { buffer, dtype, from: slot });
                slot
            } else {
                map.scratch += 1;
                Slot::Scratch(map.scratch - 1)
            };
            slots.insert(member, result);
            map.code.push(MapInstruction { op, dtype, operands, result });
        }
        map.native = recognise(&map);
        contract(&mut map);
        reuse_scratch(&mut map);
        self.push(last, map);
        self.alias_stored_members(members);
    }

    /// The slot of a member's operand: another member (through reshapes), or an input of the map.
    fn map_operand(&mut self, map: &mut MapCall, slots: &HashMap<NodeId, Slot>, operand: Value) -> Slot {
        let mut source = operand;
        loop {
            if let Some(&slot) = slots.get(&source.node) {
                return slot;
            }
            if !is_alias(self.graph.node(source.node).op()) || !self.views[source.node.index()].is_empty() {
                break;
            }
            source = self.graph.node(source.node).operands()[0];
        }
        let view = self.view(source);
        let (view, pattern) = match view.pattern() {
            Some(pattern) => (view, pattern),
            None => (self.packed(source), Pattern::Full),
        };
        let input = MapInput { buffer: view.buffer, offset: view.offset, dtype: view.dtype, pattern };
        let index = map.inputs.iter().position(|have| *have == input).unwrap_or_else(|| {
            map.inputs.push(input);
            map.inputs.len() - 1
        });
        Slot::Input(index)
    }

    /// Gives views to reshapes of members that were visited before the group was emitted.
    fn alias_stored_members(&mut self, members: &[NodeId]) {
        for &member in members {
            if self.fusion.stored[member.index()] {
                self.alias_users(member);
            }
        }
    }

    fn alias_users(&mut self, id: NodeId) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let view = self.view(Value::first(id));
            let users: Vec<NodeId> = self.graph.users(id).map(|(user, _)| user).collect();
            for user in users {
                if is_alias(self.graph.node(user).op()) && self.views[user.index()].is_empty() {
                    let alias = view.reshaped(self.shape(Value::first(user)));
                    self.views[user.index()].push(alias);
                    pending.push(user);
                }
            }
        }
    }
}

/// Lets scratch slots whose last reader has run hold later results, so that a chunk's working set stays small.
fn reuse_scratch(map: &mut MapCall) {
    let mut last_use = vec![0; map.scratch];
    for (at, instruction) in map.code.iter().enumerate() {
        for slot in instruction.operands {
            if let Slot::Scratch(slot) = slot {
                last_use[slot] = at;
            }
        }
    }
    let mut renamed = vec![usize::MAX; map.scratch];
    let (mut free, mut used): (Vec<usize>, usize) = (Vec::new(), 0);
    for (at, instruction) in map.code.iter_mut().enumerate() {
        let mut dying: SmallVec<[usize; 4]> = SmallVec::new();
        for slot in &mut instruction.operands {
            if let Slot::Scratch(old) = *slot {
                if last_use[old] == at && !dying.contains(&old) {
                    dying.push(old);
                }
                *slot = Slot::Scratch(renamed[old]);
            }
        }
        if let Slot::Scratch(old) = instruction.result {
            // A result never shares a slot with an operand of the same instruction.
            let new = free.pop().unwrap_or_else(|| {
                used += 1;
                used - 1
            });
            renamed[old] = new;
            instruction.result = Slot::Scratch(new);
        }
        free.extend(dying.into_iter().map(|old| renamed[old]));
    }
    map.scratch = used;
}
