//! What the machine can do at best: `lanes·2·12` operations an iteration of independent multiply-adds, and bytes read in
//! order. No kernel can be faster, so a kernel's share of it says how much is left.

use super::Level;
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Chains that do not wait for each other: more than latency times throughput on any machine so far, and few enough for
/// sixteen registers.
const CHAINS: usize = 12;

/// Numbers read an iteration are spread over that many sums.
const SUMS: usize = 8;

struct MultiplyAdd {
    iterations: u64,
}

impl WithSimd for MultiplyAdd {
    /// Operations done.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (factor, summand) = (simd.splat_f32s(black_box(0.999_999)), simd.splat_f32s(black_box(1e-7)));
        let mut chains = [simd.splat_f32s(black_box(0.5)); CHAINS];
        for _ in 0..self.iterations {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, summand);
            }
        }
        black_box(&chains);
        self.iterations as f64 * (2 * CHAINS * S::F32_LANES) as f64
    }
}

struct Read<'a> {
    numbers: &'a [f32],
    passes: u64,
}

impl WithSimd for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for _ in 0..self.passes {
            let (vectors, _) = S::as_simd_f32s(black_box(self.numbers));
            for vectors in vectors.chunks_exact(SUMS) {
                for (sum, &vector) in sums.iter_mut().zip(vectors) {
                    *sum = simd.add_f32s(*sum, vector);
                }
            }
        }
        black_box(&sums);
    }
}

/// Runs `body` on each of `threads` threads, which start together; gives its results and the seconds from the first
/// start to the last end.
fn together<T: Send>(threads: usize, body: impl Fn(usize) -> T + Sync) -> (Vec<T>, f64) {
    let gate = Barrier::new(threads);
    let worker = &|thread| {
        gate.wait();
        let start = Instant::now();
        (body(thread), start, Instant::now())
    };
    let done: Vec<(T, Instant, Instant)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || worker(thread))).collect();
        // A thread that panicked has nothing to give.
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let (start, end) = (done.iter().map(|done| done.1).min(), done.iter().map(|done| done.2).max());
    let seconds = start.zip(end).map_or(0.0, |(start, end)| (end - start).as_secs_f64());
    (done.into_iter().map(|done| done.0).collect(), seconds)
}

/// Multiplies and adds in f32 on `threads` threads; gives the floating-point operations done and the seconds taken.
pub(crate) fn multiply_add(level: Level, threads: usize, iterations: u64) -> (f64, f64) {
    let (operations, seconds) = together(threads, |_| level.dispatch(MultiplyAdd { iterations }));
    (operations.iter().sum(), seconds)
}

/// Reads each buffer from beginning to end, `passes` times, with one thread a buffer; gives the seconds taken.
pub(crate) fn read(level: Level, buffers: &[Vec<f32>], passes: u64) -> f64 {
    together(buffers.len(), |thread| level.dispatch(Read { numbers: &buffers[thread], passes })).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_on_every_thread() {
        let (once, _) = multiply_add(Level::widest(), 1, 1000);
        assert!(once >= 1000.0 * (2 * CHAINS) as f64 && once % 1000.0 == 0.0, "{once}");
        assert_eq!(multiply_add(Level::widest(), 3, 2000).0, 6.0 * once);
    }

    /// Were the loops optimised away, ten times the work would take no longer.
    #[test]
    fn more_work_takes_longer() {
        let best = |run: &dyn Fn() -> f64| (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
        let (short, long) = (
            best(&|| multiply_add(Level::widest(), 1, 100_000).1),
            best(&|| multiply_add(Level::widest(), 1, 1_000_000).1),
        );
        assert!(long > 4.0 * short, "{short} s and {long} s");
        let buffers = vec![vec![1.0; 1 << 18]];
        let (short, long) =
            (best(&|| read(Level::widest(), &buffers, 10)), best(&|| read(Level::widest(), &buffers, 100)));
        assert!(long > 4.0 * short, "{short} s and {long} s");
    }
}
