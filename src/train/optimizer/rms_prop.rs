//! RMSprop (Tieleman, Hinton 2012), in Keras's form.
//!
//! ```text
//! v ← ρ·v + (1 − ρ)·g²                                   centred: a ← ρ·a + (1 − ρ)·g, and v − a² in place of v
//! w ← w − η·g/√(v + ε)                                   momentum: u ← m·u + η·g/√(v + ε),  w ← w − u
//! ```
//!
//! The square of a large gradient can be above the largest number; [`mean_square`] says what is done about it.
//! What is taken under the root when centred is `v − a²` in a form that does not cancel:
//! `ρ·(v − a²) + ρ·(1 − ρ)·(g − a)²` of the slots before.

use super::{OptionChecks, StepCx, Stepped, Trained, UpdateRule, mean_square};
use crate::ir::Diagnostic;
use std::panic::Location;

/// RMSprop. The slots of a parameter are `velocity`, and as wanted `average_gradient` and `momentum`.
#[derive(Clone, Debug)]
pub struct RmsProp {
    learning_rate: f64,
    rho: f64,
    momentum: f64,
    epsilon: f64,
    decay: f64,
    scale: Divisor,
    at: &'static Location<'static>,
}

/// What the gradient is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Divisor {
    RootMeanSquare,
    StandardDeviation,
}

impl RmsProp {
    /// ρ = 0.9, ε = 1e-7, neither momentum nor centring.
    #[track_caller]
    pub fn new(learning_rate: f64) -> RmsProp {
        RmsProp {
            learning_rate,
            rho: 0.9,
            momentum: 0.0,
            epsilon: 1e-7,
            decay: 0.0,
            scale: Divisor::RootMeanSquare,
            at: Location::caller(),
        }
    }

    /// ρ, the share of the mean square that a step keeps, in [0, 1).
    pub fn rho(mut self, rho: f64) -> RmsProp {
        self.rho = rho;
        self
    }

    /// The share of its last step that a parameter keeps, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> RmsProp {
        self.momentum = momentum;
        self
    }

    /// ε, added under the root.
    pub fn epsilon(mut self, epsilon: f64) -> RmsProp {
        self.epsilon = epsilon;
        self
    }

    /// Divides by the gradient's estimated standard deviation instead of its root mean square.
    pub fn centered(mut self) -> RmsProp {
        self.scale = Divisor::StandardDeviation;
        self
    }

    /// Time-based decay of the learning rate, `rate / (1 + decay·step)`.
    pub fn decay(mut self, decay: f64) -> RmsProp {
        self.decay = decay;
        self
    }
}

impl UpdateRule for RmsProp {
    fn name(&self) -> &str {
        "rmsprop"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn decay(&self) -> f64 {
        self.decay
    }

    fn slots(&self) -> Vec<&'static str> {
        let centred = (self.scale == Divisor::StandardDeviation).then_some("average_gradient");
        let momentum = (self.momentum > 0.0).then_some("momentum");
        [Some("velocity"), centred, momentum].into_iter().flatten().collect()
    }

    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
        let g = trained.gradient;
        let mut before = trained.slots.iter().copied();
        let mut after = Vec::with_capacity(trained.slots.len());
        let mut keep = |slot| {
            after.push(slot);
            slot
        };
        let zero = g.zeros_like();
        let velocity = before.next().unwrap_or(zero);
        let (next, least) = mean_square(velocity, self.rho, g, 1.0 - self.rho);
        keep(next);
        let (variance, least) = match self.scale {
            Divisor::RootMeanSquare => (next, least),
            Divisor::StandardDeviation => {
                let average = before.next().unwrap_or(zero);
                keep(average * self.rho + g * (1.0 - self.rho));
                // The variance before is not negative but for rounding.
                let variance = (velocity - average * average).max(0.0);
                mean_square(variance, self.rho, g - average, self.rho * (1.0 - self.rho))
            }
        };
        let root = (variance + self.epsilon).sqrt().max(least);
        let push = g * cx.learning_rate / root;
        let push = if self.momentum > 0.0 { keep(before.next().unwrap_or(zero) * self.momentum + push) } else { push };
        Stepped { value: trained.value - push, slots: after }
    }

    fn check(&self) -> Result<(), Diagnostic> {
        let options = OptionChecks { rule: "rmsprop", at: self.at };
        options.not_negative("learning rate", self.learning_rate)?;
        options.share("rho", self.rho)?;
        options.share("momentum", self.momentum)?;
        options.positive("epsilon", self.epsilon)?;
        options.not_negative("decay", self.decay)
    }
}
