//! Updates of the usual optimisers, each compiled as a whole; equations in [`Program`].

use super::memory::{InputAt, MapMemory};
use super::program::{Native, Program};
use crate::kernel::Real;
use crate::kernel::claim::claim;
use pulp::Simd;

/// Elements between what is updated and what is asked for: as long as a line may be under way.
const AHEAD: usize = 512;

/// Runs a program over `len` elements from `first`. Every element is read before it is written, so outputs may lie over
/// inputs.
///
/// # Safety
/// As [`map::run`](super::run), for these elements.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, T: Real>(simd: S, native: &Native, memory: &MapMemory<'_>, first: usize, len: usize) {
    let [gradient, rate, velocity, momentum, parameter] = native.inputs.map(|input| memory.inputs[input]);
    let [rate, momentum] = [rate, momentum].map(|scalar| scalar.start.cast::<T>());
    // A velocity that is not used is a scalar, and not followed.
    let [gradient, velocity, parameter] = [gradient, velocity, parameter]
        .map(|InputAt { start, first: at_start }| start.cast::<T>().wrapping_add(first - at_start));
    let [next_velocity, next_parameter] = native.outputs.map(|output| memory.outputs[output].cast::<T>());
    let at = |of: *const T, i: usize| of.wrapping_add(i);
    let to = |of: *mut T, i: usize| of.wrapping_add(first + i);
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's; scalars have one element.
    let (r, m) = unsafe { (T::splat(simd, rate.read()), T::splat(simd, momentum.read())) };
    let has_velocity = native.program != Program::Descent;
    let mut i = 0;
    // SAFETY: the caller's; the last vector is masked.
    unsafe {
        while i + lanes <= len {
            claim(to(next_parameter, i + AHEAD), lanes);
            let old = if has_velocity { T::load::<S>(at(velocity, i)) } else { m };
            let (v, p) = next::<S, T>(
                simd,
                native.program,
                r,
                m,
                [T::load::<S>(at(gradient, i)), old, T::load::<S>(at(parameter, i))],
            );
            if has_velocity {
                claim(to(next_velocity, i + AHEAD), lanes);
                T::store::<S>(to(next_velocity, i), v);
            }
            T::store::<S>(to(next_parameter, i), p);
            i += lanes;
        }
        if i < len {
            let mask = T::first(simd, len - i);
            let load = |of: *const T| T::load_masked(simd, mask, at(of, i));
            let old = if has_velocity { load(velocity) } else { m };
            let (v, p) = next::<S, T>(simd, native.program, r, m, [load(gradient), old, load(parameter)]);
            if has_velocity {
                T::store_masked(simd, mask, to(next_velocity, i), v);
            }
            T::store_masked(simd, mask, to(next_parameter, i), p);
        }
    }
}

/// The next velocity and parameter.
#[inline(always)]
fn next<S: Simd, T: Real>(
    simd: S,
    program: Program,
    rate: T::Vector<S>,
    momentum: T::Vector<S>,
    [gradient, velocity, parameter]: [T::Vector<S>; 3],
) -> (T::Vector<S>, T::Vector<S>) {
    let step = T::vector_mul(simd, rate, gradient);
    let v = T::vector_sub(simd, T::vector_mul(simd, momentum, velocity), step);
    match program {
        Program::Descent => (v, T::vector_sub(simd, parameter, step)),
        Program::Momentum => (v, T::vector_add(simd, parameter, v)),
        Program::Nesterov => {
            let by = T::vector_sub(simd, T::vector_mul(simd, momentum, v), step);
            (v, T::vector_add(simd, parameter, by))
        }
    }
}
