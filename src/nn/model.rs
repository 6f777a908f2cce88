//! A finished declaration: from it come the graphs, the list of variables, their initial values, and the summary.

use super::cx::{LayerCx, Site, Trace};
use super::mode::Trainability;
use super::naming::Namer;
use super::{Input, Layer, Mode, VariableSpec};
use crate::ir::{Builder, Code, DType, Diagnostic, Diagnostics, Expr, Graph, OrderedMap, Source, TensorType, Weights};
use std::panic::Location;
use std::sync::Arc;

/// A layer with its final name.
#[derive(Clone, Debug)]
pub(super) struct LayerEntry {
    pub(super) layer: Arc<dyn Layer>,
    pub(super) name: String,
    pub(super) training: Trainability,
    pub(super) at: &'static Location<'static>,
}

/// How one value of a model comes about, from values defined before it.
#[derive(Clone, Debug)]
pub(super) enum Definition {
    Input { input: Input, name: String, at: &'static Location<'static> },
    Call { layer: usize, inputs: Vec<usize>, at: &'static Location<'static> },
}

/// Which values the outputs are computed from.
pub(super) fn needed(definitions: &[Definition], outputs: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; definitions.len()];
    outputs.iter().for_each(|&output| needed[output] = true);
    for index in (0..definitions.len()).rev() {
        if let Definition::Call { inputs, .. } = &definitions[index]
            && needed[index]
        {
            inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    needed
}

/// Layers and how they are connected.
#[derive(Clone, Debug)]
pub(super) struct Structure {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) layers: Vec<LayerEntry>,
    pub(super) definitions: Vec<Definition>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
}

impl Structure {
    /// Without the values that no output needs.
    pub(super) fn pruned(mut self) -> Structure {
        let needed = needed(&self.definitions, &self.outputs);
        let position: Vec<usize> = needed
            .iter()
            .scan(0, |count, &needed| Some(std::mem::replace(count, *count + usize::from(needed))))
            .collect();
        let renumber = |indices: &mut Vec<usize>| indices.iter_mut().for_each(|index| *index = position[*index]);
        let mut keep = needed.iter();
        self.definitions.retain(|_| keep.next().copied().unwrap_or(false));
        for definition in &mut self.definitions {
            if let Definition::Call { inputs, .. } = definition {
                renumber(inputs);
            }
        }
        renumber(&mut self.inputs);
        renumber(&mut self.outputs);
        self
    }

    /// The name of the input or layer that a value comes from.
    pub(super) fn producer(&self, value: usize) -> &str {
        match &self.definitions[value] {
            Definition::Input { name, .. } => name,
            Definition::Call { layer, .. } => &self.layers[*layer].name,
        }
    }

    /// Runs every layer, in order; the result has a value for each definition.
    fn run<'b>(&self, trace: &mut Trace<'b>, outer: Option<Site<'_>>, inputs: &[Expr<'b>]) -> Vec<Expr<'b>> {
        let mut values: Vec<Expr<'b>> = vec![trace.builder.poisoned(); self.definitions.len()];
        self.inputs.iter().zip(inputs).for_each(|(&index, &input)| values[index] = input);
        for (index, definition) in self.definitions.iter().enumerate() {
            let Definition::Call { layer, inputs, at } = definition else { continue };
            let LayerEntry { layer, name, training, at: declared } = &self.layers[*layer];
            let (path, training) = match outer {
                Some(outer) => (format!("{}/{name}", outer.path), training.within(outer.training)),
                None => (name.clone(), *training),
            };
            let site = Site { path: &path, kind: layer.kind(), training, declared, called: at };
            let operands: Vec<Expr<'b>> = inputs.iter().map(|&input| values[input]).collect();
            values[index] = trace.call(site, &operands, |cx, inputs| layer.call(cx, inputs));
        }
        values
    }

    /// The inputs' types in a graph of that float type, by name.
    fn input_types(&self, float: DType) -> OrderedMap<String, TensorType> {
        let input = |&index: &usize| match &self.definitions[index] {
            Definition::Input { input, name, .. } => Some((name.clone(), input.ty(float))),
            Definition::Call { .. } => None,
        };
        self.inputs.iter().filter_map(input).collect()
    }

    /// Why the model cannot be applied to these values.
    fn check_inputs(&self, inputs: &[Expr<'_>], float: DType) -> Result<(), String> {
        let types = self.input_types(float);
        if inputs.len() != types.len() {
            let names = types.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(format!("it takes {} inputs ({names}), found {}", types.len(), inputs.len()));
        }
        for (input, (name, ty)) in inputs.iter().zip(&types) {
            let found = input.ty();
            let fits = found.dtype == ty.dtype && found.rank() == ty.rank() && found.shape[1..] == ty.shape[1..];
            if !fits && !input.is_poisoned() {
                return Err(format!("its input `{name}` is {ty}, found {found}"));
            }
        }
        Ok(())
    }

    /// Declares the inputs, each at the line where the user declared it.
    fn declare_inputs<'b>(&self, builder: &'b Builder, float: DType) -> Vec<Expr<'b>> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for &index in &self.inputs {
            if let Definition::Input { input, name, at } = &self.definitions[index] {
                let TensorType { dtype, shape } = input.ty(float);
                inputs.push(builder.attributed(Source::User(at), || builder.input(name, dtype, shape)));
            }
        }
        inputs
    }
}

