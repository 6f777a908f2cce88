//! A plan as text: one line a kernel call, with its memory.

use super::{Pattern, Plan, Step, StepKind, Storage};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plan: {} kernel calls, arena {} bytes, {} constants",
            self.steps.len(),
            self.arena_bytes,
            self.constants.len()
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            if index == self.commit {
                writeln!(f, "  -- state is overwritten from here on --")?;
            }
            write!(f, "  {index:>4} {:<6} ", step.node.to_string())?;
            self.write_step(f, step)?;
            writeln!(f)?;
        }
        Ok(())
    }
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
            StepKind::Map(map) => {
                let ops: Vec<String> = map.code.iter().map(|instruction| format!("{:?}", instruction.op)).collect();
                let repeated = map.inputs.iter().filter(|input| input.pattern != Pattern::Full).count();
                format!("map x{} ({repeated} repeated) {{{}}}", map.len, ops.join("; "))
            }
            StepKind::Gemm(g) => format!("gemm {}x[{},{}]x[{},{}]", g.batch, g.m, g.k, g.k, g.n),
            StepKind::Reduce { reduction, outer, reduced, inner, .. } => {
                format!("reduce {reduction:?} [{outer},{reduced},{inner}]")
            }
            StepKind::Copy { from, .. } => format!("copy {:?} by {:?}", from.shape, from.strides),
            StepKind::Fill { .. } => "fill".to_owned(),
            StepKind::BatchNormTrain { extent, .. } => format!("batch_norm_train {extent:?}"),
            StepKind::BatchNormGrad { extent, .. } => format!("batch_norm_grad {extent:?}"),
            StepKind::ArgMax { extent, .. } => format!("arg_max {extent:?}"),
            StepKind::OneHot { depth, .. } => format!("one_hot {depth}"),
            StepKind::Take { extent, .. } => format!("take {extent:?}"),
            StepKind::Scatter { extent, .. } => format!("scatter {extent:?}"),
            StepKind::Random { site, .. } => format!("random site {site}"),
        };
        let list = |buffers: Vec<usize>| buffers.into_iter().map(|b| self.place(b)).collect::<Vec<_>>().join(", ");
        write!(f, "{name}: {} -> {}", list(step.kind.reads()), list(step.kind.writes()))
    }
}
