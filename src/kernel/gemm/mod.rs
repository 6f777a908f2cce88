//! Matrix products: `c = a·b`, or a window of it.
//!
//! Every element of `c` is a sum of chains, each of [`CHAIN`] multiply-adds over `k` in ascending order: rounding grows with
//! the root of a chain's length and not with that of `k`. Where `k` is very [long], pieces of it are summed so and then added
//! up in twice the digits. The order is the same whatever the window, the tile or the
//! packing, so a product has the same bits however it is shared out. The exception is [`Method::Faer`], whose blocking
//! over `k` depends on `k` alone.
//!
//! | method | when | what it costs |
//! | --- | --- | --- |
//! | `Row` | one row | reads `b` once |
//! | `Tile` | rows of `b` are contiguous | 24 accumulators in registers; reads `b` in place |
//! | `Packed` | rows of `b` are far apart or not contiguous, and many rows share a panel | one copy of `b` |
//! | `Faer` | columns of `b` are contiguous and few rows share a panel | faer packs |

mod blocks;
mod by_faer;
mod call;
mod layout;
mod long;
mod pack;
mod row;
mod tile;
mod transpose;
mod with_map;

pub(crate) use call::{Finish, GemmCall, Method};
pub(crate) use layout::Blocks;
pub(crate) use with_map::GemmMapCall;

use super::Real;
use super::simd::Level;
use blocks::{product_of_blocks, product_of_transposed_blocks};
use pack::copy_panel;

/// Elements of scratch that a product needs to pack its right operand: 1,024 rows of 3 vectors.
const PACKING: usize = 1024 * 3 * 16;

/// A strided matrix; strides in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixAt<T> {
    pub start: *const T,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// `c[m, n] = a[m, k]·b[k, n]`, where the rows of `c` are contiguous and `c_stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProductAt<T> {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: MatrixAt<T>,
    pub b: MatrixAt<T>,
    pub c: *mut T,
    pub c_stride: usize,
    pub finish: FinishAt<T>,
}

/// Multiply-adds of a chain.
const CHAIN: usize = 256;

/// A [`Finish`] in memory: what happens to each element before it is stored for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FinishAt<T> {
    /// One element for each column of `c`, to be added; null where there is none.
    pub bias: *const T,
    pub relu: bool,
}

impl<T: Real> FinishAt<T> {
    pub(crate) const NONE: FinishAt<T> = FinishAt { bias: std::ptr::null(), relu: false };

    fn is_none(self) -> bool {
        self.bias.is_null() && !self.relu
    }

    /// For the columns from `column` on.
    fn behind(self, column: usize) -> FinishAt<T> {
        let bias = if self.bias.is_null() { self.bias } else { self.bias.wrapping_add(column) };
        FinishAt { bias, ..self }
    }

    /// For a part of `k` that others follow, nothing.
    fn at_end(self, is_end: bool) -> FinishAt<T> {
        if is_end { self } else { FinishAt::NONE }
    }
}

/// Computes a product.
///
/// # Safety
/// `a` and `b` are readable and `c` is writable over the whole product, `c` overlaps neither, and `scratch` is
/// writable for [`PACKING`] elements. `Row` takes one row; `Tile` and `Row` take a column
/// stride of `b` of 1.
pub(crate) unsafe fn product<T: Real>(level: Level, method: Method, product: ProductAt<T>, scratch: *mut T) {
    if product.m == 0 || product.n == 0 {
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        if product.k > long::PIECE {
            long::product(level, method, product, scratch);
        } else {
            piece(level, method, product, scratch);
        }
    }
}

/// A product whose `k` is taken in one go.
///
/// # Safety
/// As [`product`].
unsafe fn piece<T: Real>(level: Level, method: Method, product: ProductAt<T>, scratch: *mut T) {
    // SAFETY: the caller's.
    unsafe {
        match method {
            Method::Row => row::row(level, product),
            Method::Tile => tile::tiles(level, product),
            Method::Packed => pack::packed(level, product, scratch),
            Method::Faer => by_faer::product(product),
        }
    }
}
