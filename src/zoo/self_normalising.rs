//! `SELU(x·W + b)` with `W` of variance `1/in`: means and variances stay near 0 and 1 without any norm.

use super::CLASSES;
use crate::ir::Diagnostics;
use crate::nn::{Activation, Dense, Initializer, Model, Sequential};

/// A self-normalising network (Klambauer et al. 2017): `depth` layers of `width` units with bias and SELU, from LeCun's
/// normal initial weights; then a softmax over 10 classes.
///
/// ```
/// use foldgrad::nn::Initializer;
/// use foldgrad::zoo::self_normalising;
/// let model = self_normalising(784, 8, 256)?;
/// assert_eq!(model.variables().len(), 18);
/// assert!(model.variables()[0].initializer == Initializer::LecunNormal);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// # Errors
/// A size of 0.
pub fn self_normalising(inputs: usize, depth: usize, width: usize) -> Result<Model, Diagnostics> {
    let kernel = || Initializer::LecunNormal;
    let mut net = Sequential::new([inputs]).named("self_normalising");
    for _ in 0..depth {
        net = net.add(Dense::new(width).kernel_initializer(kernel()).activation(Activation::Selu));
    }
    net.add(Dense::new(CLASSES).kernel_initializer(kernel()).activation(Activation::Softmax)).build()
}
