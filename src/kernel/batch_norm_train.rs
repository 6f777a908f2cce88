//! Training batch norm over `(outer, channels, inner)`, and perhaps the ReLU behind it; equations in [`BatchNormTrain`].

use super::Real;
use super::call::{
    BufferId, Call, Costs, Description, Lower, LowerCx, Memory, Share, Split, Splits, Touch, Work, Workspace, around,
    by_type, largest_share, sizes_around,
};
use super::norm::formula::{Deviations, Normalised, Plain, Rectified};
use super::norm::{Channels, Large, SCRATCH, Window, is_finite, note, vectors};
use super::simd::{Level, OverMemory};
use crate::ir::DType;
use crate::ops::BatchNormTrain;
use pulp::Simd;

/// `y, mean, var` of `x, γ, β`.
#[derive(Debug)]
pub(crate) struct BatchNormTrainCall {
    pub operands: [BufferId; 3],
    pub results: [BufferId; 3],
    pub dtype: DType,
    pub extent: [usize; 3],
    pub eps: f64,
    /// Whether `y` is 0 where it is below.
    pub relu: bool,
}

impl Lower for BatchNormTrain {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let x = cx.packed(0);
        let operands = [x.buffer, cx.packed(1).buffer, cx.packed(2).buffer];
        let results = [cx.result(), cx.result(), cx.result()];
        let (extent, eps) = (around(&x.shape, self.axis), self.eps.0);
        cx.call(BatchNormTrainCall { operands, results, dtype: x.dtype, extent, eps, relu: false }.into());
    }
}

impl BatchNormTrainCall {
    fn channels(&self) -> Channels {
        Channels { dtype: self.dtype, extent: self.extent }
    }
}

impl Call for BatchNormTrainCall {
    fn touches(&self) -> Vec<Touch> {
        let (of, [x, gamma, beta], [y, mean, var]) = (self.channels(), self.operands, self.results);
        vec![
            // A product that is split by columns is followed at no cost.
            Touch { is_wished: true, ..of.read(x, of.large()) },
            of.read(gamma, of.vector()),
            of.read(beta, of.vector()),
            of.write(y, of.large()),
            of.write(mean, of.vector()),
            of.write(var, of.vector()),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([self.channels().split()])
    }

    /// Sum, difference, square and its sum, then scale and shift: x, γ, β → y, μ, σ².
    fn work(&self) -> Work {
        let len = self.channels().len();
        let bytes = (2 * len + 4 * self.extent[1]) * self.dtype.size();
        Work::of((6 + usize::from(self.relu)) * len, bytes, self.dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        costs.swept(largest_share(self.channels().len(), split, threads), 5)
    }

    fn scratch(&self) -> usize {
        self.channels().scratch()
    }

    fn describe(&self) -> Description {
        let (kernel, relu) = ("batch_norm_train", if self.relu { " + relu" } else { "" });
        let detail = format!("{kernel} {:?}{relu}", self.extent);
        Description { kernel, sizes: sizes_around(self.extent), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        let own = &*own;
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share, own), || self.of::<f64>(memory, share, own)) }
    }
}

impl BatchNormTrainCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>, own: &Workspace) {
        let ([x, gamma, beta], [y, mean, var]) = (self.operands, self.results);
        let window = self.channels().window(share);
        let range = window.from..window.to;
        // SAFETY: the caller's.
        unsafe {
            let vector = |buffer: BufferId| memory.part::<T>(buffer, range.clone(), 1);
            let operands = TrainOperands { x: memory.at(x), gamma: vector(gamma), beta: vector(beta) };
            let results = TrainResults {
                y: memory.at(y),
                mean: memory.part_mut(mean, range.clone(), 1),
                var: memory.part_mut(var, range.clone(), 1),
            };
            let scratch = std::slice::from_raw_parts_mut(own.scratch.cast(), SCRATCH * range.len());
            let most = batch_norm_train(memory.level, operands, results, scratch, window, self.eps, self.relu);
            note(memory, share, own.worker, (y, most), [(mean, vector(mean)), (var, vector(var))]);
        }
    }
}

/// Vectors of channels are those of the window; the large arrays are whole.
struct TrainOperands<'a, T> {
    x: *const T,
    gamma: &'a [T],
    beta: &'a [T],
}

struct TrainResults<'a, T> {
    y: *mut T,
    mean: &'a mut [T],
    var: &'a mut [T],
}

/// Two passes for the statistics, one for the result, which `relu` makes 0 where it is below.
///
/// The first pass finds a mean `p` that may be off by rounding. The second takes `d = Σ(x − p)/N`, what it lacks, and the
/// variance as `Σ(x − p)²/N − d²`. The mean is `m = p + d`, rounded, and what rounding took from it is `e = (p − m) + d`. So
/// the result is `(x − m)·q + (β − e·q)`. Differences are exact where values lie close together far from 0: then nothing
/// here depends on where they lie, and equal values give exactly β.
///
/// Gives what no magnitude of the result is above.
///
/// # Safety
/// `x` is readable and `y` writable over the window, nothing else refers to those elements of `y`, and `scratch` holds
/// [`SCRATCH`] vectors of channels.
unsafe fn batch_norm_train<T: Real>(
    level: Level,
    operands: TrainOperands<'_, T>,
    results: TrainResults<'_, T>,
    scratch: &mut [T],
    window: Window,
    eps: f64,
    relu: bool,
) -> T {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Train { window, operands, results, scratch, eps: T::from_f64(eps), relu }) }
}

struct Train<'a, T> {
    window: Window,
    operands: TrainOperands<'a, T>,
    results: TrainResults<'a, T>,
    scratch: &'a mut [T],
    eps: T,
    relu: bool,
}

impl<T: Real> OverMemory for Train<'_, T> {
    type Output = T;

    /// # Safety
    /// As [`batch_norm_train`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) -> T {
        let Train { window, operands: TrainOperands { x, gamma, beta }, results, scratch, eps, relu } = self;
        let TrainResults { y, mean, var } = results;
        let of = Large { a: x, b: x, gate: x };
        let count = T::from_f64(window.count() as f64);
        let [about, scale, offset] = vectors(scratch, window.width());
        window.claim(y);
        // SAFETY: the caller's.
        unsafe {
            // γ and β stand in where a formula uses no vector of channels.
            window.sums::<S, T, Plain, 1, false>(simd, of, gamma, [about]);
            about.iter_mut().for_each(|sum| *sum /= count);
            window.sums::<S, T, Deviations, 2, false>(simd, of, about, [mean, var]);
            for c in 0..window.width() {
                let (off, squares) = (mean[c] / count, var[c] / count);
                let above = squares - off * off;
                // Not below 0 but for rounding.
                var[c] = if above < T::ZERO { T::ZERO } else { above };
                // Differences from an infinite mean are NaN, the mean is not.
                mean[c] = if is_finite(about[c]) { about[c] + off } else { about[c] };
                scale[c] = (var[c] + eps).rsqrt() * gamma[c];
                // What is left when the mean itself is rounded.
                offset[c] = beta[c] - ((about[c] - mean[c]) + off) * scale[c];
            }
            if relu {
                window.each::<S, T, Rectified, false>(simd, of, [mean, scale, offset, beta], y)
            } else {
                window.each::<S, T, Normalised, false>(simd, of, [mean, scale, offset, beta], y)
            }
        }
    }
}
