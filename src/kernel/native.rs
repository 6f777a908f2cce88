//! Updates of the usual optimisers, each compiled as a whole; equations in [`Program`].

use super::Real;
use super::map::MapMemory;
use crate::plan::{Native, Program};
use pulp::Simd;

/// Runs a program over `len` elements from `first`. Every element is read before it is written, so outputs may lie over
/// inputs.
///
/// # Safety
/// As [`map::run`](super::map::run), for these elements.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, T: Real>(
    simd: S,
    native: &Native,
    memory: &MapMemory<'_>,
    first: usize,
    len: usize,
) {
    let [gradient, rate, velocity, momentum, parameter] =
        native.inputs.map(|input| memory.inputs[input].cast::<T>());
    let [next_velocity, next_parameter] = native.outputs.map(|output| memory.outputs[output].cast::<T>());
    let at = |of: *const T, i: usize| of.wrapping_add(first + i);
    let to = |of: *mut T, i: usize| of.wrapping_add(first + i);
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's; scalars have one element, and the last vector is masked.
    unsafe {
        let (r, m) = (T::splat(simd, rate.read()), T::splat(simd, momentum.read()));
        let mut i = 0;
        while i < len {
            let mask = T::first(simd, (len - i).min(lanes));
            let whole = len - i >= lanes;
            let load = |of: *const T| if whole { T::load::<S>(at(of, i)) } else { T::load_masked(simd, mask, at(of, i)) };
            let store = |of: *mut T, vector: T::Vector<S>| {
                if whole { T::store::<S>(to(of, i), vector) } else { T::store_masked(simd, mask, to(of, i), vector) }
            };
            let step = T::vector_mul(simd, r, load(gradient));
            let p = load(parameter);
            if native.program == Program::Descent {
                store(next_parameter, T::vector_sub(simd, p, step));
            } else {
                let v = T::vector_sub(simd, T::vector_mul(simd, m, load(velocity)), step);
                let by = match native.program {
                    Program::Nesterov => T::vector_sub(simd, T::vector_mul(simd, m, v), step),
                    Program::Momentum | Program::Descent => v,
                };
                store(next_velocity, v);
                store(next_parameter, T::vector_add(simd, p, by));
            }
            i += lanes;
        }
    }
}
