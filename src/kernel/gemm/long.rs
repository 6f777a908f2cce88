//! Products over a long `k`, where even a chain of chains loses digits: pieces of `k`, added up in twice the digits.

use super::{CHAIN, FinishAt, MatrixAt, Method, ProductAt};
use crate::kernel::Real;
use crate::kernel::simd::Level;
use crate::kernel::total::Total;

/// The longest `k` that is taken in one piece.
pub(super) const PIECE: usize = 64 * CHAIN;

/// Rows and columns whose totals are kept at a time.
const ROWS: usize = 32;
const COLUMNS: usize = 48;

/// # Safety
/// As [`product`](super::product).
pub(super) unsafe fn product<T: Real>(level: Level, method: Method, product: ProductAt<T>, scratch: *mut T) {
    for row in (0..product.m).step_by(ROWS) {
        for column in (0..product.n).step_by(COLUMNS) {
            let window = [ROWS.min(product.m - row), COLUMNS.min(product.n - column)];
            // SAFETY: the caller's; the window ends at or before the last row and column.
            unsafe { by_pieces(level, method, product, scratch, [row, column], window) };
        }
    }
}

/// # Safety
/// As [`product`], for a window of it.
unsafe fn by_pieces<T: Real>(
    level: Level,
    method: Method,
    product: ProductAt<T>,
    scratch: *mut T,
    [row, column]: [usize; 2],
    [rows, columns]: [usize; 2],
) {
    let ProductAt { k, a, b, c, c_stride, finish, .. } = product;
    let mut piece = [T::ZERO; ROWS * COLUMNS];
    let mut totals = [T::Total::of(T::ZERO); ROWS * COLUMNS];
    for from in (0..k).step_by(PIECE) {
        let a_start = a.start.wrapping_add(row * a.row_stride + from * a.column_stride);
        let b_start = b.start.wrapping_add(from * b.row_stride + column * b.column_stride);
        let part = ProductAt {
            m: rows,
            k: PIECE.min(k - from),
            n: columns,
            a: MatrixAt { start: a_start, ..a },
            b: MatrixAt { start: b_start, ..b },
            c: piece.as_mut_ptr(),
            c_stride: columns,
            finish: FinishAt::NONE,
        };
        // SAFETY: the caller's; a piece has room for the window.
        unsafe { super::piece(level, method, part, scratch) };
        totals.iter_mut().zip(&piece).take(rows * columns).for_each(|(total, &part)| *total = total.plus(part));
    }
    let finish = finish.behind(column);
    for (at, total) in totals.iter().take(rows * columns).enumerate() {
        let (r, v) = (at / columns, at % columns);
        let mut value = total.rounded();
        // SAFETY: the caller's: a bias has an element for each column.
        unsafe {
            if !finish.bias.is_null() {
                value += finish.bias.add(v).read();
            }
            let value = if finish.relu && value < T::ZERO { T::ZERO } else { value };
            c.add((row + r) * c_stride + column + v).write(value);
        }
    }
}
