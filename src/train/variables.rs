//! The values of all variables by name, lent to executables in the order that each plan wants.

use super::compiled::Compiled;
use crate::ir::{OrderedMap, Tensor};
use crate::plan::Port;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Parameters, running statistics and optimiser slots by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(pub OrderedMap<String, Tensor>);

impl Variables {
    /// Takes out the tensors that a plan reads and updates, in its order, without copying an element.
    pub(super) fn lend(&mut self, ports: &[Port]) -> Vec<Tensor> {
        let empty = || Tensor::zeros(crate::ir::DType::F32, [0]);
        ports
            .iter()
            .map(|port| self.0.get_mut(&port.name).map_or_else(empty, |tensor| std::mem::replace(tensor, empty())))
            .collect()
    }

    /// Puts back what [`lend`](Weights::lend) took out.
    pub(super) fn give_back(&mut self, ports: &[Port], tensors: Vec<Tensor>) {
        for (port, tensor) in ports.iter().zip(tensors) {
            if let Some(slot) = self.0.get_mut(&port.name) {
                *slot = tensor;
            }
        }
    }

    /// Lends the tensors of a compiled graph to `body`. They come back whichever way it ends.
    pub(super) fn lend_to<R>(
        &mut self,
        compiled: &mut Compiled,
        body: impl FnOnce(&mut Compiled, &mut [Tensor]) -> R,
    ) -> R {
        let mut tensors = self.lend(compiled.run.plan().states());
        let outcome = catch_unwind(AssertUnwindSafe(|| body(compiled, &mut tensors)));
        self.give_back(compiled.run.plan().states(), tensors);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
