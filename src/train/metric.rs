//! Metrics: what is reported beside the loss.

use crate::ir::{Code, DType, Diagnostic, Expr, Source, TensorType};
use std::panic::Location;

/// A number that is reported and not trained on.
///
/// ```
/// use foldgrad::train::Metric;
/// use foldgrad::{Builder, DType};
/// let g = Builder::new();
/// let probabilities = g.input("probabilities", DType::F32, [32, 10]);
/// let labels = g.input("labels", DType::I32, [32]);
/// g.output("correct", Metric::Accuracy.build(probabilities, labels)?);
/// # g.finish().map_err(|errors| errors.first().clone())?;
/// # Ok::<(), foldgrad::Diagnostic>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// The share of predictions that are right.
    ///
    /// What is right follows from the shapes, as in Keras: with integer labels, or targets of several classes, the
    /// class of the largest entry; with one output an example, whether it lies on the target's side of 1/2.
    Accuracy,
}

impl Metric {
    /// Its name in Keras: `accuracy`.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
        }
    }

    /// The sum of the metric over the examples of a batch, a scalar of the prediction's type: divided by the number of
    /// examples it is the metric, and batches of different sizes average rightly. Each example counts 1, shared evenly
    /// by its rows where it has several.
    ///
    /// # Errors
    /// Predictions and targets whose shapes do not go together.
    #[track_caller]
    pub fn build<'b>(self, prediction: Expr<'b>, target: Expr<'b>) -> Result<Expr<'b>, Diagnostic> {
        self.build_at(prediction, target, Location::caller())
    }

    /// [`build`](Metric::build), with the line that its nodes and mistakes belong to.
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
        let source = Source::User(at);
        let (p, t) = (prediction.ty(), target.ty());
        let Some(kind) = Kind::of(&p, &t) else {
            return Err(Diagnostic::new(
                Code::Shape,
                format!("metric `{}`: the prediction is {p}, but the target is {t}", self.name()),
            )
            .at(at)
            .help(
                "a target is of the prediction's type, or has one i32 label where the prediction has a row of classes",
            ));
        };
        let body = || {
            let last = prediction.rank() - 1;
            let right = match kind {
                Kind::Sparse => prediction.arg_max(last).equal(target),
                Kind::Dense => prediction.arg_max(last).equal(target.arg_max(last)),
                Kind::Binary => prediction.greater(0.5).cast(DType::I32).equal(target.greater(0.5).cast(DType::I32)),
            };
            let right = right.cast(prediction.dtype());
            right.mean(&(1..right.rank()).collect::<Vec<_>>()).sum_all()
        };
        Ok(builder.scoped("metric", || builder.attributed(source, body)))
    }
}

enum Kind {
    Sparse,
    Dense,
    Binary,
}

impl Kind {
    fn of(prediction: &TensorType, target: &TensorType) -> Option<Kind> {
        let &classes = prediction.shape.last()?;
        if !prediction.dtype.is_float() || prediction.rank() == 0 {
            return None;
        }
        let labels = TensorType::new(DType::I32, prediction.shape.without(&[prediction.rank() - 1]));
        match () {
            () if *target == labels && prediction.rank() > 1 => Some(Kind::Sparse),
            () if target != prediction => None,
            () if classes.is_one() || prediction.rank() == 1 => Some(Kind::Binary),
            () => Some(Kind::Dense),
        }
    }
}
