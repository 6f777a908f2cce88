//! `y[i] = f(x[i])` for any number of rows, asked by any number of threads: one copy of the weights, a plan for each batch
//! size, and an executable for each call that is on its way.

mod blocks;
mod idle;
#[cfg(test)]
mod panics;

use super::held::data_pointer_mut;
use super::{Executable, Options, RunError, rows};
use crate::ir::{Bindings, Dim, Graph, NodeId, Tensor, TensorType, element_count};
use crate::op::Role;
use crate::pass::Folded;
use crate::plan::{PlanError, is_available};
use idle::Idle;
use indexmap::IndexMap;
use smallvec::SmallVec;

/// Rows that a thread of a [`Predictor`] computes at a time: enough to keep the products efficient, few enough to stay in
/// cache.
pub const BLOCK: usize = 128;

/// Batch sizes that a [`Predictor`] keeps plans for. The one that was asked for longest ago goes first.
pub const PLANS: usize = 16;

/// A graph and weights that do not go together, or inputs and outputs that do not fit the graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// There is nothing to predict from.
    #[error("the graph has no data input to predict from; declare one with `Builder::input`")]
    NoInput,
    /// A data input does not have the batch as its first axis.
    #[error(
        "the data input `{name}` is {found}, but its first axis should be {expected}, which counts the rows; declare every \
         data input with that axis first, and with it only once"
    )]
    Batch {
        /// The input's name.
        name: String,
        /// The first axis of the first data input.
        expected: String,
        /// The input's type.
        found: String,
    },
    /// A parameter or state has no value, or one of another type.
    #[error(
        "the weight `{name}` is {expected} in the graph, but {found} was given; give a tensor of that type under that name"
    )]
    Weight {
        /// Its name.
        name: String,
        /// Its type in the graph.
        expected: String,
        /// The type of the value, or `nothing`.
        found: String,
    },
    /// Too many or too few tensors.
    #[error(
        "the graph has {expected} {what} ({names}), but {found} were given; give one tensor for each, in that order"
    )]
    Count {
        /// Data inputs or outputs.
        what: &'static str,
        /// Their names.
        names: String,
        /// How many there are.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A tensor of another element type or shape.
    #[error("the {what} `{name}` is {expected}, but {found} was given; {help}")]
    Type {
        /// Data input or output.
        what: &'static str,
        /// Its name.
        name: String,
        /// Its type.
        expected: String,
        /// The type of the tensor.
        found: String,
        /// How to mend it.
        help: &'static str,
    },
    /// Another number of rows than the first input has, or than the graph was declared for.
    #[error(
        "the {what} `{name}` has {found} rows, but {expected} are wanted, as many as `{of}` has; give as many of each"
    )]
    Rows {
        /// Data input or output.
        what: &'static str,
        /// Its name.
        name: String,
        /// The number of rows of the first input, given or declared.
        expected: usize,
        /// The number of rows given.
        found: usize,
        /// The first input.
        of: String,
    },
    /// No rows at all.
    #[error("the data input `{name}` has no rows; give at least one")]
    Empty {
        /// Its name.
        name: String,
    },
    /// An output holds NaN or an infinity, and the predictor was asked to refuse that.
    #[error("the output `{name}` of row {row} is {value}; look at that row of the inputs, and at the weights")]
    NotFinite {
        /// The output's name.
        name: String,
        /// The row, counted from 0.
        row: usize,
        /// The first such element.
        value: f64,
    },
    /// The graph could not be planned for that many rows.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The graph updates its weights.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Inference with fixed weights, for any batch size, from any number of threads at once.
