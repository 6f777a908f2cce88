//! The variables of a model: what has to be initialised, fed, saved.

use super::Initializer;
use crate::ir::{DType, Tensor, TensorType};
use crate::random::{GAMMA, mix};

/// What a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VariableKind {
    /// A parameter that an optimiser updates.
    Trainable,
    /// A running statistic, or the parameter of a frozen layer.
    NonTrainable,
    /// The key of the random draws: a seed and a step counter. Keras does not count it as a parameter.
    Seed,
}

/// A variable as a model declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct VariableSpec {
    /// The layer's name and the variable's own: `batch_normalization/moving_mean`.
    pub name: String,
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: VariableKind,
    /// What it starts from.
    pub initializer: Initializer,
}

impl VariableSpec {
    /// Whether an optimiser updates it.
    pub fn is_trainable(&self) -> bool {
        self.kind == VariableKind::Trainable
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its type in a graph of that float type.
    pub fn ty(&self, float: DType) -> TensorType {
        let dtype = if self.kind == VariableKind::Seed { DType::I32 } else { float };
        TensorType::new(dtype, self.shape.as_slice())
    }

    /// What it starts from in a graph of that float type: a function of the seed and of the name and shape alone.
    pub(super) fn initial_value(&self, seed: u64, float: DType) -> Tensor {
        if self.kind == VariableKind::Seed {
            let folded = mix(seed.wrapping_add(GAMMA));
            return Tensor::vector(vec![folded as u32 as i32, 0]);
        }
        self.initializer.draw(seed, &self.name, &self.shape, float)
    }
}
