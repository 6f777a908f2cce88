//! Optimisers: what a training step makes of parameters and gradients, written into the step's own graph.

mod adam;
mod clip;
mod rms_prop;
mod sgd;

pub use adam::{Adam, AdamW};
pub use clip::Clip;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;

use crate::ir::{Builder, Code, DType, Diagnostic, Expr, OrderedMap, Source, Tensor};
use crate::nn::VariableSpec;
use crate::reference::{Array, NdArray, interpret};
use std::fmt::Debug;
use std::panic::Location;
use std::sync::Arc;

/// How one parameter moves. [`Sgd`], [`Adam`], [`AdamW`] and [`RmsProp`] are rules; users write their own:
///
/// ```
/// use foldgrad::train::{Optimizer, StepCx, Stepped, Trained, UpdateRule};
///
/// /// Moves each entry by the learning rate, against the sign of its gradient.
/// #[derive(Debug)]
/// struct SignSgd(f64);
///
/// impl UpdateRule for SignSgd {
///     fn name(&self) -> &str {
///         "sign_sgd"
///     }
///
///     fn learning_rate(&self) -> f64 {
///         self.0
///     }
///
///     fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
///         Stepped::without_slots(trained.value - trained.gradient.sign() * cx.learning_rate)
///     }
/// }
/// let optimizer = Optimizer::from(SignSgd(1e-3));
/// # assert_eq!(optimizer.name(), "sign_sgd");
/// ```
pub trait UpdateRule: Debug + Send + Sync {
    /// The first part of the names of its states: `sgd`.
    fn name(&self) -> &str;

    /// The learning rate that training starts from.
    fn learning_rate(&self) -> f64;

    /// Time-based decay: at step `t`, counted from 0, the learning rate is divided by `1 + decay·t`.
    fn decay(&self) -> f64 {
        0.0
    }

    /// Names of the states that each parameter needs, of its own shape, starting at 0.
    fn slots(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The next value of a parameter and of its slots.
    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b>;

    /// Why the rule cannot work with its options, and how to mend it; the rule's line, if it knows it.
    ///
    /// # Errors
    /// An option out of its range.
    fn check(&self) -> Result<(), Diagnostic> {
        Ok(())
    }
}

/// What all parameters share in a step.
#[derive(Clone, Copy, Debug)]
pub struct StepCx<'b> {
    /// This step's learning rate, after decay; a scalar.
    pub learning_rate: Expr<'b>,
    /// The number of this step, counted from 1, as a float scalar.
    pub step: Expr<'b>,
}

/// A parameter with what a rule needs to move it.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a, 'b> {
    /// Its name, `dense/kernel`.
    pub name: &'a str,
    /// Its value before the step.
    pub value: Expr<'b>,
    /// Its gradient, after clipping.
    pub gradient: Expr<'b>,
    /// Its slots before the step, in the order of [`UpdateRule::slots`].
    pub slots: &'a [Expr<'b>],
}

/// A parameter and its slots after a step.
#[derive(Clone, Debug)]
pub struct Stepped<'b> {
    /// The parameter's next value.
    pub value: Expr<'b>,
    /// The slots' next values, in the order of [`UpdateRule::slots`].
    pub slots: Vec<Expr<'b>>,
}

impl<'b> Stepped<'b> {
    /// Of a rule without slots.
    pub fn without_slots(value: Expr<'b>) -> Stepped<'b> {
        Stepped { value, slots: Vec::new() }
    }
}

/// An update rule, with clipping if wanted.
///
/// ```
/// use foldgrad::train::{Adam, Clip, Optimizer, Sgd};
/// let tutorial: Optimizer = Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6).into();
/// let clipped = Optimizer::from(Adam::new(1e-3)).clip(Clip::GlobalNorm(1.0));
/// assert_eq!((tutorial.name(), clipped.name()), ("sgd", "adam"));
/// ```
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Arc<dyn UpdateRule>,
    clip: Option<Clip>,
}

impl<R: UpdateRule + 'static> From<R> for Optimizer {
    fn from(rule: R) -> Optimizer {
        Optimizer { rule: Arc::new(rule), clip: None }
    }
}

/// What [`Optimizer::update`] added to the graph.
#[derive(Clone, Debug)]
pub struct Updates<'b> {
    /// This step's learning rate, after decay.
    pub learning_rate: Expr<'b>,
    /// The next value of each parameter, by name.
    pub parameters: OrderedMap<String, Expr<'b>>,
    /// The gradients as the rule saw them, after clipping, by name.
    pub gradients: OrderedMap<String, Expr<'b>>,
}

