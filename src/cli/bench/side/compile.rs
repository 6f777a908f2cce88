//! Compilation: declare, differentiate, rewrite, plan; of a network, and of a chain of many nodes.

use super::{CommandError, Done, Side};
use crate::autodiff;
use crate::cli::bench::workload::Workload;
use crate::ir::{Bindings, Builder, DType, Dim, Symbol, verify};
use crate::plan::Plan;
use serde_json::{Value, json};
use std::time::Instant;

/// The training step of a network, from the declaration to the plan.
pub(super) struct Preparation {
    pub(super) workload: Workload,
}

impl Side for Preparation {
    fn about(&self) -> Value {
        json!({ "version": concat!("foldgrad ", env!("CARGO_PKG_VERSION")) })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let started = Instant::now();
        let mut check = None;
        for _ in 0..steps {
            let trainer = self.workload.trainer()?;
            let bindings = Bindings::from([(Symbol::new("batch"), self.workload.batch as usize)]);
            Plan::new(trainer.training_graph(), &bindings)?;
            check = Some(trainer.training_graph().len() as f64);
        }
        Ok(Done { seconds: started.elapsed().as_secs_f64(), steps, check })
    }
}

/// A residual chain with a product and a nonlinearity in each of its links: build, differentiate, verify, plan.
pub(super) struct Chain {
    pub(super) nodes: usize,
}

impl Side for Chain {
    fn about(&self) -> Value {
        json!({ "version": concat!("foldgrad ", env!("CARGO_PKG_VERSION")) })
    }

    fn run(&mut self, steps: u64) -> Result<Done, CommandError> {
        let started = Instant::now();
        let mut check = None;
        for _ in 0..steps {
            check = Some(chain(self.nodes)? as f64);
        }
        Ok(Done { seconds: started.elapsed().as_secs_f64(), steps, check })
    }
}

/// The number of nodes that there really are.
fn chain(nodes: usize) -> Result<usize, CommandError> {
    const WIDTH: usize = 4;
    // Nodes of a link, forward and backward together.
    const LINK: usize = 16;
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch".into(), Dim::Known(WIDTH)]);
    let w = g.parameter("w", DType::F32, [WIDTH, WIDTH]);
    let b = g.parameter("b", DType::F32, [WIDTH]);
    let mut h = x;
    for link in 0..nodes / LINK {
        h = h + (h.dot(w) + b).tanh() * (1.0 / (link + 2) as f64);
    }
    let loss = (h * h).mean_all();
    let gradients = autodiff::gradients(&[loss], &[w, b])?;
    g.output("loss", loss);
    for (name, gradient) in ["dw", "db"].into_iter().zip(gradients) {
        g.output(name, gradient);
    }
    let graph = g.finish()?;
    verify(&graph)?;
    Plan::new(&graph, &Bindings::from([(Symbol::new("batch"), 3)]))?;
    Ok(graph.len())
}
