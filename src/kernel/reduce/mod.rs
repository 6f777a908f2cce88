//! Reductions over the middle of `(outer, reduced, inner)`, in a fixed order.
//!
//! RowsAt are joined in trees of eight, eight trees make a block, and blocks are added up in a [`Total`], in twice the digits.
//! So what a sum loses is what a block loses, a few units in the last place of the magnitudes that are summed, however
//! many there are. A contiguous line is a matrix with rows of [`LANES`] elements, whose columns are joined in the end.

mod call;

pub(crate) use call::ReduceCall;

use super::Real;
use super::simd::Level;
use super::total::Total;
use crate::ops::Reduction;
use std::marker::PhantomData;

/// Columns of a contiguous line: enough to fill vector registers. The order is the same on every machine.
const LANES: usize = 16;

/// Columns whose totals are kept at a time: in the first-level cache, and long enough for rows to be read in stretches.
const TILE: usize = 256;

/// `y[o, i] = ⊕ᵣ x[o, r, i]` for `outer` blocks of `reduced` rows of `inner` elements, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub outer: usize,
    pub reduced: usize,
    pub inner: usize,
    pub stride: usize,
}

/// Reduces `x` into `y`, whose blocks are packed.
///
/// # Safety
/// `x` is readable over the extent.
pub(crate) unsafe fn reduce<T: Real>(level: Level, reduction: Reduction, x: *const T, y: &mut [T], extent: Extent) {
    level.vectorise(
        #[inline(always)]
        || {
            // SAFETY: the caller's.
            unsafe {
                match reduction {
                    Reduction::Sum => over::<T, Sum>(x, y, extent),
                    Reduction::Product => over::<T, Product>(x, y, extent),
                    Reduction::Max => over::<T, Extreme<true>>(x, y, extent),
                    Reduction::Min => over::<T, Extreme<false>>(x, y, extent),
                }
            }
        },
    );
}

/// How elements become one.
trait Fold<T> {
    /// What blocks are gathered in.
    type Total: Copy;
    /// RowsAt that are joined before they are gathered.
    const BLOCK: usize;

    fn identity() -> T;
    fn join(a: T, b: T) -> T;
    fn start() -> Self::Total;
    fn gather(total: Self::Total, block: T) -> Self::Total;
    fn merge(a: Self::Total, b: Self::Total) -> Self::Total;
    fn finish(total: Self::Total) -> T;
}

/// Defines a reduction whose blocks are gathered in a [`Total`].
macro_rules! gathered {
    ($name:ident, $block:literal, $identity:ident, $operator:tt, $gather:ident, $merge:ident) => {
        struct $name;

        impl<T: Real> Fold<T> for $name {
            type Total = T::Total;
            const BLOCK: usize = $block;

            #[inline(always)]
            fn identity() -> T {
                T::$identity
            }

            #[inline(always)]
            fn join(a: T, b: T) -> T {
                a $operator b
            }

            #[inline(always)]
            fn start() -> T::Total {
                T::Total::of(T::$identity)
            }

            #[inline(always)]
            fn gather(total: T::Total, block: T) -> T::Total {
                total.$gather(block)
            }

            #[inline(always)]
            fn merge(a: T::Total, b: T::Total) -> T::Total {
                a.$merge(b)
            }

            #[inline(always)]
            fn finish(total: T::Total) -> T {
                total.rounded()
            }
        }
    };
}

gathered!(Sum, 64, ZERO, +, plus, and);
// Every multiplication rounds by as much as the product is large, in a tree as in a chain: none is done in `T`.
gathered!(Product, 1, ONE, *, times, by);

/// The largest element or the least, NaN if there is one. Nothing is rounded.
struct Extreme<const LARGEST: bool>;

impl<T: Real, const LARGEST: bool> Fold<T> for Extreme<LARGEST> {
    type Total = T;
    const BLOCK: usize = usize::MAX / LANES;

    #[inline(always)]
    fn identity() -> T {
        T::from_f64(if LARGEST { f64::NEG_INFINITY } else { f64::INFINITY })
    }

    #[inline(always)]
    fn join(a: T, b: T) -> T {
        if LARGEST { a.max(b) } else { a.min(b) }
    }

    #[inline(always)]
    fn start() -> T {
        Self::identity()
    }

    #[inline(always)]
    fn gather(total: T, block: T) -> T {
        Self::join(total, block)
    }

    #[inline(always)]
    fn merge(a: T, b: T) -> T {
        Self::join(a, b)
    }

    #[inline(always)]
    fn finish(total: T) -> T {
        total
    }
}

/// # Safety
/// As [`reduce`].
#[inline(always)]
unsafe fn over<T: Real, F: Fold<T>>(x: *const T, y: &mut [T], Extent { outer, reduced, inner, stride }: Extent) {
    if inner == 0 {
        return;
    }
    let mut space;
    let totals: &mut [F::Total] = if reduced > F::BLOCK {
        space = [F::start(); TILE];
        &mut space
    } else {
        &mut []
    };
    for (o, y) in y.chunks_exact_mut(inner).take(outer).enumerate() {
        let rows = RowsAt { start: x.wrapping_add(o * reduced * stride), stride, of: PhantomData::<F> };
        // SAFETY: the caller's.
        unsafe {
            if inner == 1 && stride == 1 {
                y[0] = line::<T, F>(std::slice::from_raw_parts(rows.start, reduced));
                continue;
            }
            for (tile, y) in y.chunks_mut(TILE).enumerate() {
                RowsAt { start: rows.start.add(tile * TILE), ..rows }.columns(reduced, y, totals);
            }
        }
    }
}

