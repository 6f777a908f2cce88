//! Turns nodes into kernel calls over views. Reshapes, transposes, slices and broadcasts are views; a kernel that needs
//! packed memory gets a copy.

use super::fuse::Fusion;
use super::step::{Gemm, Matrix, Method, Step, StepKind};
use super::{Buffer, BufferId, Finish, Plan, Port, Storage, View, split_inputs};
use crate::ir::{Bindings, DType, Graph, NodeId, Tensor, Value};
use crate::op::Op;
use crate::ops::Dot;
use crate::reference::{Array, eval_op};
use smallvec::SmallVec;
use std::collections::HashMap;

pub(super) fn lower(graph: &Graph, shapes: &[Vec<Vec<usize>>], fusion: &Fusion, bindings: &Bindings) -> Plan {
    let mut lowering = Lowering {
        graph,
        shapes,
        fusion,
        plan: Plan {
            buffers: Vec::new(),
            constants: Vec::new(),
            steps: Vec::new(),
            commit: 0,
            updates: Vec::new(),
            watch: super::Watch::default(),
            layouts: Vec::new(),
            phases: Vec::new(),
            commit_phase: 0,
            threads: 1,
            feeds: Vec::new(),
            states: Vec::new(),
            outputs: Vec::new(),
            arena_bytes: 0,
            least_arena_bytes: 0,
            scratch_bytes: 0,
            labels: Vec::new(),
            costs: super::Costs::default(),
        },
        views: vec![SmallVec::new(); graph.len()],
        packed: HashMap::new(),
    };
    lowering.declare_inputs();
    for id in graph.ids() {
        lowering.node(id, bindings);
    }
    lowering.finish()
}

pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    shapes: &'a [Vec<Vec<usize>>],
    pub fusion: &'a Fusion,
    plan: Plan,
    // For each node whose results exist in memory, a view of each.
    pub views: Vec<SmallVec<[View; 1]>>,
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

    pub fn dtype(&self, value: Value) -> DType {
        self.graph.ty(value).dtype
    }

    pub fn shape(&self, value: Value) -> &[usize] {
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

    pub fn push(&mut self, node: NodeId, kind: StepKind) {
        self.plan.steps.push(Step { node, joined: None, kind, split: None });
    }

    pub fn view(&self, value: Value) -> View {
        self.views[value.node.index()][value.output as usize].clone()
    }

    /// The value's elements one after another, copied if need be.
    pub fn packed(&mut self, value: Value) -> View {
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
            _ => {
                let to = View::packed(self.arena(view.dtype, view.len()), view.dtype, &view.shape);
                self.push(value.node, StepKind::Copy { from: view, to: to.clone() });
                to
            }
        };
        self.packed.insert(value, packed.clone());
        packed
    }

    /// New arena buffers for the results of a node.
    pub fn results(&mut self, id: NodeId) -> SmallVec<[BufferId; 3]> {
        let mut buffers = SmallVec::new();
        for output in 0..self.graph.node(id).types().len() as u32 {
            let value = Value { node: id, output };
            let (dtype, shape) = (self.dtype(value), self.shape(value).to_vec());
            let buffer = self.arena(dtype, shape.iter().product());
            self.views[id.index()].push(View::packed(buffer, dtype, &shape));
            buffers.push(buffer);
        }
        buffers
    }

    fn node(&mut self, id: NodeId, bindings: &Bindings) {
        let node = self.graph.node(id);
        let operands = node.operands();
        match node.op() {
            Op::Input(_) => {}
            Op::Constant(constant) => {
                let view = self.constant(constant.tensor().clone());
                self.views[id.index()].push(view);
            }
            Op::Size(_) | Op::Iota(_) => {
                let evaluated = eval_op::<f64>(node.op(), &[], node.types(), bindings);
                let tensor = evaluated.ok().and_then(|results| results[0].to_tensor(node.types()[0].dtype).ok());
                // Symbols were bound when the concrete shapes were made.
                let view = self.constant(tensor.unwrap_or_else(|| Tensor::zeros(node.types()[0].dtype, [])));
                self.views[id.index()].push(view);
            }
            Op::Reshape(_) => {
                // Inside a map it has no memory of its own until the map is emitted, which then gives it a view.
                if self.is_pending(operands[0]) {
                    return;
                }
                let packed = self.packed_window(operands[0]);
                let view = packed.reshaped(self.shape(Value::first(id)));
                self.views[id.index()].push(view);
            }
            Op::StopGradient(_) => {
                if self.is_pending(operands[0]) {
                    return;
                }
                let view = self.view(operands[0]);
                self.views[id.index()].push(view);
            }
            Op::Transpose(transpose) => {
                let view = self.view(operands[0]).transposed(transpose.permutation());
                self.views[id.index()].push(view);
            }
            Op::Broadcast(broadcast) => {
                let view = self.view(operands[0]).broadcast(self.shape(Value::first(id)), broadcast.dims());
                self.views[id.index()].push(view);
            }
            Op::Slice(slice) => {
                let len = self.shape(Value::first(id))[slice.axis];
                let view = self.view(operands[0]).sliced(slice.axis, slice.start, slice.stride, len);
                self.views[id.index()].push(view);
            }
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Cast(_) => {
                if let Some(group) = self.fusion.group[id.index()]
                    && self.fusion.members[group].last() == Some(&id)
                {
                    self.map(id, group);
                }
            }
            Op::Dot(dot) => self.dot(id, dot),
            Op::Reduce(reduce) => self.reduce(id, reduce.reduction, reduce.axes()),
            Op::Pad(pad) => {
                let (x, value) = (self.view(operands[0]), self.view(operands[1]));
                let to = self.results(id)[0];
                let dtype = x.dtype;
                self.push(id, StepKind::Fill { value: value.buffer, offset: value.offset, to, dtype });
                let inside = View::packed(to, dtype, self.shape(Value::first(id)));
                let to = inside.sliced(pad.axis, pad.low, pad.interior + 1, x.shape[pad.axis]);
                self.push(id, StepKind::Copy { from: x, to });
            }
            Op::Concat(concat) => {
                let buffer = self.results(id)[0];
                let whole = View::packed(buffer, self.dtype(Value::first(id)), self.shape(Value::first(id)));
                let mut start = 0;
                for &operand in operands {
                    let from = self.view(operand);
                    let len = from.shape[concat.axis];
                    let to = whole.sliced(concat.axis, start, 1, len);
                    self.push(id, StepKind::Copy { from, to });
                    start += len;
                }
            }
            Op::ArgMax(arg_max) => {
                let x = self.packed(operands[0]);
                let extent = split(&x.shape, arg_max.axis);
                let y = self.results(id)[0];
                self.push(id, StepKind::ArgMax { x: x.buffer, y, dtype: x.dtype, extent });
            }
            Op::OneHot(_) => {
                let index = self.packed(operands[0]).buffer;
                let y = self.results(id)[0];
                let depth = self.shape(Value::first(id)).last().copied().unwrap_or(0);
                let rows = self.shape(operands[0]).iter().product();
                self.push(id, StepKind::OneHot { index, y, dtype: self.dtype(Value::first(id)), depth, rows });
            }
            Op::TakeAlongAxis(take) => {
                let (x, index) = (self.packed(operands[0]), self.packed(operands[1]));
                let (extent, taken) = (split(&x.shape, take.axis), index.shape[take.axis]);
                let y = self.results(id)[0];
                let (dtype, x, index) = (x.dtype, x.buffer, index.buffer);
                self.push(id, StepKind::Take { x, index, y, dtype, extent, taken });
            }
            Op::ScatterAlongAxis(scatter) => {
                let (updates, index) = (self.packed(operands[0]), self.packed(operands[1]));
                let y = self.results(id)[0];
                let extent = split(self.shape(Value::first(id)), scatter.axis);
                let (taken, dtype) = (index.shape[scatter.axis], updates.dtype);
                let (updates, index) = (updates.buffer, index.buffer);
                self.push(id, StepKind::Scatter { updates, index, y, dtype, extent, taken });
            }
            Op::RandomUniform(random) => {
                let key = self.packed(operands[0]).buffer;
                let y = self.results(id)[0];
                let site = crate::op::OpDef::site(random).unwrap_or(0);
                let (dtype, len) = (self.dtype(Value::first(id)), self.shape(Value::first(id)).iter().product());
                self.push(id, StepKind::Random { key, y, dtype, site, len });
            }
            Op::BatchNormTrain(op) => {
                let x = self.packed(operands[0]);
                let operands = [x.buffer, self.packed(operands[1]).buffer, self.packed(operands[2]).buffer];
                let r = self.results(id);
                let (extent, eps) = (split(&x.shape, op.axis), op.eps.0);
                let results = [r[0], r[1], r[2]];
                self.push(
                    id,
                    StepKind::BatchNormTrain {
                        operands,
                        results,
                        dtype: x.dtype,
                        extent,
                        eps,
                        relu: false,
                        notes: [None; 3],
                    },
                );
            }
            Op::BatchNormGrad(op) => {
                let mut buffers = [0; 7];
                for (buffer, &operand) in buffers.iter_mut().zip(operands) {
                    *buffer = self.packed(operand).buffer;
                }
                let r = self.results(id);
                let x = self.view(operands[0]);
                let (extent, eps) = (split(&x.shape, op.axis), op.eps.0);
                let (operands, results, gate) = (buffers, [r[0], r[1], r[2]], None);
                self.push(
                    id,
                    StepKind::BatchNormGrad { operands, gate, results, dtype: x.dtype, extent, eps, notes: [None; 3] },
                );
            }
            // Legalisation has expanded every other op.
            other => unreachable!("{} has no kernel and no expansion", other.name()),
        }
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

    fn reduce(&mut self, id: NodeId, reduction: crate::ops::Reduction, axes: &[usize]) {
        let operand = self.graph.node(id).operands()[0];
        if axes.is_empty() {
            let view = self.view(operand);
            return self.views[id.index()].push(view);
        }
        let adjacent = axes.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let (x, extent) = if adjacent {
            let x = self.packed(operand);
            let (first, last) = (axes.first().copied().unwrap_or(0), axes.last().copied().unwrap_or(0));
            let outer = x.shape[..first].iter().product();
            let reduced = x.shape[first..=last].iter().product();
            let inner = x.shape[last + 1..].iter().product();
            (x.buffer, [outer, reduced, inner])
        } else {
            // Scattered axes are moved to the end by one strided copy.
            let view = self.view(operand);
            let kept: Vec<usize> = (0..view.shape.len()).filter(|axis| !axes.contains(axis)).collect();
            let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
            let moved = view.transposed(&order);
            let outer: usize = moved.shape[..kept.len()].iter().product();
            let reduced: usize = moved.shape[kept.len()..].iter().product();
            let to = View::packed(self.arena(view.dtype, view.len()), view.dtype, &moved.shape);
            let buffer = to.buffer;
            self.push(id, StepKind::Copy { from: moved, to });
            (buffer, [outer, reduced, 1])
        };
        let (dtype, y) = (self.dtype(operand), self.results(id)[0]);
        let [outer, reduced, inner] = extent;
        self.push(id, StepKind::Reduce { reduction, x, y, dtype, outer, reduced, inner });
    }

    fn dot(&mut self, id: NodeId, dot: &Dot) {
        let (lhs, rhs) = (self.graph.node(id).operands()[0], self.graph.node(id).operands()[1]);
        let free = (dot.lhs_free(self.shape(lhs).len()), dot.rhs_free(self.shape(rhs).len()));
        let (a, m, k) = self.matrix(lhs, &dot.lhs_batch, &free.0, &dot.lhs_contract);
        let (b, n, _) = self.matrix(rhs, &dot.rhs_batch, &free.1, &dot.rhs_contract);
        // `matrix` gives (free, contracted); the right side is wanted as (contracted, free).
        let b = Matrix { row_stride: b.column_stride, column_stride: b.row_stride, ..b };
        let batch = dot.lhs_batch.iter().map(|&axis| self.shape(lhs)[axis]).product();
        let (dtype, c) = (self.dtype(lhs), self.results(id)[0]);
        let method = method(&b, m, k, n, dtype.size());
        self.push(
            id,
            StepKind::Gemm(Gemm { dtype, a, b, c, batch, m, k, n, method, blocks: None, finish: Finish::default() }),
        );
    }

    /// An operand of a product as matrices of `(free, contracted)`; packed in that order if its strides do not allow it.
    fn matrix(&mut self, value: Value, batch: &[usize], free: &[usize], contract: &[usize]) -> (Matrix, usize, usize) {
        let view = self.view(value);
        let merged = (view.merged(batch), view.merged(free), view.merged(contract));
        if let (Some((_, batch_stride)), Some((m, row_stride)), Some((k, column_stride))) = merged {
            let matrix = Matrix { buffer: view.buffer, offset: view.offset, batch_stride, row_stride, column_stride };
            return (matrix, m, k);
        }
        let order: Vec<usize> = batch.iter().chain(free).chain(contract).copied().collect();
        let moved = view.transposed(&order);
        let m: usize = free.iter().map(|&axis| view.shape[axis]).product();
        let k: usize = contract.iter().map(|&axis| view.shape[axis]).product();
        let to = View::packed(self.arena(view.dtype, view.len()), view.dtype, &moved.shape);
        let matrix = Matrix { buffer: to.buffer, offset: 0, batch_stride: m * k, row_stride: k, column_stride: 1 };
        self.push(value.node, StepKind::Copy { from: moved, to });
        (matrix, m, k)
    }

    fn finish(mut self) -> Plan {
        let graph = self.graph;
        for (name, value) in graph.outputs() {
            let mut view = self.packed(value);
            // A caller reads outputs after the run, when a fed buffer may be gone and a state has its next value.
            if !matches!(self.plan.buffers[view.buffer].storage, Storage::Arena(_)) {
                let to = View::packed(self.arena(view.dtype, view.len()), view.dtype, &view.shape);
                self.push(value.node, StepKind::Copy { from: view, to: to.clone() });
                view = to;
            }
            let port = Port { name: name.to_owned(), dtype: view.dtype, shape: self.shape(value).to_vec() };
            self.plan.outputs.push((port, view.buffer));
        }
        let mut moves = Vec::new();
        for (state, next) in graph.updates() {
            let mut from = self.packed(next);
            // The next value may be another state's present one, which is itself about to change.
            if !matches!(self.plan.buffers[from.buffer].storage, Storage::Arena(_)) {
                let to = View::packed(self.arena(from.dtype, from.len()), from.dtype, &from.shape);
                self.push(next.node, StepKind::Copy { from, to: to.clone() });
                from = to;
            }
            let to = self.view(Value::first(state));
            if let Storage::State(state) = self.plan.buffers[to.buffer].storage {
                self.plan.updates.push((state, from.buffer));
            }
            let kind = StepKind::Copy { from: from.reshaped(&to.shape), to };
            moves.push(Step { node: next.node, joined: None, kind, split: None });
        }
        self.plan.commit = self.plan.steps.len();
        self.plan.steps.extend(moves);
        self.plan
    }
}

/// Rows from which a packed panel of the right operand is used often enough to pay.
const MANY_ROWS: usize = 64;

/// Bytes between the rows of the right operand from which reading it in place misses the caches.
const FAR: usize = 2048;

fn method(b: &Matrix, m: usize, k: usize, n: usize, size: usize) -> Method {
    let is_contiguous = b.column_stride == 1 || n == 1;
    match () {
        () if is_contiguous && m == 1 => Method::Row,
        () if is_contiguous && (m < MANY_ROWS || k < 2 || b.row_stride * size < FAR) => Method::Tile,
        () if m >= MANY_ROWS => Method::Packed,
        () => Method::Faer,
    }
}

/// `(outer, size, inner)` of a packed shape around one axis.
fn split(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
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
