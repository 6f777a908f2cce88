//! A profile as text: one line a step, then layers, kinds and workers; at most 100 columns.

use super::{Profile, StepProfile, Total};
use crate::exec::Ceilings;
use crate::plan::Direction;
use std::fmt::Write;

/// Columns of the names in front of a line.
const FROM: usize = 32;
const KERNEL: usize = 24;

impl Profile {
    /// The profile as a table of at most 100 columns.
    pub fn table(&self, ceilings: &Ceilings) -> String {
        let mut text = String::new();
        self.write_head(&mut text, ceilings);
        self.write_steps(&mut text, ceilings);
        let layers = self.by_layer();
        self.write_totals(&mut text, "layer", &layers, FROM);
        self.write_totals(&mut text, "kind", &self.by_kind(), FROM);
        self.write_workers(&mut text);
        text
    }

    /// The share of the roofline that a step reaches: 1 where no kernel could be faster.
    pub fn of_ceiling(&self, step: &StepProfile, ceilings: &Ceilings) -> f64 {
        ceilings.least_seconds(&step.work, step.workers) / step.core_seconds.max(f64::MIN_POSITIVE)
    }

    pub(super) fn by_layer(&self) -> indexmap::IndexMap<&str, Total> {
        self.totals(|step| step.label.layer().unwrap_or("-"))
    }

    pub(super) fn by_kind(&self) -> indexmap::IndexMap<&str, Total> {
        self.totals(|step| step.kind)
    }

    fn write_head(&self, text: &mut String, ceilings: &Ceilings) {
        let (work, threads) = (self.work(), self.workers.len());
        let count = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        let _ = writeln!(
            text,
            "a run: {} µs on {count}, {} µs when it is not recorded ({} runs, mean of the faster half)",
            microseconds(self.seconds),
            microseconds(self.unrecorded_seconds),
            self.runs
        );
        let rate = work.operations as f64 / self.unrecorded_seconds.max(f64::MIN_POSITIVE) * 1e-9;
        let _ = writeln!(
            text,
            "work: {:.2} million multiply-adds, {:.2} MB, {rate:.0} GFLOP/s; {:.0} % of the kernels' time is products",
            work.multiply_adds as f64 * 1e-6,
            work.bytes as f64 * 1e-6,
            self.product_share() * 100.0
        );
        let reading: Vec<String> =
            ceilings.reading.iter().map(|&(size, rate)| format!("{} {}", binary(size), rounded(rate))).collect();
        let _ = writeln!(
            text,
            "ceilings of a core: {} GFLOP/s; GB/s read: {}",
            rounded(ceilings.operations),
            reading.join(", ")
        );
    }

    fn write_steps(&self, text: &mut String, ceilings: &Ceilings) {
        let _ = writeln!(
            text,
            "\nCore time of each step; rates a core; `roof`: share of the ceiling, of arithmetic (a) or bytes (b)"
        );
        let _ = writeln!(
            text,
            "{:>3}  {:FROM$} {:KERNEL$} {:>7} {:>5} {:>7} {:>6} {:>6}",
            "", "from", "kernel", "µs", "%", "GFLOP/s", "GB/s", "roof"
        );
        let all = self.core_seconds().max(f64::MIN_POSITIVE);
        let mut phase = usize::MAX;
        for step in &self.steps {
            if step.phase != phase && self.phases.len() > 1 {
                phase = step.phase;
                if let Some(phase) = self.phases.get(phase) {
                    let shares =
                        if phase.shares == 1 { "whole".to_owned() } else { format!("{} shares", phase.shares) };
                    let _ = writeln!(text, "  -- phase {}, {shares}: {} µs", phase.index, microseconds(phase.seconds));
                }
            }
            let seconds = step.core_seconds.max(f64::MIN_POSITIVE);
            let bound = if ceilings.is_bound_by_arithmetic(&step.work, step.workers) { 'a' } else { 'b' };
            let roof = (self.of_ceiling(step, ceilings) * 100.0).min(999.0);
            let _ = writeln!(
                text,
                "{:>3}{} {:FROM$} {:KERNEL$} {:>7} {:>5.1} {:>7} {:>6} {roof:>3.0} %{bound}",
                step.index,
                mark(step),
                shortened(&step.label.to_string(), FROM),
                shortened(&step.kernel, KERNEL),
                microseconds(step.core_seconds),
                step.core_seconds / all * 100.0,
                rounded(step.work.operations as f64 / seconds),
                rounded(step.work.bytes as f64 / seconds),
            );
        }
        let _ = writeln!(text, "  (→ forward, ← backward, ↻ update; a product joined with its update is ←)");
    }

    fn write_totals(&self, text: &mut String, title: &str, totals: &indexmap::IndexMap<&str, Total>, width: usize) {
        let _ = writeln!(
            text,
            "\n{title:width$} {:>5} {:>9} {:>9} {:>9} {:>9} {:>6} {:>8}",
            "calls", "forward", "backward", "update", "µs", "%", "GFLOP/s"
        );
        let all = self.core_seconds().max(f64::MIN_POSITIVE);
        for (name, total) in totals {
            let [forward, backward, update] = total.seconds.map(|seconds| match seconds {
                0.0 => "-".to_owned(),
                seconds => microseconds(seconds),
            });
            let _ = writeln!(
                text,
                "{:width$} {:>5} {forward:>9} {backward:>9} {update:>9} {:>9} {:>6.1} {:>8}",
                shortened(name, width),
                total.calls,
                microseconds(total.all()),
                total.all() / all * 100.0,
                rounded(total.work.operations as f64 / total.all().max(f64::MIN_POSITIVE)),
            );
        }
    }

    fn write_workers(&self, text: &mut String) {
        let _ = writeln!(text, "\n{:10} {:>16} {:>16} {:>16}", "worker", "in kernels µs", "waiting µs", "the rest µs");
        let share = |seconds: f64| {
            let percent = seconds / self.seconds.max(f64::MIN_POSITIVE) * 100.0;
            format!("{} {percent:>5.1} %", microseconds(seconds))
        };
        for (index, worker) in self.workers.iter().enumerate() {
            let (busy, waiting, rest) = (share(worker.busy), share(worker.waiting), share(worker.rest));
            let _ = writeln!(text, "{index:<10} {busy:>16} {waiting:>16} {rest:>16}");
        }
    }
}

fn mark(step: &StepProfile) -> char {
    match step.label.direction() {
        Direction::Forward => '→',
        Direction::Backward => '←',
        Direction::Update => '↻',
    }
}

fn microseconds(seconds: f64) -> String {
    let microseconds = seconds * 1e6;
    if microseconds < 100.0 { format!("{microseconds:.2}") } else { format!("{microseconds:.1}") }
}

/// Billions, with about three digits.
fn rounded(rate: f64) -> String {
    let billions = rate * 1e-9;
    if billions < 10.0 { format!("{billions:.1}") } else { format!("{billions:.0}") }
}

fn binary(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// A name that fits; where it does not, its end is kept, since layers of one kind differ there.
fn shortened(name: &str, width: usize) -> String {
    let len = name.chars().count();
    if len <= width {
        return name.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail: String = name.chars().skip(len - (kept - head)).collect();
    format!("{}…{tail}", name.chars().take(head).collect::<String>())
}
