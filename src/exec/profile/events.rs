//! Recorded runs in Chrome's trace event format: complete events (`ph: X`) in microseconds, a thread for each worker.

use super::Profile;
use crate::exec::Span;
use serde_json::{Value, json};
use std::time::Instant;

impl Profile {
    /// The last `runs` recorded runs as a JSON array that Perfetto and `chrome://tracing` open: a line for each worker,
    /// with the run, its kernels by name and layer, and the time that a worker waited for others.
    pub fn trace_events(&self, runs: usize) -> Value {
        let shown = &self.timeline[self.timeline.len().saturating_sub(runs.max(1))..];
        let mut events =
            vec![json!({"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": "foldgrad"}})];
        for worker in 0..self.workers.len() {
            let name = if worker == 0 { "worker 0, the caller".to_owned() } else { format!("worker {worker}") };
            events.push(json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": worker, "args": {"name": name}}));
            events.push(json!({"name": "thread_sort_index", "ph": "M", "pid": 1, "tid": worker, "args": {"sort_index": worker}}));
        }
        let Some(start) = shown.first().map(|run| run.from) else { return Value::Array(events) };
        let phases: Vec<usize> = self.steps.iter().map(|step| step.phase).collect();
        let first = self.timeline.len() - shown.len();
        // Within a thread, events come in order of time, and the longer of two that begin at once comes first.
        let mut timed: Vec<(usize, Instant, Instant, Value)> = Vec::new();
        for (number, run) in shown.iter().enumerate() {
            let args = json!({"run": first + number});
            timed.push((0, run.from, run.to, event("run", "run", args)));
            for span in &run.spans {
                timed.push((span.worker, span.from, span.to, self.kernel_event(span)));
            }
            for end in run.ends(&phases, self.workers.len()) {
                for (worker, last) in end.last.iter().enumerate() {
                    let from = last.unwrap_or(end.from);
                    if from < end.to {
                        let args = json!({"phase": end.phase});
                        timed.push((worker, from, end.to, event("waiting", "waiting", args)));
                    }
                }
            }
        }
        timed.sort_by_key(|&(worker, from, to, _)| (worker, from, std::cmp::Reverse(to)));
        events.extend(timed.into_iter().map(|(worker, from, to, mut event)| {
            // Nanoseconds are whole numbers, so that sums of rounded microseconds do not overlap.
            let nanoseconds = |since: Instant, until: Instant| until.duration_since(since).as_nanos() as f64;
            event["pid"] = json!(1);
            event["tid"] = json!(worker);
            event["ts"] = json!(nanoseconds(start, from) / 1e3);
            event["dur"] = json!(nanoseconds(from, to) / 1e3);
            event
        }));
        Value::Array(events)
    }

    fn kernel_event(&self, span: &Span) -> Value {
        let Some(step) = self.steps.get(span.step) else { return event("?", "?", json!({})) };
        let args = json!({
            "step": step.index,
            "phase": step.phase,
            "direction": step.label.direction().to_string(),
            "from": step.label.to_string(),
            "multiply_adds": step.work.multiply_adds,
            "operations": step.work.operations,
            "bytes": step.work.bytes,
        });
        event(&step.kernel, step.label.layer().unwrap_or("-"), args)
    }
}

fn event(name: &str, category: &str, args: Value) -> Value {
    json!({"name": name, "cat": category, "ph": "X", "args": args})
}
