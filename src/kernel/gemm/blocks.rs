//! Products whose right operand is stored in [`Blocks`] of columns, as it is or transposed.

use super::pack::{PANEL, copy_panel};
use super::tile::Tiles;
use super::{MatrixRef, Product, row, tile};
use crate::kernel::Real;
use crate::kernel::simd::Level;
use crate::plan::Blocks;
use std::ops::Range;

/// `c = a·b` for a range of columns of `b`, which begins and ends with a block.
///
/// # Safety
/// As [`product`](super::product), with `b.start` at the first block; `c` and `n` are those of the range.
pub(crate) unsafe fn product_of_blocks<T: Real>(level: Level, p: Product<T>, blocks: Blocks, columns: Range<usize>) {
    for column in columns.clone().step_by(blocks.width) {
        let (start, width) = blocks.block(column);
        // SAFETY: the caller's.
        unsafe {
            let b = MatrixRef { start: p.b.start.add(start), row_stride: width, column_stride: 1 };
            let at = column - columns.start;
            let block = Product { n: width, b, c: p.c.add(at), finish: p.finish.from_column(at), ..p };
            if p.m == 1 { row::row(level, block) } else { tile::tiles(level, block) }
        }
    }
}

/// `c = a·bᵀ` for a range of rows of `b`.
///
/// # Safety
/// As [`product_of_blocks`], where `c` has a column for each of the `rows`; `scratch` as in [`product`](super::product).
pub(crate) unsafe fn product_of_transposed_blocks<T: Real>(
    level: Level,
    p: Product<T>,
    blocks: Blocks,
    rows: Range<usize>,
    scratch: *mut T,
) {
    let [depth, widest] = [PANEL[0], PANEL[1] * 4 / size_of::<T>()];
    for first in rows.clone().step_by(widest) {
        let width = widest.min(rows.end - first);
        let mut from = 0;
        while from < p.k {
            let to = p.k.min(from + depth / blocks.width * blocks.width);
            // SAFETY: the caller's; a panel has at most `depth` rows of `widest` elements.
            unsafe {
                for column in (from..to).step_by(blocks.width) {
                    let (start, stride) = blocks.block(column);
                    let block = p.b.start.add(start + first * stride);
                    let source = MatrixRef { start: block, row_stride: 1, column_stride: stride };
                    let target = scratch.add((column - from) * width);
                    let count = stride.min(to - column);
                    copy_panel(level, source, count, width, target);
                }
                let a = MatrixRef { start: p.a.start.wrapping_add(from * p.a.column_stride), ..p.a };
                let b = MatrixRef { start: scratch.cast_const(), row_stride: width, column_stride: 1 };
                let c = p.c.add(first - rows.start);
                let finish = p.finish.from_column(first - rows.start).at_end(to >= p.k);
                let product = Product { k: to - from, n: width, a, b, c, finish, ..p };
                level.dispatch(Tiles { product, accumulate: from > 0 });
            }
            from = to;
        }
    }
}
