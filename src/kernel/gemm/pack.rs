//! Products whose `b` is copied panel by panel, so that its rows lie one after another.

use super::tile::{Tiles, VECTORS};
use super::transpose::transpose;
use super::{CHAIN, MatrixAt, PACKING, ProductAt};
use crate::kernel::Real;
use crate::kernel::simd::Level;
use std::ops::Range;

/// Rows of `b` in a panel: 192 KiB of f32 on the widest machine, which stay in the second-level cache.
const DEPTH: usize = PACKING / (VECTORS * WIDEST);

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// # Safety
/// As [`product`](super::product).
pub(super) unsafe fn packed<T: Real>(level: Level, product: ProductAt<T>, scratch: *mut T) {
    let b = product.b;
    // SAFETY: the caller vouches for the product and for `scratch`.
    unsafe {
        by_panels(level, product, scratch, |k, columns| {
            let start = b.start.wrapping_add(k.start * b.row_stride + columns.start * b.column_stride);
            copy_panel(level, MatrixAt { start, ..b }, k.len(), columns.len(), scratch);
        });
    }
}

/// Computes a product panel by panel of its right operand; `copy` brings the given rows and columns of it to `scratch`, one
/// row after another.
///
/// # Safety
/// As [`product`](super::product), but for the right operand, of which only what is copied is read.
pub(super) unsafe fn by_panels<T: Real>(
    level: Level,
    product: ProductAt<T>,
    scratch: *mut T,
    copy: impl Fn(Range<usize>, Range<usize>),
) {
    let ProductAt { m, k, n, a, c, finish, .. } = product;
    let widest = VECTORS * WIDEST * 4 / size_of::<T>();
    let depth = depth(m, k, size_of::<T>()).min(DEPTH);
    for from in (0..k.max(1)).step_by(depth) {
        let to = k.min(from + depth);
        let a = MatrixAt { start: a.start.wrapping_add(from * a.column_stride), ..a };
        for column in (0..n).step_by(widest) {
            let width = widest.min(n - column);
            // A panel has at most `DEPTH` rows of `widest` elements.
            copy(from..to, column..column + width);
            let b = MatrixAt { start: scratch.cast_const(), row_stride: width, column_stride: 1 };
            let finish = finish.behind(column).at_end(to >= k);
            // SAFETY: the caller vouches for `a` and `c`, and the panel is there.
            unsafe {
                let product = ProductAt { k: to - from, n: width, a, b, c: c.add(column), finish, ..product };
                level.dispatch_over_memory(Tiles { product, accumulate: from > 0 });
            }
        }
    }
}

/// How much of `k` is taken at a time: so much that this part of the left operand stays in the second-level cache while all
/// columns go by, in whole chains.
pub(super) fn depth(m: usize, k: usize, size: usize) -> usize {
    const MOST_BYTES: usize = 256 << 10;
    if m * k * size <= 2 * MOST_BYTES {
        return k.max(CHAIN);
    }
    (MOST_BYTES / (m * size) / CHAIN * CHAIN).max(CHAIN)
}

/// Copies `depth` rows of `width` elements.
///
/// # Safety
/// `from` is readable over that window and `to` writable for `depth·width` elements.
pub(super) unsafe fn copy_panel<T: Real>(level: Level, from: MatrixAt<T>, depth: usize, width: usize, to: *mut T) {
    // SAFETY: the caller's.
    unsafe {
        if from.row_stride == 1 && from.column_stride != 1 {
            return transpose(level, from.start, from.column_stride, [depth, width], to);
        }
        for row in 0..depth {
            let (source, target) = (from.start.add(row * from.row_stride), to.add(row * width));
            if from.column_stride == 1 {
                std::ptr::copy_nonoverlapping(source, target, width);
                continue;
            }
            for column in 0..width {
                target.add(column).write(source.add(column * from.column_stride).read());
            }
        }
    }
}