/// A declaration of layers, without weights. Made with [`Sequential`](super::Sequential) or
/// [`ModelBuilder`](super::ModelBuilder).
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::nn::{BatchNormalization, Dense, Mode, Sequential};
/// let model = Sequential::new([4]).add(Dense::new(2)).add(BatchNormalization::new()).build()?;
/// let training = model.graph(Mode::Training, DType::F32)?;
/// let inference = model.graph(Mode::Inference, DType::F32)?;
/// assert_eq!((training.updates().len(), inference.updates().len()), (2, 0));
/// let start = model.initial_values(42);
/// assert_eq!(start["dense/kernel"].shape(), [4, 2]);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// A model is a layer too: added to another one, its variables are named `sequential/dense/kernel`.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) structure: Arc<Structure>,
    variables: Vec<VariableSpec>,
    // One for each definition, in f32.
    pub(super) types: Vec<TensorType>,
    output_names: Vec<String>,
}

/// What [`Model::apply`] adds to a graph.
#[derive(Clone, Debug)]
pub struct Applied<'b> {
    /// The model's outputs, in order.
    pub outputs: Vec<Expr<'b>>,
    /// What an optimiser updates, by name.
    pub parameters: OrderedMap<String, Expr<'b>>,
    /// What is carried from step to step without being trained, by name.
    pub states: OrderedMap<String, Carried<'b>>,
}

/// A state with its value before and after the step.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'b> {
    /// Before.
    pub value: Expr<'b>,
    /// After, if the step changes it.
    pub next: Option<Expr<'b>>,
}

impl Applied<'_> {
    /// Makes each state's next value its update in the graph.
    pub fn carry_states(&self) {
        for Carried { value, next } in self.states.values() {
            if let Some(next) = next {
                value.builder().update(*value, *next);
            }
        }
    }
}

impl Model {
    /// Tries both graphs out, and takes down types and variables.
    pub(super) fn measure(structure: Structure) -> Result<Model, Diagnostics> {
        let output_names = output_names(&structure);
        let mut model =
            Model { structure: Arc::new(structure), variables: Vec::new(), types: Vec::new(), output_names };
        for mode in [Mode::Inference, Mode::Training] {
            let builder = Builder::new();
            let inputs = model.structure.declare_inputs(&builder, DType::F32);
            let mut trace = Trace::new(&builder, mode, DType::F32);
            let values = model.structure.run(&mut trace, None, &inputs);
            if let Some(mistakes) = Diagnostics::from_vec(trace.mistakes) {
                return Err(mistakes);
            }
            model.types = values.iter().map(|value| value.ty()).collect();
            // The training graph comes last: it has every variable, in the order of the layers.
            let earlier = std::mem::take(&mut model.variables);
            model.variables.extend(trace.variables.into_values().map(|variable| variable.spec));
            for spec in earlier {
                if model.variables.iter().all(|known| known.name != spec.name) {
                    model.variables.push(spec);
                }
            }
        }
        Ok(model)
    }

    /// Its name: `sequential` or `functional`, unless the user gave one.
    pub fn name(&self) -> &str {
        &self.structure.name
    }

    /// The types of the inputs in a graph of that float type, by name; the batch is the symbol `batch`.
    pub fn input_types(&self, float: DType) -> OrderedMap<String, TensorType> {
        self.structure.input_types(float)
    }

    /// The types of the outputs in a graph of that float type, by name.
    pub fn output_types(&self, float: DType) -> OrderedMap<String, TensorType> {
        let ty = |&index: &usize| match &self.types[index] {
            ty if ty.dtype.is_float() => ty.with_dtype(float),
            ty => ty.clone(),
        };
        self.output_names.iter().cloned().zip(self.structure.outputs.iter().map(ty)).collect()
    }

    /// Every variable, in the order of the layers.
    pub fn variables(&self) -> &[VariableSpec] {
        &self.variables
    }

    /// Initial values in f32. Each is a function of the seed and of the variable's name and shape alone, the same on
    /// every machine.
    pub fn initial_values(&self, seed: u64) -> Weights {
        self.initial_values_as(seed, DType::F32)
    }

    /// [`initial_values`](Model::initial_values) in the given float type. The f32 values are the f64 ones, rounded.
    pub fn initial_values_as(&self, seed: u64, float: DType) -> Weights {
        let value = |spec: &VariableSpec| (spec.name.clone(), spec.initial_value(seed, float));
        self.variables.iter().map(value).collect()
    }

