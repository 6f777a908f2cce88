//! What training batch norm and its backward over `(outer, channels, inner)` are made of: sums over everything but the
//! channels, and results whose formula has coefficients by channel.

mod blocks;
pub(super) mod formula;
mod strips;

use super::Real;
use super::Stretches;
use super::call::{BufferId, Cut, Memory, Region, Share, Split, Touch};
use super::claim::claim;
use super::measure::measure;
use super::total::Total;
use crate::ir::DType;
use blocks::Terms;
use formula::{Each, Sums};
use pulp::{Scalar, Simd};
use std::marker::PhantomData;
use std::ops::Range;

/// Vectors of channels that a kernel needs as scratch.
pub(super) const SCRATCH: usize = 3;

/// A range of the channels of `(outer, channels, inner)`.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
    pub from: usize,
    pub to: usize,
}

impl Window {
    /// Elements of a channel.
    pub(super) fn count(self) -> usize {
        self.outer * self.inner
    }

    pub(super) fn width(self) -> usize {
        self.to - self.from
    }

    /// Asks for the lines of the result, if they are few enough to stay.
    #[inline(always)]
    pub(super) fn claim<T>(self, y: *mut T) {
        const MOST_BYTES: usize = 256 << 10;
        if self.inner == 1 && self.outer * self.width() * size_of::<T>() <= MOST_BYTES {
            for outer in 0..self.outer {
                claim(y.wrapping_add(self.span(outer, 0).start), self.width());
            }
        }
    }

    /// The elements of one channel in one outer position.
    #[inline(always)]
    fn span(self, outer: usize, channel: usize) -> Range<usize> {
        let from = (outer * self.channels + self.from + channel) * self.inner;
        from..from + self.inner
    }
}

/// Arrays over the whole of `(outer, channels, inner)` that a formula reads.
#[derive(Clone, Copy)]
pub(super) struct Large<T> {
    pub a: *const T,
    pub b: *const T,
    /// Where it is not above 0, `b` counts as 0. Only read if a formula is gated.
    pub gate: *const T,
}

impl<T: Real> Large<T> {
    /// Vectors of `a` and `b`.
    ///
    /// # Safety
    /// The arrays are readable there.
    #[inline(always)]
    unsafe fn load<S: Simd, const GATED: bool>(self, simd: S, at: usize) -> [T::Vector<S>; 2] {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (T::load::<S>(self.a.add(at)), T::load::<S>(self.b.add(at)));
            [a, if GATED { T::vector_gated(simd, T::load::<S>(self.gate.add(at)), b) } else { b }]
        }
    }
}

/// The vectors of channels in scratch.
#[inline(always)]
pub(super) fn vectors<T>(scratch: &mut [T], width: usize) -> [&mut [T]; SCRATCH] {
    let (first, rest) = scratch.split_at_mut(width);
    let (second, rest) = rest.split_at_mut(width);
    [first, second, &mut rest[..width]]
}

#[inline(always)]
pub(super) fn is_finite<T: Real>(value: T) -> bool {
    value.abs() < T::from_f64(f64::INFINITY)
}

