//! Where the time of a run goes: for each worker, `run = kernels + waiting for others + the rest`.
//!
//! Times are *core time*: what all workers spent together. They add up, however a step was shared out.

mod events;
mod json;
mod table;

use super::{Executable, RunError, Span};
use crate::ir::Tensor;
use crate::plan::{Direction, Label, Plan, Work};
use std::time::{Duration, Instant};

/// What a step took, on average over the faster half of the runs.
#[derive(Clone, Debug)]
pub struct StepProfile {
    /// Its place in the plan.
    pub index: usize,
    /// The phase that it belongs to.
    pub phase: usize,
    /// The layers behind it, and what it is for.
    pub label: Label,
    /// The kernel's name.
    pub kind: &'static str,
    /// The kernel's name with its sizes.
    pub kernel: String,
    /// Whether it is a product.
    pub is_product: bool,
    /// What it has to do.
    pub work: Work,
    /// Seconds of all workers together.
    pub core_seconds: f64,
    /// Seconds of the worker that spent most.
    pub slowest_seconds: f64,
    /// The most workers that shared it in a run.
    pub workers: usize,
    /// Seconds that the plan's costs expect until the last share is done.
    pub expected_seconds: f64,
}

/// What a phase took from the end of the one before, on average over the faster half of the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseProfile {
    /// Its place in the plan.
    pub index: usize,
    /// The number of shares that its work is cut into.
    pub shares: usize,
    /// Seconds.
    pub seconds: f64,
    /// Seconds that the plan's costs expect, with the wait at its end.
    pub expected_seconds: f64,
}

/// What a worker spent its time with, on average over the faster half of the runs. The three add up to a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerProfile {
    /// Seconds in kernels.
    pub busy: f64,
    /// Seconds between its own last kernel in a phase and the last of all.
    pub waiting: f64,
    /// Seconds of everything else: coming and going, taking shares, recording.
    pub rest: f64,
}

/// When each worker of one run did what.
#[derive(Clone, Debug)]
pub struct RunSpans {
    /// When the run began.
    pub from: Instant,
    /// When it was done.
    pub to: Instant,
    /// The kernel calls, worker by worker in order of time.
    pub spans: Vec<Span>,
}

/// Where the time of a run goes. See [`Executable::profile`].
#[derive(Clone, Debug)]
pub struct Profile {
    /// The number of recorded runs.
    pub runs: usize,
    /// Seconds of a run, on average over the faster half.
    pub seconds: f64,
    /// The same without recording.
    pub unrecorded_seconds: f64,
    /// Every step, in the order of the plan.
    pub steps: Vec<StepProfile>,
    /// Every phase, in order.
    pub phases: Vec<PhaseProfile>,
    /// Every worker; 0 is the thread that called.
    pub workers: Vec<WorkerProfile>,
    /// Every recorded run, in order.
    pub timeline: Vec<RunSpans>,
}

/// Runs before those that count: pages are touched, caches filled, helpers awake.
const WARM_UP: usize = 5;

impl Executable {
    /// Runs `2·runs` times and a few more, half of them recorded, and says where the time went. States are updated by
    /// each run. Recording is off afterwards, and spans that were not taken are gone.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::Executable, ir::Bindings};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [32, 64]), g.input("w", DType::F32, [64, 48]));
    /// g.output("y", g.scoped("dense", || x.dot(w).relu()));
    /// let mut run = Executable::new(g.finish()?, &Bindings::default())?;
    /// let (x, w) = (Tensor::full(DType::F32, [32, 64], 0.5), Tensor::full(DType::F32, [64, 48], 0.1));
    /// let profile = run.profile(&[&x, &w], &mut [], 20)?;
    /// let product = profile.steps.iter().find(|step| step.is_product).expect("a product");
    /// assert_eq!((product.label.layer(), product.work.multiply_adds), (Some("dense"), 32 * 64 * 48));
    /// assert!(product.core_seconds > 0.0 && profile.seconds >= product.slowest_seconds);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn profile(&mut self, feeds: &[&Tensor], states: &mut [Tensor], runs: usize) -> Result<Profile, RunError> {
        let runs = runs.max(1);
        self.record(false);
        for _ in 0..WARM_UP {
            self.run(feeds, states)?;
        }
        let mut plain = Vec::with_capacity(runs);
        for _ in 0..runs {
            let from = Instant::now();
            self.run(feeds, states)?;
            plain.push(from.elapsed().as_secs_f64());
        }
        drop(self.take_spans());
        let mut timeline = Vec::with_capacity(runs);
        for _ in 0..runs {
            self.record(true);
            let from = Instant::now();
            let outcome = self.run(feeds, states);
            let to = Instant::now();
            self.record(false);
            outcome?;
            timeline.push(RunSpans { from, to, spans: self.take_spans() });
        }
        plain.sort_unstable_by(f64::total_cmp);
        let faster = &plain[..plain.len().div_ceil(2)];
        let unrecorded_seconds = faster.iter().sum::<f64>() / faster.len() as f64;
        Ok(Profile::of(self.plan(), timeline, unrecorded_seconds))
    }
}

