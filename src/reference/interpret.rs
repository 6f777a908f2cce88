//! Evaluates a graph node by node, in id order, over any number type.

use super::{Array, Number};
use crate::ir::{Bindings, Builder, DType, Dim, Expr, Graph, NodeId, OrderedMap, TensorType, UnboundSymbol, Value};
use crate::op::{EvalCx, Op};

/// A graph could not be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// An input that the outputs need was not fed.
    #[error("the input `{name}` ({ty}) was not fed; feed a value under that name")]
    MissingInput {
        /// The input's name.
        name: String,
        /// Its declared type.
        ty: Box<TensorType>,
    },
    /// A value was fed under a name that the graph does not have.
    #[error("the graph has no input `{name}`; feed only those that it has: {known}")]
    UnknownInput {
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A fed value does not fit the declared type, or two inputs disagree on a symbol.
    #[error("the input `{name}` is declared {ty}, but fed with {found}; feed that type, and one size for each symbol")]
    WrongInput {
        /// The input's name.
        name: String,
        /// Its declared type.
        ty: Box<TensorType>,
        /// What was fed, and under which earlier bindings.
        found: String,
    },
    /// A value is too large to be evaluated.
    #[error("a value of type {ty} is too large to evaluate here: no more than {limit} elements are held at once")]
    TooLarge {
        /// Its type.
        ty: Box<TensorType>,
        /// The most elements that are held.
        limit: usize,
    },
    /// A size that is asked for as a number is larger than its element type, or than anything that can be counted.
    #[error(
        "a shape of {sizes:?} has more elements than {dtype} counts; ask for its size as f64, or feed smaller values"
    )]
    Uncountable {
        /// The sizes that are multiplied.
        sizes: Vec<usize>,
        /// The element type that was asked for.
        dtype: DType,
    },
    /// A symbolic dimension has no size.
    #[error(transparent)]
    Unbound(#[from] UnboundSymbol),
}

/// The values of a graph's named outputs, and the next values of its state, after one run.
#[derive(Clone, Debug)]
pub struct Interpreted<S> {
    /// By output name.
    pub outputs: OrderedMap<String, Array<S>>,
    /// By state input name.
    pub updates: OrderedMap<String, Array<S>>,
}

/// The most elements that are held in memory at once: a graph may name shapes that no memory can hold.
pub(crate) const MOST_ELEMENTS: usize = 1 << 28;

/// As many of the values of a whole graph, 16 GiB in f64.
const MOST_VALUES: usize = 1 << 31;

/// How many more elements may be held, of how many.
struct Room {
    left: usize,
    limit: usize,
}

impl Room {
    fn of(limit: usize) -> Room {
        Room { left: limit, limit }
    }

    /// Takes the room of results of these types, before they are made.
    fn admit(&mut self, types: &[TensorType], bindings: &Bindings) -> Result<(), EvalError> {
        for ty in types {
            let shape = ty.shape.resolve(bindings)?;
            // An empty shape may have sizes whose product overflows; loops and strides are products of them.
            let countable = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size.max(1)));
            let elements = countable.map(|_| shape.iter().product::<usize>());
            let left = elements.and_then(|elements| self.left.checked_sub(elements));
            self.left = left.ok_or_else(|| EvalError::TooLarge { ty: Box::new(ty.clone()), limit: self.limit })?;
        }
        Ok(())
    }
}

/// Evaluates the outputs and updates of `graph` with these inputs, by name.
///
/// # Errors
/// An input that is missing or of another type, a symbol without a size, or a value larger than memory.
pub fn interpret<S: Number>(graph: &Graph, feeds: &OrderedMap<String, Array<S>>) -> Result<Interpreted<S>, EvalError> {
    let live = graph.live();
    let values = run(graph, feeds, &live)?;
    let get = |value: Value| values[value.node.index()][value.output as usize].clone();
    Ok(Interpreted {
        outputs: graph.outputs().map(|(name, value)| (name.to_owned(), get(value))).collect(),
        updates: graph
            .updates()
            .filter_map(|(state, next)| Some((graph.as_input(state)?.0.to_owned(), get(next))))
            .collect(),
    })
}

