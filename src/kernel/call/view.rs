//! A strided window on a buffer: how transposes, slices and broadcasts cost nothing until a kernel needs them packed.

use super::BufferId;
use crate::ir::DType;
use crate::reference::strides_of;
use smallvec::SmallVec;

/// Which element of a buffer belongs to the `i`-th of a row-major walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Element `i`.
    Full,
    /// Element 0.
    Scalar,
    /// Element `(i / repeat) % period`.
    Middle { period: usize, repeat: usize },
}

/// Element `[i₀, i₁, …]` lies at `offset + Σ iₖ·strides[k]` of the buffer, in elements. A stride of 0 repeats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub buffer: BufferId,
    pub dtype: DType,
    pub offset: usize,
    pub shape: SmallVec<[usize; 4]>,
    pub strides: SmallVec<[usize; 4]>,
}

impl View {
    /// The whole of a buffer, row-major.
    pub(crate) fn packed(buffer: BufferId, dtype: DType, shape: &[usize]) -> View {
        View {
            buffer,
            dtype,
            offset: 0,
            shape: SmallVec::from_slice(shape),
            strides: SmallVec::from_vec(strides_of(shape)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements lie one after another in row-major order.
    pub(crate) fn is_packed(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return self.len() == 0;
            }
            expected *= size;
        }
        true
    }

    /// Another shape of the same packed elements.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> View {
        View { shape: SmallVec::from_slice(shape), strides: SmallVec::from_vec(strides_of(shape)), ..self.clone() }
    }

    pub(crate) fn transposed(&self, permutation: &[usize]) -> View {
        View {
            shape: permutation.iter().map(|&axis| self.shape[axis]).collect(),
            strides: permutation.iter().map(|&axis| self.strides[axis]).collect(),
            ..self.clone()
        }
    }

    pub(crate) fn broadcast(&self, shape: &[usize], dims: &[usize]) -> View {
        let mut strides: SmallVec<[usize; 4]> = SmallVec::from_elem(0, shape.len());
        for (axis, &dim) in dims.iter().enumerate() {
            strides[dim] = if self.shape[axis] == 1 { 0 } else { self.strides[axis] };
        }
        View { shape: SmallVec::from_slice(shape), strides, ..self.clone() }
    }

    /// `start, start + step, …` of one axis, `len` of them.
    pub(crate) fn sliced(&self, axis: usize, start: usize, step: usize, len: usize) -> View {
        let mut view = self.clone();
        view.offset += start * view.strides[axis];
        view.strides[axis] *= step;
        view.shape[axis] = len;
        view
    }

    /// How a kernel that walks the view's elements in row-major order finds them, if there is a simple rule.
    pub(crate) fn pattern(&self) -> Option<Pattern> {
        if self.is_packed() {
            return Some(Pattern::Full);
        }
        let varying = |&axis: &usize| self.shape[axis] != 1 && self.strides[axis] != 0;
        let axes: SmallVec<[usize; 4]> = (0..self.shape.len()).filter(varying).collect();
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else { return Some(Pattern::Scalar) };
        // Between the first and last varying axis nothing may repeat, and the elements must be packed.
        let mut expected = 1;
        for axis in (first..=last).rev() {
            if self.shape[axis] != 1 && self.strides[axis] != expected {
                return None;
            }
            expected *= self.shape[axis];
        }
        Some(Pattern::Middle { period: expected, repeat: self.shape[last + 1..].iter().product() })
    }

    /// The given axes as one axis `(size, stride)`, if they are laid out so.
    pub(crate) fn merged(&self, axes: &[usize]) -> Option<(usize, usize)> {
        let mut merged: Option<(usize, usize)> = None;
        for &axis in axes.iter().rev() {
            let (size, stride) = (self.shape[axis], self.strides[axis]);
            merged = match merged {
                _ if size == 1 => merged,
                None => Some((size, stride)),
                Some((inner, step)) if stride == inner * step => Some((size * inner, step)),
                Some(_) => return None,
            };
        }
        Some(merged.unwrap_or((1, 1)))
    }
}
