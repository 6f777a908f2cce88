//! Tensors as little-endian bytes, row-major, a mask as a byte an element: how every format here stores them.

use crate::ir::{Tensor, TensorData};

/// The bytes of every element.
pub(super) fn of(tensor: &Tensor) -> Vec<u8> {
    match tensor.data() {
        TensorData::F32(data) => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorData::F64(data) => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorData::I32(data) => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorData::Bool(data) => data.iter().map(|&v| u8::from(v)).collect(),
    }
}

/// The elements that bytes stand for; what is left over at the end is no element.
pub(super) fn elements<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| from(chunk)).collect()
}