/// Evaluates every node of `graph`: for each node, in id order, its results.
///
/// # Errors
/// As for [`interpret`].
pub fn interpret_all<S: Number>(
    graph: &Graph,
    feeds: &OrderedMap<String, Array<S>>,
) -> Result<Vec<Vec<Array<S>>>, EvalError> {
    run(graph, feeds, &vec![true; graph.len()])
}

fn run<S: Number>(
    graph: &Graph,
    feeds: &OrderedMap<String, Array<S>>,
    live: &[bool],
) -> Result<Vec<Vec<Array<S>>>, EvalError> {
    run_within(graph, feeds, live, &mut Room::of(MOST_VALUES))
}

fn run_within<S: Number>(
    graph: &Graph,
    feeds: &OrderedMap<String, Array<S>>,
    live: &[bool],
    room: &mut Room,
) -> Result<Vec<Vec<Array<S>>>, EvalError> {
    if let Some(name) = feeds.keys().find(|name| graph.input(name).is_none()) {
        let known = graph.inputs().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(EvalError::UnknownInput { name: name.clone(), known });
    }
    let bindings = bind(graph, feeds.iter().map(|(name, array)| (name.as_str(), array.shape())))?;
    let mut values: Vec<Vec<Array<S>>> = Vec::with_capacity(graph.len());
    for (id, node) in graph.nodes() {
        if !live[id.index()] {
            values.push(Vec::new());
            continue;
        }
        if let Op::Input(input) = &node.op {
            let (name, ty) = (input.name().to_owned(), Box::new(node.types()[0].clone()));
            let Some(array) = feeds.get(&name) else { return Err(EvalError::MissingInput { name, ty }) };
            if !array.fits(&ty, &ty.shape.resolve(&bindings)?) {
                let kind = match array {
                    Array::Real(_) => "floats",
                    Array::Int(_) => "integers",
                    Array::Bool(_) => "a mask",
                };
                let found = format!("{kind} of shape {:?} (with {})", array.shape(), describe_bindings(&bindings));
                return Err(EvalError::WrongInput { name, ty, found });
            }
            room.admit(node.types(), &bindings)?;
            values.push(vec![array.clone()]);
            continue;
        }
        let operands: Vec<&Array<S>> =
            node.operands().iter().map(|operand| &values[operand.node.index()][operand.output as usize]).collect();
        room.admit(node.types(), &bindings)?;
        values.push(eval_within(&node.op, &operands, node.types(), &bindings, room)?);
    }
    Ok(values)
}

/// The sizes of a graph's symbols, from the shapes of its inputs.
pub(crate) fn bind<'a>(
    graph: &Graph,
    shapes: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<Bindings, EvalError> {
    let mut bindings = Bindings::new();
    for (name, shape) in shapes {
        let Some(id) = graph.input(name) else { continue };
        let ty = &graph.node(id).types()[0];
        let fits = ty.shape.rank() == shape.len()
            && ty.shape.iter().zip(shape).all(|(dim, &size)| match *dim {
                Dim::Known(known) => known == size,
                Dim::Symbol(symbol) => *bindings.or_insert(symbol, size) == size,
            });
        if !fits {
            let found = format!("a value of shape {shape:?} (with {})", describe_bindings(&bindings));
            return Err(EvalError::WrongInput { name: name.to_owned(), ty: Box::new(ty.clone()), found });
        }
    }
    Ok(bindings)
}

fn describe_bindings(bindings: &Bindings) -> String {
    if bindings.is_empty() {
        return "no symbol bound".to_owned();
    }
    bindings.iter().map(|(symbol, size)| format!("{} = {size}", symbol.name())).collect::<Vec<_>>().join(", ")
}

/// Evaluates one op whose results there is memory for: a primitive by its `eval`, a composite through its expansion.
pub(crate) fn eval_op<S: Number>(
    op: &Op,
    operands: &[&Array<S>],
    types: &[TensorType],
    bindings: &Bindings,
) -> Result<Vec<Array<S>>, EvalError> {
    eval_within(op, operands, types, bindings, &mut Room::of(MOST_ELEMENTS))
}

