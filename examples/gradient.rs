//! A graph declared by hand, its gradient in the same graph, and both run.

use foldgrad::autodiff::gradients;
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, Dim, Symbol, print_with_origins};
use foldgrad::{Builder, DType, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let g = Builder::new();
    let batch = Dim::symbol("batch");
    let x = g.input("x", DType::F64, [batch, Dim::Known(2)]);
    let w = g.parameter("w", DType::F64, [2, 3]);
    let b = g.parameter("b", DType::F64, [3]);
    let loss = (x.dot(w) + b).tanh().mean_all();
    let found = gradients(&[loss], &[w, b])?;
    g.output("loss", loss);
    g.output("dloss/dw", found[0]);
    g.output("dloss/db", found[1]);
    let graph = g.finish()?;
    println!("{}", print_with_origins(&graph));

    let mut run = Executable::new(graph, &Bindings::from([(Symbol::new("batch"), 4)]))?;
    let x = Tensor::new([4, 2], vec![0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8])?;
    let mut parameters =
        [Tensor::new([2, 3], vec![1.0, -1.0, 0.5, 0.25, 2.0, -0.5])?, Tensor::vector(vec![0.0, 0.1, 0.2])];
    run.run(&[&x], &mut parameters)?;
    for (index, port) in run.plan().outputs().enumerate() {
        println!("{} = {:?}", port.name, run.output::<f64>(index).unwrap_or_default());
    }
    Ok(())
}
