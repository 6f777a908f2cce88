//! The functional way to declare a model: a graph of layers with branches, shared layers, several inputs and outputs.

use super::cx::SEED_GENERATOR;
use super::model::{Definition, LayerEntry, Structure};
use super::naming::Namer;
use super::{Declared, Input, Model};
use crate::ir::{Code, Diagnostic, Diagnostics};
use hashbrown::HashMap;
use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// Declares a model layer by layer. What a layer gives is a [`Wire`], which later layers take.
///
/// ```
/// use foldgrad::nn::{Activation, Concatenate, Dense, Flatten, ModelBuilder};
/// let m = ModelBuilder::new();
/// let image = m.input("image", [28, 28]);
/// let pixels = m.add(Flatten, image);
/// let wide = m.add(Dense::new(10), pixels);
/// let deep = m.add(Dense::new(30).activation(Activation::Relu), pixels);
/// let deep = m.add(Dense::new(10).activation(Activation::Relu), deep);
/// let logits = m.add(Concatenate::new(), [wide, deep]);
/// let model = m.build(image, logits)?;
/// assert_eq!(model.variables()[0].name, "dense/kernel");
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// A layer that is declared once and called twice has one set of variables:
///
/// ```
/// use foldgrad::nn::{Dense, Merge, ModelBuilder};
/// let m = ModelBuilder::new();
/// let (left, right) = (m.input("left", [4]), m.input("right", [4]));
/// let encoder = m.layer(Dense::new(2));
/// let distance = m.add(Merge::Subtract, [m.call(encoder, left), m.call(encoder, right)]);
/// let model = m.build([left, right], distance)?;
/// assert_eq!(model.variables().len(), 2);
/// # Ok::<(), foldgrad::Diagnostics>(())
/// ```
///
/// A mistake does not stop the declaration; [`build`](ModelBuilder::build) reports every one with the user's line.
#[derive(Debug)]
pub struct ModelBuilder {
    id: u64,
    inner: RefCell<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    name: Option<String>,
    layers: Vec<(Declared, &'static Location<'static>)>,
    definitions: Vec<Definition>,
    mistakes: Vec<Diagnostic>,
}

/// A value on its way between the layers of one model. Cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    builder: u64,
    index: usize,
}

// The index of a wire that was already reported as wrong.
const POISONED: usize = usize::MAX;

impl AsRef<[Wire]> for Wire {
    fn as_ref(&self) -> &[Wire] {
        std::slice::from_ref(self)
    }
}

/// A layer that may be called any number of times. Cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerRef {
    builder: u64,
    index: usize,
}

impl Default for ModelBuilder {
    fn default() -> ModelBuilder {
        ModelBuilder::new()
    }
}

