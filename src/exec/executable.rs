//! A plan with its memory, ready to run again and again without allocating.

use super::arena::Arena;
use super::trace;
use crate::ir::{Bindings, DType, Element, Graph, Tensor, TensorData};
use crate::kernel::copy::{Walk, copy};
use crate::kernel::gemm::{MatrixRef, gemm};
use crate::kernel::norm::{self, Extent};
use crate::kernel::{Real, index, map, reduce};
use crate::plan::{BufferId, Plan, PlanError, Port, Step, StepKind, Storage};

/// A run could not be made, or was stopped before any state changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The number of tensors given is not what the graph has.
    #[error(
        "the graph has {expected} {what} ({names}), but {found} were given; give one tensor for each, in that order"
    )]
    Count {
        /// Data inputs or states.
        what: &'static str,
        /// Their names.
        names: String,
        /// How many there are.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A tensor does not have the type that was planned for.
    #[error(
        "`{name}` is {expected} in this plan, but {found} was given; give that type, or plan for another batch size"
    )]
    Type {
        /// The input's name.
        name: String,
        /// Planned type.
        expected: String,
        /// Given type.
        found: String,
    },
    /// The guarded output is NaN or infinite; parameters and state are as they were before the run.
    #[error("`{output}` is {value}{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NotFinite {
        /// The guarded output.
        output: String,
        /// Its value.
        value: f64,
        /// What first made it so.
        cause: Option<Cause>,
    },
}

/// Where a NaN or an infinity came from.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// It was given: an element of an input, a parameter or a state.
    Given {
        /// The input's name.
        name: String,
        /// Which element, row-major.
        element: usize,
        /// The element.
        value: f64,
    },
    /// A node made it of finite operands; the node as a person would name it, and the ranges of its operands.
    Made(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Given { name, element, value } => write!(f, "element {element} of `{name}` was given as {value}"),
            Cause::Made(node) => f.write_str(node),
        }
    }
}

/// A compiled graph: run it with data, parameters and state.
///
/// ```
/// use foldgrad::{Builder, DType, Tensor, exec::Executable, ir::{Bindings, Symbol}};
/// let g = Builder::new();
/// let x = g.input("x", DType::F32, ["n"]);
/// g.output("y", x.relu() * 2.0);
/// let mut run = Executable::new(g.finish()?, &Bindings::from([(Symbol::new("n"), 3)]))?;
/// run.run(&[&Tensor::vector(vec![-1.0f32, 0.5, 2.0])], &mut [])?;
/// assert_eq!(run.output::<f32>(0), Some(&[0.0f32, 1.0, 4.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Executable {
    graph: Graph,
    plan: Plan,
    // Owns the memory that `pointers` lead into.
    _arena: Arena,
    scratch: Arena,
    // One pointer a buffer; those of feeds and states are set at each run.
    pointers: Pointers,
    guard: Option<usize>,
    // Pointer lists of the widest map, kept so that a run allocates nothing.
    map_inputs: Vec<*const u8>,
    map_outputs: Vec<*mut u8>,
}

#[derive(Debug)]
struct Pointers(Vec<*mut u8>);

// SAFETY: the pointers lead into the executable's own arena and constants, or are set anew by each `run(&mut self)`.
unsafe impl Send for Executable {}
// SAFETY: `&Executable` gives access to outputs as shared slices only.
unsafe impl Sync for Executable {}

