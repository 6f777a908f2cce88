//! How the time to build, differentiate, verify and plan grows with the number of nodes.
//!
//! `cargo bench --bench scale` prints a table; each column should grow in proportion to the first.

use foldgrad::ir::{Bindings, Builder, Symbol, verify};
use foldgrad::plan::Plan;
use foldgrad::{DType, autodiff};
use std::time::{Duration, Instant};

struct Times {
    nodes: usize,
    build: Duration,
    differentiate: Duration,
    verify: Duration,
    plan: Duration,
}

/// A deep residual chain with a product and a nonlinearity in each of its links, about `nodes` nodes with gradients.
fn measure(nodes: usize) -> Times {
    const WIDTH: usize = 4;
    let started = Instant::now();
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch".into(), foldgrad::ir::Dim::Known(WIDTH)]);
    let w = g.parameter("w", DType::F32, [WIDTH, WIDTH]);
    let b = g.parameter("b", DType::F32, [WIDTH]);
    let mut h = x;
    // A link is 16 nodes, forward and backward together.
    for link in 0..nodes / 16 {
        let scale = 1.0 / (link + 2) as f64;
        h = h + (h.dot(w) + b).tanh() * scale;
    }
    let loss = (h * h).mean_all();
    let build = started.elapsed();

    let started = Instant::now();
    let gradients = autodiff::gradients(&[loss], &[w, b]).expect("the chain is differentiable");
    g.output("loss", loss);
    g.output("dw", gradients[0]);
    g.output("db", gradients[1]);
    let graph = g.finish().expect("the chain is well typed");
    let differentiate = started.elapsed();

    let started = Instant::now();
    verify(&graph).expect("the graph is valid");
    let verified = started.elapsed();

    let started = Instant::now();
    Plan::new(&graph, &Bindings::from([(Symbol::new("batch"), 3)])).expect("the graph can be planned");
    Times { nodes: graph.len(), build, differentiate, verify: verified, plan: started.elapsed() }
}

fn main() {
    println!(
        "{:>9}  {:>9}  {:>13}  {:>9}  {:>9}  {:>9}  {:>8}",
        "nodes", "build", "differentiate", "verify", "plan", "total", "µs/node"
    );
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        let Times { nodes, build, differentiate, verify, plan } = measure(size);
        let total = build + differentiate + verify + plan;
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        println!(
            "{nodes:>9}  {:>9}  {:>13}  {:>9}  {:>9}  {:>9}  {:>8.2}",
            ms(build),
            ms(differentiate),
            ms(verify),
            ms(plan),
            ms(total),
            total.as_secs_f64() * 1e6 / nodes as f64
        );
    }
}