impl Optimizer {
    /// The rule's name.
    pub fn name(&self) -> &str {
        self.rule.name()
    }

    /// The learning rate that training starts from.
    pub fn learning_rate(&self) -> f64 {
        self.rule.learning_rate()
    }

    /// Clips gradients before the rule sees them.
    pub fn clip(mut self, clip: Clip) -> Optimizer {
        self.clip = Some(clip);
        self
    }

    /// The name of the state that holds the learning rate, `sgd/learning_rate`: feed another value to change the rate
    /// without compiling anew.
    pub fn learning_rate_name(&self) -> String {
        format!("{}/learning_rate", self.name())
    }

    /// The name of the state that counts steps, `sgd/iterations`.
    pub fn iterations_name(&self) -> String {
        format!("{}/iterations", self.name())
    }

    /// Declares the optimiser's states and updates every parameter, slot and counter.
    ///
    /// # Errors
    /// An option out of its range; a gradient that is missing or of another type than its parameter.
    #[track_caller]
    pub fn update<'b>(
        &self,
        builder: &'b Builder,
        parameters: &OrderedMap<String, Expr<'b>>,
        gradients: &[Expr<'b>],
    ) -> Result<Updates<'b>, Diagnostic> {
        self.update_at(builder, parameters, gradients, Location::caller())
    }

    /// [`update`](Optimizer::update), with the line that its nodes and mistakes belong to.
    pub(super) fn update_at<'b>(
        &self,
        builder: &'b Builder,
        parameters: &OrderedMap<String, Expr<'b>>,
        gradients: &[Expr<'b>],
        at: &'static Location<'static>,
    ) -> Result<Updates<'b>, Diagnostic> {
        self.check().map_err(|mistake| if mistake.location().is_some() { mistake } else { mistake.at(at) })?;
        if parameters.len() != gradients.len() {
            let title = format!("{} parameters, but {} gradients", parameters.len(), gradients.len());
            return Err(Diagnostic::new(Code::Graph, title).at(at).help("give one gradient for each parameter"));
        }
        for ((name, parameter), gradient) in parameters.iter().zip(gradients) {
            if parameter.ty() != gradient.ty() && !parameter.is_poisoned() && !gradient.is_poisoned() {
                let title = format!("`{name}` is {}, but its gradient is {}", parameter.ty(), gradient.ty());
                return Err(Diagnostic::new(Code::Shape, title).at(at).help("a gradient has its parameter's type"));
            }
        }
        let body = || self.write(builder, parameters, gradients);
        Ok(builder.scoped(self.name(), || builder.attributed(Source::User(at), body)))
    }

    fn write<'b>(
        &self,
        builder: &'b Builder,
        parameters: &OrderedMap<String, Expr<'b>>,
        gradients: &[Expr<'b>],
    ) -> Updates<'b> {
        let float = parameters.values().map(|parameter| parameter.dtype()).next().unwrap_or(DType::F32);
        let rate = builder.state(&self.learning_rate_name(), float, crate::ir::Shape::scalar());
        let iterations = builder.state(&self.iterations_name(), DType::I32, crate::ir::Shape::scalar());
        let next_iterations = iterations + builder.scalar(DType::I32, 1.0);
        builder.update(iterations, next_iterations);
        let learning_rate = match self.rule.decay() {
            0.0 => rate,
            decay => rate / (iterations.cast(float) * decay + 1.0),
        };
        let cx = StepCx { learning_rate, step: next_iterations.cast(float) };
        let gradients = match self.clip {
            Some(clip) => clip.apply(gradients),
            None => gradients.to_vec(),
        };
        let mut updates = Updates { learning_rate, parameters: OrderedMap::new(), gradients: OrderedMap::new() };
        for ((name, &value), gradient) in parameters.iter().zip(gradients) {
            let ty = value.ty();
            let declare = |slot: &str| builder.state(&self.slot_name(name, slot), ty.dtype, ty.shape.clone());
            let slots: Vec<Expr<'b>> = self.rule.slots().into_iter().map(declare).collect();
            let stepped = self.rule.step(&cx, &Trained { name, value, gradient, slots: &slots });
            builder.update(value, stepped.value);
            slots.iter().zip(stepped.slots).for_each(|(&slot, next)| builder.update(slot, next));
            updates.parameters.insert(name.clone(), stepped.value);
            updates.gradients.insert(name.clone(), gradient);
        }
        updates
    }

    /// What the optimiser's states start from, for the trainable ones of these variables: slots and counter at 0, and
    /// the learning rate.
    pub fn initial_state(&self, variables: &[VariableSpec], float: DType) -> OrderedMap<String, Tensor> {
        let mut states = OrderedMap::new();
        states.insert(self.learning_rate_name(), Tensor::full(float, [], self.learning_rate()));
        states.insert(self.iterations_name(), Tensor::scalar(0i32));
        for variable in variables.iter().filter(|variable| variable.is_trainable()) {
            for slot in self.rule.slots() {
                let zeros = Tensor::zeros(float, variable.shape.clone());
                states.insert(self.slot_name(&variable.name, slot), zeros);
            }
        }
        states
    }

    /// Whether a parameter whose gradient is always 0 stays exactly where it is: not under weight decay.
    ///
    /// The rule is asked at a few points, with slots at 0 as they start.
    pub fn rests_at_zero(&self, name: &str) -> bool {
        let slots = self.rule.slots();
        let builder = Builder::new();
        let value = builder.input("value", DType::F64, [2]);
        let zero = value.zeros_like();
        let cx = StepCx {
            learning_rate: builder.input("learning rate", DType::F64, crate::ir::Shape::scalar()),
            step: builder.input("step", DType::F64, crate::ir::Shape::scalar()),
        };
        let zeros = vec![zero; slots.len()];
        let stepped = self.rule.step(&cx, &Trained { name, value, gradient: zero, slots: &zeros });
        builder.output("value", stepped.value);
        slots.iter().zip(&stepped.slots).for_each(|(slot, &next)| builder.output(&format!("slot {slot}"), next));
        let Ok(graph) = builder.finish() else { return false };
        let rests = |(rate, step, at): (f64, f64, [f64; 2])| {
            let array =
                |shape: &[usize], data: &[f64]| Array::Real(NdArray { shape: shape.to_vec(), data: data.to_vec() });
            let feeds =
                [("value", array(&[2], &at)), ("learning rate", array(&[], &[rate])), ("step", array(&[], &[step]))];
            let feeds = feeds.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
            interpret::<f64>(&graph, &feeds).is_ok_and(|found| {
                found.outputs.iter().all(|(name, array)| match array {
                    Array::Real(array) if name == "value" => array.data == at,
                    Array::Real(array) => array.data.iter().all(|&x| x == 0.0),
                    Array::Int(_) | Array::Bool(_) => false,
                })
            })
        };
        [(0.01, 1.0, [0.7, -1.3]), (0.5, 2.0, [-3.1, 0.2]), (1e-4, 1000.0, [1e-3, 41.0])].into_iter().all(rests)
    }

    /// Why the optimiser cannot work with its options.
    ///
    /// # Errors
    /// The first option that is out of its range, at the line that made the rule.
    pub fn check(&self) -> Result<(), Diagnostic> {
        self.rule.check()?;
        self.clip.map_or(Ok(()), Clip::check)
    }

    fn slot_name(&self, parameter: &str, slot: &str) -> String {
        format!("{}/{parameter}/{slot}", self.name())
    }
}

