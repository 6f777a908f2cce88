//! Matrix products, by faer on one thread.

use super::Real;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// A strided matrix; strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct MatrixRef<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a, T> MatrixRef<'a, T> {
    fn faer(self) -> MatRef<'a, T> {
        let MatrixRef { data, rows, columns, row_stride, column_stride } = self;
        if rows > 0 && columns > 0 {
            assert!((rows - 1) * row_stride + (columns - 1) * column_stride < data.len(), "matrix exceeds its buffer");
        }
        // SAFETY: the last element, the one with the largest offset because strides are not negative, lies within
        // `data`, and the borrow of `data` lasts as long as the result.
        unsafe { MatRef::from_raw_parts(data.as_ptr(), rows, columns, row_stride as isize, column_stride as isize) }
    }
}

/// `c = a·b`, with `c` row-major and packed.
pub(crate) fn gemm<T: Real>(a: MatrixRef<'_, T>, b: MatrixRef<'_, T>, c: &mut [T]) {
    let (m, n) = (a.rows, b.columns);
    let c = MatMut::from_row_major_slice_mut(c, m, n);
    matmul(c, Accum::Replace, a.faer(), b.faer(), T::ONE, Par::Seq);
}