    /// The model as a graph of its own: inputs and outputs by name, and in training the updates of running statistics.
    ///
    /// # Errors
    /// A type that is no float.
    #[track_caller]
    pub fn graph(&self, mode: Mode, float: DType) -> Result<Graph, Diagnostics> {
        check_float(float)?;
        let builder = Builder::new();
        let inputs = self.structure.declare_inputs(&builder, float);
        let applied = self.apply(&builder, mode, float, &inputs)?;
        for (name, &output) in self.output_names.iter().zip(&applied.outputs) {
            builder.output(name, output);
        }
        applied.carry_states();
        builder.finish()
    }

    /// Adds the model to a graph that is being built, so that a loss, an optimiser, or another model can follow.
    ///
    /// ```
    /// use foldgrad::nn::{Dense, Mode, Sequential};
    /// use foldgrad::{Builder, DType};
    /// let model = Sequential::new([4]).add(Dense::new(2)).build()?;
    /// let g = Builder::new();
    /// let x = g.input("x", DType::F32, [16, 4]);
    /// let applied = model.apply(&g, Mode::Training, DType::F32, &[x])?;
    /// assert_eq!(applied.parameters.len(), 2);
    /// # Ok::<(), foldgrad::Diagnostics>(())
    /// ```
    ///
    /// # Errors
    /// Inputs of other types than the model's, a float type that is none, or variables whose names the graph has
    /// already.
    #[track_caller]
    pub fn apply<'b>(
        &self,
        builder: &'b Builder,
        mode: Mode,
        float: DType,
        inputs: &[Expr<'b>],
    ) -> Result<Applied<'b>, Diagnostics> {
        check_float(float)?;
        if let Err(message) = self.structure.check_inputs(inputs, float) {
            let title = format!("model `{}`: {message}", self.name());
            return Err(Diagnostic::new(Code::Shape, title)
                .at(Location::caller())
                .help("axis 0 is the batch; the others are those given at the model's declaration")
                .into());
        }
        if inputs.iter().any(|input| input.is_poisoned())
            && let Some(errors) = builder.errors()
        {
            return Err(errors);
        }
        let mut trace = Trace::new(builder, mode, float);
        let values = self.structure.run(&mut trace, None, inputs);
        let (model, at) = (self.name(), Location::caller());
        let place = format!("{}:{}:{}", at.file(), at.line(), at.column());
        let applied = |mistake: Diagnostic| mistake.note(format!("the model `{model}` was applied at {place}"));
        if let Some(mistakes) = Diagnostics::from_vec(trace.mistakes.into_iter().map(applied).collect()) {
            return Err(mistakes);
        }
        let outputs = self.structure.outputs.iter().map(|&output| values[output]).collect();
        let mut applied = Applied { outputs, parameters: OrderedMap::new(), states: OrderedMap::new() };
        for (name, variable) in trace.variables {
            if variable.spec.is_trainable() {
                applied.parameters.insert(name, variable.value);
            } else {
                applied.states.insert(name, Carried { value: variable.value, next: variable.next });
            }
        }
        Ok(applied)
    }
}

/// A model inside another one is a layer, with its variables under its name.
impl Layer for Model {
    fn kind(&self) -> &str {
        self.structure.kind
    }

    fn class(&self) -> String {
        self.structure.name.clone()
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let [output] = self.structure.outputs[..] else {
            let message = format!("it has {} outputs", self.structure.outputs.len());
            return Err(cx.mistake(Code::Graph, message).help("only a model with one output can be a layer"));
        };
        self.structure
            .check_inputs(inputs, cx.dtype())
            .map_err(|message| cx.mistake(Code::Shape, message).help("put a layer between that gives it this shape"))?;
        let site = cx.site;
        Ok(self.structure.run(cx.trace, Some(site), inputs)[output])
    }
}

/// Outputs are named after the layers they come from, counted where a layer gives several.
fn output_names(structure: &Structure) -> Vec<String> {
    let producers: Vec<&str> = structure.outputs.iter().map(|&output| structure.producer(output)).collect();
    let mut namer = Namer::default();
    let first: Vec<bool> = producers.iter().map(|producer| namer.reserve(producer)).collect();
    let name = |(producer, first): (&str, bool)| if first { producer.to_owned() } else { namer.next(producer) };
    producers.into_iter().zip(first).map(name).collect()
}

#[track_caller]
fn check_float(float: DType) -> Result<(), Diagnostic> {
    if float.is_float() {
        return Ok(());
    }
    Err(Diagnostic::new(Code::DType, format!("a model cannot compute in {float}"))
        .at(Location::caller())
        .help("ask for DType::F32 or DType::F64; integer inputs are declared with `Input::dtype`"))
}
