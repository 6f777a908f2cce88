//! The backward of training batch norm over `(outer, channels, inner)`; equations in [`BatchNormGrad`].

use super::Real;
use super::call::{
    BufferId, Call, Costs, Description, Lower, LowerCx, Memory, Share, Split, Splits, Touch, Work, Workspace, around,
    by_type, largest_share, sizes_around,
};
use super::norm::formula::{Backward, Gradients};
use super::norm::{Channels, Large, SCRATCH, Window, note, vectors};
use super::simd::{Level, OverMemory};
use crate::ir::DType;
use crate::ops::BatchNormGrad;
use pulp::Simd;

/// The operands that are as large as `x`.
const X: usize = 0;
const DY: usize = 4;

/// `dx, dγ, dβ` of `x, γ, μ, σ², dy, dμ, dσ²`; where the gate is not above 0, `dy` counts as 0.
#[derive(Debug)]
pub(crate) struct BatchNormGradCall {
    pub operands: [BufferId; 7],
    pub gate: Option<BufferId>,
    pub results: [BufferId; 3],
    pub dtype: DType,
    pub extent: [usize; 3],
    pub eps: f64,
}

impl Lower for BatchNormGrad {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let x = cx.packed(0);
        let operands = std::array::from_fn(|slot| cx.packed(slot).buffer);
        let results = [cx.result(), cx.result(), cx.result()];
        let (extent, eps) = (around(&x.shape, self.axis), self.eps.0);
        cx.call(BatchNormGradCall { operands, gate: None, results, dtype: x.dtype, extent, eps }.into());
    }
}

impl BatchNormGradCall {
    fn channels(&self) -> Channels {
        Channels { dtype: self.dtype, extent: self.extent }
    }
}

impl Call for BatchNormGradCall {
    fn touches(&self) -> Vec<Touch> {
        let of = self.channels();
        let operand = |(slot, &buffer): (usize, &BufferId)| match slot {
            X => of.read(buffer, of.large()),
            // A product that is split by columns is followed at no cost.
            DY => Touch { is_wished: true, ..of.read(buffer, of.large()) },
            _ => of.read(buffer, of.vector()),
        };
        let operands = self.operands.iter().enumerate().map(operand);
        let gate = self.gate.map(|gate| of.read(gate, of.large()));
        let [dx, dgamma, dbeta] = self.results;
        let results = [of.write(dx, of.large()), of.write(dgamma, of.vector()), of.write(dbeta, of.vector())];
        operands.chain(gate).chain(results).collect()
    }

    fn splits(&self) -> Splits {
        Splits::of([self.channels().split()])
    }

    /// x̂, Σdy, Σdy·x̂, and dx from them: x, γ, μ, σ², dy, dμ, dσ² → dx, dγ, dβ.
    fn work(&self) -> Work {
        let (len, gated) = (self.channels().len(), usize::from(self.gate.is_some()));
        let bytes = ((3 + gated) * len + 7 * self.extent[1]) * self.dtype.size();
        Work::of((10 + gated) * len, bytes, self.dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        costs.swept(largest_share(self.channels().len(), split, threads), 8)
    }

    fn scratch(&self) -> usize {
        self.channels().scratch()
    }

    fn describe(&self) -> Description {
        let (kernel, gated) = ("batch_norm_grad", if self.gate.is_some() { " of gated" } else { "" });
        let detail = format!("{kernel} {:?}{gated}", self.extent);
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

impl BatchNormGradCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>, own: &Workspace) {
        let ([x, gamma, mean, var, dy, dmean, dvar], [dx, dgamma, dbeta]) = (self.operands, self.results);
        let window = self.channels().window(share);
        let range = window.from..window.to;
        // SAFETY: the caller's.
        unsafe {
            let vector = |buffer: BufferId| memory.part::<T>(buffer, range.clone(), 1);
            let operands = GradOperands {
                x: memory.at(x),
                gamma: vector(gamma),
                mean: vector(mean),
                var: vector(var),
                dy: memory.at(dy),
                gate: self.gate.map_or(std::ptr::null(), |gate| memory.at(gate)),
                dmean: vector(dmean),
                dvar: vector(dvar),
            };
            let results = GradResults {
                dx: memory.at(dx),
                dgamma: memory.part_mut(dgamma, range.clone(), 1),
                dbeta: memory.part_mut(dbeta, range.clone(), 1),
            };
            let scratch = std::slice::from_raw_parts_mut(own.scratch.cast(), SCRATCH * range.len());
            let most = batch_norm_grad(memory.level, operands, results, scratch, window, self.eps);
            note(memory, share, own.worker, (dx, most), [(dgamma, vector(dgamma)), (dbeta, vector(dbeta))]);
        }
    }
}

struct GradOperands<'a, T> {
    x: *const T,
    gamma: &'a [T],
    mean: &'a [T],
    var: &'a [T],
    dy: *const T,
    /// Where it is not above 0, `dy` counts as 0; null where all of it counts.
    gate: *const T,
    dmean: &'a [T],
    dvar: &'a [T],
}

