//! Losses, one number for each example, with Keras's formulas.
//!
//! Where a prediction is the result of a softmax or sigmoid, the loss is computed from what went into it: equal as
//! algebra, and finite for any finite logits, where the logarithm of a probability that was rounded to 0 is not.

use crate::ir::{Builder, Code, DType, Diagnostic, Expr, Source, TensorType};
use crate::op::Op;
use crate::ops::Unary;
use std::panic::Location;

/// What training makes small.
///
/// ```
/// use foldgrad::train::Loss;
/// use foldgrad::{Builder, DType};
/// let g = Builder::new();
/// let logits = g.input("logits", DType::F32, [32, 10]);
/// let labels = g.input("labels", DType::I32, [32]);
/// let losses = Loss::SparseCategoricalCrossentropy.build(logits.softmax(1), labels)?;
/// g.output("loss", losses.mean_all());
/// # g.finish().map_err(|errors| errors.first().clone())?;
/// # Ok::<(), foldgrad::Diagnostic>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// `−ln p[label]`, for probabilities over classes on the last axis and integer labels.
    SparseCategoricalCrossentropy,
    /// `−Σ t·ln p` over the last axis, for probabilities and a target distribution, such as one-hot rows.
    CategoricalCrossentropy,
    /// `−t·ln p − (1 − t)·ln(1 − p)`, the mean over all outputs, for independent probabilities.
    BinaryCrossentropy,
    /// `(p − t)²`, the mean over all outputs.
    MeanSquaredError,
}

// Probabilities are kept this far from 0 and 1 before a logarithm, as `keras.backend.epsilon` does.
const EPSILON: f64 = 1e-7;

