//! Initial values of variables, with Keras's formulas.

use crate::ir::{DType, Tensor, TensorDataMut};
use crate::random::Stream;

/// How a variable starts. Fans are Keras's: of a kernel `[in, out]`, `in` and `out`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Initializer {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the same.
    Constant(f64),
    /// Uniform in ±√(6/(in + out)) (Glorot, Bengio 2010); the default of kernels.
    GlorotUniform,
    /// Truncated normal of variance 2/(in + out).
    GlorotNormal,
    /// Uniform in ±√(6/in) (He et al. 2015); suits ReLU.
    HeUniform,
    /// Truncated normal of variance 2/in.
    HeNormal,
    /// Uniform in ±√(3/in) (LeCun et al. 1998).
    LecunUniform,
    /// Truncated normal of variance 1/in; suits SELU.
    LecunNormal,
    /// Uniform in [low, high).
    RandomUniform {
        /// The smallest value.
        low: f64,
        /// The bound above.
        high: f64,
    },
    /// Normal.
    RandomNormal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        stddev: f64,
    },
    /// Normal, redrawn beyond two standard deviations.
    TruncatedNormal {
        /// The mean.
        mean: f64,
        /// The standard deviation before truncation.
        stddev: f64,
    },
    /// `gain` times a random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014); axes but
    /// the last count as one.
    Orthogonal {
        /// The factor.
        gain: f64,
    },
    /// These values.
    Given(Tensor),
}

// The standard deviation of a standard normal truncated at ±2.
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// Why a variable of that shape cannot start so, and how to mend it.
    pub(super) fn check(&self, shape: &[usize]) -> Result<(), (String, &'static str)> {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        match *self {
            Initializer::Constant(value) if !value.is_finite() => {
                Err((format!("the initial value is {value}"), "give a finite value"))
            }
            Initializer::RandomUniform { low, high } if !finite(&[low, high]) || low > high => {
                Err((format!("the initial range is [{low}, {high})"), "give two finite bounds, the lower one first"))
            }
            Initializer::RandomNormal { mean, stddev } | Initializer::TruncatedNormal { mean, stddev }
                if !finite(&[mean, stddev]) || stddev < 0.0 =>
            {
                Err((
                    format!("the initial values have mean {mean} and standard deviation {stddev}"),
                    "give a finite mean and a finite standard deviation that is not negative",
                ))
            }
            Initializer::Orthogonal { gain } if !gain.is_finite() => {
                Err((format!("the gain is {gain}"), "give a finite gain"))
            }
            Initializer::Orthogonal { .. } if shape.len() < 2 => Err((
                format!("an orthogonal matrix cannot fill the shape {shape:?}"),
                "use it for kernels, which have at least two axes",
            )),
            Initializer::Given(ref tensor) if tensor.shape() != shape => Err((
                format!("the given initial value has shape {:?}, but the variable has {shape:?}", tensor.shape()),
                "give a tensor of the variable's shape",
            )),
            Initializer::Given(ref tensor) if !tensor.dtype().is_float() => {
                Err((format!("the given initial value is {}", tensor.dtype()), "give an f32 or f64 tensor"))
            }
            _ => Ok(()),
        }
    }

    /// The initial value of the variable of that name: drawn in f64 and rounded once, so that f32 and f64 start alike.
    pub(super) fn draw(&self, seed: u64, name: &str, shape: &[usize], float: DType) -> Tensor {
        let stream = &mut Stream::new(seed, name);
        let (fan_in, fan_out) = fans(shape);
        match *self {
            Initializer::Zeros => Tensor::zeros(float, shape),
            Initializer::Ones => Tensor::full(float, shape, 1.0),
            Initializer::Constant(value) => Tensor::full(float, shape, value),
            Initializer::GlorotUniform => uniform_of_variance(stream, 2.0 / (fan_in + fan_out), shape, float),
            Initializer::GlorotNormal => normal_of_variance(stream, 2.0 / (fan_in + fan_out), shape, float),
            Initializer::HeUniform => uniform_of_variance(stream, 2.0 / fan_in, shape, float),
            Initializer::HeNormal => normal_of_variance(stream, 2.0 / fan_in, shape, float),
            Initializer::LecunUniform => uniform_of_variance(stream, 1.0 / fan_in, shape, float),
            Initializer::LecunNormal => normal_of_variance(stream, 1.0 / fan_in, shape, float),
            Initializer::RandomUniform { low, high } => filled(float, shape, || low + (high - low) * stream.uniform()),
            Initializer::RandomNormal { mean, stddev } => filled(float, shape, || mean + stddev * stream.normal()),
            Initializer::TruncatedNormal { mean, stddev } => {
                filled(float, shape, || mean + stddev * stream.truncated_normal())
            }
            Initializer::Orthogonal { gain } => {
                let mut entries = orthogonal(stream, shape).into_iter();
                filled(float, shape, || gain * entries.next().unwrap_or(0.0))
            }
            Initializer::Given(ref tensor) => tensor.cast(float),
        }
    }
}

/// Keras's `compute_fans`: the last two axes are in and out, the axes before them a receptive field.
fn fans(shape: &[usize]) -> (f64, f64) {
    let (fan_in, fan_out) = match *shape {
        [] => (1.0, 1.0),
        [n] => (n as f64, n as f64),
        [ref field @ .., fan_in, fan_out] => {
            let field: f64 = field.iter().map(|&size| size as f64).product();
            (field * fan_in as f64, field * fan_out as f64)
        }
    };
    (fan_in.max(1.0), fan_out.max(1.0))
}

fn uniform_of_variance(stream: &mut Stream, variance: f64, shape: &[usize], float: DType) -> Tensor {
    let limit = (3.0 * variance).sqrt();
    filled(float, shape, || limit * (2.0 * stream.uniform() - 1.0))
}

fn normal_of_variance(stream: &mut Stream, variance: f64, shape: &[usize], float: DType) -> Tensor {
    let stddev = variance.sqrt() / TRUNCATED_STDDEV;
    filled(float, shape, || stddev * stream.truncated_normal())
}

fn filled(float: DType, shape: &[usize], mut entry: impl FnMut() -> f64) -> Tensor {
    let mut tensor = Tensor::zeros(float, shape);
    match tensor.data_mut() {
        TensorDataMut::F32(data) => data.iter_mut().for_each(|value| *value = entry() as f32),
        TensorDataMut::F64(data) => data.iter_mut().for_each(|value| *value = entry()),
        TensorDataMut::I32(_) | TensorDataMut::Bool(_) => {}
    }
    tensor
}

/// A matrix with orthonormal rows or columns, uniform over such matrices: normal vectors, orthogonalised one by one
/// (modified Gram–Schmidt, twice, which is enough for f64). The diagonal of the R of this QR is positive.
fn orthogonal(stream: &mut Stream, shape: &[usize]) -> Vec<f64> {
    let columns = shape.last().copied().unwrap_or(1);
    let rows: usize = shape.iter().rev().skip(1).product();
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| stream.normal()).collect();
        for earlier in basis.iter().chain(&basis) {
            let along: f64 = vector.iter().zip(earlier).map(|(a, b)| a * b).sum();
            vector.iter_mut().zip(earlier).for_each(|(a, b)| *a -= along * b);
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        // A draw that is all but dependent on the earlier ones has no direction left.
        if norm > 1e-6 {
            vector.iter_mut().for_each(|a| *a /= norm);
            basis.push(vector);
        }
    }
    let entry = |row: usize, column: usize| if rows >= columns { basis[column][row] } else { basis[row][column] };
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| entry(r, c)).collect()
}