impl Executable {
    /// Plans `graph` with these sizes for its symbols and allocates its memory.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn new(graph: Graph, bindings: &Bindings) -> Result<Executable, PlanError> {
        let plan = Plan::new(&graph, bindings)?;
        let block = |bytes| Arena::new(bytes).ok_or(PlanError::OutOfMemory { bytes });
        let (mut arena, scratch) = (block(plan.arena_bytes)?, block(plan.scratch_bytes)?);
        let start = arena.start();
        let pointers = plan
            .buffers
            .iter()
            .map(|buffer| match buffer.storage {
                // SAFETY: the plan keeps every buffer inside its arena; empty buffers are never followed.
                Storage::Arena(offset) if buffer.len > 0 => unsafe { start.add(offset) },
                // A constant's heap block stays where it is as long as the plan owns it.
                Storage::Constant(index) => data_pointer(plan.constants[index].data()).cast_mut(),
                Storage::Arena(_) | Storage::Feed(_) | Storage::State(_) => {
                    std::ptr::NonNull::<u64>::dangling().as_ptr().cast()
                }
            })
            .collect();
        let widest = |count: fn(&crate::plan::MapCode) -> usize| {
            let of_step = |step: &Step| if let StepKind::Map(map) = &step.kind { count(map) } else { 0 };
            plan.steps.iter().map(of_step).max().unwrap_or(0)
        };
        let (inputs, outputs) = (widest(|map| map.inputs.len()), widest(|map| map.outputs.len()));
        Ok(Executable {
            graph,
            _arena: arena,
            scratch,
            pointers: Pointers(pointers),
            guard: None,
            map_inputs: Vec::with_capacity(inputs),
            map_outputs: Vec::with_capacity(outputs),
            plan,
        })
    }

    /// Stops a run, before any state changes, when this scalar output is NaN or infinite. Ignored for an unknown name.
    pub fn guard(&mut self, output: &str) {
        self.guard = self.plan.outputs.iter().position(|(port, _)| port.name == output);
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs once: `feeds` in the order of [`Plan::feeds`], `states` in that of [`Plan::states`], which are updated.
    ///
    /// # Errors
    /// Tensors that do not fit the plan; a guarded output that is not finite. States are then unchanged.
    pub fn run(&mut self, feeds: &[&Tensor], states: &mut [Tensor]) -> Result<(), RunError> {
        check("data inputs", &self.plan.feeds, feeds.len(), feeds.iter().copied())?;
        check("parameters and states", &self.plan.states, states.len(), states.iter())?;
        for (pointer, buffer) in self.pointers.0.iter_mut().zip(&self.plan.buffers) {
            match buffer.storage {
                Storage::Feed(index) => *pointer = data_pointer(feeds[index].data()).cast_mut(),
                Storage::State(index) => *pointer = data_pointer_mut(states[index].data_mut()),
                Storage::Arena(_) | Storage::Constant(_) => {}
            }
        }
        self.steps(0, self.plan.commit);
        if let Some((port, buffer)) = self.guard.map(|index| &self.plan.outputs[index]) {
            let value = self.scalar(*buffer);
            if !value.is_finite() {
                let cause = trace::first_not_finite(&self.graph, &self.plan, feeds, states);
                return Err(RunError::NotFinite { output: port.name.clone(), value, cause });
            }
        }
        self.steps(self.plan.commit, self.plan.steps.len());
        Ok(())
    }

    /// The elements of an output after a run, if they are of type `E`.
    pub fn output<E: Element>(&self, index: usize) -> Option<&[E]> {
        let (port, buffer) = self.plan.outputs.get(index)?;
        // SAFETY: outputs live in the arena until the next run, which needs `&mut self`.
        (port.dtype == E::DTYPE).then(|| unsafe { self.slice(*buffer) })
    }

    /// The single element of an output, as `f64`.
    pub fn scalar_output(&self, index: usize) -> Option<f64> {
        let (_, buffer) = self.plan.outputs.get(index)?;
        (self.plan.buffers[*buffer].len == 1).then(|| self.scalar(*buffer))
    }

    /// A copy of an output after a run.
    pub fn output_tensor(&self, index: usize) -> Option<Tensor> {
        let shape = self.plan.outputs.get(index)?.0.shape.clone();
        match self.plan.outputs[index].0.dtype {
            DType::F32 => Tensor::new(shape, self.output::<f32>(index)?.to_vec()).ok(),
            DType::F64 => Tensor::new(shape, self.output::<f64>(index)?.to_vec()).ok(),
            DType::I32 => Tensor::new(shape, self.output::<i32>(index)?.to_vec()).ok(),
            DType::Bool => Tensor::new(shape, self.output::<bool>(index)?.to_vec()).ok(),
        }
    }

    fn scalar(&self, buffer: BufferId) -> f64 {
        // SAFETY: the buffer was written by this run, and has the element type that the plan says.
        unsafe {
            match self.plan.buffers[buffer].dtype {
                DType::F32 => self.slice::<f32>(buffer).first().map_or(0.0, |&v| f64::from(v)),
                DType::F64 => self.slice::<f64>(buffer).first().copied().unwrap_or(0.0),
                DType::I32 => self.slice::<i32>(buffer).first().map_or(0.0, |&v| f64::from(v)),
                DType::Bool => self.slice::<bool>(buffer).first().map_or(0.0, |&v| f64::from(u8::from(v))),
            }
        }
    }

    /// The whole of a buffer.
    ///
    /// # Safety
    /// The buffer holds elements of type `E`, and no `slice_mut` of memory that it shares is in use.
    unsafe fn slice<E>(&self, buffer: BufferId) -> &[E] {
        // SAFETY: the caller's; pointer and length come from one buffer of the plan.
        unsafe { std::slice::from_raw_parts(self.pointers.0[buffer].cast(), self.plan.buffers[buffer].len) }
    }

    /// The whole of a buffer, mutably.
    ///
    /// # Safety
    /// As [`Executable::slice`], and no other slice of memory that it shares is in use: the plan gives the results of a
    /// step memory apart from its operands and from each other.
    #[allow(clippy::mut_from_ref)]
    unsafe fn slice_mut<E>(&self, buffer: BufferId) -> &mut [E] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.pointers.0[buffer].cast(), self.plan.buffers[buffer].len) }
    }

    fn steps(&mut self, from: usize, to: usize) {
        let (mut inputs, mut outputs) = (std::mem::take(&mut self.map_inputs), std::mem::take(&mut self.map_outputs));
        let scratch = self.scratch.start();
        for step in &self.plan.steps[from..to] {
            // SAFETY: `run` has checked every fed tensor against the plan and set its pointer, and the plan gives each
            // step operands that earlier steps have written and results that overlap no operand, but for maps, which
            // allow it element by element.
            unsafe {
                match &step.kind {
                    StepKind::Map(code) => {
                        inputs.clear();
                        outputs.clear();
                        inputs.extend(code.inputs.iter().map(|input| {
                            let start: *const u8 = self.pointers.0[input.buffer];
                            start.add(input.offset * input.dtype.size())
                        }));
                        outputs.extend(code.outputs.iter().map(|output| self.pointers.0[output.buffer]));
                        map::run(code, &map::MapMemory { inputs: &inputs, outputs: &outputs, scratch });
                    }
                    other => self.step(other, scratch),
                }
            }
        }
        (self.map_inputs, self.map_outputs) = (inputs, outputs);
    }

    /// Runs one step that is no map.
    ///
    /// # Safety
    /// Operands hold values of the planned types, and results overlap no operand.
    unsafe fn step(&self, kind: &StepKind, scratch: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            match kind {
                StepKind::Map(_) => unreachable!("maps are run by `steps`"),
                StepKind::Copy { from, to } => {
                    let walk = Walk { shape: &from.shape, from: &from.strides, to: &to.strides };
                    if from.len() == 0 {
                        return;
                    }
                    let (source, target) = ((from.buffer, from.offset), (to.buffer, to.offset));
                    match from.dtype.size() {
                        1 => self.copy::<u8>(walk, source, target),
                        4 => self.copy::<u32>(walk, source, target),
                        _ => self.copy::<u64>(walk, source, target),
                    }
                }
                StepKind::Fill { value, offset, to, dtype } => match dtype.size() {
                    1 => self.slice_mut::<u8>(*to).fill(self.slice(*value)[*offset]),
                    4 => self.slice_mut::<u32>(*to).fill(self.slice(*value)[*offset]),
                    _ => self.slice_mut::<u64>(*to).fill(self.slice(*value)[*offset]),
                },
                StepKind::Random { key, y, dtype, site } => {
                    let key = self.slice::<i32>(*key);
                    let key = [key[0], key[1]];
                    match dtype {
                        DType::F32 => index::random(key, *site, self.slice_mut::<f32>(*y)),
                        _ => index::random(key, *site, self.slice_mut::<f64>(*y)),
                    }
                }
                StepKind::Gemm(g) => by_type(g.dtype, || self.gemm::<f32>(g), || self.gemm::<f64>(g)),
                StepKind::Reduce { reduction, x, y, dtype, outer, reduced, inner } => {
                    let extent = [*outer, *reduced, *inner];
                    by_type(
                        *dtype,
                        || reduce::reduce::<f32>(*reduction, self.slice(*x), self.slice_mut(*y), extent),
                        || reduce::reduce::<f64>(*reduction, self.slice(*x), self.slice_mut(*y), extent),
                    );
                }
                StepKind::ArgMax { x, y, dtype, extent } => by_type(
                    *dtype,
                    || index::arg_max::<f32>(self.slice(*x), self.slice_mut(*y), *extent),
                    || index::arg_max::<f64>(self.slice(*x), self.slice_mut(*y), *extent),
                ),
                StepKind::OneHot { index, y, dtype, depth } => by_type(
                    *dtype,
                    || index::one_hot::<f32>(self.slice(*index), self.slice_mut(*y), *depth),
                    || index::one_hot::<f64>(self.slice(*index), self.slice_mut(*y), *depth),
                ),
                StepKind::Take { x, index, y, dtype, extent, taken } => by_type(
                    *dtype,
                    || index::take::<f32>(self.slice(*x), self.slice(*index), self.slice_mut(*y), *extent, *taken),
                    || index::take::<f64>(self.slice(*x), self.slice(*index), self.slice_mut(*y), *extent, *taken),
                ),
                StepKind::Scatter { updates: u, index, y, dtype, extent, taken } => by_type(
                    *dtype,
                    || index::scatter::<f32>(self.slice(*u), self.slice(*index), self.slice_mut(*y), *extent, *taken),
                    || index::scatter::<f64>(self.slice(*u), self.slice(*index), self.slice_mut(*y), *extent, *taken),
                ),
                StepKind::BatchNormTrain { operands, results, dtype, extent, eps } => by_type(
                    *dtype,
                    || self.batch_norm_train::<f32>(*operands, *results, scratch, *extent, *eps),
                    || self.batch_norm_train::<f64>(*operands, *results, scratch, *extent, *eps),
                ),
                StepKind::BatchNormGrad { operands, results, dtype, extent, eps } => by_type(
                    *dtype,
                    || self.batch_norm_grad::<f32>(*operands, *results, scratch, *extent, *eps),
                    || self.batch_norm_grad::<f64>(*operands, *results, scratch, *extent, *eps),
                ),
            }
        }
    }

    /// # Safety
    /// As [`Executable::step`].
    unsafe fn copy<E: Copy>(&self, walk: Walk<'_>, from: (BufferId, usize), to: (BufferId, usize)) {
        // SAFETY: the caller's.
        unsafe { copy(walk, &self.slice::<E>(from.0)[from.1..], &mut self.slice_mut::<E>(to.0)[to.1..]) };
    }

    /// # Safety
    /// As [`Executable::step`].
    unsafe fn gemm<T: Real>(&self, g: &crate::plan::Gemm) {
        // SAFETY: the caller's.
        let (a, b, c) = unsafe { (self.slice::<T>(g.a.buffer), self.slice::<T>(g.b.buffer), self.slice_mut::<T>(g.c)) };
        for batch in 0..g.batch {
            let matrix = |of: &crate::plan::Matrix, rows, columns, data| {
                let start = (of.offset + batch * of.batch_stride).min(<[T]>::len(data));
                let (row_stride, column_stride) = (of.row_stride, of.column_stride);
                MatrixRef { data: &data[start..], rows, columns, row_stride, column_stride }
            };
            let (rows, columns) = (g.m, g.n);
            let c = &mut c[batch * rows * columns..(batch + 1) * rows * columns];
            gemm(matrix(&g.a, rows, g.k, a), matrix(&g.b, g.k, columns, b), c);
        }
    }

    /// # Safety
    /// As [`Executable::step`]; `scratch` holds what the plan asked for.
    unsafe fn batch_norm_train<T: Real>(
        &self,
        [x, gamma, beta]: [BufferId; 3],
        [y, mean, var]: [BufferId; 3],
        scratch: *mut u8,
        extent: [usize; 3],
        eps: f64,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let operands = norm::TrainOperands { x: self.slice(x), gamma: self.slice(gamma), beta: self.slice(beta) };
            let results =
                norm::TrainResults { y: self.slice_mut(y), mean: self.slice_mut(mean), var: self.slice_mut(var) };
            let scratch = std::slice::from_raw_parts_mut(scratch.cast::<T>(), 2 * extent[1]);
            norm::batch_norm_train(operands, results, scratch, extent_of(extent), eps);
        }
    }

    /// # Safety
    /// As [`Executable::step`]; `scratch` holds what the plan asked for.
    unsafe fn batch_norm_grad<T: Real>(
        &self,
        [x, gamma, mean, var, dy, dmean, dvar]: [BufferId; 7],
        [dx, dgamma, dbeta]: [BufferId; 3],
        scratch: *mut u8,
        extent: [usize; 3],
        eps: f64,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let operands = norm::GradOperands {
                x: self.slice(x),
                gamma: self.slice(gamma),
                mean: self.slice(mean),
                var: self.slice(var),
                dy: self.slice(dy),
                dmean: self.slice(dmean),
                dvar: self.slice(dvar),
            };
            let results = norm::GradResults {
                dx: self.slice_mut(dx),
                dgamma: self.slice_mut(dgamma),
                dbeta: self.slice_mut(dbeta),
            };
            let scratch = std::slice::from_raw_parts_mut(scratch.cast::<T>(), 4 * extent[1]);
            norm::batch_norm_grad(operands, results, scratch, extent_of(extent), eps);
        }
    }
}

