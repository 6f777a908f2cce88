//! A profile as one JSON object: seconds, operations and bytes as they were measured, nothing rounded.

use super::{DIRECTIONS, Profile, StepProfile, Total};
use crate::exec::Ceilings;
use serde_json::{Map, Value, json};

impl Profile {
    /// Everything that the table says, for programs: times in seconds, `of_ceiling` as a share.
    pub fn to_json(&self, ceilings: &Ceilings) -> Value {
        let step = |step: &StepProfile| {
            json!({
                "step": step.index, "phase": step.phase, "kind": step.kind, "kernel": step.kernel,
                "layers": step.label.layers,
                "directions": step.label.directions.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "overwrites": step.label.overwrites,
                "multiply_adds": step.work.multiply_adds, "operations": step.work.operations, "bytes": step.work.bytes,
                "core_s": step.core_seconds, "slowest_s": step.slowest_seconds, "workers": step.workers,
                "expected_s": step.expected_seconds, "of_ceiling": self.of_ceiling(step, ceilings),
            })
        };
        let total = |name: &str, total: &Total| {
            let mut object = Map::new();
            object.insert("name".to_owned(), json!(name));
            object.insert("calls".to_owned(), json!(total.calls));
            for direction in DIRECTIONS {
                object.insert(format!("{direction}_core_s"), json!(total.seconds[direction as usize]));
            }
            object.insert("multiply_adds".to_owned(), json!(total.work.multiply_adds));
            object.insert("bytes".to_owned(), json!(total.work.bytes));
            Value::Object(object)
        };
        let work = self.work();
        json!({
            "runs": self.runs, "threads": self.workers.len(),
            "run_s": self.seconds, "unrecorded_run_s": self.unrecorded_seconds,
            "core_s": self.core_seconds(), "product_share": self.product_share(),
            "multiply_adds": work.multiply_adds, "operations": work.operations, "bytes": work.bytes,
            "ceilings": {
                "operations_per_core_s": ceilings.operations,
                "reading": ceilings.reading.iter()
                    .map(|(bytes, rate)| json!({"bytes": bytes, "bytes_per_core_s": rate})).collect::<Vec<_>>(),
            },
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "phases": self.phases.iter().map(|phase| json!({
                "phase": phase.index, "shares": phase.shares, "s": phase.seconds, "expected_s": phase.expected_seconds,
            })).collect::<Vec<_>>(),
            "layers": self.by_layer().iter().map(|(name, sum)| total(name, sum)).collect::<Vec<_>>(),
            "kinds": self.by_kind().iter().map(|(name, sum)| total(name, sum)).collect::<Vec<_>>(),
            "workers": self.workers.iter().map(|worker| json!({
                "busy_s": worker.busy, "waiting_s": worker.waiting, "rest_s": worker.rest,
            })).collect::<Vec<_>>(),
        })
    }
}
