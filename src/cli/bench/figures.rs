//! The rounds of one side: seconds a step. The best is what the side can do; the others say how calm the machine was.

use serde_json::{Value, json};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(Vec<f64>);

impl Figures {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn best(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    pub(super) fn worst(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }

    /// `312 µs [..340 µs]`: the best and the worst.
    pub(super) fn shown(&self, unit: Unit) -> String {
        match (self.best(), self.worst()) {
            (Some(best), Some(worst)) => format!("{} [..{}]", unit.show(best), unit.show(worst)),
            _ => "-".to_owned(),
        }
    }

    pub(super) fn json(&self, unit: Unit) -> Value {
        let values: Vec<f64> = self.0.iter().map(|&value| unit.value(value)).collect();
        json!({
            "unit": unit.name(),
            "best": self.best().map(|value| unit.value(value)),
            "worst": self.worst().map(|value| unit.value(value)),
            "rounds": values,
        })
    }
}

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    /// Seconds, shown as suits them.
    Time,
    /// Seconds in which that many operations are done, shown as their rate.
    Operations(f64),
    /// Seconds in which that many bytes are read, shown as their rate.
    Bytes(f64),
    /// Bytes.
    Memory,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Time => "µs",
            Unit::Operations(_) => "GFLOP/s",
            Unit::Bytes(_) => "GB/s",
            Unit::Memory => "MB",
        }
    }

    /// In the unit that [`name`](Unit::name) says.
    pub(super) fn value(self, figure: f64) -> f64 {
        match self {
            Unit::Time => figure * 1e6,
            Unit::Operations(work) | Unit::Bytes(work) => work / figure * 1e-9,
            Unit::Memory => figure * 1e-6,
        }
    }

    fn show(self, figure: f64) -> String {
        let (value, name) = match self {
            Unit::Time if figure >= 1.0 => (figure, "s"),
            Unit::Time if figure >= 1e-2 => (figure * 1e3, "ms"),
            _ => (self.value(figure), self.name()),
        };
        let digits = if value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        format!("{value:.digits$} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_round_is_the_shortest() {
        let figures = Figures(vec![3e-4, 2.5e-4, 9e-4]);
        assert_eq!(figures.shown(Unit::Time), "250 µs [..900 µs]");
        assert_eq!(figures.shown(Unit::Operations(5e7)), "200 GFLOP/s [..55.6 GFLOP/s]");
        assert_eq!(figures.json(Unit::Time)["best"], 250.0);
        assert_eq!(figures.json(Unit::Operations(5e7))["best"], 200.0);
        assert_eq!(Figures::default().shown(Unit::Time), "-");
    }

    #[test]
    fn times_are_shown_in_the_unit_that_suits_them() {
        let shown = |seconds: f64| Unit::Time.show(seconds);
        assert_eq!([shown(3.21e-6), shown(0.0456), shown(12.34)], ["3.21 µs", "45.6 ms", "12.3 s"]);
        assert_eq!(Unit::Memory.show(114.5e6), "114 MB");
    }
}
