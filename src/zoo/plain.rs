//! `ReLU(x·W + b)`, of any width and depth: nothing but products.

use super::CLASSES;
use crate::ir::Diagnostics;
use crate::nn::{Activation, Dense, Initializer, Model, Sequential};

/// `depth` layers of `width` units with bias and ReLU, from He's normal initial weights; then a softmax over 10 classes.
///
/// A training step over `batch` examples takes `2·batch·(2·inputs·width + 3·(depth − 1)·width² + 3·10·width)`
/// floating-point operations in its products: each forward, for the weights, and, but for the first, for its input.
///
/// ```
/// use foldgrad::zoo::plain;
/// let parameters: usize = plain(784, 2, 4096)?.variables().iter().map(|variable| variable.len()).sum();
/// assert_eq!(parameters, 784 * 4096 + 4096 * 4096 + 4096 * 10 + 2 * 4096 + 10);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// # Errors
/// A size of 0.
pub fn plain(inputs: usize, depth: usize, width: usize) -> Result<Model, Diagnostics> {
    let mut net = Sequential::new([inputs]).named("plain");
    for _ in 0..depth {
        net = net.add(Dense::new(width).kernel_initializer(Initializer::HeNormal).activation(Activation::Relu));
    }
    net.add(Dense::new(CLASSES).activation(Activation::Softmax)).build()
}
