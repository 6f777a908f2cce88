//! Products whose right operand is stored in [`Blocks`] of columns, as it is or transposed.

use super::pack::{by_panels, copy_panel, depth};
use super::tile::Tiles;
use super::{Blocks, MatrixAt, ProductAt, row};
use crate::kernel::Real;
use crate::kernel::simd::Level;
use std::ops::Range;

/// `c = a·b` for a range of columns of `b`, which begins and ends with a block.
///
/// # Safety
/// As [`product`](super::product), with `b.start` at the first block; `c` and `n` are those of the range.
pub(super) unsafe fn product_of_blocks<T: Real>(level: Level, p: ProductAt<T>, blocks: Blocks, columns: Range<usize>) {
    // One row has no part that could leave the cache.
    let depth = if p.m == 1 { p.k.max(1) } else { depth(p.m, p.k, size_of::<T>()) };
    for from in (0..p.k.max(1)).step_by(depth) {
        let k = depth.min(p.k - from);
        let a = MatrixAt { start: p.a.start.wrapping_add(from * p.a.column_stride), ..p.a };
        for block in blocks.within(columns.clone()) {
            let (at, width) = (block.start - columns.start, block.len());
            let finish = p.finish.behind(at).at_end(from + k >= p.k);
            // SAFETY: the caller's.
            unsafe {
                let b = p.b.start.add(blocks.at(from, block.start));
                let b = MatrixAt { start: b, row_stride: width, column_stride: 1 };
                let block = ProductAt { k, n: width, a, b, c: p.c.add(at), finish, ..p };
                match p.m {
                    1 => row::row(level, block),
                    _ => level.dispatch_over_memory(Tiles { product: block, accumulate: from > 0 }),
                }
            }
        }
    }
}

/// `c = a·bᵀ` for a range of rows of `b`.
///
/// # Safety
/// As [`product_of_blocks`], where `c` has a column for each of the `rows`; `scratch` as in [`product`](super::product).
pub(super) unsafe fn product_of_transposed_blocks<T: Real>(
    level: Level,
    p: ProductAt<T>,
    blocks: Blocks,
    rows: Range<usize>,
    scratch: *mut T,
) {
    // SAFETY: the caller's.
    unsafe {
        by_panels(level, p, scratch, |k, columns| {
            for part in blocks.within(k.clone()) {
                let block = p.b.start.add(blocks.at(rows.start + columns.start, part.start));
                let stride = blocks.around(part.start).len();
                let source = MatrixAt { start: block, row_stride: 1, column_stride: stride };
                let target = scratch.add((part.start - k.start) * columns.len());
                copy_panel(level, source, part.len(), columns.len(), target);
            }
        });
    }
}