impl ModelBuilder {
    /// A model without layers.
    pub fn new() -> ModelBuilder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ModelBuilder { id: NEXT.fetch_add(1, Ordering::Relaxed), inner: RefCell::default() }
    }

    /// Names the model; `functional` unless given.
    pub fn named(self, name: &str) -> ModelBuilder {
        self.inner.borrow_mut().name = Some(name.to_owned());
        self
    }

    /// A named input; the shape is that of one example.
    #[track_caller]
    pub fn input(&self, name: &str, input: impl Into<Input>) -> Wire {
        self.declare_input(input.into().named(name), Location::caller())
    }

    /// Declares a layer, to be [called](ModelBuilder::call) any number of times.
    #[track_caller]
    pub fn layer(&self, layer: impl Into<Declared>) -> LayerRef {
        self.declare_layer(layer.into(), Location::caller())
    }

    /// What a declared layer makes of `inputs`: a wire, or an array or slice of wires.
    #[track_caller]
    pub fn call(&self, layer: LayerRef, inputs: impl AsRef<[Wire]>) -> Wire {
        self.connect(layer, inputs.as_ref(), Location::caller())
    }

    /// What a new layer makes of `inputs`: a wire, or an array or slice of wires.
    #[track_caller]
    pub fn add(&self, layer: impl Into<Declared>, inputs: impl AsRef<[Wire]>) -> Wire {
        let caller = Location::caller();
        self.connect(self.declare_layer(layer.into(), caller), inputs.as_ref(), caller)
    }

    /// The model from `inputs` to `outputs`. Outputs are named after the layers that give them; layers that no output
    /// needs are left out.
    ///
    /// # Errors
    /// Everything that is wrong with the declaration: layers whose options or inputs do not fit, names that are taken,
    /// inputs that are missing, repeated or unused, wires of another builder.
    #[track_caller]
    pub fn build(&self, inputs: impl AsRef<[Wire]>, outputs: impl AsRef<[Wire]>) -> Result<Model, Diagnostics> {
        self.assemble("Functional", inputs.as_ref(), outputs.as_ref(), Location::caller())
    }

    pub(super) fn declare_input(&self, input: Input, at: &'static Location<'static>) -> Wire {
        self.push(Definition::Input { input, name: String::new(), at })
    }

    pub(super) fn declare_layer(&self, layer: Declared, at: &'static Location<'static>) -> LayerRef {
        let layers = &mut self.inner.borrow_mut().layers;
        layers.push((layer, at));
        LayerRef { builder: self.id, index: layers.len() - 1 }
    }

    pub(super) fn connect(&self, layer: LayerRef, inputs: &[Wire], at: &'static Location<'static>) -> Wire {
        let poisoned = Wire { builder: self.id, index: POISONED };
        if layer.builder != self.id {
            self.report(foreign("layer").at(at));
            return poisoned;
        }
        if let Some(mistake) = self.foreign_among(inputs) {
            self.report(mistake.at(at));
            return poisoned;
        }
        if inputs.contains(&poisoned) {
            return poisoned;
        }
        self.push(Definition::Call { layer: layer.index, inputs: inputs.iter().map(|wire| wire.index).collect(), at })
    }

    pub(super) fn assemble(
        &self,
        kind: &'static str,
        inputs: &[Wire],
        outputs: &[Wire],
        at: &'static Location<'static>,
    ) -> Result<Model, Diagnostics> {
        // The declaration stays as it is: a builder can build several models over the same layers.
        let Inner { name, layers, definitions, mut mistakes } = self.inner.borrow().clone();
        mistakes.extend(self.foreign_among(inputs).or(self.foreign_among(outputs)).map(|mistake| mistake.at(at)));
        let index = |wires: &[Wire]| wires.iter().map(|wire| wire.index).collect::<Vec<_>>();
        let (inputs, outputs) = (index(inputs), index(outputs));
        if mistakes.is_empty() {
            mistakes = check_ends(&definitions, &inputs, &outputs, at);
        }
        let (layers, definitions) = name_all(layers, definitions, &mut mistakes);
        if let Some(mistakes) = Diagnostics::from_vec(mistakes) {
            return Err(mistakes);
        }
        let name = name.unwrap_or_else(|| kind.to_lowercase());
        if !is_name(&name) {
            let mistake = Diagnostic::new(Code::Name, format!("`{name}` cannot be the name of a model"));
            return Err(mistake.at(at).help(HELP_NAME).into());
        }
        Model::measure(Structure { name, kind, layers, definitions, inputs, outputs }.pruned())
    }

    fn push(&self, definition: Definition) -> Wire {
        let definitions = &mut self.inner.borrow_mut().definitions;
        definitions.push(definition);
        Wire { builder: self.id, index: definitions.len() - 1 }
    }

    fn report(&self, mistake: Diagnostic) {
        self.inner.borrow_mut().mistakes.push(mistake);
    }

    fn foreign_among(&self, wires: &[Wire]) -> Option<Diagnostic> {
        wires.iter().any(|wire| wire.builder != self.id).then(|| foreign("wire"))
    }
}

fn foreign(what: &str) -> Diagnostic {
    Diagnostic::new(Code::Graph, format!("this {what} belongs to another model builder"))
        .help("build a model from its parts, and add the whole model as a layer")
}

