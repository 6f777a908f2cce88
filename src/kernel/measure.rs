//! The largest magnitude of an array, a NaN counting as larger than any number.

use super::call::{
    BufferId, Call, Costs, Cut, Description, Memory, Region, Share, Split, Splits, Touch, Work, Workspace, by_type,
    largest_share, sizes,
};
use super::{Level, Real, Stretches};
use crate::ir::DType;

/// Notes the largest magnitude of a buffer, for the line that a run must not pass with a NaN; it writes no buffer.
#[derive(Debug)]
pub(crate) struct MeasureCall {
    pub x: BufferId,
    pub dtype: DType,
    pub len: usize,
    /// Where it is noted.
    pub slot: usize,
    /// The fed input that the buffer is, if it is one: the caller may know already.
    pub feed: Option<usize>,
}

impl Call for MeasureCall {
    fn touches(&self) -> Vec<Touch> {
        vec![Touch::read(self.x, self.dtype, Region::run(0, self.len), Cut::Same)]
    }

    fn splits(&self) -> Splits {
        Splits { any_of: Some(self.len), ..Splits::of([Split::columns(self.len)]) }
    }

    fn work(&self) -> Work {
        Work::of(self.len, self.len * self.dtype.size(), self.dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        costs.swept(largest_share(self.len, split, threads), 1)
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("measure {}", self.slot);
        Description { kernel: "measure", sizes: sizes(&[self.len]), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        let known = self.feed.and_then(|feed| memory.vouched.get(feed).copied().flatten());
        let magnitude = known.unwrap_or_else(|| {
            let stretches = share.stretches(self.len);
            // SAFETY: the caller's.
            unsafe {
                by_type(
                    self.dtype,
                    || f64::from(measure::<f32>(memory.level, memory.at(self.x), stretches)),
                    || measure::<f64>(memory.level, memory.at(self.x), stretches),
                )
            }
        });
        memory.notes.note(own.worker, self.slot, magnitude);
    }
}

/// Independent partial results, so that the loop fills vector registers: many for long stretches, few for their ends.
const LANES: usize = 64;
const FEW: usize = 16;

/// The largest `|xᵢ|` over these elements; 0 of none, NaN if one is NaN.
///
/// # Safety
/// `x` is readable over the stretches.
pub(crate) unsafe fn measure<T: Real>(level: Level, x: *const T, stretches: Stretches) -> T {
    let mut lanes = [T::ZERO.ordered(); LANES];
    level.vectorise(
        #[inline(always)]
        || {
            for stretch in 0..stretches.count {
                // SAFETY: the caller's.
                let values = unsafe {
                    std::slice::from_raw_parts(x.add(stretches.first + stretch * stretches.stride), stretches.len)
                };
                take_in(&mut lanes, values);
            }
        },
    );
    T::of_ordered(lanes.into_iter().max().unwrap_or(T::ZERO.ordered()))
}

#[inline(always)]
fn take_in<T: Real>(lanes: &mut [T::Ordered; LANES], values: &[T]) {
    let (long, rest) = values.as_chunks::<LANES>();
    long.iter().for_each(|chunk| take::<T, LANES>(lanes, chunk));
    rest.as_chunks::<FEW>().0.iter().for_each(|chunk| take::<T, FEW>(lanes, chunk));
    // What is left, with elements before it: to look at one twice changes nothing.
    match values.last_chunk::<FEW>() {
        Some(end) => take::<T, FEW>(lanes, end),
        None => values.iter().for_each(|value| lanes[0] = lanes[0].max(value.ordered())),
    }
}

/// A number of elements that is known to the compiler: a few instructions.
#[inline(always)]
fn take<T: Real, const N: usize>(lanes: &mut [T::Ordered; LANES], values: &[T; N]) {
    for lane in 0..N {
        lanes[lane] = lanes[lane].max(values[lane].ordered());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: Real>(values: &[T]) -> T {
        let whole = Stretches::whole(values.len());
        let levels = [Some(Level::widest()), Level::avx2(), Some(Level::baseline())];
        let found: Vec<T> = levels
            .into_iter()
            .flatten()
            // SAFETY: the stretch is the slice.
            .map(|level| unsafe { measure(level, values.as_ptr(), whole) })
            .collect();
        assert!(found.iter().all(|value| value.ordered() == found[0].ordered()));
        found[0]
    }

    #[test]
    fn the_largest_magnitude_is_found_wherever_it_is() {
        for len in [1usize, 2, 63, 64, 65, 127, 200] {
            for at in 0..len {
                let with = |value: f32| (0..len).map(|i| if i == at { value } else { -0.5 }).collect::<Vec<f32>>();
                assert_eq!(all(&with(-3.0)), 3.0);
                assert_eq!(all(&with(f32::NEG_INFINITY)), f32::INFINITY);
                assert!(all(&with(-f32::NAN)).is_nan());
                let wide: Vec<f64> = with(2.5).into_iter().map(f64::from).collect();
                assert_eq!(all(&wide), 2.5);
                assert!(all(&with(f32::NAN).into_iter().map(f64::from).collect::<Vec<_>>()).is_nan());
            }
        }
        assert_eq!(all::<f32>(&[]), 0.0);
        assert_eq!(all(&[-0.0f32, 1e-45]), 1e-45);
    }

    #[test]
    fn stretches_are_measured_and_nothing_between_them() {
        let values: Vec<f32> = (0..40).map(|i| if i % 10 < 3 { i as f32 } else { f32::NAN }).collect();
        let stretches = Stretches { first: 0, len: 3, stride: 10, count: 4 };
        // SAFETY: the stretches lie in the slice.
        let found = unsafe { measure(Level::widest(), values.as_ptr(), stretches) };
        assert_eq!(found, 32.0);
    }
}