fn by_type(dtype: DType, f32: impl FnOnce(), f64: impl FnOnce()) {
    // Type rules admit only floats to these kernels.
    if dtype == DType::F32 { f32() } else { f64() }
}

fn extent_of([outer, channels, inner]: [usize; 3]) -> Extent {
    Extent { outer, channels, inner }
}

fn data_pointer(data: &TensorData) -> *const u8 {
    match data {
        TensorData::F32(data) => data.as_ptr().cast(),
        TensorData::F64(data) => data.as_ptr().cast(),
        TensorData::I32(data) => data.as_ptr().cast(),
        TensorData::Bool(data) => data.as_ptr().cast(),
    }
}

fn data_pointer_mut(data: &mut TensorData) -> *mut u8 {
    match data {
        TensorData::F32(data) => data.as_mut_ptr().cast(),
        TensorData::F64(data) => data.as_mut_ptr().cast(),
        TensorData::I32(data) => data.as_mut_ptr().cast(),
        TensorData::Bool(data) => data.as_mut_ptr().cast(),
    }
}

/// Compares what was given with what was planned; everything the kernels trust is checked here.
fn check<'t>(
    what: &'static str,
    ports: &[Port],
    found: usize,
    tensors: impl Iterator<Item = &'t Tensor>,
) -> Result<(), RunError> {
    if ports.len() != found {
        let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(RunError::Count { what, names, expected: ports.len(), found });
    }
    for (port, tensor) in ports.iter().zip(tensors) {
        if port.dtype != tensor.dtype() || port.shape != tensor.shape() {
            return Err(RunError::Type {
                name: port.name.clone(),
                expected: format!("{}{:?}", port.dtype, port.shape),
                found: format!("{}{:?}", tensor.dtype(), tensor.shape()),
            });
        }
    }
    Ok(())
}