///
/// Every data input has the batch as its first axis. A symbolic one may have any size; a graph that was declared for a
/// fixed batch takes only that.
///
/// - A plan is made when a batch size is first asked for; plans of the [`PLANS`] latest sizes are kept.
/// - Calls at the same time run side by side, each in memory of its own, which is kept for later calls. The weights are
///   there once, and shared. Calls that are alone are shared out over the threads of the [`Options`].
/// - A batch is shared out by its plan. More than [`BLOCK`] rows a thread go block by block, each block through all layers
///   by one thread, if each row of the outputs depends on that row of the inputs alone. Each op of the graph is asked
///   ([`OpDef::rows`](crate::op::OpDef::rows)), and every output has the batch as its first axis. What reduces over the
///   batch, indexes along it, knows its size or the place of a row in it, or draws a random number for each row couples
///   rows: such a graph is computed as a whole, whatever the number of rows.
/// - [`predict_into`](Predictor::predict_into) allocates nothing once its sizes have been seen.
///
/// Each row has the same bits in a batch of any size where products go through register tiles, which is so unless a weight
/// is read transposed (`docs/TESTING.md` says where and why).
///
/// ```
/// use foldgrad::exec::{Options, Predictor};
/// use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
/// use foldgrad::{DType, Tensor, pass};
/// let model = Sequential::new([4]).add(Dense::new(3)).add(BatchNormalization::new()).build()?;
/// let folded = pass::fold(&model.graph(Mode::Inference, DType::F32)?, &model.initial_values(0))?;
/// let predictor = folded.predictor(&Options::default())?;
/// let (one, many) = (Tensor::full(DType::F32, [1, 4], 0.5), Tensor::full(DType::F32, [1000, 4], 0.5));
/// std::thread::scope(|scope| {
///     let aside = scope.spawn(|| predictor.predict(&[&one]));
///     assert_eq!(predictor.predict(&[&many])?[0].shape(), [1000, 3]);
///     assert_eq!(aside.join().expect("no panic")?[0].shape(), [1, 3]);
///     Ok::<(), foldgrad::exec::PredictError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Predictor {
    graph: Graph,
    // In the order of every plan's states.
    weights: Vec<Tensor>,
    inputs: Vec<Declared>,
    outputs: Vec<Declared>,
    batch: Dim,
    // Whether a batch may be computed in blocks.
    in_blocks: bool,
    // Whether outputs that are no numbers are an error.
    finite_only: bool,
    options: Options,
    idle: Idle,
}

/// A data input or an output as it was declared.
#[derive(Debug)]
struct Declared {
    name: String,
    ty: TensorType,
}

impl Declared {
    /// A tensor of zeros for so many rows.
    fn zeros(&self, rows: usize) -> Result<Tensor, PlanError> {
        let shape: Vec<usize> = self.ty.shape.iter().map(|dim| dim.known().unwrap_or(rows)).collect();
        let bytes = element_count(&shape).and_then(|count| count.checked_mul(self.ty.dtype.size()));
        match bytes.filter(|&bytes| is_available(bytes)) {
            Some(_) => Ok(Tensor::zeros(self.ty.dtype, shape)),
            None => Err(PlanError::TooLarge { node: format!("the output `{}`", self.name), shape }),
        }
    }
}

impl Predictor {
    /// Brings a graph and its weights together; weights that the graph does not have are left aside.
    ///
    /// # Errors
    /// A graph without data inputs, with inputs that do not have the batch as their first axis, or that updates its
    /// weights; a weight that is missing or of another type; a plan for one row that cannot be made.
    pub fn new(
        graph: Graph,
        weights: impl IntoIterator<Item = (String, Tensor)>,
        options: &Options,
    ) -> Result<Predictor, PredictError> {
        let is_data = |id| graph.as_input(id).is_some_and(|(_, role)| role == Role::Data);
        let port = |(name, ty): (&str, &TensorType)| Declared { name: name.to_owned(), ty: ty.clone() };
        let (data, states): (Vec<_>, Vec<_>) = graph.inputs().partition(|&(_, id)| is_data(id));
        let ty = |&(name, id): &(_, NodeId)| (name, &graph.node(id).types()[0]);
        let inputs: Vec<Declared> = data.iter().map(ty).map(port).collect();
        let outputs: Vec<Declared> = graph.outputs().map(|(name, value)| port((name, graph.ty(value)))).collect();
        let batch = batch_of(&inputs)?;
        let mut given: IndexMap<String, Tensor> = weights.into_iter().collect();
        let mut values = Vec::with_capacity(states.len());
        for (name, expected) in states.iter().map(ty) {
            let value = given.swap_remove(name);
            let found = value.as_ref().map_or("nothing".to_owned(), |value| value.ty().to_string());
            match value.filter(|value| value.ty() == *expected) {
                Some(value) => values.push(value),
                None => {
                    return Err(PredictError::Weight { name: name.to_owned(), expected: expected.to_string(), found });
                }
            }
        }
        let in_blocks = matches!(batch, Dim::Symbol(batch) if rows::are_independent(&graph, batch));
        let idle = Idle::default();
        let options = *options;
        let predictor =
            Predictor { graph, weights: values, inputs, outputs, batch, in_blocks, finite_only: false, options, idle };
        // What cannot be planned is said now rather than at the first call.
        predictor.with(batch.known().unwrap_or(1), options.thread_count(), |run| run.read_only())??;
        Ok(predictor)
    }

