//! Examples to train on: one value an example for each model input and target, gathered into batches.

use super::TrainError;
use crate::data::ImageSet;
use crate::exec::on_workers;
use crate::ir::{DType, Tensor, TensorData, TensorDataMut as Out};
use crate::kernel::{Level, Real, bytes};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A set of equally shaped values, one an example.
///
/// Bytes stay bytes in memory and are scaled as each batch is gathered. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct Samples {
    shape: Vec<usize>,
    len: usize,
    data: Arc<Stored>,
}

#[derive(Debug)]
enum Stored {
    Bytes { bytes: Vec<u8>, divisor: f64 },
    Values(TensorData),
}

impl Samples {
    /// The rows of a tensor: its first axis counts the examples.
    ///
    /// # Errors
    /// A scalar, which has no first axis; more examples than [`u32::MAX`].
    pub fn new(tensor: Tensor) -> Result<Samples, TrainError> {
        let Some((&len, shape)) = tensor.shape().split_first() else {
            return Err(TrainError::Examples(
                "a scalar holds no examples; give a tensor whose first axis counts them".into(),
            ));
        };
        let shape = shape.to_vec();
        Samples { shape, len, data: Arc::new(Stored::Values(tensor.into_data())) }.counted()
    }

    /// Bytes that stand for `byte / divisor`, each example of that shape.
    ///
    /// # Errors
    /// A number of bytes that is no multiple of an example's; a divisor that is 0 or not finite; more examples than
    /// [`u32::MAX`].
    pub fn bytes(bytes: Vec<u8>, shape: &[usize], divisor: f64) -> Result<Samples, TrainError> {
        let each = shape.iter().try_fold(1usize, |each, &size| each.checked_mul(size)).unwrap_or(0);
        if each == 0 || !bytes.len().is_multiple_of(each) {
            let message = format!(
                "{} bytes do not divide into examples of shape {shape:?}; give whole examples, or the shape that they have",
                bytes.len()
            );
            return Err(TrainError::Examples(message));
        }
        if !divisor.is_normal() {
            let help = "give a finite number other than 0, such as 255.0";
            return Err(TrainError::Setting { name: "the divisor of the bytes", value: divisor.to_string(), help });
        }
        let len = bytes.len() / each;
        Samples { shape: shape.to_vec(), len, data: Arc::new(Stored::Bytes { bytes, divisor }) }.counted()
    }

    /// What no magnitude is above, where that is known without looking: bytes have a largest.
    pub(super) fn bound(&self) -> Option<f64> {
        match *self.data {
            Stored::Bytes { divisor, .. } => Some(f64::from(u8::MAX) / divisor.abs()),
            Stored::Values(_) => None,
        }
    }

    /// Refuses more examples than batches can name.
    fn counted(self) -> Result<Samples, TrainError> {
        if u32::try_from(self.len).is_ok() {
            return Ok(self);
        }
        let message = format!("{} examples are more than {}; give fewer at a time", self.len, u32::MAX);
        Err(TrainError::Examples(message))
    }

    /// The pixels of an image set, scaled to [0, 1].
    pub fn images(set: &ImageSet) -> Samples {
        let data = Stored::Bytes { bytes: set.images().to_vec(), divisor: 255.0 };
        Samples { shape: vec![set.rows(), set.cols()], len: set.len(), data: Arc::new(data) }
    }

