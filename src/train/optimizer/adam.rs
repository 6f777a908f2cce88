//! Adam (Kingma, Ba 2015) and AdamW (Loshchilov, Hutter 2019), in Keras's form.
//!
//! ```text
//! m ← β₁·m + (1 − β₁)·g      v ← β₂·v + (1 − β₂)·g²      α = η·√(1 − β₂ᵗ)/(1 − β₁ᵗ),  t counted from 1
//! w ← w − α·m/(√v + ε)       AdamW: w ← w − η·λ·w before
//! ```
//!
//! The square of a large gradient can be above the largest number; [`mean_square`] says what is done about it.

use super::{OptionChecks, StepCx, Stepped, Trained, UpdateRule, mean_square};
use crate::ir::{Diagnostic, Expr};
use std::panic::Location;

/// Adam. The slots of a parameter are `m` and `v`, the running means of its gradient and of its square.
#[derive(Clone, Debug)]
pub struct Adam {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    decay: f64,
    at: &'static Location<'static>,
}

impl Adam {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-7.
    #[track_caller]
    pub fn new(learning_rate: f64) -> Adam {
        Adam { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, decay: 0.0, at: Location::caller() }
    }

    /// β₁, the share of the mean gradient that a step keeps, in [0, 1).
    pub fn beta1(mut self, beta1: f64) -> Adam {
        self.beta1 = beta1;
        self
    }

    /// β₂, the share of the mean square that a step keeps, in [0, 1).
    pub fn beta2(mut self, beta2: f64) -> Adam {
        self.beta2 = beta2;
        self
    }

    /// ε, added to √v.
    pub fn epsilon(mut self, epsilon: f64) -> Adam {
        self.epsilon = epsilon;
        self
    }

    /// Time-based decay of the learning rate, `rate / (1 + decay·step)`.
    pub fn decay(mut self, decay: f64) -> Adam {
        self.decay = decay;
        self
    }

    fn check_as(&self, rule: &'static str) -> Result<(), Diagnostic> {
        let options = OptionChecks { rule, at: self.at };
        options.not_negative("learning rate", self.learning_rate)?;
        options.share("beta1", self.beta1)?;
        options.share("beta2", self.beta2)?;
        options.positive("epsilon", self.epsilon)?;
        options.not_negative("decay", self.decay)
    }
}

impl UpdateRule for Adam {
    fn name(&self) -> &str {
        "adam"
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn decay(&self) -> f64 {
        self.decay
    }

    fn slots(&self) -> Vec<&'static str> {
        vec!["m", "v"]
    }

    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
        let [m, v] = *trained.slots else { return Stepped::without_slots(trained.value) };
        let g = trained.gradient;
        // 1 − βᵗ as −(e^(t·ln β) − 1): no digit is lost where β is close to 1, nor where β itself rounds.
        let rest = |beta: f64| -(cx.step * beta.ln()).expm1();
        let alpha = cx.learning_rate * rest(self.beta2).sqrt() / rest(self.beta1);
        let m = m * self.beta1 + g * (1.0 - self.beta1);
        let (v, least) = mean_square(v, self.beta2, g, 1.0 - self.beta2);
        let root = v.sqrt().max(least);
        Stepped { value: trained.value - m * alpha / (root + self.epsilon), slots: vec![m, v] }
    }

    fn check(&self) -> Result<(), Diagnostic> {
        self.check_as("adam")
    }
}

/// Adam with decoupled weight decay: besides Adam's own step, each step takes `η·λ` of every parameter away.
#[derive(Clone, Debug)]
pub struct AdamW {
    adam: Adam,
    weight_decay: f64,
    excluded: Vec<String>,
}

impl AdamW {
    /// λ = 0.004, and Adam's defaults.
    #[track_caller]
    pub fn new(learning_rate: f64) -> AdamW {
        AdamW { adam: Adam::new(learning_rate), weight_decay: 0.004, excluded: Vec::new() }
    }

    /// λ.
    pub fn weight_decay(mut self, weight_decay: f64) -> AdamW {
        self.weight_decay = weight_decay;
        self
    }

    /// Parameters that do not decay, by full name or by any part of it between slashes: `["bias", "gamma", "beta"]`.
    pub fn exclude<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> AdamW {
        self.excluded.extend(names.into_iter().map(Into::into));
        self
    }

    /// See [`Adam::beta1`].
    pub fn beta1(mut self, beta1: f64) -> AdamW {
        self.adam = self.adam.beta1(beta1);
        self
    }

    /// See [`Adam::beta2`].
    pub fn beta2(mut self, beta2: f64) -> AdamW {
        self.adam = self.adam.beta2(beta2);
        self
    }

    /// See [`Adam::epsilon`].
    pub fn epsilon(mut self, epsilon: f64) -> AdamW {
        self.adam = self.adam.epsilon(epsilon);
        self
    }

    /// See [`Adam::decay`].
    pub fn decay(mut self, decay: f64) -> AdamW {
        self.adam = self.adam.decay(decay);
        self
    }

    fn decays(&self, name: &str) -> bool {
        !self.excluded.iter().any(|excluded| excluded == name || name.split('/').any(|part| part == excluded))
    }
}

impl UpdateRule for AdamW {
    fn name(&self) -> &str {
        "adamw"
    }

    fn learning_rate(&self) -> f64 {
        self.adam.learning_rate
    }

    fn decay(&self) -> f64 {
        self.adam.decay
    }

    fn slots(&self) -> Vec<&'static str> {
        self.adam.slots()
    }

    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
        let value: Expr<'b> = match self.decays(trained.name) {
            true => trained.value - trained.value * (cx.learning_rate * self.weight_decay),
            false => trained.value,
        };
        self.adam.step(cx, &Trained { value, ..*trained })
    }

    fn check(&self) -> Result<(), Diagnostic> {
        self.adam.check_as("adamw")?;
        OptionChecks { rule: "adamw", at: self.adam.at }.not_negative("weight decay", self.weight_decay)
    }
}
