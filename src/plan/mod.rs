//! From a graph to a flat list of kernel calls over one arena: nothing is allocated or decided when a plan runs.
//!
//! A pipeline, a folder each: nodes become kernel calls over views (`lower`); steps are joined with those around them
//! (`join`); the work is shared out in phases (`share`); buffers whose lifetimes do not meet share memory (`memory`). A plan
//! can be held against its invariants (`verify`), and tells what it will do (`report`).

#[cfg(test)]
pub(crate) mod examples;
mod join;
mod lower;
mod memory;
mod report;
mod share;
mod step;
mod verify;

pub use crate::kernel::{Costs, Rate, RateError, Work};
pub use report::{Direction, Label, PlannedPhase, PlannedStep};
pub(crate) use share::{Phase, Watch};
pub(crate) use step::Step;
pub use verify::{PLAN_CHECKS, PlanCheck, PlanFault, PlanFaults};

use crate::ir::{Bindings, DType, Diagnostics, Graph, NodeId, Shape, Tensor, UnboundSymbol, element_count};
use crate::kernel::{Blocks, BufferId};
use crate::op::{Op, Role};
use std::collections::HashMap;

/// A graph could not be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A symbolic dimension has no size.
    #[error("{source}; {node} has it in its shape {shape}")]
    Unbound {
        /// The symbol.
        source: UnboundSymbol,
        /// The first node that has it, as a person would name it.
        node: String,
        /// The shape of that node.
        shape: Shape,
    },
    /// A plan needs more memory than the system gives.
    #[error(
        "the plan needs {bytes} bytes of memory at once, more than the system gives; bind smaller sizes, such as a smaller batch"
    )]
    OutOfMemory {
        /// How many bytes.
        bytes: usize,
    },
    /// A value is larger than the memory, or all values together than can be addressed.
    #[error("{node} has shape {shape:?}, more than the memory can hold; bind smaller sizes, such as a smaller batch")]
    TooLarge {
        /// The node, as a person would name it.
        node: String,
        /// Its concrete shape.
        shape: Vec<usize>,
    },
    /// A plan breaks the invariants of plans, which is the planner's fault. Only looked for in debug builds, and under
    /// `FOLDGRAD_VERIFY=1`.
    #[error(transparent)]
    Faulty(#[from] PlanFaults),
    /// A size that is asked for as a number is larger than its element type, or than anything that can be counted.
    #[error("{node} asks for the size of {sizes:?}, more than {dtype} counts; ask for f64, or bind smaller sizes")]
    Uncountable {
        /// The node, as a person would name it.
        node: String,
        /// The sizes that are multiplied.
        sizes: Vec<usize>,
        /// The element type that was asked for.
        dtype: DType,
    },
    /// The graph could not be rebuilt for planning.
    #[error(transparent)]
    Graph(#[from] Box<Diagnostics>),
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the arena, at a byte offset that liveness has chosen.
    Arena(usize),
    /// A constant of the plan, by index.
    Constant(usize),
    /// Data that is fed at each run, by index.
    Feed(usize),
    /// A parameter or state, by index.
    State(usize),
}

/// A contiguous piece of memory of one element type.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub storage: Storage,
    pub dtype: DType,
    pub len: usize,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> usize {
        self.len * self.dtype.size()
    }
}

/// A graph input or output at concrete size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Concrete shape.
    pub shape: Vec<usize>,
}

/// A schedule of kernel calls with all memory laid out, for one binding of the symbols.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) constants: Vec<Tensor>,
    // Steps before `commit` leave every parameter and state as it was.
    pub(crate) steps: Vec<Step>,
    pub(crate) commit: usize,
    // The states that have a next value, and the buffer that held it before it was written over the state.
    pub(crate) updates: Vec<(usize, BufferId)>,
    // What is known of the operands of the commit when it begins.
    pub(crate) watch: Watch,
    // For each state, how it is stored, if not row-major.
    pub(crate) layouts: Vec<Option<Blocks>>,
    pub(crate) phases: Vec<Phase>,
    // The phase at which `commit` begins.
    pub(crate) commit_phase: usize,
    pub(crate) threads: usize,
    pub(crate) feeds: Vec<Port>,
    pub(crate) states: Vec<Port>,
    pub(crate) outputs: Vec<(Port, BufferId)>,
    pub(crate) arena_bytes: usize,
    pub(crate) least_arena_bytes: usize,
    // Of each worker.
    pub(crate) scratch_bytes: usize,
    // Where each step comes from.
    pub(crate) labels: Vec<Label>,
    pub(crate) costs: Costs,
}

impl Plan {
    /// Plans `graph` with these sizes for its symbols.
    ///
    /// # Errors
    /// A symbol without a size, or a value too large to address.
    pub fn new(graph: &Graph, bindings: &Bindings) -> Result<Plan, PlanError> {
        Plan::shared(graph, bindings, 1, &Costs::default(), false)
    }