    /// The labels of an image set, as class indices.
    pub fn labels(set: &ImageSet) -> Samples {
        let labels = set.labels().iter().map(|&label| i32::from(label)).collect();
        Samples { shape: Vec::new(), len: set.len(), data: Arc::new(Stored::Values(TensorData::I32(labels))) }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The shape of one example.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Element type and shape of the whole: `f32[60000,28,28]`.
    pub(super) fn describe(&self) -> String {
        let kind = match &*self.data {
            Stored::Bytes { .. } => "bytes",
            Stored::Values(TensorData::F32(_)) => "f32",
            Stored::Values(TensorData::F64(_)) => "f64",
            Stored::Values(TensorData::I32(_)) => "i32",
            Stored::Values(TensorData::Bool(_)) => "bool",
        };
        let sizes: Vec<String> = std::iter::once(&self.len).chain(&self.shape).map(usize::to_string).collect();
        format!("{kind}[{}]", sizes.join(","))
    }

    /// Whether the values are integers.
    pub fn is_int(&self) -> bool {
        matches!(&*self.data, Stored::Values(TensorData::I32(_)))
    }

    /// The first example whose integer value is not in `range`, and that value.
    pub(super) fn outside(&self, range: Range<i32>) -> Option<(usize, i32)> {
        match &*self.data {
            Stored::Values(TensorData::I32(values)) => {
                let at = values.iter().position(|value| !range.contains(value))?;
                let each = self.shape.iter().product::<usize>().max(1);
                Some((at / each, values[at]))
            }
            _ => None,
        }
    }

    /// Writes the given examples one after another into `batch`, converted to its element type, with so many threads.
    pub(super) fn gather(&self, rows: &[u32], batch: &mut Tensor, threads: usize) {
        let pick = Pick { rows, each: self.shape.iter().product::<usize>().max(1), threads };
        match (&*self.data, batch.data_mut()) {
            // A quotient of f32 is the nearest float, as the quotient of f64 rounded to f32 is.
            (Stored::Bytes { bytes, divisor }, Out::F32(out)) if f64::from(*divisor as f32) == *divisor => {
                pick.divide(bytes, *divisor as f32, out);
            }
            (Stored::Bytes { bytes, divisor }, Out::F32(out)) => {
                pick.convert(bytes, out, |byte| (f64::from(byte) / divisor) as f32);
            }
            (Stored::Bytes { bytes, divisor }, Out::F64(out)) => pick.divide(bytes, *divisor, out),
            (Stored::Bytes { bytes, .. }, Out::I32(out)) => pick.convert(bytes, out, i32::from),
            (Stored::Values(TensorData::F32(values)), Out::F32(out)) => pick.convert(values, out, |v| v),
            (Stored::Values(TensorData::F32(values)), Out::F64(out)) => pick.convert(values, out, f64::from),
            (Stored::Values(TensorData::F64(values)), Out::F32(out)) => {
                pick.convert(values, out, |v| v as f32);
            }
            (Stored::Values(TensorData::F64(values)), Out::F64(out)) => pick.convert(values, out, |v| v),
            (Stored::Values(TensorData::I32(values)), Out::I32(out)) => pick.convert(values, out, |v| v),
            (Stored::Values(TensorData::I32(values)), Out::F32(out)) => {
                pick.convert(values, out, |v| v as f32);
            }
            (Stored::Values(TensorData::I32(values)), Out::F64(out)) => pick.convert(values, out, f64::from),
            // `fits` admits no other pair.
            _ => {}
        }
    }

    /// Whether batches of `dtype` can be gathered from these values.
    pub(super) fn fits(&self, dtype: DType) -> bool {
        match (&*self.data, dtype) {
            (Stored::Bytes { .. }, dtype) => dtype.is_float() || dtype == DType::I32,
            (Stored::Values(TensorData::F32(_) | TensorData::F64(_)), dtype) => dtype.is_float(),
            (Stored::Values(TensorData::I32(_)), dtype) => dtype.is_float() || dtype == DType::I32,
            (Stored::Values(TensorData::Bool(_)), _) => false,
        }
    }
}

/// The examples of a batch, of `each` elements.
struct Pick<'a> {
    rows: &'a [u32],
    each: usize,
    threads: usize,
}

impl Pick<'_> {
    fn divide<T: Real>(&self, bytes: &[u8], divisor: T, to: &mut [T]) {
        let level = Level::widest();
        self.in_blocks(to, |rows, to| bytes::divide(level, bytes, rows, self.each, divisor, to));
    }

    fn convert<A: Copy + Sync, B: Send>(&self, from: &[A], to: &mut [B], convert: impl Fn(A) -> B + Sync) {
        self.in_blocks(to, |rows, to| {
            for (&row, to) in rows.iter().zip(to.chunks_exact_mut(self.each)) {
                let from = &from[row as usize * self.each..][..self.each];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = convert(from));
            }
        });
    }

    /// Hands out blocks of rows, with their places, to whoever comes for them.
    fn in_blocks<B: Send>(&self, to: &mut [B], fill: impl Fn(&[u32], &mut [B]) + Sync) {
        const ROWS: usize = 16;
        let blocks = Mutex::new(self.rows.chunks(ROWS).zip(to.chunks_mut(ROWS * self.each)));
        let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        on_workers(self.threads.min(self.rows.len().div_ceil(ROWS)), || {
            while let Some((rows, to)) = next() {
                fill(rows, to);
            }
        });
    }
}

/// Inputs with their targets: what a model is fitted to and evaluated on.
///
/// ```
/// use foldgrad::Tensor;
/// use foldgrad::train::{Examples, Samples};
/// let x = Samples::new(Tensor::new([3, 2], vec![0.0f32; 6])?)?;
/// let y = Samples::new(Tensor::vector(vec![0, 1, 1]))?;
/// assert_eq!(Examples::new(x, y)?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Examples {
    pub(super) inputs: Vec<Samples>,
    pub(super) targets: Vec<Samples>,
}

impl Examples {
    /// The inputs, one for each input of the model.
    pub fn inputs(&self) -> &[Samples] {
        &self.inputs
    }

    /// For a model with one input and one output.
    ///
    /// # Errors
    /// As [`Examples::many`].
    pub fn new(input: Samples, target: Samples) -> Result<Examples, TrainError> {
        Examples::many(vec![input], vec![target])
    }

    /// For a model with several inputs or outputs, in the model's order.
    ///
    /// # Errors
    /// No examples at all, or inputs and targets of different numbers.
    pub fn many(inputs: Vec<Samples>, targets: Vec<Samples>) -> Result<Examples, TrainError> {
        let counts: Vec<usize> = inputs.iter().chain(&targets).map(Samples::len).collect();
        match counts.first() {
            None | Some(0) => {
                Err(TrainError::Examples("there are no examples; give at least one input and its target".into()))
            }
            Some(first) if counts.iter().any(|count| count != first) => {
                let message = format!("inputs and targets hold {counts:?} examples; give each input its target");
                Err(TrainError::Examples(message))
            }
            Some(_) => Ok(Examples { inputs, targets }),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.inputs.first().map_or(0, Samples::len)
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pixels scaled to [0, 1], with class indices as targets. The set must hold at least one image.
impl TryFrom<&ImageSet> for Examples {
    type Error = TrainError;

    fn try_from(set: &ImageSet) -> Result<Examples, TrainError> {
        Examples::new(Samples::images(set), Samples::labels(set))
    }
}
