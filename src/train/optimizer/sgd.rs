//! Gradient descent, with momentum if wanted.
//!
//! ```text
//! plain      w ← w − η·g
//! momentum   v ← m·v − η·g,   w ← w + v
//! Nesterov   v ← m·v − η·g,   w ← w + m·v − η·g          η = rate / (1 + decay·t), t counted from 0
//! ```

use super::{OptionChecks, StepCx, Stepped, Trained, UpdateRule};
use crate::ir::{Code, Diagnostic};
use std::panic::Location;

/// Gradient descent. The slot of a parameter, if there is momentum, is its `velocity`.
#[derive(Clone, Debug)]
pub struct Sgd {
    learning_rate: f64,
    momentum: f64,
    form: MomentumForm,
    decay: f64,
    at: &'static Location<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum MomentumForm {
    Classical,
    Nesterov,
}

impl Sgd {
    /// Plain gradient descent.
    #[track_caller]
    pub fn new(learning_rate: f64) -> Sgd {
        Sgd { learning_rate, momentum: 0.0, form: MomentumForm::Classical, decay: 0.0, at: Location::caller() }
    }

    /// The share of its velocity that a parameter keeps from step to step, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// Looks ahead by the velocity (Nesterov 1983; Sutskever et al. 2013). Needs momentum.
    pub fn nesterov(mut self) -> Sgd {
        self.form = MomentumForm::Nesterov;
        self
    }

    /// Time-based decay of the learning rate, `rate / (1 + decay·step)`. This is no weight decay.
    pub fn decay(mut self, decay: f64) -> Sgd {
        self.decay = decay;
        self
    }
}

impl UpdateRule for Sgd {
    fn name(&self) -> &str {
        "sgd"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn decay(&self) -> f64 {
        self.decay
    }

    fn slots(&self) -> Vec<&'static str> {
        if self.momentum > 0.0 { vec!["velocity"] } else { Vec::new() }
    }

    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
        let push = trained.gradient * cx.learning_rate;
        let [velocity] = *trained.slots else { return Stepped::without_slots(trained.value - push) };
        let velocity = velocity * self.momentum - push;
        let value = match self.form {
            MomentumForm::Classical => trained.value + velocity,
            MomentumForm::Nesterov => trained.value + (velocity * self.momentum - push),
        };
        Stepped { value, slots: vec![velocity] }
    }

    fn check(&self) -> Result<(), Diagnostic> {
        let options = OptionChecks { rule: "sgd", at: self.at };
        options.not_negative("learning rate", self.learning_rate)?;
        options.share("momentum", self.momentum)?;
        options.not_negative("decay", self.decay)?;
        if self.form == MomentumForm::Nesterov && self.momentum == 0.0 {
            return Err(Diagnostic::new(Code::Attribute, "optimiser `sgd`: Nesterov's form without momentum")
                .at(self.at)
                .help("add `.momentum(0.9)`, or leave `.nesterov()` out"));
        }
        Ok(())
    }
}
