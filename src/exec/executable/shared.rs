//! `y = f(x, weights)` with weights that are only read, so that any number of executables run over one copy of them.

use super::{Executable, Left};
use crate::exec::error::{RunError, check, check_count};
use crate::exec::held::data_pointer;
use crate::exec::stopped::Stopped;
use crate::ir::Tensor;
use crate::plan::{Port, Storage};

impl Executable {
    /// Runs once over states that are only read: executables of one graph may share them, in several threads at once.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::Executable, ir::Bindings};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [2]), g.parameter("w", DType::F32, [2]));
    /// g.output("y", x * w);
    /// let mut run = Executable::new(g.finish()?, &Bindings::new())?;
    /// let w = Tensor::vector(vec![3.0f32, -1.0]);
    /// run.run_shared(&[&Tensor::vector(vec![1.0f32, 2.0])], &[&w])?;
    /// assert_eq!(run.output::<f32>(0), Some(&[3.0f32, -2.0][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A graph that updates a state; tensors that do not fit the plan; a guarded output that is not finite, for which no
    /// cause is looked for.
    pub fn run_shared(&mut self, feeds: &[&Tensor], states: &[&Tensor]) -> Result<(), RunError> {
        check("data inputs", &self.plan.feeds, feeds.len(), feeds.iter().copied())?;
        check("parameters and states", &self.plan.states, states.len(), states.iter().copied())?;
        self.read_only()?;
        self.point(|_, index| data_pointer(feeds[index].data()), |index| data_pointer(states[index].data()));
        self.launch_shared()
    }

    /// Runs over as many rows as the plan has, from row `from` on, of tensors that hold at least these, and writes the
    /// same rows of the outputs, each of which begins at one of `outputs`. Allocates nothing.
    ///
    /// # Errors
    /// As [`Executable::run_shared`].
    ///
    /// # Safety
    /// There is a pointer for each output, and it is writable for the rows of the plan from `from` on, by no one else.
    pub(in crate::exec) unsafe fn run_rows(
        &mut self,
        inputs: &[&Tensor],
        weights: &[Tensor],
        outputs: &[*mut u8],
        from: usize,
    ) -> Result<(), RunError> {
        check_rows("data inputs", &self.plan.feeds, inputs, from)?;
        check("parameters and states", &self.plan.states, weights.len(), weights.iter())?;
        self.read_only()?;
        self.point(
            |port, index| data_pointer(inputs[index].data()).wrapping_add(from * row_bytes(port)),
            |index| data_pointer(weights[index].data()),
        );
        // The kernels write outputs where they are wanted, instead of in the arena.
        let rows_of = |port: &Port, start: *mut u8| start.wrapping_add(from * row_bytes(port));
        for ((port, buffer), &output) in self.plan.outputs.iter().zip(outputs) {
            self.pointers.0[*buffer] = rows_of(port, output);
        }
        let outcome = self.launch_shared();
        for ((port, buffer), &output) in self.plan.outputs.iter().zip(outputs) {
            let (written, wanted) = (self.pointers.0[*buffer].cast_const(), rows_of(port, output));
            // One value may be an output under several names; the last of them has it.
            if written != wanted {
                // SAFETY: the caller's: both are outputs of this run, of the same planned size, and apart.
                unsafe { std::ptr::copy_nonoverlapping(written, wanted, self.plan.buffers[*buffer].bytes()) };
            }
        }
        let start = self.arena.start();
        for (_, buffer) in &self.plan.outputs {
            let Storage::Arena(offset) = self.plan.buffers[*buffer].storage else { continue };
            self.pointers.0[*buffer] = start.wrapping_add(offset);
        }
        // They are not in the arena.
        self.left = Left::Nothing;
        outcome
    }

    /// Whether a run would leave the states as they are, and may begin.
    pub(in crate::exec) fn read_only(&self) -> Result<(), RunError> {
        self.whole()?;
        if self.held.is_some() {
            return Err(RunError::Holding);
        }
        match self.updated {
            Some(index) => Err(RunError::Updates { name: self.plan.states[index].name.clone() }),
            None => Ok(()),
        }
    }

    /// Sets the pointers of feeds and states.
    fn point(&mut self, feed: impl Fn(&Port, usize) -> *const u8, state: impl Fn(usize) -> *const u8) {
        for (pointer, buffer) in self.pointers.0.iter_mut().zip(&self.plan.buffers) {
            match buffer.storage {
                Storage::Feed(index) => *pointer = feed(&self.plan.feeds[index], index).cast_mut(),
                // No step of a plan that is read only writes through it.
                Storage::State(index) => *pointer = state(index).cast_mut(),
                Storage::Arena(_) | Storage::Constant(_) => {}
            }
        }
    }

    fn launch_shared(&mut self) -> Result<(), RunError> {
        self.knows_states = false;
        self.launch().map_err(Stopped::without_cause)
    }
}

fn row_bytes(port: &Port) -> usize {
    port.shape.iter().skip(1).product::<usize>() * port.dtype.size()
}

/// Whether each tensor holds the port's rows from `from` on.
fn check_rows(what: &'static str, ports: &[Port], tensors: &[&Tensor], from: usize) -> Result<(), RunError> {
    check_count(what, ports, tensors.len())?;
    for (port, tensor) in ports.iter().zip(tensors) {
        let holds = match (port.shape.split_first(), tensor.shape().split_first()) {
            (Some((rows, each)), Some((have, same))) => {
                each == same && have.checked_sub(from).is_some_and(|left| left >= *rows)
            }
            (first, second) => first == second && from == 0,
        };
        if port.dtype != tensor.dtype() || !holds {
            return Err(RunError::Type {
                name: port.name.clone(),
                expected: format!("{}{:?} from row {from} on", port.dtype, port.shape),
                found: format!("{}{:?}", tensor.dtype(), tensor.shape()),
            });
        }
    }
    Ok(())
}
