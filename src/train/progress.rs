//! How a fit shows what it does.

use super::event::Event;
use super::history::{EpochRecord, Evaluation};
use std::io::Write;

/// Where and how progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// A bar while an epoch runs if standard error is a terminal, and a line an epoch on standard output.
    #[default]
    Auto,
    /// Nothing.
    Silent,
}

/// An epoch's line: `epoch 3/60  2.1 s  1123 µs/step  loss 0.3121  accuracy 0.8871  val_loss 0.3310  val_accuracy 0.88`.
pub(super) fn line(record: &EpochRecord, epochs: usize) -> String {
    let width = epochs.to_string().len();
    let mut line = format!(
        "epoch {:>width$}/{epochs}  {:.2} s  {:.0} µs/step  loss {:.4}",
        record.epoch,
        record.seconds,
        record.us_per_step(),
        record.loss
    );
    let mut append = |prefix: &str, name: &str, value: f64| line.push_str(&format!("  {prefix}{name} {value:.4}"));
    record.metrics.iter().for_each(|(name, &value)| append("", name, value));
    if let Some(Evaluation { loss, metrics, .. }) = &record.validation {
        append("val_", "loss", *loss);
        metrics.iter().for_each(|(name, &value)| append("val_", name, value));
    }
    line
}

/// Shows the events of a fit.
pub(super) struct Reporter {
    progress: Verbosity,
    epochs: usize,
    #[cfg(feature = "cli")]
    bar: Option<indicatif::ProgressBar>,
}

impl Reporter {
    pub(super) fn new(progress: Verbosity, epochs: usize) -> Reporter {
        Reporter {
            progress,
            epochs,
            #[cfg(feature = "cli")]
            bar: None,
        }
    }

    pub(super) fn show(&mut self, event: &Event<'_>) {
        if self.progress == Verbosity::Silent {
            return;
        }
        match event {
            Event::EpochStarted { epoch, steps } => self.start_bar(*epoch, *steps),
            Event::Step { step, mean_loss, .. } => self.advance_bar(*step, *mean_loss),
            Event::EpochEnded(record) => {
                self.finish_bar();
                // A closed pipe is the reader's choice, no failure of the training.
                let _ = writeln!(std::io::stdout(), "{}", line(record, self.epochs));
            }
        }
    }

    #[cfg(feature = "cli")]
    fn start_bar(&mut self, epoch: usize, steps: usize) {
        if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            return;
        }
        let bar = indicatif::ProgressBar::new(steps as u64);
        let template = "{prefix} {bar:30.cyan} {pos}/{len}  {msg}  {eta} left";
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        self.bar = Some(bar);
    }

    #[cfg(feature = "cli")]
    fn advance_bar(&mut self, step: usize, loss: f64) {
        // A step may take microseconds; the terminal is told of every 64th.
        if let Some(bar) = self.bar.as_ref().filter(|_| step.is_multiple_of(64)) {
            bar.set_message(format!("loss {loss:.4}"));
            bar.set_position(step as u64);
        }
    }

    #[cfg(feature = "cli")]
    fn finish_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    #[cfg(not(feature = "cli"))]
    fn start_bar(&mut self, _: usize, _: usize) {}

    #[cfg(not(feature = "cli"))]
    fn advance_bar(&mut self, _: usize, _: f64) {}

    #[cfg(not(feature = "cli"))]
    fn finish_bar(&mut self) {}
}