    /// The predictor, but with an error for outputs that hold NaN or an infinity: they are looked at after each prediction.
    ///
    /// ```
    /// use foldgrad::exec::{Options, PredictError, Predictor};
    /// use foldgrad::{Builder, DType, Tensor};
    /// let g = Builder::new();
    /// g.output("y", g.input("x", DType::F32, ["n"]).log());
    /// let predictor = Predictor::new(g.finish()?, [], &Options::default())?.refuse_not_finite();
    /// let found = predictor.predict(&[&Tensor::vector(vec![1.0f32, 0.0])]);
    /// assert!(matches!(found, Err(PredictError::NotFinite { row: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse_not_finite(mut self) -> Predictor {
        self.finite_only = true;
        self
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Batch sizes that there are plans for, the one that was asked for longest ago first. A large batch has those of its
    /// blocks.
    pub fn planned(&self) -> Vec<usize> {
        self.idle.sizes().into_iter().map(|[rows, _]| rows).collect()
    }

    /// The outputs for each row of the inputs, which are in the order of the graph's data inputs.
    ///
    /// # Errors
    /// Inputs that do not fit the graph, or each other; more rows than can be planned for.
    pub fn predict(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, PredictError> {
        let rows = self.check_inputs(inputs)?;
        let mut outputs =
            self.outputs.iter().map(|port| port.zeros(rows)).collect::<Result<Vec<Tensor>, PlanError>>()?;
        self.fill(inputs, &mut outputs, rows)?;
        self.check_finite(&outputs, rows)?;
        Ok(outputs)
    }

    /// [`predict`](Predictor::predict) into tensors that are there, one for each output of the graph.
    ///
    /// # Errors
    /// As [`predict`](Predictor::predict); outputs that do not fit, of which none is then written.
    pub fn predict_into(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) -> Result<(), PredictError> {
        let rows = self.check_inputs(inputs)?;
        check_count("outputs", &self.outputs, outputs.len())?;
        for (port, output) in self.outputs.iter().zip(outputs.iter()) {
            self.check_fits("output", port, output, rows)?;
        }
        self.fill(inputs, outputs, rows)?;
        self.check_finite(outputs, rows)
    }

    fn check_finite(&self, outputs: &[Tensor], rows: usize) -> Result<(), PredictError> {
        for (port, output) in self.outputs.iter().zip(outputs).filter(|_| self.finite_only) {
            if let Some((element, value)) = output.first_not_finite() {
                let row = element / (output.len() / rows).max(1);
                return Err(PredictError::NotFinite { name: port.name.clone(), row, value });
            }
        }
        Ok(())
    }

    fn fill(&self, inputs: &[&Tensor], outputs: &mut [Tensor], rows: usize) -> Result<(), PredictError> {
        let starts = outputs.iter_mut().map(|output| data_pointer_mut(output.data_mut()));
        let outputs: SmallVec<[*mut u8; 4]> = starts.collect();
        if self.in_blocks && rows > BLOCK * self.options.thread_count() {
            // SAFETY: each output has as many rows as the inputs, and is borrowed for this call.
            return unsafe { blocks::compute(self, inputs, &outputs, rows) };
        }
        // SAFETY: as above.
        let run = |run: &mut Executable| unsafe { run.run_rows(inputs, &self.weights, &outputs, 0) };
        Ok(self.with(rows, self.options.thread_count(), run)??)
    }

    /// Whether the inputs fit the graph; the number of their rows.
    fn check_inputs(&self, inputs: &[&Tensor]) -> Result<usize, PredictError> {
        check_count("data inputs", &self.inputs, inputs.len())?;
        let (Some(port), Some(first)) = (self.inputs.first(), inputs.first()) else {
            return Err(PredictError::NoInput);
        };
        let given = first.shape().first().copied().unwrap_or(0);
        let rows = self.batch.known().unwrap_or(given);
        for (port, input) in self.inputs.iter().zip(inputs) {
            self.check_fits("data input", port, input, rows)?;
        }
        if rows == 0 { Err(PredictError::Empty { name: port.name.clone() }) } else { Ok(rows) }
    }

    fn check_fits(
        &self,
        what: &'static str,
        port: &Declared,
        tensor: &Tensor,
        rows: usize,
    ) -> Result<(), PredictError> {
        let (dims, sizes) = (&port.ty.shape, tensor.shape());
        let fits = |(dim, &size): (&Dim, &usize)| dim.known().unwrap_or(rows) == size;
        let same_rank = dims.rank() == sizes.len() && port.ty.dtype == tensor.dtype();
        if same_rank && dims.iter().zip(sizes).all(fits) {
            return Ok(());
        }
        let name = port.name.clone();
        let counts = dims.first() == Some(&self.batch);
        if same_rank && counts && dims.iter().zip(sizes).skip(1).all(fits) {
            let of = self.inputs.first().map(|first| first.name.clone()).unwrap_or_default();
            return Err(PredictError::Rows { what, name, expected: rows, found: sizes[0], of });
        }
        let help = match port.ty.dtype == tensor.dtype() {
            true if counts => "give each row that shape, after the axis that counts the rows",
            true => "give a tensor of that shape",
            false => "convert the tensor with `Tensor::cast`",
        };
        let (expected, found) = (port.ty.to_string(), tensor.ty().to_string());
        Err(PredictError::Type { what, name, expected, found, help })
    }

    /// Calls `body` with an executable for so many rows, shared out over so many threads, that no other call uses.
    fn with<R>(&self, rows: usize, threads: usize, body: impl FnOnce(&mut Executable) -> R) -> Result<R, PlanError> {
        self.idle.with([rows, threads], || self.executable(rows, threads), body)
    }

    fn executable(&self, rows: usize, threads: usize) -> Result<Executable, PlanError> {
        let bindings = match self.batch {
            Dim::Symbol(batch) => Bindings::from([(batch, rows)]),
            Dim::Known(_) => Bindings::new(),
        };
        Executable::with(self.graph.clone(), &bindings, &self.options.holds_state(false).threads(threads))
    }
}

/// The first axis of the data inputs, if they share one.
fn batch_of(inputs: &[Declared]) -> Result<Dim, PredictError> {
    let first = inputs.first().ok_or(PredictError::NoInput)?;
    let batch = first.ty.shape.first().copied();
    for port in inputs {
        let once = |batch| port.ty.shape.iter().filter(|dim| **dim == batch).count() == 1;
        let counts = batch.is_some_and(|batch: Dim| batch.known().is_some() || once(batch));
        if port.ty.shape.first().copied() != batch || !counts {
            let expected = batch.map_or("the batch".to_owned(), |batch| format!("`{batch}`"));
            return Err(PredictError::Batch { name: port.name.clone(), expected, found: port.ty.to_string() });
        }
    }
    batch.ok_or(PredictError::NoInput)
}

fn check_count(what: &'static str, ports: &[Declared], found: usize) -> Result<(), PredictError> {
    if ports.len() == found {
        return Ok(());
    }
    let names = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    Err(PredictError::Count { what, names, expected: ports.len(), found })
}

impl Folded {
    /// The folded graph with a copy of its weights, ready to predict.
    ///
    /// # Errors
    /// As [`Predictor::new`].
    pub fn predictor(&self, options: &Options) -> Result<Predictor, PredictError> {
        let weights = self.weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
        Predictor::new(self.graph.clone(), weights, options)
    }
}
