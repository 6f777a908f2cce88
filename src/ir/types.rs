//! Dimensions, shapes and tensor types; the batch is a symbol from declaration to export.

use super::{DType, OrderedMap};
use indexmap::IndexSet;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Deref;
use std::sync::{LazyLock, Mutex, PoisonError};

/// A named dimension whose size is known only when a graph is compiled or evaluated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

// Names are interned for the life of the program so that a `Dim` stays `Copy`; each distinct name is stored once.
static SYMBOLS: LazyLock<Mutex<IndexSet<&'static str>>> = LazyLock::new(Mutex::default);

impl Symbol {
    /// The symbol of that name; equal names are the same symbol.
    pub fn new(name: &str) -> Symbol {
        let mut names = SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match names.get_index_of(name) {
            Some(index) => index,
            None => names.insert_full(Box::leak(name.to_owned().into_boxed_str())).0,
        };
        Symbol(index as u32)
    }

    /// The symbol's name.
    pub fn name(self) -> &'static str {
        SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner)[self.0 as usize]
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One dimension of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A size fixed at declaration.
    Known(usize),
    /// A size bound later, such as the batch.
    Symbol(Symbol),
}

impl Dim {
    /// The symbolic dimension of that name.
    pub fn symbol(name: &str) -> Dim {
        Dim::Symbol(Symbol::new(name))
    }

    /// The size, when it is known.
    pub fn known(self) -> Option<usize> {
        match self {
            Dim::Known(size) => Some(size),
            Dim::Symbol(_) => None,
        }
    }

    /// Whether this is the literal size 1, the only size that broadcasts.
    pub fn is_one(self) -> bool {
        self == Dim::Known(1)
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Dim {
        Dim::Known(size)
    }
}

/// A name is a symbol; digits are a size, as in the text form: `["batch", "784"]` is what it looks like.
impl From<&str> for Dim {
    fn from(name: &str) -> Dim {
        name.parse().map_or_else(|_| Dim::symbol(name), Dim::Known)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(size) => write!(f, "{size}"),
            Dim::Symbol(symbol) if super::is_symbol(symbol.name()) => f.write_str(symbol.name()),
            Dim::Symbol(symbol) => f.write_str(&super::quote(symbol.name())),
        }
    }
}

/// The sizes given to the symbols of a graph.
pub type Bindings = OrderedMap<Symbol, usize>;

/// A symbol that has no size yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dimension `{}` has no size: bind it, or feed an input that has it", .0.name())]
pub struct UnboundSymbol(pub Symbol);

/// An ordered list of dimensions; rank 0 is a scalar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[Dim; 4]>);

impl Shape {
    /// The shape with these dimensions.
    pub fn new(dims: impl IntoIterator<Item = impl Into<Dim>>) -> Shape {
        Shape(dims.into_iter().map(Into::into).collect())
    }

    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes, when every dimension is known.
    pub fn known(&self) -> Option<Vec<usize>> {
        self.iter().map(|dim| dim.known()).collect()
    }

    /// The sizes under `bindings`.
    ///
    /// # Errors
    /// The first symbol that has no size.
    pub fn resolve(&self, bindings: &Bindings) -> Result<Vec<usize>, UnboundSymbol> {
        self.iter().map(|dim| dim.resolve(bindings)).collect()
    }

    /// The shape without the given axes.
    pub fn without(&self, axes: &[usize]) -> Shape {
        Shape(self.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &dim)| dim).collect())
    }

    /// The shape with `axis` replaced by `dim`.
    pub fn with(&self, axis: usize, dim: impl Into<Dim>) -> Shape {
        let mut shape = self.clone();
        shape.0[axis] = dim.into();
        shape
    }
}

impl Dim {
    /// The size under `bindings`.
    ///
    /// # Errors
    /// A symbol that has no size.
    pub fn resolve(self, bindings: &Bindings) -> Result<usize, UnboundSymbol> {
        match self {
            Dim::Known(size) => Ok(size),
            Dim::Symbol(symbol) => bindings.get(&symbol).copied().ok_or(UnboundSymbol(symbol)),
        }
    }
}

impl Deref for Shape {
    type Target = [Dim];
    fn deref(&self) -> &[Dim] {
        &self.0
    }
}

impl<D: Into<Dim>, const N: usize> From<[D; N]> for Shape {
    fn from(dims: [D; N]) -> Shape {
        Shape::new(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims.iter().copied())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Shape {
        Shape::new(dims)
    }
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Shape {
        Shape(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.iter().enumerate() {
            if axis > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

/// The static type of a value: element type and shape. Prints as `f32[batch,784]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Shape, with known and symbolic dimensions.
    pub shape: Shape,
}

impl TensorType {
    /// The type with that element type and shape.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    /// The type of a scalar.
    pub fn scalar(dtype: DType) -> TensorType {
        TensorType { dtype, shape: Shape::scalar() }
    }

    /// The same shape with another element type.
    pub fn with_dtype(&self, dtype: DType) -> TensorType {
        TensorType { dtype, shape: self.shape.clone() }
    }

    /// The same element type with another shape.
    pub fn with_shape(&self, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: self.dtype, shape: shape.into() }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