    /// Plans `graph` to be run by so many threads. What is computed does not depend on their number, to the bit.
    ///
    /// A plan for `held` state chooses the layout of parameters, which row-major tensors then have to be brought into.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn shared(
        graph: &Graph,
        bindings: &Bindings,
        threads: usize,
        costs: &Costs,
        held: bool,
    ) -> Result<Plan, PlanError> {
        let legal = lower::legalise(graph)?;
        if cfg!(debug_assertions) {
            crate::ir::verify(&legal).map_err(|errors| PlanError::Graph(Box::new(errors)))?;
        }
        let shapes = concrete_shapes(&legal, bindings)?;
        check_counts(&legal, bindings)?;
        let fusion = lower::fuse(&legal, &shapes);
        let mut plan = lower::lower(&legal, &shapes, &fusion, bindings);
        let sources = report::Sources::of(&legal, &fusion);
        join::commit_state(&mut plan);
        join::finish_products(&mut plan);
        join::rectify_norms(&mut plan);
        join::join_epilogues(&mut plan);
        share::choose_layouts(&mut plan, held);
        share::watch(&mut plan);
        share::schedule(&mut plan, costs, threads.max(1));
        memory::lay_out(&mut plan);
        plan.labels = plan.steps.iter().map(|step| sources.label(step, &plan)).collect();
        if verify::is_on() {
            plan.verify()?;
        }
        Ok(plan)
    }

    /// The steps that read each buffer, in order; a step that reads it twice is there twice.
    fn readers(&self) -> HashMap<BufferId, Vec<usize>> {
        let mut readers: HashMap<BufferId, Vec<usize>> = HashMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            for buffer in step.call.reads() {
                readers.entry(buffer).or_default().push(at);
            }
        }
        readers
    }

    /// The states that a step writes.
    pub(crate) fn states_written(&self, step: &Step) -> impl Iterator<Item = usize> {
        step.call.writes().into_iter().filter_map(|buffer| match self.buffers[buffer].storage {
            Storage::State(state) => Some(state),
            _ => None,
        })
    }

    /// Puts steps back, but for those that others have taken up.
    fn put(&mut self, steps: Vec<Option<Step>>) {
        self.commit -= steps[..self.commit].iter().filter(|step| step.is_none()).count();
        self.steps = steps.into_iter().flatten().collect();
    }

    /// Drops steps that others have taken up.
    fn remove(&mut self, gone: &[bool]) {
        let steps = std::mem::take(&mut self.steps).into_iter().zip(gone);
        let kept = steps.map(|(step, gone)| (!gone).then_some(step)).collect();
        self.put(kept);
    }

    /// The data that a run is fed, in order.
    pub fn feeds(&self) -> &[Port] {
        &self.feeds
    }

    /// The parameters and state that a run reads and updates, in order.
    pub fn states(&self) -> &[Port] {
        &self.states
    }

    /// The named outputs, in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = &Port> {
        self.outputs.iter().map(|(port, _)| port)
    }

    /// Number of kernel calls in a run.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether a run does nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes that are alive in the fullest phase: no layout of the arena can be smaller.
    pub fn least_arena_bytes(&self) -> usize {
        self.least_arena_bytes
    }

    /// The number of threads that the work is shared out for.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of the arena: every intermediate value of a run.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }
}

/// Bytes of all values of a graph together. Whatever the planner adds to them, sums stay far from overflow.
const MOST_BYTES: usize = isize::MAX as usize / 64;

/// Whether the system would give a value that much memory: constants are written out while the plan is made.
pub(crate) fn is_available(bytes: usize) -> bool {
    const LARGE: usize = 1 << 30;
    bytes < LARGE || Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// Requires that sizes asked for as numbers are bound, and fit their element types.
fn check_counts(graph: &Graph, bindings: &Bindings) -> Result<(), PlanError> {
    for (id, node) in graph.nodes() {
        let Op::Size(size) = node.op() else { continue };
        let sizes = size.dims().resolve(bindings).map_err(|source| PlanError::Unbound {
            source,
            node: graph.describe(id),
            shape: size.dims().clone(),
        })?;
        if size.count(&sizes).is_none() {
            return Err(PlanError::Uncountable { node: graph.describe(id), sizes, dtype: node.types()[0].dtype });
        }
    }
    Ok(())
}

/// The concrete shape of every result of every node.
fn concrete_shapes(graph: &Graph, bindings: &Bindings) -> Result<Vec<Vec<Vec<usize>>>, PlanError> {
    let mut total = 0usize;
    let concrete = |(id, node): (NodeId, &crate::ir::Node)| {
        let resolve = |ty: &crate::ir::TensorType| {
            let unbound = |source| {
                let (node, shape) = (graph.describe(id), ty.shape.clone());
                PlanError::Unbound { source, node, shape }
            };
            let shape = ty.shape.resolve(bindings).map_err(unbound)?;
            let bytes = element_count(&shape).and_then(|count| count.checked_mul(ty.dtype.size()));
            match bytes.and_then(|bytes| total.checked_add(bytes)).filter(|&sum| sum <= MOST_BYTES) {
                Some(sum) if is_available(sum - total) => {
                    total = sum;
                    Ok(shape)
                }
                _ => Err(PlanError::TooLarge { node: graph.describe(id), shape }),
            }
        };
        node.types().iter().map(resolve).collect()
    };
    graph.nodes().map(concrete).collect()
}

/// The inputs of a graph in planning order: data on one side, parameters and state on the other.
fn split_inputs(graph: &Graph) -> (Vec<NodeId>, Vec<NodeId>) {
    let is_data = |&id: &NodeId| graph.as_input(id).is_some_and(|(_, role)| role == Role::Data);
    graph.inputs().map(|(_, id)| id).partition(is_data)
}
