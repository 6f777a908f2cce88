//! Plain row-major arrays for the interpreter.

use super::Number;
use crate::ir::{DType, Tensor, TensorData, TensorError, TensorType};

/// A shape and its elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct NdArray<T> {
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<T>,
}

impl<T: Copy> NdArray<T> {
    /// Builds each element from its multi-index.
    pub fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> T) -> NdArray<T> {
        let len = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let mut data = Vec::with_capacity(len);
        for _ in 0..len {
            data.push(f(&index));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        NdArray { shape: shape.to_vec(), data }
    }

    /// The element at a multi-index.
    pub fn at(&self, index: &[usize]) -> T {
        self.data[index_of(&self.shape, index)]
    }

    /// Applies `f` to each element.
    pub fn map<U>(&self, f: impl FnMut(T) -> U) -> NdArray<U> {
        NdArray { shape: self.shape.clone(), data: self.data.iter().copied().map(f).collect() }
    }

    /// Applies `f` to each pair of elements of two arrays of one shape.
    pub fn zip<U: Copy, V>(&self, other: &NdArray<U>, mut f: impl FnMut(T, U) -> V) -> NdArray<V> {
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        NdArray { shape: self.shape.clone(), data }
    }
}

/// Row-major strides of a shape, in elements.
pub(crate) fn strides_of(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Offset of a multi-index in a row-major array.
pub(crate) fn index_of(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |offset, (&size, &i)| offset * size + i)
}

/// A value of the interpreter: floats over the chosen number type, integers, or masks.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array<S> {
    Real(NdArray<S>),
    Int(NdArray<i32>),
    Bool(NdArray<bool>),
}

impl<S: Number> Array<S> {
    /// The tensor's values in this number type.
    pub fn from_tensor(tensor: &Tensor) -> Array<S> {
        let shape = tensor.shape().to_vec();
        match tensor.data() {
            TensorData::I32(data) => Array::Int(NdArray { shape, data: data.clone() }),
            TensorData::Bool(data) => Array::Bool(NdArray { shape, data: data.clone() }),
            TensorData::F32(_) | TensorData::F64(_) => {
                Array::Real(NdArray { shape, data: tensor.to_f64().into_iter().map(S::from_f64).collect() })
            }
        }
    }

    /// The values as a tensor; floats are rounded to `dtype` from their primal part.
    ///
    /// # Errors
    /// A tensor type that the values do not fit; none for arrays that the interpreter made.
    pub fn to_tensor(&self, dtype: DType) -> Result<Tensor, TensorError> {
        match self {
            Array::Real(array) => Tensor::from_f64(dtype, array.shape.clone(), array.data.iter().map(|v| v.to_f64())),
            Array::Int(array) => Tensor::new(array.shape.clone(), array.data.clone()),
            Array::Bool(array) => Tensor::new(array.shape.clone(), array.data.clone()),
        }
    }

    /// Size of each dimension.
    pub fn shape(&self) -> &[usize] {
        match self {
            Array::Real(array) => &array.shape,
            Array::Int(array) => &array.shape,
            Array::Bool(array) => &array.shape,
        }
    }

    /// Whether the array can be a value of that type with that concrete shape.
    pub fn fits(&self, ty: &TensorType, shape: &[usize]) -> bool {
        let kind = match self {
            Array::Real(_) => ty.dtype.is_float(),
            Array::Int(_) => ty.dtype == DType::I32,
            Array::Bool(_) => ty.dtype == DType::Bool,
        };
        kind && self.shape() == shape
    }

    /// The float array. The type rules make sure of it where an op calls this; anything else is a bug in the op.
    pub fn real(&self) -> &NdArray<S> {
        match self {
            Array::Real(array) => array,
            _ => unreachable!("type inference admits only floats here"),
        }
    }

    /// The integer array; see [`Array::real`].
    pub fn int(&self) -> &NdArray<i32> {
        match self {
            Array::Int(array) => array,
            _ => unreachable!("type inference admits only integers here"),
        }
    }

    /// The mask; see [`Array::real`].
    pub fn mask(&self) -> &NdArray<bool> {
        match self {
            Array::Bool(array) => array,
            _ => unreachable!("type inference admits only masks here"),
        }
    }
}

/// Applies the same element-moving code to whichever kind an array is of.
macro_rules! each_kind {
    ($array:expr, $inner:ident => $body:expr) => {
        match $array {
            $crate::reference::Array::Real($inner) => $crate::reference::Array::Real($body),
            $crate::reference::Array::Int($inner) => $crate::reference::Array::Int($body),
            $crate::reference::Array::Bool($inner) => $crate::reference::Array::Bool($body),
        }
    };
}
pub(crate) use each_kind;
