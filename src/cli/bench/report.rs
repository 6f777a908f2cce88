//! What was measured, as a table for people and as JSON for programs.

use super::contest::{Measured, Settings, Timed};
use super::figures::{Figures, Unit};
use crate::exec::Options;
use serde_json::{Value, json};

/// Figures of a side, or why there are none.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub side: String,
    pub unit: Unit,
    pub figures: Result<Figures, String>,
    /// What two sides that do the same agree on.
    pub check: Option<f64>,
    pub about: Value,
}

impl Cell {
    /// The best variant of a side.
    pub(super) fn of(measured: &Measured, unit: Unit) -> Cell {
        match measured.best() {
            Some(timed) => Cell::of_variant(&measured.name, timed, 0, unit),
            None => {
                let figures = Err("nothing to run".to_owned());
                Cell { side: measured.name.clone(), unit, figures, check: None, about: Value::Null }
            }
        }
    }

    /// One variant of a side in one condition.
    pub(super) fn of_variant(name: &str, timed: &Timed, condition: usize, unit: Unit) -> Cell {
        let figures = timed.figures.clone().map(|figures| figures.get(condition).cloned().unwrap_or_default());
        let side = format!("{name} {}", timed.label);
        Cell { side: side.trim_end().to_owned(), unit, figures, check: timed.check, about: timed.about.clone() }
    }

    pub(super) fn best(&self) -> Option<f64> {
        self.figures.as_ref().ok()?.best()
    }

    fn shown(&self) -> String {
        match &self.figures {
            Ok(figures) => figures.shown(self.unit),
            Err(reason) => format!("failed: {reason}"),
        }
    }

    fn json(&self) -> Value {
        let mut object = match &self.figures {
            Ok(figures) => figures.json(self.unit),
            Err(reason) => json!({ "failed": reason }),
        };
        if let Value::Object(object) = &mut object {
            object.insert("side".to_owned(), json!(self.side));
            object.insert("check".to_owned(), json!(self.check));
            object.insert("about".to_owned(), self.about.clone());
        }
        object
    }
}

/// What a ratio says; more is better for us in all but the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ratio {
    /// Their best time over ours.
    Faster,
    /// Our rate over the ceiling's.
    Share,
    /// Their least memory over ours.
    Smaller,
    /// A busy machine's time over an idle one's.
    Slower,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub name: String,
    pub ours: Cell,
    pub other: Option<Cell>,
    pub ratio: Ratio,
    /// The ratio wanted.
    pub target: Option<f64>,
}

impl Row {
    /// The quotient of the bests, where both sides have one.
    fn quotient(&self) -> Option<f64> {
        let other = self.other.as_ref()?;
        let (a, b) = (self.ours.best()?, other.best()?);
        let quotient = match self.ratio {
            Ratio::Faster | Ratio::Smaller => b / a,
            Ratio::Share => self.ours.unit.value(a) / other.unit.value(b),
            Ratio::Slower => a / b,
        };
        quotient.is_finite().then_some(quotient)
    }

    fn shown_ratio(&self) -> String {
        let Some(quotient) = self.quotient() else { return "-".to_owned() };
        match self.ratio {
            Ratio::Faster => format!("{quotient:.2} x as fast"),
            Ratio::Share => format!("{:.1} % of it", quotient * 100.0),
            Ratio::Smaller => format!("1/{quotient:.2} of it"),
            Ratio::Slower => format!("{quotient:.2} x as long"),
        }
    }

    fn shown_target(&self) -> String {
        match (self.target, self.ratio) {
            (None, _) => String::new(),
            (Some(target), Ratio::Share) => format!("{:.0} %", target * 100.0),
            (Some(target), _) => format!("{target:.2}"),
        }
    }

    fn cells(&self) -> [String; 7] {
        let (side, shown) = self.other.as_ref().map_or_else(Default::default, |cell| (cell.side.clone(), cell.shown()));
        let (ratio, target) = (self.shown_ratio(), self.shown_target());
        [self.name.clone(), self.ours.side.clone(), self.ours.shown(), side, shown, ratio, target]
    }

    /// All but the name, in one line.
    pub(super) fn line(&self) -> String {
        let [_, cells @ ..] = self.cells();
        cells.join("  ").trim_end().to_owned()
    }

    fn json(&self, suite: &str) -> Value {
        let ratio = match self.ratio {
            Ratio::Faster => "faster",
            Ratio::Share => "share",
            Ratio::Smaller => "smaller",
            Ratio::Slower => "slower",
        };
        json!({
            "suite": suite,
            "name": self.name,
            "ours": self.ours.json(),
            "other": self.other.as_ref().map(Cell::json),
            "ratio": self.quotient(),
            "ratio_is": ratio,
            "target": self.target,
        })
    }
}

const HEADINGS: [&str; 7] = ["measurement", "side", "best [..worst]", "against", "best [..worst]", "ratio", "target"];

/// Everything measured so far.
pub(super) struct Report {
    settings: Value,
    rows: Vec<Value>,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Report {
        let Settings { rounds, seconds, quick, cores, threads, .. } = settings;
        let settings = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "cores": cores,
            "threads": threads,
            "instructions": Options::default().instruction_set().in_use(),
            "rounds": rounds,
            "seconds": seconds,
            "quick": quick,
        });
        Report { settings, rows: Vec::new() }
    }

    /// Takes a suite's rows in, and gives them as a table.
    pub(super) fn add(&mut self, suite: &str, rows: Vec<Row>) -> String {
        self.rows.extend(rows.iter().map(|row| row.json(suite)));
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(rows.iter().map(Row::cells));
        let count = |text: &String| text.chars().count();
        // A reason for failing may be as long as it likes: nothing is aligned to it.
        let wide = |text: &&String| !text.starts_with("failed: ");
        let widths: [usize; 7] = std::array::from_fn(|column| {
            lines.iter().map(|line| &line[column]).filter(wide).map(count).max().unwrap_or(0)
        });
        let mut table = format!("{suite}, {}\n", Options::default().instruction_set().in_use());
        for line in lines {
            let padded = line.iter().zip(widths).map(|(text, width)| format!("{text:<width$}"));
            table.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            table.push('\n');
        }
        table
    }

    pub(super) fn json(&self) -> String {
        format!("{:#}\n", json!({ "settings": self.settings, "rows": self.rows }))
    }
}