impl Loss {
    /// Its name in Keras: `sparse_categorical_crossentropy`.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::SparseCategoricalCrossentropy => "sparse_categorical_crossentropy",
            Loss::CategoricalCrossentropy => "categorical_crossentropy",
            Loss::BinaryCrossentropy => "binary_crossentropy",
            Loss::MeanSquaredError => "mean_squared_error",
        }
    }

    /// The type of the targets that go with predictions of that type.
    ///
    /// # Errors
    /// Predictions that are no floats, have no batch axis, or a single class where classes compete.
    #[track_caller]
    pub fn target(self, prediction: &TensorType) -> Result<TensorType, Diagnostic> {
        self.target_at(prediction, Location::caller())
    }

    /// [`target`](Loss::target), with the line that its mistakes are reported at.
    pub(super) fn target_at(
        self,
        prediction: &TensorType,
        at: &'static Location<'static>,
    ) -> Result<TensorType, Diagnostic> {
        let competing = matches!(self, Loss::SparseCategoricalCrossentropy | Loss::CategoricalCrossentropy);
        if !prediction.dtype.is_float() {
            return Err(self
                .mistake(Code::DType, format!("the prediction is {prediction}"), at)
                .help("a prediction is f32 or f64; convert it with `.cast(DType::F32)`"));
        }
        if prediction.rank() < if competing { 2 } else { 1 } {
            let axes = if competing { "a batch axis and a class axis" } else { "a batch axis" };
            return Err(self
                .mistake(Code::Shape, format!("the prediction is {prediction}"), at)
                .help(format!("a prediction has {axes}")));
        }
        if competing && prediction.shape.last().is_some_and(|classes| classes.is_one()) {
            let message = format!("the prediction {prediction} has one class, so the loss is always 0");
            return Err(self
                .mistake(Code::Shape, message, at)
                .help("give the last layer a unit for each class, or use `Loss::BinaryCrossentropy` with a sigmoid"));
        }
        Ok(match self {
            Loss::SparseCategoricalCrossentropy => {
                TensorType::new(DType::I32, prediction.shape.without(&[prediction.rank() - 1]))
            }
            _ => prediction.clone(),
        })
    }

    /// The loss of each example, `[batch]`: the mean over every axis but the first. The loss of a batch is its mean.
    ///
    /// # Errors
    /// Predictions that do not suit the loss; targets of another type than [`target`](Loss::target).
    #[track_caller]
    pub fn build<'b>(self, prediction: Expr<'b>, target: Expr<'b>) -> Result<Expr<'b>, Diagnostic> {
        self.build_at(prediction, target, Location::caller())
    }

    /// [`build`](Loss::build), with the line that its nodes and mistakes belong to.
    pub(super) fn build_at<'b>(
        self,
        prediction: Expr<'b>,
        target: Expr<'b>,
        at: &'static Location<'static>,
    ) -> Result<Expr<'b>, Diagnostic> {
        let builder = prediction.builder();
        if prediction.is_poisoned() || target.is_poisoned() {
            return Ok(builder.poisoned());
        }
        let (found, want) = (target.ty(), self.target_at(&prediction.ty(), at)?);
        if found != want {
            return Err(self.wrong_target(&prediction.ty(), &found, &want, at));
        }
        let body = || self.per_example(prediction, target);
        Ok(builder.scoped("loss", || builder.attributed(Source::User(at), body)))
    }

    fn mistake(self, code: Code, message: String, at: &'static Location<'static>) -> Diagnostic {
        Diagnostic::new(code, format!("loss `{}`: {message}", self.name())).at(at)
    }

    fn wrong_target(
        self,
        prediction: &TensorType,
        found: &TensorType,
        want: &TensorType,
        at: &'static Location<'static>,
    ) -> Diagnostic {
        let code = if found.dtype == want.dtype { Code::Shape } else { Code::DType };
        let help = match self {
            Loss::SparseCategoricalCrossentropy if found == prediction => {
                "these look like one-hot rows: use `Loss::CategoricalCrossentropy`"
            }
            Loss::CategoricalCrossentropy if found.dtype == DType::I32 => {
                "these look like class indices: use `Loss::SparseCategoricalCrossentropy`"
            }
            _ => "give the targets that type, with `.cast` or `.reshape`",
        };
        let message = format!("the target is {found}, but a prediction {prediction} needs {want}");
        self.mistake(code, message, at).help(help)
    }

    fn per_example<'b>(self, prediction: Expr<'b>, target: Expr<'b>) -> Expr<'b> {
        let last = prediction.rank() - 1;
        let losses = match self {
            Loss::SparseCategoricalCrossentropy => {
                // The softmax of logarithms scales the probabilities to sum to 1, as Keras does.
                let logits = softmax_logits(prediction).unwrap_or_else(|| clipped(prediction).log());
                logits.softmax_cross_entropy(target)
            }
            Loss::CategoricalCrossentropy => {
                let log = match softmax_logits(prediction) {
                    Some(logits) => logits.log_softmax(last),
                    None => clipped(prediction / prediction.sum(&[last]).unreduce(&[last], prediction)).log(),
                };
                -(target * log).sum(&[last])
            }
            Loss::BinaryCrossentropy => match sigmoid_logits(prediction) {
                // max(z, 0) + ln(1 + e^−|z|) − z·t
                Some(logits) => logits.softplus() - logits * target,
                None => {
                    let p = clipped(prediction);
                    -(target * p.log() + (1.0 - target) * (1.0 - p).log())
                }
            },
            Loss::MeanSquaredError => {
                let error = prediction - target;
                error * error
            }
        };
        losses.mean(&(1..losses.rank()).collect::<Vec<_>>())
    }
}

fn clipped(p: Expr<'_>) -> Expr<'_> {
    p.clamp(EPSILON, 1.0 - EPSILON)
}

/// What went into the softmax over the last axis that made `p`, if one did.
fn softmax_logits(p: Expr<'_>) -> Option<Expr<'_>> {
    let last = p.rank() - 1;
    operand_of(p, |op| matches!(op, Op::Softmax(softmax) if softmax.axis == last))
}

/// What went into the sigmoid that made `p`, if one did.
fn sigmoid_logits(p: Expr<'_>) -> Option<Expr<'_>> {
    operand_of(p, |op| matches!(op, Op::Unary(Unary::Sigmoid)))
}

fn operand_of<'b>(value: Expr<'b>, is: impl Fn(&Op) -> bool) -> Option<Expr<'b>> {
    let builder: &'b Builder = value.builder();
    let operand = {
        let graph = builder.graph();
        let node = graph.node(value.value().node);
        if is(node.op()) { node.operands().first().copied() } else { None }
    };
    operand.map(|operand| builder.expr(operand))
}
