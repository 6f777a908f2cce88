//! Host tensors: a shape and a row-major buffer. Used for literals, initial values, inputs and results.

use super::{DType, TensorType};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A row-major buffer of one of the element types.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum TensorData {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
}

/// The elements of a tensor, to be written: their number and their type stay as they are.
///
/// ```
/// use foldgrad::{Tensor, ir::TensorDataMut};
/// let mut t = Tensor::vector(vec![1.0f32, 2.0]);
/// if let TensorDataMut::F32(data) = t.data_mut() {
///     data[1] = 5.0;
/// }
/// assert_eq!(t.to_f64(), [1.0, 5.0]);
/// ```
///
/// The buffer itself cannot be replaced:
///
/// ```compile_fail
/// use foldgrad::{Tensor, ir::TensorData};
/// let mut t = Tensor::vector(vec![1.0f32, 2.0]);
/// *t.data_mut() = TensorData::F32(Vec::new());
/// ```
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub enum TensorDataMut<'a> {
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
    I32(&'a mut [i32]),
    Bool(&'a mut [bool]),
}

mod sealed {
    /// Keeps [`Element`](super::Element) to the types for which `exec` knows what lies in memory.
    pub trait Sealed {}
}

/// A Rust type that can be the element of a tensor: `f32`, `f64`, `i32` and `bool`.
///
/// There are no others, since memory is read and written as what [`Element::DTYPE`] says:
///
/// ```compile_fail,E0277
/// use foldgrad::ir::{DType, Element, TensorData};
/// #[derive(Clone, Copy)]
/// struct Wide([u64; 1024]);
/// impl Element for Wide {
///     const DTYPE: DType = DType::F32;
///     fn wrap(data: Vec<Self>) -> TensorData {
///         TensorData::F32(vec![0.0; data.len()])
///     }
///     fn slice(_: &TensorData) -> Option<&[Self]> {
///         None
///     }
///     fn slice_mut(_: &mut TensorData) -> Option<&mut [Self]> {
///         None
///     }
/// }
/// ```
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The matching [`DType`].
    const DTYPE: DType;
    /// Wraps a buffer.
    fn wrap(data: Vec<Self>) -> TensorData;
    /// The buffer, if it has this element type.
    fn slice(data: &TensorData) -> Option<&[Self]>;
    /// The buffer, mutably, if it has this element type.
    fn slice_mut(data: &mut TensorData) -> Option<&mut [Self]>;
}

macro_rules! elements {
    ($($ty:ty => $variant:ident),*) => {
        $(
            impl sealed::Sealed for $ty {}
            impl Element for $ty {
                const DTYPE: DType = DType::$variant;
                fn wrap(data: Vec<Self>) -> TensorData { TensorData::$variant(data) }
                fn slice(data: &TensorData) -> Option<&[Self]> {
                    match data { TensorData::$variant(data) => Some(data), _ => None }
                }
                fn slice_mut(data: &mut TensorData) -> Option<&mut [Self]> {
                    match data { TensorData::$variant(data) => Some(data), _ => None }
                }
            }
        )*

        impl TensorData {
            /// Element type.
            pub fn dtype(&self) -> DType {
                match self { $(TensorData::$variant(_) => DType::$variant),* }
            }

            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(TensorData::$variant(data) => data.len()),* }
            }

            fn as_mut(&mut self) -> TensorDataMut<'_> {
                match self { $(TensorData::$variant(data) => TensorDataMut::$variant(data)),* }
            }
        }
    };
}
elements!(f32 => F32, f64 => F64, i32 => I32, bool => Bool);

impl TensorData {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor could not be made from what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The buffer's length is not the product of the shape.
    #[error(
        "a tensor of shape {shape:?} has {expected} elements, but the buffer holds {found}; give a buffer of that length or another shape"
    )]
    Length {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The product of the shape.
        expected: usize,
        /// The length of the buffer.
        found: usize,
    },
    /// The product of the shape does not fit in memory.
    #[error("a tensor of shape {shape:?} has more elements than can be addressed")]
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
    },
}

