//! A fresh process: the most memory it has had, and the seconds it has lived, when its first training step is done.

use super::super::child::{Child, Launch};
use super::super::contest::Side;
use super::super::figures::{Figures, Unit};
use super::super::peers::Task;
use super::super::report::{Cell, Ratio, Row};
use super::super::workload::Workload;
use super::{Bench, CommandError};
use serde_json::Value;

/// Seconds and bytes of each round.
struct First {
    side: String,
    outcome: Result<[Figures; 2], String>,
}

impl Bench<'_> {
    pub(in super::super) fn memory(&self) -> Result<Vec<Row>, CommandError> {
        let workload = self.sized(Workload::tutorial(32));
        let sides = self.sides(&Task::Train { workload, single: true });
        eprintln!("first step: {}", sides.iter().map(|side| side.name.as_str()).collect::<Vec<_>>().join(", "));
        // With all threads: the memory of a pool counts.
        let last = |side: &Side| side.variants.last().map(|variant| (side.name.clone(), variant.clone()));
        let chosen: Vec<_> = sides.iter().filter_map(last).collect();
        let begin = |(name, variant): &(String, super::super::contest::Variant)| First {
            side: format!("{name} {}", variant.label),
            outcome: Ok(Default::default()),
        };
        let mut firsts: Vec<First> = chosen.iter().map(begin).collect();
        for _ in 0..self.settings.rounds {
            for (first, (_, variant)) in firsts.iter_mut().zip(&chosen) {
                first.measure(&variant.launch);
            }
        }
        let kinds = [(0, "start to the end of the first step", Unit::Time, Ratio::Faster)];
        let kinds = kinds.into_iter().chain([(1, "peak memory of the first step", Unit::Memory, Ratio::Smaller)]);
        let mut rows = Vec::new();
        for (kind, name, unit, ratio) in kinds {
            let mut cells = firsts.iter().map(|first| first.cell(kind, unit));
            let Some(ours) = cells.next() else { continue };
            let row = |other| Row { name: name.to_owned(), ours: ours.clone(), other, ratio, target: None };
            let others: Vec<Row> = cells.map(|cell| row(Some(cell))).collect();
            if others.is_empty() {
                rows.push(row(None));
            }
            rows.extend(others);
        }
        Ok(rows)
    }
}

impl First {
    fn measure(&mut self, launch: &Launch) {
        let Ok([times, peaks]) = &mut self.outcome else { return };
        match once(launch) {
            Ok((seconds, peak)) => {
                times.push(seconds);
                if let Some(peak) = peak {
                    peaks.push(peak);
                }
            }
            Err(message) => self.outcome = Err(message),
        }
    }

    fn cell(&self, kind: usize, unit: Unit) -> Cell {
        let figures = self.outcome.clone().map(|figures| figures[kind].clone());
        Cell { side: self.side.clone(), unit, figures, check: None, about: Value::Null }
    }
}

/// Seconds and bytes of one process and its first step.
fn once(launch: &Launch) -> Result<(f64, Option<f64>), String> {
    let mut child = Child::start(launch.clone())?;
    child.run(1)?;
    Ok((child.age().as_secs_f64(), child.peak_memory().map(|bytes| bytes as f64)))
}
