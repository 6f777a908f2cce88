//! Contents of values: a shape and strides over shared memory, `x[i₀, …] = base[Σ iₐ·strideₐ]`, with a fingerprint.
//!
//! Repetition, permutation and reshaping move no element, and the fingerprint does not depend on how the elements lie.

use super::number::Exact;
use super::walk::{Axes, row_major, walk};
use crate::random::{GAMMA, mix};
use crate::reference::{Array, NdArray, each_kind};
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
        each_kind!(&*self.base, base => NdArray { data: gather(&shape, View { data: &base.data, strides: &self.strides }), shape })
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

    /// A hash of shape, kind and elements; of some of them, evenly spread, where there are many.
    fn measure(&self) -> u64 {
        let (kind, hash) = match self.base() {
            Array::Real(array) => (1, self.sampled(|at| array.data[at].bits())),
            Array::Int(array) => (2, self.sampled(|at| u64::from(array.data[at] as u32))),
            Array::Bool(array) => (3, self.sampled(|at| u64::from(array.data[at]))),
        };
        self.shape.iter().fold(mix(hash ^ kind), |hash, &size| mix(hash.wrapping_add(GAMMA) ^ size as u64))
    }

    fn sampled(&self, bits: impl Fn(usize) -> u64) -> u64 {
        const SAMPLES: usize = 512;
        let len: usize = self.shape.iter().product();
        let is_contiguous = self.strides == row_major(&self.shape);
        let place = |index: usize| if is_contiguous { index } else { self.place(index) };
        let indices = (0..len).step_by(len.div_ceil(SAMPLES).max(1));
        // The high bits of a product depend on all bits of its factors; the rotation brings them down.
        indices.fold(GAMMA, |hash, index| (hash ^ bits(place(index))).wrapping_mul(GAMMA).rotate_left(29))
    }

    /// Where the element of that row-major index lies.
    fn place(&self, mut index: usize) -> usize {
        let mut place = 0;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            place += index % size * stride;
            index /= size;
        }
        place
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_do_not_depend_on_how_elements_lie() {
        let base = Arc::new(Array::Real(NdArray { shape: vec![3], data: vec![1.0, 2.0, 4.0] }));
        let view = |shape: &[usize], strides: &[usize]| {
            Content::strided(Arc::clone(&base), Axes::from_slice(shape), Axes::from_slice(strides))
        };
        for (shape, strides) in [
            (&[5, 3][..], &[0, 1][..]),
            (&[3, 5], &[1, 0]),
            (&[2, 3, 4], &[0, 1, 0]),
            (&[6], &[0]),
            (&[900, 3], &[0, 1]),
        ] {
            let strided = view(shape, strides);
            let plain = Content::new(Arc::new(strided.array().clone()));
            assert_eq!(strided.fingerprint, plain.fingerprint, "{shape:?} {strides:?}");
            assert!(strided.same(&plain));
        }
        assert_ne!(view(&[3, 3], &[0, 1]).fingerprint, view(&[3, 3], &[1, 0]).fingerprint);
        assert!(!view(&[3, 3], &[0, 1]).same(&view(&[3, 3], &[1, 0])));
        assert_ne!(view(&[3, 1], &[1, 0]).fingerprint, view(&[1, 3], &[0, 1]).fingerprint);
    }

    #[test]
    fn arrays_that_differ_where_nobody_looked_are_not_the_same() {
        let content = |at: usize| {
            let mut data = vec![1.0; 10_000];
            data[at] = 2.0;
            Content::new(Arc::new(Array::Real(NdArray { shape: vec![10_000], data })))
        };
        let contents: Vec<_> = (1..40).map(content).collect();
        let alike = |a: usize, b: usize| contents[a].fingerprint == contents[b].fingerprint;
        assert!((1..39).any(|other| alike(0, other)), "the fingerprint looks at some of the elements");
        assert!((1..39).all(|other| !contents[0].same(&contents[other])));
        assert!(contents[0].same(&content(1)));
    }
}
