//! Evaluates graphs over any number type, each distinct value once: across graphs, equal contents are one
//! [`ValueNumber`], so `n = m` decides equality, and whatever two graphs share is computed for the first of them only.
//!
//! It is the reference interpreter made fast enough to run after every rewrite: bit for bit the same results.

mod content;
mod fast;
mod number;
mod product;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use number::Exact;

use crate::ir::{Bindings, Builder, DType, Graph, Node, TensorType, Value};
use crate::op::{Function, Nature, Op, Rearrangement};
use crate::ops::{Binary, Reduction, Unary};
use crate::reference::{Array, EvalError, MOST_ELEMENTS, eval_op};
use content::Content;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use smallvec::{SmallVec, smallvec};
use std::hash::BuildHasher;
use std::sync::Arc;
use walk::Axes;

/// The contents of a value: equal numbers are equal shapes and elements, and different numbers are different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueNumber(u32);

type Numbers = SmallVec<[ValueNumber; 1]>;
type OperandTypes = SmallVec<[TensorType; 3]>;

/// The number of every value of a graph that was evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Numbered(Vec<Numbers>);

impl Numbered {
    /// The number of a value; none for a value that no root needed, or that the graph does not have.
    pub(crate) fn get(&self, value: Value) -> Option<ValueNumber> {
        self.0.get(value.node.index())?.get(value.output as usize).copied()
    }
}

/// Evaluates graphs that share inputs.
#[derive(Debug)]
pub(crate) struct Evaluator<S> {
    bindings: Bindings,
    feeds: HashMap<String, ValueNumber>,
    contents: Vec<Content<S>>,
    // Numbers by fingerprint.
    interned: HashTable<ValueNumber>,
    // Results by op, operands and element type; the sizes of symbols are the same for every graph.
    memo: HashTable<Entry>,
    expansions: HashMap<(Op, OperandTypes), Option<Arc<Expansion>>>,
    hasher: DefaultHashBuilder,
    held: usize,
    fewest_coincidences: usize,
    fewest_decisions: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    op: Op,
    operands: SmallVec<[ValueNumber; 3]>,
    dtype: DType,
    results: Numbers,
}

/// A composite op's definition as a graph over inputs `0`, `1`, ….
#[derive(Debug)]
struct Expansion {
    graph: Graph,
    results: SmallVec<[Value; 1]>,
    live: Vec<bool>,
}

impl<S: Exact> Evaluator<S> {
    /// An evaluator in which symbols have these sizes.
    pub(crate) fn new(bindings: Bindings) -> Evaluator<S> {
        Evaluator {
            bindings,
            feeds: HashMap::new(),
            contents: Vec::new(),
            interned: HashTable::new(),
            memo: HashTable::new(),
            expansions: HashMap::new(),
            hasher: DefaultHashBuilder::default(),
            held: 0,
            fewest_coincidences: usize::MAX,
            fewest_decisions: usize::MAX,
        }
    }

    /// Sets an input, by name, of every graph that is evaluated from now on.
    pub(crate) fn feed(&mut self, name: &str, array: Arc<Array<S>>) {
        let number = self.intern(Content::new(array));
        self.feeds.insert(name.to_owned(), number);
    }

    /// Evaluates what `roots` need; they are values of `graph`.
    pub(crate) fn run(&mut self, graph: &Graph, roots: &[Value]) -> Result<Numbered, EvalError> {
        let live = graph.reaching(roots.iter().map(|root| root.node));
        let numbers = self.numbers(graph, &live, |evaluator, name, ty| {
            let missing = || EvalError::MissingInput { name: name.to_owned(), ty: Box::new(ty.clone()) };
            let number = *evaluator.feeds.get(name).ok_or_else(missing)?;
            let array = evaluator.array(number);
            if array.fits(ty, &ty.shape.resolve(&evaluator.bindings)?) {
                return Ok(number);
            }
            let found = format!("a value of shape {:?}", array.shape());
            Err(EvalError::WrongInput { name: name.to_owned(), ty: Box::new(ty.clone()), found })
        })?;
        Ok(Numbered(numbers))
    }

    /// The elements behind a number.
    pub(crate) fn array(&self, number: ValueNumber) -> &Array<S> {
        self.contents[number.0 as usize].array()
    }

    /// Elements in memory.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The fewest elements of a mask or of indices that were made from floats and turned out equal to something else.
    /// Each is one decision, so chance makes n of them equal once in 2ⁿ times.
    pub(crate) fn fewest_coincidences(&self) -> usize {
        self.fewest_coincidences
    }

