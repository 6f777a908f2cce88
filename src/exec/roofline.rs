//! The roofline: no kernel takes fewer seconds than `max(operations / peak, bytes / bandwidth)` on a core.

use super::{Options, ceiling};
use crate::plan::Work;

/// What a core of this machine can do at best, measured.
///
/// ```
/// use foldgrad::exec::Ceilings;
/// use foldgrad::plan::Work;
/// let ceilings = Ceilings { threads: 1, operations: 1e11, reading: vec![(1 << 14, 4e11), (1 << 22, 2e10)] };
/// // A product with many operations a byte is bound by arithmetic, a copy of a megabyte by the first-level cache.
/// let product = Work { multiply_adds: 1 << 20, operations: 1 << 21, bytes: 1 << 10, double: false };
/// assert_eq!(ceilings.least_seconds(&product, 1), f64::from(1 << 21) / 1e11);
/// let copy = Work { bytes: 1 << 20, ..Work::default() };
/// assert_eq!(ceilings.least_seconds(&copy, 1), f64::from(1 << 20) / 4e11);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ceilings {
    /// Threads that were measured at once.
    pub threads: usize,
    /// Operations of f32 a second, of one core: independent multiply-adds in registers, two operations each.
    pub operations: f64,
    /// Bytes a second that one core reads in order, by the number of bytes that it reads again and again; from few
    /// bytes, which the first-level cache holds, to many.
    pub reading: Vec<(usize, f64)>,
}

/// Bytes that are read: in a first-level cache, in a second-level cache, in a shared one, in none.
const SIZES: [usize; 4] = [16 << 10, 256 << 10, 4 << 20, 32 << 20];

/// Bytes read in one measurement: some milliseconds.
const READ: usize = 128 << 20;

/// Measurements of which the best counts: others may be using the machine.
const REPEATS: usize = 8;

impl Ceilings {
    /// Measures what the threads of the options can do at once with their instruction set, in about half a second. What one
    /// thread does alone counts where it is more: then someone else has kept the others from working, and a ceiling must not
    /// be too low.
    pub fn measure(options: &Options) -> Ceilings {
        const ITERATIONS: u64 = 1_000_000;
        let threads = options.thread_count();
        let crowds = if threads > 1 { vec![1, threads] } else { vec![1] };
        let best = |rate: &dyn Fn(usize) -> f64| {
            let rates = crowds.iter().flat_map(|&crowd| (0..REPEATS).map(move |_| rate(crowd) / crowd as f64));
            rates.fold(0.0, f64::max)
        };
        let operations = best(&|crowd| {
            let (operations, seconds) = ceiling::multiply_add(&options.threads(crowd), ITERATIONS);
            operations / seconds.max(f64::MIN_POSITIVE)
        });
        let mut reading: Vec<(usize, f64)> = Vec::with_capacity(SIZES.len());
        for size in SIZES {
            let buffers = vec![vec![1.0f32; size / 4]; threads];
            let passes = READ.div_ceil(size);
            let rate = |crowd: usize| {
                let seconds = ceiling::read(options, &buffers[..crowd], passes as u64);
                (crowd * size * passes) as f64 / seconds.max(f64::MIN_POSITIVE)
            };
            reading.push((size, best(&rate)));
        }
        // What is nearer is no slower; a measurement that says so was disturbed.
        for index in (1..reading.len()).rev() {
            reading[index - 1].1 = reading[index - 1].1.max(reading[index].1);
        }
        Ceilings { threads, operations, reading }
    }

    /// Bytes a second at which a core reads so many bytes at best: at the rate of the largest measured size that is
    /// not larger, since bytes that a cache cannot hold are not all in it.
    pub fn bandwidth(&self, bytes: u64) -> f64 {
        let fits = self.reading.iter().rev().find(|&&(size, _)| size as u64 <= bytes);
        fits.or(self.reading.first()).map_or(f64::INFINITY, |&(_, rate)| rate)
    }

    /// Core-seconds that the work takes at least when so many cores share it.
    pub fn least_seconds(&self, work: &Work, cores: usize) -> f64 {
        let peak = if work.double { self.operations / 2.0 } else { self.operations };
        let bandwidth = self.bandwidth(work.bytes / cores.max(1) as u64);
        (work.operations as f64 / peak).max(work.bytes as f64 / bandwidth)
    }

    /// Whether the work is bound by arithmetic, and not by bytes.
    pub fn is_bound_by_arithmetic(&self, work: &Work, cores: usize) -> bool {
        let bytes_alone = Work { operations: 0, ..*work };
        self.least_seconds(work, cores) > self.least_seconds(&bytes_alone, cores)
    }
}