/// A shape and a row-major buffer, which has as many elements as the shape: none of its functions can change the one
/// without the other.
///
/// ```
/// use foldgrad::Tensor;
/// let t = Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(t.shape(), [2, 2]);
/// assert_eq!(t.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
/// # Ok::<(), foldgrad::ir::TensorError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor of that shape over `data`, in row-major order.
    ///
    /// # Errors
    /// Another number of elements than the shape has.
    pub fn new<E: Element>(shape: impl Into<Vec<usize>>, data: Vec<E>) -> Result<Tensor, TensorError> {
        Tensor::from_data(shape, E::wrap(data))
    }

    /// [`Tensor::new`] over a buffer whose element type is known when the program runs: what every reader of a file
    /// ends in.
    ///
    /// ```
    /// use foldgrad::{Tensor, ir::{TensorData, TensorError}};
    /// assert_eq!(Tensor::from_data([2], TensorData::I32(vec![3, 4]))?, Tensor::vector(vec![3, 4]));
    /// let short = Tensor::from_data([2, 2], TensorData::Bool(vec![true]));
    /// assert_eq!(short, Err(TensorError::Length { shape: vec![2, 2], expected: 4, found: 1 }));
    /// # Ok::<(), TensorError>(())
    /// ```
    ///
    /// # Errors
    /// Another number of elements than the shape has.
    pub fn from_data(shape: impl Into<Vec<usize>>, data: TensorData) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        fits(&shape, data.len())?;
        Ok(Tensor { shape, data })
    }

    /// A rank-1 tensor.
    pub fn vector<E: Element>(data: Vec<E>) -> Tensor {
        Tensor { shape: vec![data.len()], data: E::wrap(data) }
    }

    /// A scalar.
    pub fn scalar<E: Element>(value: E) -> Tensor {
        Tensor { shape: vec![], data: E::wrap(vec![value]) }
    }

    /// A tensor filled with `value`, rounded to `dtype` (for `Bool`: whether it is non-zero).
    ///
    /// # Panics
    /// On a shape that no memory can hold, as `vec!` does.
    pub fn full(dtype: DType, shape: impl Into<Vec<usize>>, value: f64) -> Tensor {
        let shape = shape.into();
        let len = element_count(&shape).unwrap_or(usize::MAX);
        let data = match dtype {
            DType::F32 => TensorData::F32(vec![value as f32; len]),
            DType::F64 => TensorData::F64(vec![value; len]),
            DType::I32 => TensorData::I32(vec![value as i32; len]),
            DType::Bool => TensorData::Bool(vec![value != 0.0; len]),
        };
        Tensor { shape, data }
    }

    /// A tensor of zeros (`false` for `Bool`).
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Tensor {
        Tensor::full(dtype, shape, 0.0)
    }

    /// A float tensor from `f64` values, rounded once to `dtype`; integers and masks are converted likewise.
    ///
    /// # Errors
    /// Another number of values than the shape holds.
    pub fn from_f64(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<Tensor, TensorError> {
        let values = values.into_iter();
        match dtype {
            DType::F32 => Tensor::new(shape, values.map(|v| v as f32).collect()),
            DType::F64 => Tensor::new(shape, values.collect()),
            DType::I32 => Tensor::new(shape, values.map(|v| v as i32).collect()),
            DType::Bool => Tensor::new(shape, values.map(|v| v != 0.0).collect()),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor's type, every dimension known.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype(), self.shape.as_slice())
    }

    /// The buffer.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The elements, mutably.
    pub fn data_mut(&mut self) -> TensorDataMut<'_> {
        self.data.as_mut()
    }

    /// The buffer, taken out of the tensor.
    pub fn into_data(self) -> TensorData {
        self.data
    }

    /// The elements, if they are of type `E`.
    pub fn as_slice<E: Element>(&self) -> Option<&[E]> {
        E::slice(&self.data)
    }

    /// The elements, mutably, if they are of type `E`.
    pub fn as_mut_slice<E: Element>(&mut self) -> Option<&mut [E]> {
        E::slice_mut(&mut self.data)
    }

    /// Every element as `f64` (masks as 0 and 1): exact for every element type.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            TensorData::F32(data) => data.iter().map(|&v| f64::from(v)).collect(),
            TensorData::F64(data) => data.clone(),
            TensorData::I32(data) => data.iter().map(|&v| f64::from(v)).collect(),
            TensorData::Bool(data) => data.iter().map(|&v| f64::from(u8::from(v))).collect(),
        }
    }

    /// The first element that is NaN or infinite, if there is one: where it is in row-major order, and what it is.
    ///
    /// ```
    /// use foldgrad::Tensor;
    /// assert_eq!(Tensor::vector(vec![1.0f32, f32::INFINITY]).first_not_finite(), Some((1, f64::INFINITY)));
    /// assert_eq!(Tensor::vector(vec![1, 2]).first_not_finite(), None);
    /// ```
    pub fn first_not_finite(&self) -> Option<(usize, f64)> {
        match &self.data {
            TensorData::F32(data) => {
                data.iter().position(|value| !value.is_finite()).map(|at| (at, f64::from(data[at])))
            }
            TensorData::F64(data) => data.iter().position(|value| !value.is_finite()).map(|at| (at, data[at])),
            TensorData::I32(_) | TensorData::Bool(_) => None,
        }
    }

    /// The single element of a tensor with one element, as `f64`.
    pub fn item(&self) -> Option<f64> {
        if self.len() == 1 { self.to_f64().first().copied() } else { None }
    }

    /// The same elements under another shape of equal size.
    ///
    /// # Errors
    /// A shape of another number of elements.
    pub fn reshape(mut self, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        fits(&shape, self.len())?;
        self.shape = shape;
        Ok(self)
    }

    /// The elements converted to another element type.
    pub fn cast(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype() {
            return self.clone();
        }
        Tensor::from_f64(dtype, self.shape.clone(), self.to_f64()).unwrap_or_else(|_| self.clone())
    }
}

