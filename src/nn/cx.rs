//! What a layer may see and do while it is called, and the trace of a whole model that it writes to.

use super::mode::Trainability;
use super::{Initializer, Mode, VariableKind, VariableSpec};
use crate::ir::{Builder, Code, DType, Diagnostic, Dim, Expr, Role, Shape, Source, Tensor};
use indexmap::IndexMap;
use std::panic::Location;

/// The state of every dropout of a model: a seed and a counter that advances with each training step.
pub(super) const SEED_GENERATOR: &str = "seed_generator";

/// One run over the layers of a model, into one graph.
#[derive(Debug)]
pub(super) struct Trace<'b> {
    pub(super) builder: &'b Builder,
    pub(super) mode: Mode,
    pub(super) float: DType,
    pub(super) variables: IndexMap<String, Variable<'b>>,
    pub(super) mistakes: Vec<Diagnostic>,
    // How many of the builder's own mistakes were already taken over.
    seen: usize,
}

/// A variable with the graph values it has at the start and at the end of a run.
#[derive(Debug)]
pub(super) struct Variable<'b> {
    pub(super) spec: VariableSpec,
    pub(super) value: Expr<'b>,
    pub(super) next: Option<Expr<'b>>,
}

/// Which layer is called, from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'t> {
    pub(super) path: &'t str,
    pub(super) kind: &'t str,
    pub(super) training: Trainability,
    pub(super) declared: &'static Location<'static>,
    pub(super) called: &'static Location<'static>,
}

impl<'b> Trace<'b> {
    pub(super) fn new(builder: &'b Builder, mode: Mode, float: DType) -> Trace<'b> {
        let seen = builder.errors().map_or(0, |errors| errors.iter().count());
        Trace { builder, mode, float, variables: IndexMap::new(), mistakes: Vec::new(), seen }
    }

    /// Calls a layer with every node marked with its name and the user's line. Poisoned after a mistake, which is noted
    /// down once, with the layer's name.
    pub(super) fn call(
        &mut self,
        site: Site<'_>,
        inputs: &[Expr<'b>],
        layer: impl FnOnce(&mut LayerCx<'_, 'b>, &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic>,
    ) -> Expr<'b> {
        let builder = self.builder;
        if inputs.iter().any(|input| input.is_poisoned()) {
            return builder.poisoned();
        }
        let known = self.mistakes.len();
        let call = |trace: &mut Trace<'b>| {
            let mut cx = LayerCx { trace, site, declared: Vec::new() };
            let result = layer(&mut cx, inputs);
            result.map_err(|mistake| cx.placed(mistake))
        };
        let result = builder.scoped(site.path, || builder.attributed(Source::User(site.called), || call(self)));
        self.take_builder_mistakes(site);
        let value = match result {
            Ok(value) => value,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return builder.poisoned();
            }
        };
        if value.is_poisoned() && self.mistakes.len() == known {
            let cx = LayerCx { trace: self, site, declared: Vec::new() };
            let mistake = cx.mistake(Code::Graph, "it returned an expression that stands for a mistake");
            self.mistakes.push(mistake);
        }
        value
    }

    fn take_builder_mistakes(&mut self, site: Site<'_>) {
        let Some(errors) = self.builder.errors() else { return };
        for error in errors.iter().skip(self.seen) {
            self.seen += 1;
            let note = format!("this is in layer `{}` ({})", site.path, site.kind);
            self.mistakes.push(site.with_declaration(error.clone().note(note)));
        }
    }
}

impl Site<'_> {
    /// Adds where the layer was declared, unless that is the line of the call.
    fn with_declaration(&self, mistake: Diagnostic) -> Diagnostic {
        let at = self.declared;
        if at == self.called {
            return mistake;
        }
        mistake.note(format!("the layer was declared at {}:{}:{}", at.file(), at.line(), at.column()))
    }
}

/// What a layer sees while it is called: the graph's mode and float type, its own variables, and a way to complain.
#[derive(Debug)]
pub struct LayerCx<'t, 'b> {
    pub(super) trace: &'t mut Trace<'b>,
    pub(super) site: Site<'t>,
    declared: Vec<String>,
}

