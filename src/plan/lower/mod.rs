//! Turns a graph into kernel calls over views.
//!
//! Composites without a kernel are expanded (`legalise`), element-wise nodes gathered into groups (`fuse`). Then each node in
//! turn becomes what it is by nature: a constant, a view of what is there, its group's map (`map`), or the calls of
//! the kernel that computes it, which that kernel's file knows. Pairs of a map's instructions become one (`contract`), and the
//! updates of the usual optimisers are recognised as such (`recognise`).

mod contract;
mod fuse;
mod legalise;
mod map;
mod node;
mod recognise;

pub(super) use fuse::{Fusion, fuse};
pub(super) use legalise::legalise;

use super::{Buffer, Plan, Port, Step, Storage, split_inputs};
use crate::ir::{Bindings, DType, Graph, NodeId, Tensor, Value};
use crate::kernel::{BufferId, CopyCall, Kernel, View, lowers};
use crate::op::{Nature, Op, Rearrangement};
use crate::reference::{Array, eval_op};
use fuse::is_alias;
use node::NodeCx;
use smallvec::SmallVec;
use std::collections::HashMap;

pub(super) fn lower(graph: &Graph, shapes: &[Vec<Vec<usize>>], fusion: &Fusion, bindings: &Bindings) -> Plan {
    let mut lowering = Lowering {
        graph,
        shapes,
        fusion,
        plan: Plan::default(),
        views: vec![SmallVec::new(); graph.len()],
        packed: HashMap::new(),
    };
    lowering.declare_inputs();
    for id in graph.ids() {
        lowering.node(id, bindings);
    }
    lowering.finish()
}

struct Lowering<'a> {
    graph: &'a Graph,
    shapes: &'a [Vec<Vec<usize>>],
    fusion: &'a Fusion,
    plan: Plan,
    // For each node whose results exist in memory, a view of each.
    views: Vec<SmallVec<[View; 1]>>,
    // Packed copies of views that were needed so, by value.
    packed: HashMap<Value, View>,
}