/// All of a contiguous line.
#[inline(always)]
fn line<T: Real, F: Fold<T>>(values: &[T]) -> T {
    let (whole, rest) = values.split_at(values.len() / LANES * LANES);
    let tail = rest.iter().fold(F::start(), |total, &value| F::gather(total, value));
    if whole.is_empty() {
        return F::finish(tail);
    }
    let mut totals = [F::start(); LANES];
    for block in whole.chunks(LANES * F::BLOCK) {
        let mut part = [F::identity(); LANES];
        let rows = RowsAt { start: block.as_ptr(), stride: LANES, of: PhantomData::<F> };
        // SAFETY: the block is made of whole rows.
        unsafe { rows.join_into(block.len() / LANES, &mut part) };
        totals.iter_mut().zip(part).for_each(|(total, part)| *total = F::gather(*total, part));
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            totals[lane] = F::merge(totals[lane], totals[lane + width]);
        }
    }
    F::finish(F::merge(totals[0], tail))
}

/// RowsAt of a matrix that are to be joined.
struct RowsAt<T, F> {
    start: *const T,
    stride: usize,
    of: PhantomData<F>,
}

impl<T, F> Clone for RowsAt<T, F> {
    fn clone(&self) -> RowsAt<T, F> {
        *self
    }
}

impl<T, F> Copy for RowsAt<T, F> {}

impl<T: Real, F: Fold<T>> RowsAt<T, F> {
    /// Each of a few columns, at most [`TILE`], over `count` rows. There are totals if the rows are more than a block.
    ///
    /// # Safety
    /// The rows are readable for as many elements as `y` has.
    #[inline(always)]
    unsafe fn columns(self, count: usize, y: &mut [T], totals: &mut [F::Total]) {
        for first in (0..count.max(1)).step_by(F::BLOCK) {
            y.fill(F::identity());
            // SAFETY: the caller's.
            unsafe { self.from(first).join_into(F::BLOCK.min(count - first), y) };
            for (total, &part) in totals.iter_mut().zip(&*y) {
                *total = F::gather(if first == 0 { F::start() } else { *total }, part);
            }
        }
        for (y, &total) in y.iter_mut().zip(&*totals) {
            *y = F::finish(total);
        }
    }

    #[inline(always)]
    fn from(self, row: usize) -> RowsAt<T, F> {
        RowsAt { start: self.start.wrapping_add(row * self.stride), ..self }
    }

    /// Joins a block of rows with `y`: trees of eight, and of what is left.
    ///
    /// # Safety
    /// As [`RowsAt::columns`].
    #[inline(always)]
    unsafe fn join_into(self, count: usize, y: &mut [T]) {
        let mut row = 0;
        // SAFETY: the caller's; trees end at or before the last row.
        unsafe {
            while row + 8 <= count {
                self.from(row).tree_into::<8>(y);
                row += 8;
            }
            if row + 4 <= count {
                self.from(row).tree_into::<4>(y);
                row += 4;
            }
            if row + 2 <= count {
                self.from(row).tree_into::<2>(y);
                row += 2;
            }
            if row < count {
                self.from(row).tree_into::<1>(y);
            }
        }
    }

    /// Joins the tree over the first `R` rows with `y`.
    ///
    /// # Safety
    /// As [`RowsAt::columns`].
    #[inline(always)]
    unsafe fn tree_into<const R: usize>(self, y: &mut [T]) {
        const FEW: usize = 4;
        let (wide, rest) = y.as_chunks_mut::<LANES>();
        let (few, single) = rest.as_chunks_mut::<FEW>();
        let (from_few, from_single) = (wide.len() * LANES, wide.len() * LANES + few.len() * FEW);
        // SAFETY: the caller's.
        unsafe {
            for (at, y) in wide.iter_mut().enumerate() {
                self.tree::<R, LANES>(at * LANES, y);
            }
            for (at, y) in few.iter_mut().enumerate() {
                self.tree::<R, FEW>(from_few + at * FEW, y);
            }
            for (at, y) in single.iter_mut().enumerate() {
                self.tree::<R, 1>(from_single + at, std::array::from_mut(y));
            }
        }
    }

    /// # Safety
    /// As [`RowsAt::columns`], for `R` rows of the `W` columns from `column`.
    #[inline(always)]
    unsafe fn tree<const R: usize, const W: usize>(self, column: usize, y: &mut [T; W]) {
        let from = RowsAt { start: self.start.wrapping_add(column), ..self };
        // SAFETY: the caller's.
        let tree = unsafe {
            match R {
                1 => from.one(),
                2 => from.two(),
                4 => from.four(),
                _ => Self::joined(from.four(), from.from(4).four()),
            }
        };
        *y = Self::joined(*y, tree);
    }

    /// # Safety
    /// `W` elements of the first row are readable.
    #[inline(always)]
    unsafe fn one<const W: usize>(self) -> [T; W] {
        // SAFETY: the caller's.
        unsafe { self.start.cast::<[T; W]>().read_unaligned() }
    }

    /// # Safety
    /// As [`RowsAt::one`], for two rows.
    #[inline(always)]
    unsafe fn two<const W: usize>(self) -> [T; W] {
        // SAFETY: the caller's.
        unsafe { Self::joined(self.one(), self.from(1).one()) }
    }

    /// # Safety
    /// As [`RowsAt::one`], for four rows.
    #[inline(always)]
    unsafe fn four<const W: usize>(self) -> [T; W] {
        // SAFETY: the caller's.
        unsafe { Self::joined(self.two(), self.from(2).two()) }
    }

    #[inline(always)]
    fn joined<const W: usize>(mut a: [T; W], b: [T; W]) -> [T; W] {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = F::join(*a, b));
        a
    }
}