struct GradResults<'a, T> {
    dx: *mut T,
    dgamma: &'a mut [T],
    dbeta: &'a mut [T],
}

/// The closed-form backward. Gives what no magnitude of `dx` is above.
///
/// # Safety
/// `x` and `dy` are readable and `dx` is writable over the window, nothing else refers to those elements of `dx`, and `scratch`
/// holds [`SCRATCH`](super::norm::SCRATCH) vectors of channels.
unsafe fn batch_norm_grad<T: Real>(
    level: Level,
    operands: GradOperands<'_, T>,
    results: GradResults<'_, T>,
    scratch: &mut [T],
    window: Window,
    eps: f64,
) -> T {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(Grad { window, operands, results, scratch, eps: T::from_f64(eps) }) }
}

struct Grad<'a, T> {
    window: Window,
    operands: GradOperands<'a, T>,
    results: GradResults<'a, T>,
    scratch: &'a mut [T],
    eps: T,
}

impl<T: Real> OverMemory for Grad<'_, T> {
    type Output = T;

    /// # Safety
    /// As [`batch_norm_grad`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) -> T {
        // SAFETY: the caller's.
        unsafe { if self.operands.gate.is_null() { self.gated::<S, false>(simd) } else { self.gated::<S, true>(simd) } }
    }
}

impl<T: Real> Grad<'_, T> {
    /// # Safety
    /// As [`batch_norm_grad`].
    #[inline(always)]
    unsafe fn gated<S: Simd, const GATED: bool>(self, simd: S) -> T {
        let Grad { window, operands, results, scratch, eps } = self;
        let GradOperands { x, gamma, mean, var, dy, gate, dmean, dvar } = operands;
        let GradResults { dx, dgamma, dbeta } = results;
        let of = Large { a: x, b: dy, gate };
        let count = T::from_f64(window.count() as f64);
        let [by_dy, by_centred, constant] = vectors(scratch, window.width());
        window.claim(dx);
        // SAFETY: the caller's.
        unsafe {
            let sums = [&mut *dbeta, &mut *dgamma, &mut *constant];
            window.sums::<S, T, Gradients, 3, GATED>(simd, of, mean, sums);
            // dx is affine in dy and x − m, with three coefficients a channel.
            for c in 0..window.width() {
                let off = rounded_off(constant[c] / count, mean[c]);
                let r = finite_rsqrt(var[c] + eps);
                let scale = gamma[c] * r;
                dgamma[c] = (dgamma[c] - off * dbeta[c]) * r;
                by_dy[c] = scale;
                by_centred[c] = (dvar[c] + dvar[c] - scale * dgamma[c] * r) / count;
                constant[c] = (dmean[c] - scale * dbeta[c]) / count - off * by_centred[c];
            }
            window.each::<S, T, Backward, GATED>(simd, of, [mean, by_dy, by_centred, constant], dx)
        }
    }
}

/// `1/√x`, where an `x` of 0 counts as the smallest normal number: without ε over a constant channel a `dy` of 0 stays 0.
fn finite_rsqrt<T: Real>(x: T) -> T {
    let least = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    if x == T::ZERO { T::from_f64(least).rsqrt() } else { x.rsqrt() }
}

/// What a mean lacks, given the mean of the differences from it, if that is no more than rounding took from it; else 0.
/// It matters where values lie close together far from 0: there it is no small part of the deviation.
#[inline(always)]
fn rounded_off<T: Real>(difference: T, mean: T) -> T {
    let most = mean.abs() * T::from_f64(if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON });
    if difference.abs() <= most { difference } else { T::ZERO }
}
