//! Networks that many people know, declared once.

use crate::ir::Diagnostics;
use crate::nn::{Activation, BatchNormalization, Dense, Flatten, Model, Sequential};

/// Where the tutorial network has its batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchNorm {
    /// Dense without bias, batch norm, ReLU.
    Before,
    /// Dense without bias, ReLU, batch norm.
    After,
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
    let mut net = Sequential::new([28, 28]).add(Flatten::new());
    for units in [300, 200, 100] {
        net = match batch_norm {
            BatchNorm::Before => {
                net.add(Dense::new(units).without_bias()).add(BatchNormalization::new()).add(Activation::Relu)
            }
            BatchNorm::After => {
                net.add(Dense::new(units).without_bias()).add(Activation::Relu).add(BatchNormalization::new())
            }
            BatchNorm::None => net.add(Dense::new(units)).add(Activation::Relu),
        };
    }
    net.add(Dense::new(10).activation(Activation::Softmax)).build()
}