/// The next running mean of a square, `keep·v + share·x²`, and `√share·|x|`, which its root is not below.
///
/// Above the largest number the mean stays at that number: it does not become infinite for ever. The root is then taken to
/// be the larger of both, so that a step past such a gradient is what it is without bounds if the gradient is large beside
/// what came before, and within a factor of √2 always.
fn mean_square<'b>(v: Expr<'b>, keep: f64, x: Expr<'b>, share: f64) -> (Expr<'b>, Expr<'b>) {
    let most = if x.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    let scaled = x * share.sqrt();
    ((v * keep + scaled * scaled).min(most), scaled.abs())
}

/// The checks that rules share: each names the rule, the option and its range.
struct OptionChecks {
    rule: &'static str,
    at: &'static Location<'static>,
}

impl OptionChecks {
    fn require(&self, holds: bool, option: &str, value: f64, range: &str) -> Result<(), Diagnostic> {
        if holds {
            return Ok(());
        }
        Err(Diagnostic::new(Code::Attribute, format!("optimiser `{}`: the {option} is {value}", self.rule))
            .at(self.at)
            .help(format!("give {range}")))
    }

    fn not_negative(&self, option: &str, value: f64) -> Result<(), Diagnostic> {
        self.require(value.is_finite() && value >= 0.0, option, value, "a finite number, not negative")
    }

    fn positive(&self, option: &str, value: f64) -> Result<(), Diagnostic> {
        self.require(value.is_finite() && value > 0.0, option, value, "a finite positive number")
    }

    fn share(&self, option: &str, value: f64) -> Result<(), Diagnostic> {
        self.require((0.0..1.0).contains(&value), option, value, "a share, from 0 up to, not including, 1")
    }
}
