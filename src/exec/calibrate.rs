//! Measures the rates of [`Costs`] on this machine, each on a tiny graph whose cost it dominates.

use super::{Executable, Options, RunError};
use crate::ir::{Bindings, Builder, DType, Diagnostics, Tensor};
use crate::plan::{Costs, PlanError};
use std::time::{Duration, Instant};

/// The rates could not be measured.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A graph to measure on could not be built.
    #[error("the graph to measure on could not be built: {0}")]
    Graph(#[from] Diagnostics),
    /// It could not be planned.
    #[error("the graph to measure on could not be planned: {0}")]
    Plan(#[from] PlanError),
    /// It could not be run.
    #[error("the graph to measure on could not be run: {0}")]
    Run(#[from] RunError),
}

/// How long each rate is measured: long enough for a quiet moment on a machine that others use.
const EACH: Duration = Duration::from_millis(60);

/// Nothing that is measured is faster than this many nanoseconds.
const LEAST: f64 = 1e-3;

impl Costs {
    /// Measures the rates on this machine in about half a second; the best of many runs counts. With one thread there
    /// is no one to wait for, and `barrier` is the default.
    ///
    /// ```no_run
    /// use foldgrad::{exec::Options, plan::Costs};
    /// let options = Options::default();
    /// let options = options.costs(Costs::measure(&options)?);
    /// # Ok::<(), foldgrad::exec::CalibrateError>(())
    /// ```
    ///
    /// # Errors
    /// Memory that the system does not give; nothing else is expected.
    pub fn measure(options: &Options) -> Result<Costs, CalibrateError> {
        let single = options.threads(1);
        let call = call(&single)?;
        // 12 bytes an instruction and element, as the cost of a map counts them.
        let map_bytes = {
            let (len, instructions) = (1 << 13, 8);
            let time = map(&single, len, |x| (0..instructions / 2).fold(x, |x, at| (x * 0.5) + f64::from(at)))?;
            (12 * len * instructions as usize) as f64 / (time - call).max(LEAST)
        };
        let elementary = {
            let len = 1 << 12;
            let time = map(&single, len, |x| x.exp())?;
            ((time - call - (12 * len) as f64 / map_bytes) / len as f64).max(0.0)
        };
        let multiply_adds = {
            let (m, k, n) = (48, 64, 96);
            (m * k * n) as f64 / (product(&single, m, k, n)? - call).max(LEAST)
        };
        let operand_bytes = {
            // Four rows use each element of the right operand so little that reading it is what takes time.
            let (m, k, n) = (4, 784, 304);
            1.1 * (4 * k * n) as f64 / (product(&single, m, k, n)? - call).max(LEAST)
        };
        let barrier = if options.thread_count() > 1 { barrier(options)? } else { Costs::default().barrier };
        Ok(Costs { multiply_adds, operand_bytes, map_bytes, elementary, barrier, call })
    }
}

/// The least nanoseconds of a run.
fn fastest(run: &mut Executable, feeds: &[&Tensor]) -> Result<f64, RunError> {
    run.run(feeds, &mut [])?;
    let (started, mut least) = (Instant::now(), Duration::MAX);
    while started.elapsed() < EACH {
        let from = Instant::now();
        run.run(feeds, &mut [])?;
        least = least.min(from.elapsed());
    }
    Ok(least.as_secs_f64() * 1e9)
}

/// The least nanoseconds that the only kernel of a graph takes.
fn kernel(builder: Builder, options: &Options) -> Result<f64, CalibrateError> {
    let mut run = Executable::with(builder.finish()?, &Bindings::default(), options)?;
    let feeds: Vec<Tensor> =
        run.plan().feeds().iter().map(|port| Tensor::full(port.dtype, port.shape.clone(), 0.5)).collect();
    let feeds: Vec<&Tensor> = feeds.iter().collect();
    run.run(&feeds, &mut [])?;
    run.record(true);
    let (started, mut least) = (Instant::now(), Duration::MAX);
    while started.elapsed() < EACH {
        run.run(&feeds, &mut [])?;
        least = run.take_spans().iter().map(|span| span.to - span.from).sum::<Duration>().min(least);
    }
    Ok(least.as_secs_f64() * 1e9)
}

fn map(
    options: &Options,
    len: usize,
    body: impl for<'b> Fn(crate::ir::Expr<'b>) -> crate::ir::Expr<'b>,
) -> Result<f64, CalibrateError> {
    let g = Builder::new();
    g.output("y", body(g.input("x", DType::F32, [len])));
    kernel(g, options)
}

fn product(options: &Options, m: usize, k: usize, n: usize) -> Result<f64, CalibrateError> {
    let g = Builder::new();
    g.output("y", g.input("x", DType::F32, [m, k]).dot(g.input("w", DType::F32, [k, n])));
    kernel(g, options)
}

/// What one more kernel costs a run, when it has next to nothing to do.
fn call(options: &Options) -> Result<f64, CalibrateError> {
    const LEN: usize = 16;
    let run = |kernels: usize| -> Result<f64, CalibrateError> {
        let g = Builder::new();
        let x = g.input("x", DType::F32, [LEN * kernels]);
        for at in 0..kernels {
            g.output(&format!("y{at}"), x.slice(0, at * LEN..(at + 1) * LEN).relu());
        }
        let mut run = Executable::with(g.finish()?, &Bindings::default(), options)?;
        Ok(fastest(&mut run, &[&Tensor::full(DType::F32, [LEN * kernels], 0.5)])?)
    };
    const KERNELS: usize = 64;
    Ok(((run(2 * KERNELS)? - run(KERNELS)?) / KERNELS as f64).max(LEAST))
}

/// What one more phase costs a run: a chain of products, each of which needs whole rows of the one before.
fn barrier(options: &Options) -> Result<f64, CalibrateError> {
    const PRODUCTS: usize = 48;
    let (m, n) = (32, 64);
    let run = |threads: usize| -> Result<(f64, usize), CalibrateError> {
        let g = Builder::new();
        let (mut x, w) = (g.input("x", DType::F32, [m, n]), g.input("w", DType::F32, [n, n]));
        for _ in 0..PRODUCTS {
            x = x.dot(w).tanh();
        }
        g.output("y", x);
        // Where waiting is free, every product is shared out by columns.
        let costs = Costs { barrier: 0.0, ..Costs::default() };
        let options = options.threads(threads).costs(costs);
        let mut run = Executable::with(g.finish()?, &Bindings::default(), &options)?;
        let (x, w) = (Tensor::full(DType::F32, [m, n], 0.5), Tensor::full(DType::F32, [n, n], 0.01));
        Ok((fastest(&mut run, &[&x, &w])?, run.plan().planned_phases().len()))
    };
    let ((alone, _), (shared, phases)) = (run(1)?, run(2)?);
    Ok(((shared - alone / 2.0) / phases.max(1) as f64).max(LEAST))
}
