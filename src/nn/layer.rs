//! What a layer is: a function of graph values, with variables of its own.

use super::LayerCx;
use super::mode::Trainability;
use super::naming::snake_case;
use crate::ir::{DType, Diagnostic, Dim, Expr, Shape, TensorType};
use std::fmt::Debug;
use std::sync::Arc;

/// A layer. Users write their own by implementing [`kind`](Layer::kind) and [`call`](Layer::call):
///
/// ```
/// use foldgrad::nn::{Initializer, Layer, LayerCx, Sequential};
/// use foldgrad::{Diagnostic, Expr};
///
/// /// Multiplies each feature by a number that is learnt.
/// #[derive(Debug)]
/// struct Scale;
///
/// impl Layer for Scale {
///     fn kind(&self) -> &str {
///         "Scale"
///     }
///
///     fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
///         let x = cx.only(inputs)?;
///         let (axis, features) = cx.last_axis(x)?;
///         let factor = cx.parameter("factor", [features], &Initializer::Ones)?;
///         Ok(x * factor.along(axis, x))
///     }
/// }
///
/// let model = Sequential::new([3]).add(Scale).add(Scale.named("again")).build()?;
/// assert_eq!(model.variables()[1].name, "again/factor");
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
pub trait Layer: Debug + Send + Sync {
    /// Its type as Keras spells it, `BatchNormalization`; shown by [`Model::summary`](super::Model::summary).
    fn kind(&self) -> &str;

    /// The name it is given when the user gives none, counted where it repeats: `batch_normalization`.
    fn class(&self) -> String {
        snake_case(self.kind())
    }

    /// The value of the layer at `inputs`, with the batch on axis 0.
    ///
    /// # Errors
    /// Whatever is wrong with the layer's options or inputs; [`LayerCx::mistake`] names the layer and the user's line.
    /// Operands that do not fit an op need no check here: the builder reports them at the same line.
    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic>;

    /// The layer under a name of the user's choice; the last option to be set, after the layer's own.
    fn named(self, name: &str) -> Declared
    where
        Self: Sized + 'static,
    {
        Declared::from(self).named(name)
    }

    /// The layer with its variables left as they are: nothing in it is trained, and batch normalization uses its
    /// running statistics in training too.
    fn frozen(self) -> Declared
    where
        Self: Sized + 'static,
    {
        Declared::from(self).frozen()
    }
}

/// A layer with the options that every layer has: its name, and whether it is trained.
#[derive(Clone, Debug)]
pub struct Declared {
    pub(super) layer: Arc<dyn Layer>,
    pub(super) name: Option<String>,
    pub(super) training: Trainability,
}

impl<L: Layer + 'static> From<L> for Declared {
    fn from(layer: L) -> Declared {
        Declared { layer: Arc::new(layer), name: None, training: Trainability::Trained }
    }
}

impl Declared {
    /// See [`Layer::named`].
    pub fn named(mut self, name: &str) -> Declared {
        self.name = Some(name.to_owned());
        self
    }

    /// See [`Layer::frozen`].
    pub fn frozen(mut self) -> Declared {
        self.training = Trainability::Frozen;
        self
    }
}

/// The shape of one example, without the batch axis, and its element type. A plain shape converts into it.
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::nn::{Activation, Input, Sequential};
/// let pixels = Sequential::new([28, 28]);
/// let tokens = Sequential::new(Input::new(["time"]).dtype(DType::I32).named("tokens"));
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    pub(super) name: Option<String>,
    shape: Shape,
    dtype: Option<DType>,
}

impl Input {
    /// Examples of that shape, in the graph's float type.
    pub fn new(shape: impl Into<Shape>) -> Input {
        Input { name: None, shape: shape.into(), dtype: None }
    }

    /// Another element type, such as `I32` for indices.
    pub fn dtype(mut self, dtype: DType) -> Input {
        self.dtype = Some(dtype);
        self
    }

    /// The name under which the graph is fed; `input_layer` unless given.
    pub fn named(mut self, name: &str) -> Input {
        self.name = Some(name.to_owned());
        self
    }

    /// The type of a batch in a graph of that float type.
    pub(super) fn ty(&self, float: DType) -> TensorType {
        let dims = [Dim::symbol("batch")].into_iter().chain(self.shape.iter().copied());
        TensorType::new(self.dtype.unwrap_or(float), dims.collect::<Shape>())
    }
}

impl<S: Into<Shape>> From<S> for Input {
    fn from(shape: S) -> Input {
        Input::new(shape)
    }
}