impl<'b> LayerCx<'_, 'b> {
    /// The builder of the graph, for constants and ops that are no methods of an expression.
    pub fn builder(&self) -> &'b Builder {
        self.trace.builder
    }

    /// Which graph is being built.
    pub fn mode(&self) -> Mode {
        self.trace.mode
    }

    /// The graph's float type.
    pub fn dtype(&self) -> DType {
        self.trace.float
    }

    /// The layer's name, unique in its model: `dense_1`.
    pub fn name(&self) -> &str {
        self.site.path
    }

    /// Whether the layer was [frozen](super::Layer::frozen), itself or as part of a frozen model.
    pub fn is_frozen(&self) -> bool {
        self.site.training == Trainability::Frozen
    }

    /// A trained variable of this layer; not trained where the layer is frozen. Its full name is `layer/name`, and each
    /// call of a shared layer gets the same one.
    ///
    /// # Errors
    /// A shape that is not fully known, that differs from an earlier call's, or that the initialiser cannot fill; a name
    /// that this call used before.
    pub fn parameter(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: &Initializer,
    ) -> Result<Expr<'b>, Diagnostic> {
        let kind = if self.is_frozen() { VariableKind::NonTrainable } else { VariableKind::Trainable };
        self.variable(name, shape.into(), kind, initializer)
    }

    /// A variable that is carried from step to step but not trained. Where an earlier call of a shared layer updated
    /// it, its value is the updated one.
    ///
    /// # Errors
    /// As for [`parameter`](LayerCx::parameter).
    pub fn state(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: &Initializer,
    ) -> Result<Expr<'b>, Diagnostic> {
        self.variable(name, shape.into(), VariableKind::NonTrainable, initializer)
    }

    /// Says what the [`state`](LayerCx::state) of that name becomes after the step.
    ///
    /// # Errors
    /// A name that is no state of this layer, or a value of another type.
    pub fn update(&mut self, name: &str, next: Expr<'b>) -> Result<(), Diagnostic> {
        let path = format!("{}/{name}", self.site.path);
        let float = self.trace.float;
        match self.trace.variables.get_mut(&path) {
            _ if next.is_poisoned() => Ok(()),
            Some(variable) if variable.spec.is_trainable() => {
                Err(self.mistake(Code::Graph, format!("`{name}` is trained; only a state can be updated")))
            }
            Some(variable) if variable.spec.ty(float) == next.ty() => {
                variable.next = Some(next);
                Ok(())
            }
            Some(variable) => {
                let want = variable.spec.ty(float);
                Err(self.mistake(Code::Shape, format!("the next value of `{name}` is {}, not {want}", next.ty())))
            }
            None => Err(self.mistake(Code::Name, format!("there is no state `{name}` to update"))),
        }
    }

    /// The key of this step's random draws, for [`Expr::dropout`] and [`Builder::random_uniform`]: a seed and a counter
    /// that advances with every training step. All layers of a model share it; each draw differs all the same.
    ///
    /// # Errors
    /// The graph has an input of that name already.
    pub fn random_key(&mut self) -> Result<Expr<'b>, Diagnostic> {
        let path = format!("{SEED_GENERATOR}/state");
        if let Some(seed) = self.trace.variables.get(&path) {
            return Ok(seed.value);
        }
        let (name, initializer) = (path.clone(), Initializer::Zeros);
        let key = self.declare(VariableSpec { name, shape: vec![2], kind: VariableKind::Seed, initializer })?;
        if self.trace.mode == Mode::Training
            && let Some(seed) = self.trace.variables.get_mut(&path)
        {
            seed.next = Some(key + self.trace.builder.constant(Tensor::vector(vec![0i32, 1])));
        }
        Ok(key)
    }

    /// The input of a layer that takes one.
    ///
    /// # Errors
    /// Any other number of inputs.
    pub fn only(&self, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        match *inputs {
            [input] => Ok(input),
            _ => Err(self
                .mistake(Code::Graph, format!("it takes one input, found {}", inputs.len()))
                .help("join several with `Concatenate` or `Merge`, or call the layer once for each")),
        }
    }

    /// [`only`](LayerCx::only), which must be of the graph's float type.
    ///
    /// # Errors
    /// Any other number of inputs; an integer or mask.
    pub fn only_float(&self, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        let input = self.only(inputs)?;
        if input.dtype() == self.dtype() {
            return Ok(input);
        }
        let message = format!("its input is {}, but the graph computes in {}", input.ty(), self.dtype());
        Err(self.mistake(Code::DType, message).help("convert it in a layer before, or declare another input type"))
    }

    /// The last axis of an input and its size.
    ///
    /// # Errors
    /// An input with a batch axis only, or a size that is not known.
    pub fn last_axis(&self, input: Expr<'b>) -> Result<(usize, usize), Diagnostic> {
        self.axis(input, -1)
    }

    /// An axis of an input, counted from the batch on, or from the end when negative, and its size.
    ///
    /// # Errors
    /// An axis that does not exist, the batch axis, or a size that is not known.
    pub fn axis(&self, input: Expr<'b>, axis: i64) -> Result<(usize, usize), Diagnostic> {
        let (ty, rank) = (input.ty(), input.rank() as i64);
        let index = if axis < 0 { axis + rank } else { axis };
        if rank < 2 {
            let message = format!("its input {ty} has a batch axis only");
            return Err(self.mistake(Code::Shape, message).help("each example needs at least one axis"));
        }
        if index <= 0 || index >= rank {
            return Err(self
                .mistake(Code::Attribute, format!("axis {axis} is out of range for its input {ty}"))
                .help(format!("axis 0 is the batch; give 1 to {0}, or −1 to −{0} from the end", rank - 1)));
        }
        match ty.shape[index as usize] {
            Dim::Known(size) => Ok((index as usize, size)),
            Dim::Symbol(_) => Err(self
                .mistake(Code::Shape, format!("axis {axis} of its input {ty} has no known size"))
                .help("give the input a size there, since the layer's variables depend on it")),
        }
    }

    /// A mistake in this layer: names it, and points at the user's line.
    pub fn mistake(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        let title = format!("layer `{}` ({}): {}", self.site.path, self.site.kind, message.into());
        self.site.with_declaration(Diagnostic::new(code, title).at(self.site.called))
    }

    /// A layer's own diagnostic, given the layer's line if it has none.
    fn placed(&self, mistake: Diagnostic) -> Diagnostic {
        match mistake.location() {
            Some(_) => mistake,
            None => mistake.at(self.site.called),
        }
    }

    fn variable(
        &mut self,
        name: &str,
        shape: Shape,
        kind: VariableKind,
        initializer: &Initializer,
    ) -> Result<Expr<'b>, Diagnostic> {
        let elements = |sizes: &[usize]| sizes.iter().try_fold(8usize, |product, &size| product.checked_mul(size));
        let Some(sizes) = shape.known() else {
            let message = format!("`{name}` has the shape {shape}, which is not fully known");
            return Err(self
                .mistake(Code::Shape, message)
                .help("a variable has one fixed size; it cannot hold a batch"));
        };
        if self.declared.iter().any(|declared| declared == name) {
            let message = format!("it declares `{name}` twice");
            return Err(self.mistake(Code::Name, message).help("give each variable of a layer its own name"));
        }
        self.declared.push(name.to_owned());
        let path = format!("{}/{name}", self.site.path);
        if let Some(variable) = self.trace.variables.get(&path) {
            if variable.spec.shape == sizes {
                return Ok(variable.next.unwrap_or(variable.value));
            }
            let message = format!("`{name}` is {:?} from its first use, but {sizes:?} here", variable.spec.shape);
            return Err(self.mistake(Code::Shape, message).help("a shared layer's inputs have one shape"));
        }
        if elements(&sizes).is_none_or(|bytes| bytes > isize::MAX as usize) {
            let message = format!("`{name}` has the shape {shape}, which no memory can hold");
            return Err(self.mistake(Code::Shape, message).help("give the layer a smaller size"));
        }
        if let Err((message, help)) = initializer.check(&sizes) {
            return Err(self.mistake(Code::Value, format!("`{name}`: {message}")).help(help));
        }
        self.declare(VariableSpec { name: path, shape: sizes, kind, initializer: initializer.clone() })
    }

    fn declare(&mut self, spec: VariableSpec) -> Result<Expr<'b>, Diagnostic> {
        let builder = self.trace.builder;
        if builder.graph().input(&spec.name).is_some() {
            return Err(self
                .mistake(Code::Name, format!("the graph already has an input `{}`", spec.name))
                .help("name the layers, or one of the models, so that their variables differ"));
        }
        let role = if spec.is_trainable() { Role::Parameter } else { Role::State };
        let value = builder.declare(&spec.name, role, spec.ty(self.trace.float));
        self.trace.variables.insert(spec.name.clone(), Variable { spec, value, next: None });
        Ok(value)
    }
}
