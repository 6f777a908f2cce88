//! A plan as text: one line a kernel call, with its memory.

use super::{Gemm, MapCode, Pattern, Plan, Step, StepKind, Storage};
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

fn map_name(map: &MapCode) -> String {
    let ops: Vec<String> = map.code.iter().map(|instruction| format!("{:?}", instruction.op)).collect();
    let repeated = map.inputs.iter().filter(|input| input.pattern != Pattern::Full).count();
    format!("map x{} ({repeated} repeated) {{{}}}", map.len, ops.join("; "))
}

fn gemm_name(g: &Gemm) -> String {
    let finish = match (g.finish.bias.is_some(), g.finish.relu) {
        (false, false) => "",
        (true, false) => " + bias",
        (false, true) => " relu",
        (true, true) => " + bias relu",
    };
    format!("gemm {:?} {}x[{},{}]x[{},{}]{finish}", g.method, g.batch, g.m, g.k, g.k, g.n)
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
        let name = match &step.kind {
            StepKind::Map(map) => map_name(map),
            StepKind::Gemm(gemm) => gemm_name(gemm),
            StepKind::GemmMap(fused) => {
                format!("{} by {:?} into {}", gemm_name(&fused.gemm), fused.window, map_name(&fused.map))
            }
            StepKind::Reduce { reduction, outer, reduced, inner, .. } => {
                format!("reduce {reduction:?} [{outer},{reduced},{inner}]")
            }
            StepKind::Copy { from, .. } => format!("copy {:?} by {:?}", from.shape, from.strides),
            StepKind::Fill { .. } => "fill".to_owned(),
            StepKind::BatchNormTrain { extent, relu, .. } => {
                format!("batch_norm_train {extent:?}{}", if *relu { " + relu" } else { "" })
            }
            StepKind::BatchNormGrad { extent, gate, .. } => {
                format!("batch_norm_grad {extent:?}{}", if gate.is_some() { " of gated" } else { "" })
            }
            StepKind::ArgMax { extent, .. } => format!("arg_max {extent:?}"),
            StepKind::OneHot { depth, .. } => format!("one_hot {depth}"),
            StepKind::Take { extent, .. } => format!("take {extent:?}"),
            StepKind::Scatter { extent, .. } => format!("scatter {extent:?}"),
            StepKind::Measure { slot, .. } => format!("measure {slot}"),
            StepKind::Random { site, .. } => format!("random site {site}"),
        };
        let list = |buffers: Vec<usize>| buffers.into_iter().map(|b| self.place(b)).collect::<Vec<_>>().join(", ");
        write!(f, "{name}: {} -> {}", list(step.kind.reads()), list(step.kind.writes()))
    }
}
