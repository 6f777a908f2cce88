//! A plan with its memory, ready to run again and again without allocating.

mod line;
#[cfg(test)]
mod panics;
mod shared;

use super::arena::Arena;
use super::error::{RunError, check};
use super::held::{HeldStates, data_pointer, data_pointer_mut};
use super::range::Range;
use super::stopped::Stopped;
use super::worker::Workers;
use super::{Options, Span};
use crate::ir::{Bindings, DType, Element, Graph, Tensor};
use crate::kernel::{BufferId, Level, Notes};
use crate::plan::{Plan, PlanError, Storage};

/// What the last run left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// No outputs: there was no run yet, it was stopped, or it wrote them elsewhere.
    Nothing,
    /// Every output, whole.
    Outputs,
    /// Memory that was half written when a kernel panicked.
    Wreck,
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
    arena: Arena,
    workers: Workers,
    level: Level,
    // One pointer a buffer; those of feeds and states are set at each run.
    pointers: Pointers,
    notes: Notes,
    // For each state, the buffer that stands for it.
    state_buffers: Vec<BufferId>,
    // Outputs that must be finite before state changes.
    guards: Vec<usize>,
    guards_updates: bool,
    // For each feed, what its magnitudes are not above, where someone vouches for that.
    vouched: Vec<Option<f64>>,
    // What is known of the states, as long as no one else has them.
    ranges: Vec<Range>,
    knows_states: bool,
    // The states before a commit that may have to be taken back.
    copy: Vec<u8>,
    held: Option<HeldStates>,
    // The first state that a run writes.
    updated: Option<usize>,
    left: Left,
    record: bool,
    #[cfg(test)]
    pub(crate) trip: Option<super::run::Trip>,
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
        Executable::with(graph, bindings, &Options::default())
    }

    /// As [`Executable::new`], with a number of threads and an instruction set.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn with(graph: Graph, bindings: &Bindings, options: &Options) -> Result<Executable, PlanError> {
        let plan =
            Plan::shared(&graph, bindings, options.thread_count(), &options.rates(), options.is_holding_state())?;
        let bytes = plan.arena_bytes;
        let mut arena = Arena::new(bytes).ok_or(PlanError::OutOfMemory { bytes })?;
        let bytes = plan.scratch_bytes * plan.threads;
        let workers = Workers::new(&plan).ok_or(PlanError::OutOfMemory { bytes })?;
        let mut held = if options.is_holding_state() { Some(HeldStates::new(&plan)?) } else { None };
        let start = arena.start();
        // Feeds, and states that are not held, are set at each run.
        let nowhere: *mut u8 = std::ptr::NonNull::<u64>::dangling().as_ptr().cast();
        let pointers = plan
            .buffers
            .iter()
            .map(|buffer| match buffer.storage {
                // SAFETY: the plan keeps every buffer inside its arena; empty buffers are never followed.
                Storage::Arena(offset) if buffer.len > 0 => unsafe { start.add(offset) },
                // A constant's heap block stays where it is as long as the plan owns it.
                Storage::Constant(index) => data_pointer(plan.constants[index].data()).cast_mut(),
                Storage::State(index) => held.as_mut().map_or(nowhere, |held| held.pointer(index)),
                Storage::Arena(_) | Storage::Feed(_) => nowhere,
            })
            .collect();
        let level = options.instruction_set().level();
        let (pointers, updated) =
            (Pointers(pointers), plan.steps.iter().find_map(|step| plan.states_written(step).next()));
        let mut state_buffers = vec![0; plan.states.len()];
        // The first of the buffers over a state: others are next values.
        for (id, buffer) in plan.buffers.iter().enumerate().rev() {
            if let Storage::State(state) = buffer.storage {
                state_buffers[state] = id;
            }
        }
        Ok(Executable {
            notes: Notes::new(plan.watch.measured.len(), plan.threads()),
            state_buffers,
            guards: Vec::new(),
            guards_updates: false,
            vouched: vec![None; plan.feeds.len()],
            ranges: Vec::new(),
            knows_states: false,
            copy: Vec::new(),
            graph,
            plan,
            arena,
            workers,
            level,
            pointers,
            held,
            updated,
            left: Left::Nothing,
            record: false,
            #[cfg(test)]
            trip: None,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs once: `feeds` in the order of [`Plan::feeds`], `states` in that of [`Plan::states`], which are updated.
    ///
    /// An executable made to hold its state copies it in and out at every such run; see [`Executable::hold`].
    ///
    /// # Errors
    /// Tensors that do not fit the plan; a guarded output that is not finite. States are then unchanged. An executable of
    /// which a run has panicked.
    ///
    /// # Panics
    /// As a kernel does, which is a mistake of ours. States may then be half updated, and every later run is an error.
    pub fn run(&mut self, feeds: &[&Tensor], states: &mut [Tensor]) -> Result<(), RunError> {
        if self.held.is_some() {
            self.hold(states)?;
            let outcome = self.run_held(feeds);
            self.release(states)?;
            return outcome;
        }
        self.whole()?;
        check("data inputs", &self.plan.feeds, feeds.len(), feeds.iter().copied())?;
        check("parameters and states", &self.plan.states, states.len(), states.iter())?;
        for (pointer, buffer) in self.pointers.0.iter_mut().zip(&self.plan.buffers) {
            if let Storage::State(index) = buffer.storage {
                *pointer = data_pointer_mut(states[index].data_mut());
            }
        }
        // Nothing is known of states that come from outside.
        self.knows_states = false;
        self.go(feeds).map_err(|stopped| stopped.because(&self.graph, &self.plan, feeds, states))
    }

    /// Takes the states over, in a layout that suits the plan: for runs one after another, without copying in between.
    ///
    /// # Errors
    /// An executable that was not made with [`Options::holds_state`]; tensors that do not fit the plan.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::{Executable, Options}, ir::Bindings};
    /// let g = Builder::new();
    /// let count = g.state("count", DType::F32, [1]);
    /// g.update(count, count + 1.0);
    /// let options = Options::default().holds_state(true);
    /// let mut run = Executable::with(g.finish()?, &Bindings::new(), &options)?;
    /// let mut states = [Tensor::vector(vec![0.0f32])];
    /// run.hold(&states)?;
    /// for _ in 0..3 {
    ///     run.run_held(&[])?;
    /// }
    /// run.release(&mut states)?;
    /// assert_eq!(states[0].to_f64(), [3.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(&mut self, states: &[Tensor]) -> Result<(), RunError> {
        self.whole()?;
        check("parameters and states", &self.plan.states, states.len(), states.iter())?;
        let held = self.held.as_mut().ok_or(RunError::NotHolding)?;
        // SAFETY: the states were checked against this plan.
        unsafe { held.load(&self.plan, states) };
        self.knows_states = false;
        Ok(())
    }

    /// Runs once over the states that are held, and updates them. Before the first [`hold`](Executable::hold) they are 0.
    ///
    /// # Errors
    /// As [`Executable::run`]; an executable that was not made to hold states.
    pub fn run_held(&mut self, feeds: &[&Tensor]) -> Result<(), RunError> {
        self.whole()?;
        if self.held.is_none() {
            return Err(RunError::NotHolding);
        }
        check("data inputs", &self.plan.feeds, feeds.len(), feeds.iter().copied())?;
        let Err(stopped) = self.go(feeds) else { return Ok(()) };
        let mut states: Vec<Tensor> =
            self.plan.states.iter().map(|port| Tensor::zeros(port.dtype, port.shape.clone())).collect();
        self.release(&mut states)?;
        Err(stopped.because(&self.graph, &self.plan, feeds, &states))
    }

    /// Copies the states that are held into row-major tensors.
    ///
    /// # Errors
    /// As [`Executable::hold`].
    pub fn release(&mut self, states: &mut [Tensor]) -> Result<(), RunError> {
        self.whole()?;
        check("parameters and states", &self.plan.states, states.len(), states.iter())?;
        let held = self.held.as_mut().ok_or(RunError::NotHolding)?;
        // SAFETY: the states were checked against this plan.
        unsafe { held.store(&self.plan, states) };
        Ok(())
    }

    /// Runs over the states that `pointers` lead to, and feeds that were checked.
    fn go(&mut self, feeds: &[&Tensor]) -> Result<(), Stopped> {
        for (pointer, buffer) in self.pointers.0.iter_mut().zip(&self.plan.buffers) {
            if let Storage::Feed(index) = buffer.storage {
                *pointer = data_pointer(feeds[index].data()).cast_mut();
            }
        }
        self.launch()
    }

    /// Whether memory is whole: no run has panicked.
    fn whole(&self) -> Result<(), RunError> {
        if self.left == Left::Wreck { Err(RunError::Spoilt) } else { Ok(()) }
    }

    /// Records, from now on, when each worker runs which step. Recording allocates as runs go on.
    pub fn record(&mut self, on: bool) {
        self.record = on;
    }

    /// What was recorded since the last call, worker by worker.
    pub fn take_spans(&mut self) -> Vec<Span> {
        self.workers.iter_mut().flat_map(|worker| worker.spans.drain(..)).collect()
    }

    /// The elements of an output after a run, if they are of type `E`. There are none before the first run, nor after one
    /// that was stopped or panicked.
    pub fn output<E: Element>(&self, index: usize) -> Option<&[E]> {
        if self.left != Left::Outputs {
            return None;
        }
        let (port, buffer) = self.plan.outputs.get(index)?;
        let (start, len) = (self.pointers.0[*buffer].cast(), self.plan.buffers[*buffer].len);
        // SAFETY: the last run has written the outputs, which live in the arena as elements of the planned type until the
        // next run, which needs `&mut self`.
        (port.dtype == E::DTYPE).then(|| unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// The single element of an output, as `f64`; none where [`output`](Executable::output) gives none.
    pub fn scalar_output(&self, index: usize) -> Option<f64> {
        let (port, buffer) = self.plan.outputs.get(index)?;
        if self.plan.buffers[*buffer].len != 1 {
            return None;
        }
        match port.dtype {
            DType::F32 => self.output::<f32>(index)?.first().map(|&value| f64::from(value)),
            DType::F64 => self.output::<f64>(index)?.first().copied(),
            DType::I32 => self.output::<i32>(index)?.first().map(|&value| f64::from(value)),
            DType::Bool => self.output::<bool>(index)?.first().map(|&value| f64::from(u8::from(value))),
        }
    }

    /// A copy of an output after a run; none where [`output`](Executable::output) gives none.
    pub fn output_tensor(&self, index: usize) -> Option<Tensor> {
        let shape = self.plan.outputs.get(index)?.0.shape.clone();
        match self.plan.outputs[index].0.dtype {
            DType::F32 => Tensor::new(shape, self.output::<f32>(index)?.to_vec()).ok(),
            DType::F64 => Tensor::new(shape, self.output::<f64>(index)?.to_vec()).ok(),
            DType::I32 => Tensor::new(shape, self.output::<i32>(index)?.to_vec()).ok(),
            DType::Bool => Tensor::new(shape, self.output::<bool>(index)?.to_vec()).ok(),
        }
    }
}
