//! Products whose `b` is copied panel by panel, so that its rows lie one after another.

use super::tile::{Tiles, VECTORS};
use super::{MatrixRef, Product};
use crate::kernel::Real;
use crate::kernel::simd::Level;
use crate::plan::GEMM_SCRATCH;

/// Rows of `b` in a panel: 192 KiB of f32 on the widest machine, which stay in the second-level cache.
const DEPTH: usize = GEMM_SCRATCH / (VECTORS * WIDEST);

/// Rows and f32 columns of a panel.
pub(super) const PANEL: [usize; 2] = [DEPTH, VECTORS * WIDEST];

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// Rows of a transposed panel that are written together, so that the lines they are on stay in the first-level cache.
const STRIP: usize = 16;

/// # Safety
/// As [`product`](super::product).
pub(super) unsafe fn packed<T: Real>(level: Level, product: Product<T>, scratch: *mut T) {
    let Product { k, n, a, b, c, .. } = product;
    let widest = VECTORS * WIDEST * 4 / size_of::<T>();
    for column in (0..n).step_by(widest) {
        let width = widest.min(n - column);
        let mut from = 0;
        loop {
            let depth = (k - from).min(DEPTH);
            // SAFETY: the caller vouches for the product; a panel has at most `DEPTH` rows of `widest` elements.
            unsafe {
                let source = b.start.wrapping_add(from * b.row_stride + column * b.column_stride);
                level.vectorise(
                    #[inline(always)]
                    || copy_panel(MatrixRef { start: source, ..b }, depth, width, scratch),
                );
                let a = MatrixRef { start: a.start.wrapping_add(from * a.column_stride), ..a };
                let b = MatrixRef { start: scratch.cast_const(), row_stride: width, column_stride: 1 };
                let product = Product { k: depth, n: width, a, b, c: c.add(column), ..product };
                level.dispatch(Tiles { product, accumulate: from > 0 });
            }
            from += depth;
            if from >= k {
                break;
            }
        }
    }
}

/// Copies `depth` rows of `width` elements.
///
/// # Safety
/// `from` is readable over that window and `to` writable for `depth·width` elements.
#[inline(always)]
pub(super) unsafe fn copy_panel<T: Real>(from: MatrixRef<T>, depth: usize, width: usize, to: *mut T) {
    // SAFETY: the caller's.
    unsafe {
        if from.column_stride == 1 {
            for row in 0..depth {
                std::ptr::copy_nonoverlapping(from.start.add(row * from.row_stride), to.add(row * width), width);
            }
            return;
        }
        for strip in (0..depth).step_by(STRIP) {
            let rows = STRIP.min(depth - strip);
            for column in 0..width {
                let (mut source, mut target) = (
                    from.start.wrapping_add(strip * from.row_stride + column * from.column_stride),
                    to.wrapping_add(strip * width + column),
                );
                for _ in 0..rows {
                    target.write(source.read());
                    (source, target) = (source.wrapping_add(from.row_stride), target.wrapping_add(width));
                }
            }
        }
    }
}