/// Evaluates one op whose results have their room, the values within its expansion in what is left.
fn eval_within<S: Number>(
    op: &Op,
    operands: &[&Array<S>],
    types: &[TensorType],
    bindings: &Bindings,
    room: &mut Room,
) -> Result<Vec<Array<S>>, EvalError> {
    let shapes = types.iter().map(|ty| ty.shape.resolve(bindings)).collect::<Result<Vec<_>, _>>()?;
    if let Op::Size(size) = op {
        let sizes = size.dims().resolve(bindings)?;
        if size.count(&sizes).is_none() {
            return Err(EvalError::Uncountable { sizes, dtype: types[0].dtype });
        }
    }
    let cx = EvalCx { operands, shapes: &shapes, types, bindings };
    match op.eval(&cx) {
        Some(results) => Ok(results),
        None => eval_expansion(op, operands, types, bindings, room),
    }
}

/// Evaluates an op's expansion over concrete shapes.
fn eval_expansion<S: Number>(
    op: &Op,
    operands: &[&Array<S>],
    types: &[TensorType],
    bindings: &Bindings,
    room: &mut Room,
) -> Result<Vec<Array<S>>, EvalError> {
    // Element types of real operands are not known from the array; all floats of one expansion share one type.
    let float = types.iter().map(|ty| ty.dtype).find(|dtype| dtype.is_float()).unwrap_or(crate::ir::DType::F64);
    let builder = Builder::new();
    let inputs: Vec<Expr<'_>> = operands
        .iter()
        .enumerate()
        .map(|(slot, array)| {
            let dtype = match array {
                Array::Real(_) => float,
                Array::Int(_) => crate::ir::DType::I32,
                Array::Bool(_) => crate::ir::DType::Bool,
            };
            builder.input(&slot.to_string(), dtype, array.shape())
        })
        .collect();
    let results = op.expand(&inputs);
    let results: Vec<Value> = match results {
        Some(results) => results.iter().map(|result| result.value()).collect(),
        None => unreachable!("an op evaluates itself or expands: law L3"),
    };
    let graph = match builder.finish() {
        Ok(graph) => graph,
        Err(errors) => unreachable!("an expansion is well typed wherever its op is: law L1\n{errors}"),
    };
    let left = room.left;
    let mut values: Vec<Vec<Array<S>>> = Vec::with_capacity(graph.len());
    for (id, node) in graph.nodes() {
        let results = match &node.op {
            Op::Input(_) => vec![operands[input_slot(&graph, id)].clone()],
            op => {
                let operands: Vec<&Array<S>> =
                    node.operands().iter().map(|v| &values[v.node.index()][v.output as usize]).collect();
                room.admit(node.types(), bindings)?;
                eval_within(op, &operands, node.types(), bindings, room)?
            }
        };
        values.push(results);
    }
    // What is within is dropped here; the results have their room already.
    room.left = left;
    Ok(results.iter().map(|value| values[value.node.index()][value.output as usize].clone()).collect())
}

fn input_slot(graph: &Graph, id: NodeId) -> usize {
    graph.inputs().position(|(_, input)| input == id).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;
    use crate::reference::NdArray;

    /// Each value fits, but not all of them at once.
    #[test]
    fn what_is_held_at_once_is_counted() {
        let b = Builder::new();
        let x = b.input("x", DType::Bool, [1 << 6]);
        let halved = (1..5).fold(x, |x, i| x.reshape([1 << i, 1 << (6 - i)]));
        b.output("y", halved);
        let graph = b.finish().unwrap();
        let x = Array::Bool(NdArray { shape: vec![1 << 6], data: vec![true; 1 << 6] });
        let feeds = OrderedMap::from([("x".to_owned(), x)]);
        let found = |most| run_within::<f64>(&graph, &feeds, &vec![true; graph.len()], &mut Room::of(most)).map(drop);
        assert_eq!(found(5 << 6), Ok(()));
        assert!(matches!(found((5 << 6) - 1), Err(EvalError::TooLarge { limit: 319, .. })));
    }
}