/// The product of a shape. `None` if it overflows, or would if no size were 0: then the product of some of the sizes does.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    let least = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { least })
}

/// Whether a tensor of that shape has so many elements.
fn fits(shape: &[usize], found: usize) -> Result<(), TensorError> {
    match element_count(shape) {
        None => Err(TensorError::TooLarge { shape: shape.to_vec() }),
        Some(expected) if expected != found => Err(TensorError::Length { shape: shape.to_vec(), expected, found }),
        Some(_) => Ok(()),
    }
}

/// A constant's value inside an op: cheap to clone, compared and hashed by its bits (so `-0.0` and `0.0` differ).
#[derive(Clone, Debug)]
pub struct Literal(Arc<Tensor>);

impl Literal {
    /// Wraps a tensor. NaNs are made canonical, so that equal constants are one node.
    pub fn new(mut tensor: Tensor) -> Literal {
        match &mut tensor.data {
            TensorData::F32(data) => data.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f32::NAN),
            TensorData::F64(data) => data.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f64::NAN),
            TensorData::I32(_) | TensorData::Bool(_) => {}
        }
        Literal(Arc::new(tensor))
    }
}

impl Deref for Literal {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        if self.shape != other.shape {
            return false;
        }
        match (&self.data, &other.data) {
            (TensorData::F32(a), TensorData::F32(b)) => a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
            (TensorData::F64(a), TensorData::F64(b)) => a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
            (TensorData::I32(a), TensorData::I32(b)) => a == b,
            (TensorData::Bool(a), TensorData::Bool(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shape.hash(state);
        // A prefix is enough for hash-consing; equality looks at everything.
        const PREFIX: usize = 64;
        match &self.data {
            TensorData::F32(data) => data.iter().take(PREFIX).for_each(|v| v.to_bits().hash(state)),
            TensorData::F64(data) => data.iter().take(PREFIX).for_each(|v| v.to_bits().hash(state)),
            TensorData::I32(data) => data[..data.len().min(PREFIX)].hash(state),
            TensorData::Bool(data) => data[..data.len().min(PREFIX)].hash(state),
        }
    }
}
