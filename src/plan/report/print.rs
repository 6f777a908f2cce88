//! A plan as text: one line a kernel call, with its memory.

use crate::kernel::{BufferId, Call};
use crate::plan::{Plan, Step, Storage};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plan: {} kernel calls in {} phases for {} threads, {} constants",
            self.steps.len(),
            self.phases.len(),
            self.threads,
            self.constants.len()
        )?;
        writeln!(
            f,
            "memory: {} bytes for intermediate values (no layout needs fewer than {}), {} bytes of scratch a thread",
            self.arena_bytes, self.least_arena_bytes, self.scratch_bytes
        )?;
        for (index, phase) in self.phases.iter().enumerate() {
            if index == self.commit_phase {
                writeln!(f, "  -- state is overwritten from here on --")?;
            }
            let shares = if phase.shares == 1 { "1 share".to_owned() } else { format!("{} shares", phase.shares) };
            writeln!(f, "  phase {index}, {shares}")?;
            for (at, step) in self.steps[phase.steps.clone()].iter().enumerate() {
                write!(f, "  {:>4} {:<6} {:<14} ", phase.steps.start + at, step.node.to_string(), split(step))?;
                self.write_step(f, step)?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// How a step is shared out: `300 x 1` is by 300 columns, `32 x 300` by 32 rows of 300.
fn split(step: &Step) -> String {
    step.split.map_or_else(|| "whole".to_owned(), |split| format!("{} x {}", split.extent, split.inner))
}

impl Plan {
    fn place(&self, buffer: usize) -> String {
        let Some(buffer) = self.buffers.get(buffer) else { return "?".to_owned() };
        let place = match buffer.storage {
            Storage::Arena(offset) => format!("@{offset}"),
            Storage::Constant(index) => format!("constant {index}"),
            Storage::Feed(index) => format!("`{}`", self.feeds[index].name),
            Storage::State(index) => format!("`{}`", self.states[index].name),
        };
        format!("{}[{}] {place}", buffer.dtype, buffer.len)
    }

    fn write_step(&self, f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
        let list = |buffers: Vec<BufferId>| buffers.into_iter().map(|b| self.place(b)).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {} -> {}", step.call.describe().detail, list(step.call.reads()), list(step.call.writes()))
    }
}