impl Lowering<'_> {
    fn declare_inputs(&mut self) {
        let (data, state) = split_inputs(self.graph);
        for (ids, is_data) in [(data, true), (state, false)] {
            for (index, id) in ids.into_iter().enumerate() {
                let (dtype, shape) = (self.dtype(Value::first(id)), self.shapes[id.index()][0].clone());
                let storage = if is_data { Storage::Feed(index) } else { Storage::State(index) };
                let name = self.graph.as_input(id).map(|(name, _)| name.to_owned()).unwrap_or_default();
                let buffer = self.buffer(storage, dtype, shape.iter().product());
                self.views[id.index()].push(View::packed(buffer, dtype, &shape));
                let port = Port { name, dtype, shape };
                if is_data { self.plan.feeds.push(port) } else { self.plan.states.push(port) }
            }
        }
    }

    fn dtype(&self, value: Value) -> DType {
        self.graph.ty(value).dtype
    }

    fn shape(&self, value: Value) -> &[usize] {
        &self.shapes[value.node.index()][value.output as usize]
    }

    fn buffer(&mut self, storage: Storage, dtype: DType, len: usize) -> BufferId {
        self.plan.buffers.push(Buffer { storage, dtype, len });
        self.plan.buffers.len() - 1
    }

    /// A new arena buffer; the offset is chosen when all lifetimes are known.
    fn arena(&mut self, dtype: DType, len: usize) -> BufferId {
        self.buffer(Storage::Arena(usize::MAX), dtype, len)
    }

    fn constant(&mut self, tensor: Tensor) -> View {
        let view_shape = tensor.shape().to_vec();
        let (dtype, len) = (tensor.dtype(), tensor.len());
        self.plan.constants.push(tensor);
        let buffer = self.buffer(Storage::Constant(self.plan.constants.len() - 1), dtype, len);
        View::packed(buffer, dtype, &view_shape)
    }

    fn push(&mut self, node: NodeId, call: impl Into<Kernel>) {
        self.plan.steps.push(Step::new(node, call));
    }

    fn view(&self, value: Value) -> View {
        self.views[value.node.index()][value.output as usize].clone()
    }

    /// The value's elements one after another, copied if need be.
    fn packed(&mut self, value: Value) -> View {
        let view = self.view(value);
        // A window that starts inside a buffer is packed too, but kernels take whole buffers.
        if view.is_packed() && view.offset == 0 && self.plan.buffers[view.buffer].len == view.len() {
            return view;
        }
        if let Some(packed) = self.packed.get(&value) {
            return packed.clone();
        }
        let packed = match self.plan.buffers[view.buffer].storage {
            Storage::Constant(index) => {
                let tensor = gather(&self.plan.constants[index], &view);
                self.constant(tensor)
            }
            _ => self.copied(value.node, view),
        };
        self.packed.insert(value, packed.clone());
        packed
    }

    /// A new buffer with the elements of a view, row-major.
    fn copied(&mut self, node: NodeId, from: View) -> View {
        let to = View::packed(self.arena(from.dtype, from.len()), from.dtype, &from.shape);
        self.push(node, CopyCall { from, to: to.clone() });
        to
    }

    /// A new arena buffer for the next result of a node.
    fn next_result(&mut self, id: NodeId) -> BufferId {
        let value = Value { node: id, output: self.views[id.index()].len() as u32 };
        let (dtype, shape) = (self.dtype(value), self.shape(value).to_vec());
        let buffer = self.arena(dtype, shape.iter().product());
        self.views[id.index()].push(View::packed(buffer, dtype, &shape));
        buffer
    }

    fn node(&mut self, id: NodeId, bindings: &Bindings) {
        let node = self.graph.node(id);
        match node.op().nature() {
            Nature::Source => self.source(id, bindings),
            Nature::View(rearrangement) => self.rearranged(id, rearrangement),
            Nature::Elementwise(_) => {
                if let Some(group) = self.fusion.group[id.index()]
                    && self.fusion.members[group].last() == Some(&id)
                {
                    self.map(id, group);
                }
            }
            _ => match lowers(node.op()) {
                Some(op) => op.lower(&mut NodeCx { lowering: self, id }),
                None => unreachable!("legalisation has expanded {}", node.op().name()),
            },
        }
    }

    /// What comes from outside is there; everything else without operands is a constant of the plan.
    fn source(&mut self, id: NodeId, bindings: &Bindings) {
        let node = self.graph.node(id);
        let tensor = match node.op() {
            Op::Input(_) => return,
            Op::Constant(constant) => constant.tensor().clone(),
            op => {
                let dtype = node.types()[0].dtype;
                let evaluated = eval_op::<f64>(op, &[], node.types(), bindings);
                let tensor = evaluated.ok().and_then(|results| results[0].to_tensor(dtype).ok());
                // Symbols were bound when the concrete shapes were made.
                tensor.unwrap_or_else(|| Tensor::zeros(dtype, []))
            }
        };
        let view = self.constant(tensor);
        self.views[id.index()].push(view);
    }

    fn rearranged(&mut self, id: NodeId, rearrangement: Rearrangement<'_>) {
        let operand = self.graph.node(id).operands()[0];
        // Inside a map an alias has no memory of its own until the map is emitted, which then gives it a view.
        if is_alias(self.graph.node(id).op()) && self.is_pending(operand) {
            return;
        }
        let shape = self.shape(Value::first(id)).to_vec();
        let view = match rearrangement {
            Rearrangement::Same => self.view(operand),
            Rearrangement::Reshape => self.packed_window(operand).reshaped(&shape),
            Rearrangement::Permute(permutation) => self.view(operand).transposed(permutation),
            Rearrangement::Stretch(dims) => self.view(operand).broadcast(&shape, dims),
            Rearrangement::Cut { axis, start, stride } => self.view(operand).sliced(axis, start, stride, shape[axis]),
        };
        self.views[id.index()].push(view);
    }

    /// Whether a value is (a reshape of) a member of a map that has not been emitted yet.
    fn is_pending(&self, value: Value) -> bool {
        self.views[value.node.index()].is_empty()
    }

    /// The value as packed elements, possibly inside a larger buffer.
    fn packed_window(&mut self, value: Value) -> View {
        let view = self.view(value);
        if view.is_packed() { view } else { self.packed(value) }
    }

    fn finish(mut self) -> Plan {
        let graph = self.graph;
        for (name, value) in graph.outputs() {
            let mut view = self.packed(value);
            // A caller reads outputs after the run, when a fed buffer may be gone and a state has its next value.
            if !matches!(self.plan.buffers[view.buffer].storage, Storage::Arena(_)) {
                view = self.copied(value.node, view);
            }
            let port = Port { name: name.to_owned(), dtype: view.dtype, shape: self.shape(value).to_vec() };
            self.plan.outputs.push((port, view.buffer));
        }
        let mut moves = Vec::new();
        for (state, next) in graph.updates() {
            let mut from = self.packed(next);
            // The next value may be another state's present one, which is itself about to change.
            if !matches!(self.plan.buffers[from.buffer].storage, Storage::Arena(_)) {
                from = self.copied(next.node, from);
            }
            let to = self.view(Value::first(state));
            if let Storage::State(state) = self.plan.buffers[to.buffer].storage {
                self.plan.updates.push((state, from.buffer));
            }
            moves.push(Step::new(next.node, CopyCall { from: from.reshaped(&to.shape), to }));
        }
        self.plan.commit = self.plan.steps.len();
        self.plan.steps.extend(moves);
        self.plan
    }
}

/// The elements of a constant that a view shows, packed.
fn gather(constant: &Tensor, view: &View) -> Tensor {
    let source = Array::<f64>::from_tensor(constant);
    let walk = |get: &dyn Fn(usize) -> f64| {
        crate::reference::NdArray::from_fn(&view.shape, |index| {
            get(view.offset + index.iter().zip(&view.strides).map(|(&i, &stride)| i * stride).sum::<usize>())
        })
    };
    // f64 holds every element type exactly.
    let dense = match &source {
        Array::Real(array) => walk(&|at| array.data[at]),
        Array::Int(array) => walk(&|at| f64::from(array.data[at])),
        Array::Bool(array) => walk(&|at| f64::from(u8::from(array.data[at]))),
    };
    Tensor::from_f64(constant.dtype(), dense.shape, dense.data).unwrap_or_else(|_| constant.clone())
}
