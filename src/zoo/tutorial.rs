//! The Fashion-MNIST tutorial network: three blocks of Dense, batch norm and ReLU, in whatever order, and a softmax.

use crate::ir::Diagnostics;
use crate::nn::{Activation, BatchNormalization, Dense, Flatten, Model, Sequential};

/// Where the tutorial network has its batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchNorm {
    /// Dense without bias, batch norm, ReLU.
    Before,
    /// Dense without bias, ReLU, batch norm.
    After,
    /// As before the activation, but with none behind the first batch norm: the author's own notebook leaves it out.
    Notebook,
    /// Dense with bias, ReLU.
    None,
}

/// The Fashion-MNIST tutorial network: 28 × 28 pixels, hidden layers of 300, 200 and 100 units, softmax over 10 classes.
///
/// With batch norm before or after the activation it has 318,610 parameters, of which 1,200 are running statistics.
///
/// # Errors
/// None in practice: the declaration is fixed.
pub fn tutorial(batch_norm: BatchNorm) -> Result<Model, Diagnostics> {
    network(batch_norm, batch_norm == BatchNorm::None)
}

/// [`tutorial`] with a bias in every Dense, also where a batch norm makes it pointless.
///
/// # Errors
/// None in practice: the declaration is fixed.
pub fn tutorial_with_biases(batch_norm: BatchNorm) -> Result<Model, Diagnostics> {
    network(batch_norm, true)
}

fn network(batch_norm: BatchNorm, biases: bool) -> Result<Model, Diagnostics> {
    let mut net = Sequential::new([28, 28]).add(Flatten::new());
    for (index, units) in [300, 200, 100].into_iter().enumerate() {
        let dense = Dense::new(units);
        net = net.add(if biases { dense } else { dense.without_bias() });
        net = match batch_norm {
            BatchNorm::Notebook if index == 0 => net.add(BatchNormalization::new()),
            BatchNorm::Before | BatchNorm::Notebook => net.add(BatchNormalization::new()).add(Activation::Relu),
            BatchNorm::After => net.add(Activation::Relu).add(BatchNormalization::new()),
            BatchNorm::None => net.add(Activation::Relu),
        };
    }
    net.add(Dense::new(10).activation(Activation::Softmax)).build()
}
