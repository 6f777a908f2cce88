//! Plans for tests to look at: between them they have every kernel.

use super::{Costs, Plan};
use crate::ir::{Bindings, Builder, DType, Dim, Symbol};
use crate::nn::{Activation, BatchNormalization, Dense, Sequential};
use crate::train::{Loss, Sgd, Trainer};

/// Waiting costs nothing, so that small work is shared out.
fn costs() -> Costs {
    Costs { barrier: 0.0, call: 0.0, ..Costs::default() }
}

/// A training step whose parameters are held in blocks, if they are held, and whose products are joined with their updates.
pub(crate) fn training(threads: usize, held: bool) -> Plan {
    let net = Sequential::new([160])
        .add(Dense::new(128).without_bias())
        .add(BatchNormalization::new())
        .add(Activation::Relu)
        .add(Dense::new(112).activation(Activation::Tanh))
        .add(Dense::new(10).activation(Activation::Softmax));
    let optimizer = Sgd::new(0.1).momentum(0.9).nesterov();
    let trainer = Trainer::new(net.build().unwrap(), optimizer, Loss::SparseCategoricalCrossentropy).compile().unwrap();
    let batch = Bindings::from([(Symbol::new("batch"), 96)]);
    Plan::shared(trainer.training_graph(), &batch, threads, &costs(), held).unwrap()
}

/// The kernels that a training step has not, and states that are overwritten, copied and swapped.
pub(crate) fn mixed() -> Plan {
    let g = Builder::new();
    let n = Dim::symbol("n");
    let x = g.input("x", DType::F32, [n, 90usize.into()]);
    let index = g.input("index", DType::I32, [n]);
    let key = g.state("key", DType::I32, [2]);
    let state = |name: &str| g.state(name, DType::F32, [90usize]);
    let (a, b, c) = (state("a"), state("b"), state("c"));
    let padded = x.pad(1, 3, 2, 1, g.scalar(DType::F32, 0.5));
    let joined = g.concat(&[x, x.sin()], 1);
    let picked = x.take_along_axis(index.reshape([n, 1usize.into()]), 1);
    let hot = index.one_hot(90, DType::F32);
    let dropped = hot.dropout(key, 0.5);
    g.output("padded", padded);
    g.output("joined", joined);
    g.output("picked", picked.cos());
    g.output("best", (x + dropped).arg_max(1));
    g.output("sums", x.exp().sum(&[1]));
    g.output("by column", (x.exp() * 2.0).sum(&[0]));
    g.output("turned", x.transpose(&[1, 0]).exp());
    g.update(a, a * 0.5 + x.sum(&[0]));
    g.update(b, c);
    g.update(c, b);
    Plan::shared(&g.finish().unwrap(), &Bindings::from([(Symbol::new("n"), 70)]), 3, &costs(), false).unwrap()
}
