//! Contents of values: a shape and strides over shared memory, and a fingerprint `Σᵢ g(xᵢ)·Rⁱ mod 2⁶⁴` of the elements.
//!
//! Repetition, permutation and reshaping move no element. The fingerprint does not depend on how the elements lie in
//! memory, and a repeated axis multiplies it by a geometric sum, so it costs one look at each stored element.

use super::number::Exact;
use super::walk::{Axes, row_major, walk};
use crate::random::{GAMMA, mix};
use crate::reference::{Array, Dense, each_kind};
use std::cell::OnceCell;
use std::sync::Arc;

/// The elements of a value.
#[derive(Debug)]
pub(super) struct Content<S> {
    base: Arc<Array<S>>,
    pub(super) shape: Axes,
    pub(super) strides: Axes,
    pub(super) fingerprint: u64,
    // The elements one after another under the value's own shape, for whoever cannot read strides.
    plain: OnceCell<Array<S>>,
}

/// Elements of one kind with their strides.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a, T> {
    pub(super) data: &'a [T],
    pub(super) strides: &'a [usize],
}

/// Runs the same code over the elements of whichever kind a content holds.
macro_rules! each_view {
    ($content:expr, $view:ident => $body:expr) => {
        match $content.base() {
            $crate::reference::Array::Real(array) => {
                let $view = View { data: array.data.as_slice(), strides: &$content.strides };
                $body
            }
            $crate::reference::Array::Int(array) => {
                let $view = View { data: array.data.as_slice(), strides: &$content.strides };
                $body
            }
            $crate::reference::Array::Bool(array) => {
                let $view = View { data: array.data.as_slice(), strides: &$content.strides };
                $body
            }
        }
    };
}

impl<S: Exact> Content<S> {
    /// An array as it is.
    pub(super) fn new(array: Arc<Array<S>>) -> Content<S> {
        let shape = Axes::from_slice(array.shape());
        let strides = row_major(&shape);
        Content::strided(array, shape, strides)
    }

    /// Elements of `base` under another shape; every index within `shape` lies inside of it.
    pub(super) fn strided(base: Arc<Array<S>>, shape: Axes, mut strides: Axes) -> Content<S> {
        for (stride, &size) in strides.iter_mut().zip(&shape) {
            if size <= 1 {
                *stride = 0;
            }
        }
        let mut content = Content { base, shape, strides, fingerprint: 0, plain: OnceCell::new() };
        content.fingerprint = content.measure();
        content
    }

    pub(super) fn base(&self) -> &Array<S> {
        &self.base
    }

    /// Elements in memory.
    pub(super) fn stored(&self) -> usize {
        each_view!(self, view => view.data.len())
    }

    /// The float elements. Type inference makes sure that there are; see [`Array::real`].
    pub(super) fn real(&self) -> View<'_, S> {
        View { data: &self.base.real().data, strides: &self.strides }
    }

    /// The mask; see [`Content::real`].
    pub(super) fn mask(&self) -> View<'_, bool> {
        View { data: &self.base.mask().data, strides: &self.strides }
    }

    /// The same elements under other strides.
    pub(super) fn restrided(&self, shape: Axes, strides: Axes) -> Content<S> {
        Content::strided(Arc::clone(&self.base), shape, strides)
    }

    /// The same elements, row-major, under another shape.
    pub(super) fn reshaped(&self, shape: Axes) -> Content<S> {
        if self.strides == row_major(&self.shape) {
            let strides = row_major(&shape);
            return self.restrided(shape, strides);
        }
        if self.strides.iter().all(|&stride| stride == 0) {
            // One element, repeated.
            let strides = Axes::from_elem(0, shape.len());
            return self.restrided(shape, strides);
        }
        let mut array = self.copied();
        each_kind_mut(&mut array, &shape);
        Content::new(Arc::new(array))
    }

    /// The elements one after another, under the value's own shape.
    pub(super) fn array(&self) -> &Array<S> {
        if *self.base.shape() == *self.shape && self.strides == row_major(&self.shape) {
            return &self.base;
        }
        self.plain.get_or_init(|| self.copied())
    }

    fn copied(&self) -> Array<S> {
        let shape = self.shape.to_vec();
        each_kind!(&*self.base, base => Dense { data: gather(&shape, View { data: &base.data, strides: &self.strides }), shape })
    }

    /// Whether two values have one shape and the same elements, bit by bit.
    pub(super) fn same(&self, other: &Content<S>) -> bool {
        if self.shape != other.shape {
            return false;
        }
        let strides: [&[usize]; 2] = [&self.strides, &other.strides];
        match (self.base(), other.base()) {
            (Array::Real(a), Array::Real(b)) => all(&self.shape, strides, |i, j| a.data[i].same(b.data[j])),
            (Array::Int(a), Array::Int(b)) => all(&self.shape, strides, |i, j| a.data[i] == b.data[j]),
            (Array::Bool(a), Array::Bool(b)) => all(&self.shape, strides, |i, j| a.data[i] == b.data[j]),
            _ => false,
        }
    }

    fn measure(&self) -> u64 {
        let kind = match self.base() {
            Array::Real(array) => (1, self.polynomial(&array.data, S::bits)),
            Array::Int(array) => (2, self.polynomial(&array.data, |x| u64::from(x as u32))),
            Array::Bool(array) => (3, self.polynomial(&array.data, u64::from)),
        };
        self.shape.iter().fold(mix(kind.0 ^ mix(kind.1)), |hash, &size| mix(hash ^ size as u64).wrapping_add(GAMMA))
    }

    fn polynomial<T: Copy>(&self, data: &[T], bits: impl Fn(T) -> u64) -> u64 {
        let places = row_major(&self.shape);
        // A repeated axis is a factor; the others are looked at.
        let mut shape = self.shape.clone();
        let mut factor = 1u64;
        for (axis, size) in shape.iter_mut().enumerate().filter(|(axis, size)| self.strides[*axis] == 0 && **size > 1) {
            let ratio = power(RADIX, places[axis]);
            factor = factor.wrapping_mul(geometric(ratio, *size));
            *size = 1;
        }
        let mut sum = 0u64;
        walk(&shape, [&self.strides, &places], |[at, place], [step, pace], len| {
            let first = power(RADIX, place);
            let ratio = power(RADIX, pace);
            let run = match step {
                1 => {
                    let run = &data[at..at + len];
                    horner(run.len(), ratio, |i| bits(run[i]))
                }
                _ => horner(len, ratio, |i| bits(data[at + i * step])),
            };
            sum = sum.wrapping_add(first.wrapping_mul(run));
        });
        sum.wrapping_mul(factor)
    }
}

