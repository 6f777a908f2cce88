//! Training steps at the machine's limits: a network of nothing but products against the measured peak, and the tutorial
//! network while other programs spin.

use super::super::contest::{Measured, Side, Timed, measure};
use super::super::figures::Unit;
use super::super::peers::Task;
use super::super::report::{Cell, Ratio, Row};
use super::super::workload::{Name, Workload};
use super::{Bench, CommandError};

/// The share of the peak that a whole training step is to reach.
const SHARE: f64 = 0.85;

impl Bench<'_> {
    /// The machine's ceilings as sides: peak arithmetic, and reading what fits in a second-level cache and what does not.
    fn ceilings(&self, kilobytes: Option<usize>) -> Side {
        let threads = &self.settings.threads;
        let mut side = super::own("", &self.settings.program, &nothing(), self.settings);
        for (variant, threads) in side.variants.iter_mut().zip(threads) {
            let mut arguments = vec!["bench-side".to_owned(), "ceiling".to_owned()];
            arguments.extend(["--threads".to_owned(), threads.to_string()]);
            if let Some(kilobytes) = kilobytes {
                arguments.extend(["--read".to_owned(), kilobytes.to_string()]);
            }
            variant.launch.arguments = arguments;
        }
        side.name = match kilobytes {
            None => "multiply-adds".to_owned(),
            Some(kilobytes) => format!("read {kilobytes} KB a thread"),
        };
        side
    }

    /// A plain network of width 2,048 at batch 512, with each optimiser that costs differently, against the peak.
    pub(in super::super) fn scale(&self) -> Result<Vec<Row>, CommandError> {
        let mut sides = vec![self.ceilings(None)];
        let momenta = [(0.0, "plain SGD"), (0.9, "Nesterov momentum")];
        for (momentum, name) in momenta {
            let workload = Workload {
                network: Name::Plain,
                inputs: 2048,
                depth: 4,
                width: 2048,
                examples: 16 * 512,
                learning_rate: 0.001,
                momentum,
                ..Workload::tutorial(512)
            };
            let task = Task::Train { workload: self.sized(workload), single: false };
            for mut side in self.sides(&task) {
                side.name = format!("{} {name}", side.name);
                sides.push(side);
            }
        }
        let big = if self.settings.quick { 1024 } else { 128 * 1024 };
        sides.extend([self.ceilings(Some(256)), self.ceilings(Some(big))]);
        eprintln!("4 x 2048, batch 512: {}", momenta.map(|(_, name)| name).join(", "));
        let measured = measure(&sides, &[0], self.settings)?;
        let Some((peak, others)) = measured.split_first() else { return Ok(Vec::new()) };
        let peak = rated(peak);
        let mut rows = vec![alone("peak arithmetic", peak.clone())];
        // A peer does the same operations as we do, and need not count them.
        let flop = others.iter().find_map(|side| side.best()?.fact("flop"));
        for side in others {
            let mut cell = rated(side);
            if side.best().is_some_and(|timed| timed.fact("bytes").is_some()) {
                rows.push(alone("memory", cell));
                continue;
            }
            if let Some(flop) = flop {
                cell.unit = Unit::Operations(flop);
            }
            let ours = side.name.starts_with("foldgrad ") && !side.name.contains("other build");
            rows.push(Row {
                name: "4 x 2048, batch 512, training step".to_owned(),
                ours: cell,
                other: Some(peak.clone()),
                ratio: Ratio::Share,
                target: ours.then_some(SHARE),
            });
        }
        Ok(rows)
    }

    /// Each variant of each side with nothing, with one program, and with one for each core spinning.
    pub(in super::super) fn busy(&self) -> Result<Vec<Row>, CommandError> {
        let workload = self.sized(Workload::tutorial(32));
        let sides = self.sides(&Task::Train { workload, single: false });
        let cores = self.settings.cores;
        let mut conditions = vec![0, 1];
        if cores > 1 {
            conditions.push(cores);
        }
        eprintln!("tutorial, batch 32, with {conditions:?} programs spinning");
        let measured = measure(&sides, &conditions, self.settings)?;
        let mut rows = Vec::new();
        for Measured { name, variants } in &measured {
            for (timed, condition) in variants.iter().flat_map(|timed| (1..conditions.len()).map(move |at| (timed, at)))
            {
                let cell = |condition| Cell::of_variant(name, timed, condition, Unit::Time);
                let idle = timed.figures.is_ok().then(|| Cell { side: "idle".to_owned(), ..cell(0) });
                rows.push(Row {
                    name: format!("tutorial, batch 32, {} of {cores} cores busy", conditions[condition]),
                    ours: cell(condition),
                    other: idle,
                    ratio: Ratio::Slower,
                    target: None,
                });
            }
        }
        Ok(rows)
    }
}

/// A task whose flags are replaced.
fn nothing() -> Task {
    Task::Compile { workload: Workload::tutorial(32) }
}

fn alone(name: &str, cell: Cell) -> Row {
    Row { name: name.to_owned(), ours: cell, other: None, ratio: Ratio::Share, target: None }
}

/// The variant with the highest rate, in the unit of its work.
fn rated(measured: &Measured) -> Cell {
    let unit = |timed: &Timed| match (timed.fact("flop"), timed.fact("bytes")) {
        (Some(flop), _) => Unit::Operations(flop),
        (None, Some(bytes)) => Unit::Bytes(bytes),
        (None, None) => Unit::Time,
    };
    let rate = |timed: &&Timed| timed.best().map_or(0.0, |best| unit(timed).value(best));
    match measured.variants.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
        Some(timed) => Cell::of_variant(&measured.name, timed, 0, unit(timed)),
        None => Cell::of(measured, Unit::Time),
    }
}