    /// The fewest elements of a value that was made by choosing between cases, such as the signs of an operand.
    pub(crate) fn fewest_decisions(&self) -> usize {
        self.fewest_decisions
    }

    fn numbers(
        &mut self,
        graph: &Graph,
        live: &[bool],
        input: impl Fn(&Evaluator<S>, &str, &TensorType) -> Result<ValueNumber, EvalError>,
    ) -> Result<Vec<Numbers>, EvalError> {
        let mut numbers: Vec<Numbers> = vec![SmallVec::new(); graph.len()];
        for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
            numbers[id.index()] = match node.op() {
                Op::Input(op) => smallvec![input(self, op.name(), &node.types()[0])?],
                _ => self.evaluate(graph, node, &numbers)?,
            };
        }
        Ok(numbers)
    }

    fn evaluate(&mut self, graph: &Graph, node: &Node, numbers: &[Numbers]) -> Result<Numbers, EvalError> {
        let number = |value: &Value| numbers[value.node.index()][value.output as usize];
        let operands: SmallVec<[ValueNumber; 3]> = node.operands().iter().map(number).collect();
        let (op, dtype) = (node.op(), node.types()[0].dtype);
        let hash = self.hasher.hash_one((op, &operands, dtype));
        let known = |entry: &Entry| entry.op == *op && entry.operands == operands && entry.dtype == dtype;
        if let Some(entry) = self.memo.find(hash, known) {
            return Ok(entry.results.clone());
        }
        let known = self.contents.len();
        let results = match self.fast(op, &operands, &node.types()[0])? {
            Some(number) => smallvec![number],
            None => {
                let types = node.operands().iter().map(|&operand| graph.ty(operand).clone()).collect();
                self.slow(op, &operands, types, node.types())?
            }
        };
        if let [result] = *results {
            self.record(op, &operands, result, (result.0 as usize) < known);
        }
        let entry = Entry { hash, op: op.clone(), operands, dtype, results: results.clone() };
        self.memo.insert_unique(hash, entry, |entry| entry.hash);
        Ok(results)
    }

    fn record(&mut self, op: &Op, operands: &[ValueNumber], result: ValueNumber, is_old: bool) {
        let stored = self.contents[result.0 as usize].stored();
        let of_floats = || operands.iter().any(|n| matches!(self.contents[n.0 as usize].base(), Array::Real(_)));
        if stored == 0 || !decides(op) || !of_floats() {
            return;
        }
        let is_discrete = !matches!(self.contents[result.0 as usize].base(), Array::Real(_));
        self.fewest_decisions = self.fewest_decisions.min(stored);
        if is_discrete && is_old {
            self.fewest_coincidences = self.fewest_coincidences.min(stored);
        }
    }

    /// Ops with a loop of their own.
    fn fast(&mut self, op: &Op, operands: &[ValueNumber], ty: &TensorType) -> Result<Option<ValueNumber>, EvalError> {
        let shape = Axes::from_vec(ty.shape.resolve(&self.bindings)?);
        let at = |slot: usize| &self.contents[operands[slot].0 as usize];
        let nature = op.nature();
        match (op, nature) {
            // Views need no memory, but their elements must be countable.
            (_, Nature::View(Rearrangement::Permute(_) | Rearrangement::Stretch(_))) => {
                self.fits(ty, &shape, usize::MAX)?;
            }
            (Op::Dot(_) | Op::Reduce(_), _) => {
                let all = operands.iter().map(|operand| &self.contents[operand.0 as usize].shape).chain([&shape]);
                all.into_iter().try_for_each(|shape| self.admit(ty, shape))?;
            }
            _ => self.admit(ty, &shape)?,
        }
        let content = match (op, nature) {
            (_, Nature::View(Rearrangement::Same)) => return Ok(Some(operands[0])),
            (_, Nature::View(Rearrangement::Reshape)) => at(0).reshaped(shape),
            (_, Nature::View(Rearrangement::Permute(from))) => fast::permute(from, at(0), shape),
            (_, Nature::View(Rearrangement::Stretch(to))) => fast::stretch(to, at(0), shape),
            (_, Nature::Elementwise(Some(function))) => match function {
                Function::Unary(op) => fast::unary(op, at(0)),
                Function::Binary(op) => fast::binary(op, at(0), at(1)),
                Function::Compare(op) => fast::compare(op, at(0), at(1)),
                Function::Select => fast::select(at(0), at(1), at(2)),
                // Between f32 and f64 the number type stays as it is.
                Function::Cast(dtype) if dtype.is_float() && matches!(at(0).base(), Array::Real(_)) => {
                    return Ok(Some(operands[0]));
                }
                Function::Cast(_) => return Ok(None),
            },
            (Op::Reduce(op), _) => fast::reduce(op, at(0), shape),
            (Op::Dot(op), _) => product::dot(op, at(0), at(1), &shape),
            _ => return Ok(None),
        };
        Ok(Some(self.intern(content)))
    }

    /// Composites through their expansion, the rest as the reference does it.
    fn slow(
        &mut self,
        op: &Op,
        operands: &[ValueNumber],
        operand_types: OperandTypes,
        types: &[TensorType],
    ) -> Result<Numbers, EvalError> {
        if let Some(expansion) = self.expansion(op, operand_types.clone()) {
            let slot = |name: &str| operands[name.parse::<usize>().unwrap_or(0)];
            let numbers = self.numbers(&expansion.graph, &expansion.live, |_, name, _| Ok(slot(name)))?;
            let number = |value: &Value| numbers[value.node.index()][value.output as usize];
            return Ok(expansion.results.iter().map(number).collect());
        }
        for ty in operand_types.iter().chain(types) {
            self.admit(ty, &ty.shape.resolve(&self.bindings)?)?;
        }
        let arrays: Vec<&Array<S>> = operands.iter().map(|&operand| self.array(operand)).collect();
        let results = eval_op(op, &arrays, types, &self.bindings)?;
        Ok(results.into_iter().map(|array| self.intern(Content::new(Arc::new(array)))).collect())
    }

    fn expansion(&mut self, op: &Op, types: OperandTypes) -> Option<Arc<Expansion>> {
        // What these do is said by their nature alone.
        if let Nature::Source | Nature::View(_) | Nature::Elementwise(Some(_)) = op.nature() {
            return None;
        }
        let expand = || {
            let builder = Builder::new();
            let types = types.iter().enumerate();
            let inputs: Vec<_> =
                types.map(|(slot, ty)| builder.input(&slot.to_string(), ty.dtype, ty.shape.clone())).collect();
            let results: SmallVec<[Value; 1]> = op.expand(&inputs)?.iter().map(|result| result.value()).collect();
            match builder.finish() {
                Ok(graph) => {
                    let live = graph.reaching(results.iter().map(|result| result.node));
                    Some(Arc::new(Expansion { graph, results, live }))
                }
                Err(errors) => unreachable!("an expansion is well typed wherever its op is: law L1\n{errors}"),
            }
        };
        let expansion = self.expansions.entry((op.clone(), types.clone()));
        expansion.or_insert_with(expand).clone()
    }

    /// The number of these contents: an old one, or the next.
    fn intern(&mut self, content: Content<S>) -> ValueNumber {
        let (fingerprint, contents) = (content.fingerprint, &self.contents);
        let same = |&number: &ValueNumber| contents[number.0 as usize].same(&content);
        if let Some(&number) = self.interned.find(fingerprint, same) {
            return number;
        }
        let number = ValueNumber(self.contents.len() as u32);
        self.held += content.stored();
        self.contents.push(content);
        let contents = &self.contents;
        self.interned.insert_unique(fingerprint, number, |number| contents[number.0 as usize].fingerprint);
        number
    }

    /// Whether there is room for a value of that shape.
    fn admit(&self, ty: &TensorType, shape: &[usize]) -> Result<(), EvalError> {
        self.fits(ty, shape, MOST_ELEMENTS.saturating_sub(self.held))
    }

    fn fits(&self, ty: &TensorType, shape: &[usize], limit: usize) -> Result<(), EvalError> {
        // An empty shape may have sizes whose product overflows; strides are products of them.
        let elements = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size.max(1)));
        match elements {
            Some(elements) if elements <= limit => Ok(()),
            _ => Err(EvalError::TooLarge { ty: Box::new(ty.clone()), limit: MOST_ELEMENTS }),
        }
    }
}

/// Ops that choose between cases by looking at numbers; composites do so through one of these.
fn decides(op: &Op) -> bool {
    match op {
        Op::Unary(op) => matches!(op, Unary::Relu | Unary::Abs | Unary::Sign),
        Op::Binary(op) => matches!(op, Binary::Max | Binary::Min),
        Op::Reduce(op) => matches!(op.reduction, Reduction::Max | Reduction::Min),
        Op::Cast(op) => !op.dtype.is_float(),
        Op::Compare(_) | Op::ArgMax(_) => true,
        _ => false,
    }
}