fn each_kind_mut<S>(array: &mut Array<S>, shape: &[usize]) {
    match array {
        Array::Real(array) => array.shape = shape.to_vec(),
        Array::Int(array) => array.shape = shape.to_vec(),
        Array::Bool(array) => array.shape = shape.to_vec(),
    }
}

/// The elements of a view one after another.
pub(super) fn gather<T: Copy>(shape: &[usize], view: View<'_, T>) -> Vec<T> {
    let mut data = Vec::with_capacity(shape.iter().product());
    walk(shape, [view.strides], |[at], [step], len| match step {
        0 => data.extend(std::iter::repeat_n(view.data[at], len)),
        1 => data.extend_from_slice(&view.data[at..at + len]),
        _ => data.extend((0..len).map(|i| view.data[at + i * step])),
    });
    data
}

fn all(shape: &[usize], strides: [&[usize]; 2], mut same: impl FnMut(usize, usize) -> bool) -> bool {
    let mut all = true;
    walk(shape, strides, |[a, b], [i, j], len| all = all && (0..len).all(|k| same(a + k * i, b + k * j)));
    all
}

/// R, an odd number without structure.
const RADIX: u64 = 0xD129_0C3B_5E8F_46A5;

/// `g`: bits that are all at one end reach the other.
fn spread(bits: u64) -> u64 {
    let spread = (bits ^ (bits >> 32)).wrapping_mul(GAMMA);
    spread ^ (spread >> 29)
}

/// `Σᵢ g(xᵢ)·ratioⁱ`, in lanes so that no product waits for the one before.
fn horner(len: usize, ratio: u64, bits: impl Fn(usize) -> u64) -> u64 {
    const LANES: usize = 8;
    let mut factors = [1u64; LANES];
    (1..LANES).for_each(|lane| factors[lane] = factors[lane - 1].wrapping_mul(ratio));
    let stride = factors[LANES - 1].wrapping_mul(ratio);
    let mut sums = [0u64; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            sums[lane] = sums[lane].wrapping_add(spread(bits(start + lane)).wrapping_mul(factors[lane]));
            factors[lane] = factors[lane].wrapping_mul(stride);
        }
    }
    for (i, factor) in (whole..len).zip(factors) {
        sums[0] = sums[0].wrapping_add(spread(bits(i)).wrapping_mul(factor));
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

fn power(mut base: u64, mut exponent: usize) -> u64 {
    let mut result = 1u64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

/// `1 + ratio + … + ratioⁿ⁻¹`, by doubling.
fn geometric(ratio: u64, count: usize) -> u64 {
    let (mut sum, mut last) = (0u64, 1u64);
    for bit in (0..usize::BITS).rev() {
        // From m terms to 2m, then perhaps one more.
        sum = sum.wrapping_add(sum.wrapping_mul(last));
        last = last.wrapping_mul(last);
        if count >> bit & 1 == 1 {
            sum = sum.wrapping_mul(ratio).wrapping_add(1);
            last = last.wrapping_mul(ratio);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_do_not_depend_on_how_elements_lie() {
        let base = Arc::new(Array::Real(Dense { shape: vec![3], data: vec![1.0, 2.0, 4.0] }));
        let view = |shape: &[usize], strides: &[usize]| {
            Content::strided(Arc::clone(&base), Axes::from_slice(shape), Axes::from_slice(strides))
        };
        for (shape, strides) in [(&[5, 3][..], &[0, 1][..]), (&[3, 5], &[1, 0]), (&[2, 3, 4], &[0, 1, 0]), (&[6], &[0])]
        {
            let strided = view(shape, strides);
            let plain = Content::new(Arc::new(strided.array().clone()));
            assert_eq!(strided.fingerprint, plain.fingerprint, "{shape:?} {strides:?}");
            assert!(strided.same(&plain));
        }
        assert_ne!(view(&[3, 3], &[0, 1]).fingerprint, view(&[3, 3], &[1, 0]).fingerprint);
        assert!(!view(&[3, 3], &[0, 1]).same(&view(&[3, 3], &[1, 0])));
        assert_ne!(view(&[3, 1], &[1, 0]).fingerprint, view(&[1, 3], &[0, 1]).fingerprint);
        assert_eq!(geometric(7, 5), 1 + 7 + 49 + 343 + 2401);
    }
}
