//! What is measured in each suite, and against what.

mod memory;
mod speed;
mod strain;

use super::CommandError;
use super::contest::{Settings, Side, measure};
use super::figures::Unit;
use super::peers::{Peer, Scripts, Task, own};
use super::report::{Cell, Ratio, Row};
use super::workload::Workload;
use std::process::{Command, Stdio};

/// What every suite needs.
pub(super) struct Bench<'a> {
    pub settings: &'a Settings,
    pub peers: &'a [Peer],
    pub scripts: &'a Scripts,
}

impl Bench<'_> {
    /// Ours first, then each peer that can do the task.
    fn sides(&self, task: &Task) -> Vec<Side> {
        let ours = own("foldgrad", &self.settings.program, task, self.settings);
        let peers = self.peers.iter().flat_map(|peer| peer.sides(task, self.scripts, self.settings));
        std::iter::once(ours).chain(peers).collect()
    }

    /// Measures and compares the best variant of ours with each peer's.
    fn compare(&self, name: &str, sides: &[Side]) -> Result<Vec<Row>, CommandError> {
        eprintln!("{name}: {}", sides.iter().map(|side| side.name.as_str()).collect::<Vec<_>>().join(", "));
        let measured = measure(sides, &[0], self.settings)?;
        let mut cells = measured.iter().map(|measured| Cell::of(measured, Unit::Time));
        let Some(ours) = cells.next() else { return Ok(Vec::new()) };
        let row = |other| Row { name: name.to_owned(), ours: ours.clone(), other, ratio: Ratio::Faster, target: None };
        let others: Vec<Row> = cells.map(|cell| row(Some(cell))).collect();
        let rows = if others.is_empty() { vec![row(None)] } else { others };
        // The table comes when the suite is done, which may be long from now.
        rows.iter().for_each(|row| eprintln!("  {}", row.line()));
        Ok(rows)
    }

    /// The workload, or a small one where only the machinery is tried.
    fn sized(&self, workload: Workload) -> Workload {
        if !self.settings.quick {
            return workload;
        }
        let batch = workload.batch.min(8);
        let (depth, width) = (workload.depth.min(2), workload.width.min(16));
        Workload { batch, depth, width, examples: 2 * batch, ..workload }
    }
}

/// Whether a program can be bound to one core here.
fn can_pin() -> bool {
    let mut probe = Command::new("taskset");
    probe.args(["-c", "0", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
