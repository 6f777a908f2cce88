//! `BN(GELU(x·W))`, many times over.

use super::CLASSES;
use crate::ir::Diagnostics;
use crate::nn::{Activation, BatchNormalization, Dense, Model, Sequential};

/// `depth` layers of Dense without bias, GELU and, behind it, batch norm; then a softmax over 10 classes.
///
/// The batch norms stand behind the activation, so none can be folded into the product before it.
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::zoo::deep;
/// let model = deep(784, 20, 512)?;
/// let (name, output) = model.output_types(DType::F32).into_iter().next_back().unwrap();
/// assert_eq!((name.as_str(), output.to_string().as_str()), ("dense_20", "f32[batch,10]"));
/// assert_eq!(model.summary().matches("BatchNormalization").count(), 20);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// # Errors
/// A size of 0.
pub fn deep(inputs: usize, depth: usize, width: usize) -> Result<Model, Diagnostics> {
    let mut net = Sequential::new([inputs]).named("deep");
    for _ in 0..depth {
        let dense = Dense::new(width).without_bias();
        net = net.add(dense).add(Activation::Gelu).add(BatchNormalization::new());
    }
    net.add(Dense::new(CLASSES).activation(Activation::Softmax)).build()
}