/// Whether the model's inputs and outputs are what they should be.
fn check_ends(
    definitions: &[Definition],
    inputs: &[usize],
    outputs: &[usize],
    at: &'static Location<'static>,
) -> Vec<Diagnostic> {
    let mistake = |title: &str, help: &str| Diagnostic::new(Code::Graph, title).at(at).help(help);
    if outputs.is_empty() {
        return vec![mistake("a model without outputs", "give `build` the wires that the model is to return")];
    }
    let mut mistakes = Vec::new();
    let needed = super::model::needed(definitions, outputs);
    for (position, &index) in inputs.iter().enumerate() {
        match &definitions[index] {
            Definition::Input { input, at: declared, .. } => {
                let name = input.name.as_deref().unwrap_or("input_layer");
                if inputs[..position].contains(&index) {
                    let title = format!("the input `{name}` is given twice");
                    mistakes.push(mistake(&title, "list each input once"));
                } else if !needed[index] {
                    let title = format!("the input `{name}` is not used by any output");
                    let help = "leave it out, or connect it to an output";
                    mistakes.push(Diagnostic::new(Code::Graph, title).at(declared).help(help));
                }
            }
            Definition::Call { .. } => {
                mistakes.push(mistake(
                    "the result of a layer is listed as an input of the model",
                    "a model starts at wires that were made with `input`",
                ));
            }
        }
    }
    for (index, definition) in definitions.iter().enumerate() {
        if let Definition::Input { input, .. } = definition
            && needed[index]
            && !inputs.contains(&index)
        {
            let name = input.name.as_deref().unwrap_or("input_layer");
            let title = format!("the outputs depend on `{name}`, which is not among the model's inputs");
            mistakes.push(mistake(&title, "add it to the inputs given to `build`"));
        }
    }
    mistakes
}

/// Whether the variables of a layer of that name can be told from any other's.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != SEED_GENERATOR
}

const HELP_NAME: &str = "use a name that is not empty, has no `/`, and is not `seed_generator`";

/// Gives every input and layer its name: first those that users chose, then the counted ones, in order of declaration.
fn name_all(
    layers: Vec<(Declared, &'static Location<'static>)>,
    mut definitions: Vec<Definition>,
    mistakes: &mut Vec<Diagnostic>,
) -> (Vec<LayerEntry>, Vec<Definition>) {
    let mut namer = Namer::default();
    let mut places: HashMap<String, &'static Location<'static>> = HashMap::new();
    let mut chosen: Vec<(&str, &'static Location<'static>)> = Vec::new();
    for definition in &definitions {
        if let Definition::Input { input, at, .. } = definition {
            chosen.extend(input.name.as_deref().map(|name| (name, *at)));
        }
    }
    chosen.extend(layers.iter().filter_map(|(layer, at)| Some((layer.name.as_deref()?, *at))));
    for (name, at) in chosen {
        let mistake = |title: String| Diagnostic::new(Code::Name, title).at(at);
        if !is_name(name) {
            let mistake = mistake(format!("`{name}` cannot be the name of a layer"));
            mistakes.push(mistake.help(HELP_NAME));
        } else if !namer.reserve(name) {
            let mut mistake = mistake(format!("the name `{name}` is taken"));
            if let Some(first) = places.get(name) {
                let (file, line, column) = (first.file(), first.line(), first.column());
                mistake = mistake.note(format!("the first of that name was declared at {file}:{line}:{column}"));
            }
            mistakes.push(mistake.help("give each input and layer its own name; unnamed layers are counted"));
        } else {
            places.insert(name.to_owned(), at);
        }
    }
    for definition in &mut definitions {
        if let Definition::Input { input, name, .. } = definition {
            *name = input.name.clone().unwrap_or_else(|| namer.next("input_layer"));
        }
    }
    let layers = layers.into_iter().map(|(Declared { layer, name, training }, at)| {
        let name = name.unwrap_or_else(|| namer.next(&layer.class()));
        LayerEntry { layer, name, training, at }
    });
    (layers.collect(), definitions)
}