impl Profile {
    fn of(plan: &Plan, timeline: Vec<RunSpans>, unrecorded_seconds: f64) -> Profile {
        let mut faster: Vec<&RunSpans> = timeline.iter().collect();
        faster.sort_by_key(|run| run.to - run.from);
        faster.truncate(timeline.len().div_ceil(2));
        let share = 1.0 / faster.len().max(1) as f64;
        let mut steps: Vec<StepProfile> = plan
            .planned_steps()
            .map(|step| StepProfile {
                index: step.index,
                phase: step.phase,
                label: step.label.clone(),
                kind: step.kind(),
                kernel: step.kernel(),
                is_product: step.is_product(),
                work: step.work,
                core_seconds: 0.0,
                slowest_seconds: 0.0,
                workers: 0,
                expected_seconds: step.estimate * 1e-9,
            })
            .collect();
        let mut phases: Vec<PhaseProfile> = plan
            .planned_phases()
            .map(|phase| PhaseProfile {
                index: phase.index,
                shares: phase.shares,
                seconds: 0.0,
                expected_seconds: phase.estimate * 1e-9,
            })
            .collect();
        let mut workers = vec![WorkerProfile::default(); plan.threads()];
        let mut seconds = 0.0;
        for run in &faster {
            let whole = (run.to - run.from).as_secs_f64();
            seconds += whole * share;
            let mut each = vec![vec![0.0; workers.len()]; steps.len()];
            for span in &run.spans {
                each[span.step][span.worker] += (span.to - span.from).as_secs_f64();
            }
            for (step, each) in steps.iter_mut().zip(&each) {
                step.core_seconds += each.iter().sum::<f64>() * share;
                step.slowest_seconds += each.iter().copied().fold(0.0, f64::max) * share;
                step.workers = step.workers.max(each.iter().filter(|&&seconds| seconds > 0.0).count());
            }
            for (index, worker) in workers.iter_mut().enumerate() {
                worker.busy += each.iter().map(|each| each[index]).sum::<f64>() * share;
            }
            for end in run.phase_ends(plan) {
                phases[end.phase].seconds += (end.to - end.from).as_secs_f64() * share;
                for (worker, last) in workers.iter_mut().zip(&end.last) {
                    let since = last.unwrap_or(end.from);
                    worker.waiting += (end.to - since).as_secs_f64() * share;
                }
            }
        }
        for worker in &mut workers {
            worker.rest = (seconds - worker.busy - worker.waiting).max(0.0);
        }
        Profile { runs: timeline.len(), seconds, unrecorded_seconds, steps, phases, workers, timeline }
    }

    /// Seconds of all workers together in kernels.
    pub fn core_seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.core_seconds).sum()
    }

    /// The share of the kernels' core time that products take, from 0 to 1.
    pub fn product_share(&self) -> f64 {
        let products: f64 = self.steps.iter().filter(|step| step.is_product).map(|step| step.core_seconds).sum();
        products / self.core_seconds().max(f64::MIN_POSITIVE)
    }

    /// What all steps together have to do.
    pub fn work(&self) -> Work {
        let mut total = Work::default();
        self.steps.iter().for_each(|step| total += step.work);
        total
    }

    /// Steps added up by a name, in the order in which the names first occur: core seconds by direction.
    fn totals<'p>(&'p self, name: impl Fn(&'p StepProfile) -> &'p str) -> indexmap::IndexMap<&'p str, Total> {
        let mut totals: indexmap::IndexMap<&str, Total> = indexmap::IndexMap::new();
        for step in &self.steps {
            let total = totals.entry(name(step)).or_default();
            total.calls += 1;
            total.work += step.work;
            total.seconds[step.label.direction() as usize] += step.core_seconds;
        }
        totals
    }
}

/// Several steps together.
#[derive(Debug, Default)]
struct Total {
    calls: usize,
    work: Work,
    /// By [`Direction`].
    seconds: [f64; 3],
}

/// Every direction, in the order of a total.
const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::Backward, Direction::Update];

impl Total {
    fn all(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

/// When a phase of a run ended.
struct PhaseEnd {
    phase: usize,
    /// The end of the phase before.
    from: Instant,
    to: Instant,
    /// For each worker, the end of its last kernel in the phase, if it had one.
    last: Vec<Option<Instant>>,
}

impl RunSpans {
    /// How long the run took.
    pub fn duration(&self) -> Duration {
        self.to - self.from
    }

    fn phase_ends(&self, plan: &Plan) -> Vec<PhaseEnd> {
        let phases: Vec<usize> = plan.planned_steps().map(|step| step.phase).collect();
        self.ends(&phases, plan.threads())
    }

    /// The end of each phase in which something ran; `phases` has the phase of each step.
    fn ends(&self, phases: &[usize], workers: usize) -> Vec<PhaseEnd> {
        let mut ends: Vec<PhaseEnd> = Vec::new();
        let mut spans: Vec<&Span> = self.spans.iter().collect();
        spans.sort_by_key(|span| (phases[span.step], span.from));
        for span in spans {
            let phase = phases[span.step];
            if ends.last().is_none_or(|end| end.phase != phase) {
                let from = ends.last().map_or(span.from, |end| end.to);
                ends.push(PhaseEnd { phase, from, to: span.to, last: vec![None; workers] });
            }
            if let Some(end) = ends.last_mut() {
                end.to = end.to.max(span.to);
                end.last[span.worker] = end.last[span.worker].max(Some(span.to));
            }
        }
        ends
    }
}
