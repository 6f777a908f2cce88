//! Rounds: every variant of every side in turn, in every condition, again and again.

use super::child::{Child, Launch};
use super::figures::Figures;
use super::spinners::Spinners;
use serde_json::Value;
use std::path::PathBuf;

/// What holds of all measurements.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub rounds: usize,
    /// Of work of one variant in one round, at least.
    pub seconds: f64,
    pub quick: bool,
    pub cores: usize,
    /// Counts that each side is tried with.
    pub threads: Vec<usize>,
    /// This program.
    pub program: PathBuf,
}

/// One way to run a side, such as with two threads.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub label: String,
    pub launch: Launch,
}

/// A system that is measured: all its variants.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub name: String,
    pub variants: Vec<Variant>,
}

/// The measured variants of a side.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub name: String,
    pub variants: Vec<Timed>,
}

/// What came of a variant: figures for each condition, or why there are none.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    pub label: String,
    pub about: Value,
    pub check: Option<f64>,
    pub figures: Result<Vec<Figures>, String>,
}

impl Timed {
    pub(super) fn best(&self) -> Option<f64> {
        self.figures.as_ref().ok()?.first()?.best()
    }

    /// A number that the side says of itself.
    pub(super) fn fact(&self, name: &str) -> Option<f64> {
        self.about.get(name).and_then(Value::as_f64)
    }
}

impl Measured {
    /// The variant with the best round in the first condition; one that failed only where all did.
    pub(super) fn best(&self) -> Option<&Timed> {
        let seconds = |timed: &Timed| timed.best().unwrap_or(f64::INFINITY);
        self.variants.iter().min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
    }
}

struct Runner {
    child: Result<Child, String>,
    steps: u64,
    check: Option<f64>,
    figures: Vec<Figures>,
}

impl Runner {
    fn start(launch: &Launch, settings: &Settings, conditions: usize) -> Runner {
        let child = Child::start(launch.clone());
        let mut runner = Runner { child, steps: 1, check: None, figures: vec![Figures::default(); conditions] };
        // The first run compiles and warms up; what comes out too short then says how many steps make a round.
        for trial in 0..5 {
            let Some((seconds, taken)) = runner.ask() else { break };
            if trial > 0 && seconds >= 0.9 * settings.seconds {
                break;
            }
            runner.steps = ((settings.seconds * taken as f64 / seconds).ceil() as u64).max(1);
        }
        runner
    }

    /// Seconds and steps of one run; none, and no child any more, where it failed.
    fn ask(&mut self) -> Option<(f64, u64)> {
        let answer = self.child.as_mut().ok()?.run(self.steps);
        match answer {
            Ok(answer) => {
                // Of the first run, which is the same work on every side.
                self.check = self.check.or(answer.check);
                Some((answer.seconds, answer.steps))
            }
            Err(message) => {
                self.child = Err(message);
                None
            }
        }
    }
}

/// Measures the sides in turn. A condition is a number of programs that spin meanwhile.
pub(super) fn measure(sides: &[Side], conditions: &[usize], settings: &Settings) -> Result<Vec<Measured>, String> {
    let mut runners: Vec<Vec<Runner>> = (sides.iter())
        .map(|side| {
            let start = |variant: &Variant| Runner::start(&variant.launch, settings, conditions.len());
            side.variants.iter().map(start).collect()
        })
        .collect();
    for _ in 0..settings.rounds {
        for (condition, &spinning) in conditions.iter().enumerate() {
            let _spinners = Spinners::start(&settings.program, spinning)?;
            for runner in runners.iter_mut().flatten() {
                if let Some((seconds, steps)) = runner.ask() {
                    runner.figures[condition].push(seconds / steps as f64);
                }
            }
        }
    }
    let measured = sides.iter().zip(runners).map(|(side, runners)| {
        let variants = side.variants.iter().zip(runners).map(|(variant, runner)| Timed {
            label: variant.label.clone(),
            about: runner.child.as_ref().map_or(Value::Null, |child| child.about().clone()),
            check: runner.check,
            figures: runner.child.map(|_| runner.figures),
        });
        Measured { name: side.name.clone(), variants: variants.collect() }
    });
    Ok(measured.collect())
}