impl Window {
    /// `results[i][c] = Σ F(a, b, p[c])[i]` over everything but the channels, in a fixed order.
    ///
    /// # Safety
    /// The arrays of `of` are readable over the window.
    #[inline(always)]
    pub(super) unsafe fn sums<S: Simd, T: Real, F: Sums<K>, const K: usize, const GATED: bool>(
        self,
        simd: S,
        of: Large<T>,
        p: &[T],
        mut results: [&mut [T]; K],
    ) {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::sums::<S, T, F, K, GATED>(simd, self, of, p, results) };
        }
        // A channel is one column of rows that are far apart, or a contiguous line for each outer position.
        let (lines, stride) = if self.inner == 1 { (1, self.channels) } else { (self.outer, 1) };
        for (c, &p) in p.iter().enumerate() {
            let mut sums = [T::Total::of(T::ZERO); K];
            for line in 0..lines {
                let (from, p) = (self.span(line, c).start, [T::splat(Scalar, p)]);
                let terms = Terms::<Scalar, T, F, 1, GATED> { of, from, stride, p, formula: PhantomData };
                // SAFETY: the caller's.
                let [line] = unsafe { terms.sums(Scalar, self.count() / lines) };
                sums.iter_mut().zip(line).for_each(|(sum, line)| *sum = sum.plus(T::only(line)));
            }
            for (result, sum) in results.iter_mut().zip(sums) {
                result[c] = sum.rounded();
            }
        }
    }

    /// `y = F(a, b, the coefficients of the channel)`. Gives a sum of magnitudes that none of `y` is above; it may be infinite
    /// where they are not, but is never finite where one is not.
    ///
    /// # Safety
    /// As [`Window::sums`], and `y` is writable there; nothing else refers to those elements of it.
    #[inline(always)]
    pub(super) unsafe fn each<S: Simd, T: Real, F: Each, const GATED: bool>(
        self,
        simd: S,
        of: Large<T>,
        by_channel: [&[T]; 4],
        y: *mut T,
    ) -> T {
        if self.is_wide::<S, T>() {
            // SAFETY: the caller's.
            return unsafe { strips::each::<S, T, F, GATED>(simd, self, of, by_channel, y) };
        }
        let mut magnitude = T::ZERO;
        for o in 0..self.outer {
            for c in 0..self.width() {
                let coefficients = by_channel.map(|vector| T::splat(Scalar, vector[c]));
                for at in self.span(o, c) {
                    // SAFETY: the caller's.
                    unsafe {
                        let operands = of.load::<Scalar, GATED>(Scalar, at);
                        let value = T::only(F::value::<Scalar, T>(Scalar, operands, coefficients));
                        y.add(at).write(value);
                        magnitude += value.abs();
                    }
                }
            }
        }
        magnitude
    }

    /// Whether rows of channels fill vectors.
    #[inline(always)]
    fn is_wide<S: Simd, T: Real>(self) -> bool {
        self.inner == 1 && self.width() >= T::lanes::<S>()
    }
}

/// What the calls of both kernels say alike: arrays over `(outer, channels, inner)`, and vectors of channels.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    pub dtype: DType,
    pub extent: [usize; 3],
}

impl Channels {
    pub fn split(self) -> Split {
        Split { inner: self.extent[2], extent: self.extent[1] }
    }

    pub fn len(self) -> usize {
        self.extent.iter().product()
    }

    /// The elements of all channels.
    pub fn large(self) -> (Region, Cut) {
        (Region::run(0, self.len()), Cut::Same)
    }

    /// One element a channel.
    pub fn vector(self) -> (Region, Cut) {
        let call = self.split();
        (Region::run(0, self.extent[1]), Cut::When { call, buffer: Split { inner: 1, ..call } })
    }

    pub fn read(self, buffer: BufferId, (region, cut): (Region, Cut)) -> Touch {
        Touch::read(buffer, self.dtype, region, cut)
    }

    pub fn write(self, buffer: BufferId, (region, cut): (Region, Cut)) -> Touch {
        Touch { is_bounded: true, ..Touch::write(buffer, self.dtype, region, cut) }
    }

    /// The channels of a share.
    pub fn window(self, share: &Share<'_>) -> Window {
        let [outer, channels, inner] = self.extent;
        let range = share.outer(channels);
        Window { outer, channels, inner, from: range.start, to: range.end }
    }

    pub fn scratch(self) -> usize {
        SCRATCH * self.extent[1] * self.dtype.size()
    }
}

/// Notes what no magnitude of a kernel's first result is above, and the largest of its other two, as far as it is wanted.
pub(super) fn note<T: Real>(
    memory: &Memory<'_>,
    share: &Share<'_>,
    worker: usize,
    (first, most): (BufferId, T),
    others: [(BufferId, &[T]); 2],
) {
    if let Some(slot) = share.note_of(first) {
        memory.notes.note(worker, slot, most.to_f64());
    }
    for (result, values) in others {
        if let Some(slot) = share.note_of(result) {
            // SAFETY: the stretch is the slice.
            let largest = unsafe { measure(memory.level, values.as_ptr(), Stretches::whole(values.len())) };
            memory.notes.note(worker, slot, largest.to_f64());
        }
    }
}
