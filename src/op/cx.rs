//! What an op may see while it infers, evaluates and differentiates.

use super::Op;
use crate::ir::{Bindings, Builder, Code, DType, Dim, Expr, Shape, TensorType};
use crate::reference::{Array, Number};
use smallvec::SmallVec;
use std::ops::Deref;

/// Result types of a node, in order; reads as a slice.
///
/// ```
/// use foldgrad::DType;
/// use foldgrad::ir::TensorType;
/// use foldgrad::op::Types;
/// let types: Types = [TensorType::scalar(DType::F32)].into();
/// assert_eq!(types[0].rank(), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Types(SmallVec<[TensorType; 1]>);

impl Deref for Types {
    type Target = [TensorType];
    fn deref(&self) -> &[TensorType] {
        &self.0
    }
}

impl<const N: usize> From<[TensorType; N]> for Types {
    fn from(types: [TensorType; N]) -> Types {
        types.into_iter().collect()
    }
}

impl FromIterator<TensorType> for Types {
    fn from_iter<I: IntoIterator<Item = TensorType>>(types: I) -> Types {
        Types(types.into_iter().collect())
    }
}

/// Why operands do not fit an op.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .help.as_deref().map(|help| format!("; {help}")).unwrap_or_default())]
pub struct Mismatch {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Mismatch {
    /// Shapes that do not fit together.
    pub fn shape(message: impl Into<String>) -> Mismatch {
        Mismatch { code: Code::Shape, message: message.into(), help: None }
    }

    /// An element type that the op does not take.
    pub fn dtype(message: impl Into<String>) -> Mismatch {
        Mismatch { code: Code::DType, message: message.into(), help: None }
    }

    /// An attribute out of range.
    pub fn attribute(message: impl Into<String>) -> Mismatch {
        Mismatch { code: Code::Attribute, message: message.into(), help: None }
    }

    /// Says how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Mismatch {
        self.help = Some(help.into());
        self
    }
}

/// Operand types, with the checks that shape rules share.
#[derive(Debug)]
pub struct InferCx<'a> {
    names: &'static [&'static str],
    operands: &'a [&'a TensorType],
}

impl<'a> InferCx<'a> {
    pub(crate) fn new(names: &'static [&'static str], operands: &'a [&'a TensorType]) -> InferCx<'a> {
        InferCx { names, operands }
    }

    pub(crate) fn check_arity(&self, op: &Op) -> Result<(), Mismatch> {
        let (have, want) = (self.operands.len(), op.operand_names().len());
        let variadic = op.operand_names().last().is_some_and(|name| name.ends_with("..."));
        if (variadic && have + 1 >= want) || have == want {
            return Ok(());
        }
        let least = if variadic { format!("at least {}", want - 1) } else { want.to_string() };
        let names = op.operand_names().join(", ");
        let help = if have < want { "give each of them, in that order" } else { "leave the others out" };
        Err(Mismatch::attribute(format!("takes {least} operands ({names}), found {have}")).help(help))
    }

    /// Every operand type.
    pub fn operands(&self) -> &'a [&'a TensorType] {
        self.operands
    }

    /// The type of an operand.
    pub fn ty(&self, slot: usize) -> &'a TensorType {
        self.operands[slot]
    }

    /// The shape of an operand.
    pub fn shape(&self, slot: usize) -> &'a Shape {
        &self.operands[slot].shape
    }

    /// The name of an operand.
    pub fn name(&self, slot: usize) -> &'static str {
        self.names.get(slot).or(self.names.last()).map_or("operand", |name| name.trim_end_matches('.'))
    }

    /// The operand's type, which must be f32 or f64.
    ///
    /// # Errors
    /// An integer or a mask.
    pub fn float(&self, slot: usize) -> Result<&'a TensorType, Mismatch> {
        let ty = self.ty(slot);
        if ty.dtype.is_float() {
            return Ok(ty);
        }
        Err(Mismatch::dtype(format!("{} must be f32 or f64, found {}", self.name(slot), ty.dtype))
            .help("convert it with `.cast(DType::F32)`"))
    }

    /// The operand's type, which must have that element type.
    ///
    /// # Errors
    /// Another element type.
    pub fn dtype(&self, slot: usize, dtype: DType) -> Result<&'a TensorType, Mismatch> {
        let ty = self.ty(slot);
        if ty.dtype == dtype {
            return Ok(ty);
        }
        Err(Mismatch::dtype(format!("{} must be {dtype}, found {}", self.name(slot), ty.dtype))
            .help(format!("convert it with `.cast({})`", dtype_path(dtype))))
    }

    /// Requires that two operands have one element type.
    ///
    /// # Errors
    /// Two element types.
    pub fn same_dtype(&self, a: usize, b: usize) -> Result<(), Mismatch> {
        let (x, y) = (self.ty(a), self.ty(b));
        if x.dtype == y.dtype {
            return Ok(());
        }
        Err(Mismatch::dtype(format!("{} is {}, but {} is {}", self.name(a), x.dtype, self.name(b), y.dtype))
            .help(format!("convert one of them, for example with `.cast({})`", dtype_path(x.dtype))))
    }

    /// Requires that two operands have one shape.
    ///
    /// # Errors
    /// Two shapes.
    pub fn same_shape(&self, a: usize, b: usize) -> Result<(), Mismatch> {
        let (x, y) = (self.ty(a), self.ty(b));
        if x.shape == y.shape {
            return Ok(());
        }
        Err(Mismatch::shape(format!("{} is {x}, but {} is {y}", self.name(a), self.name(b)))
            .help("make the shapes equal, with `.reshape`, `.transpose` or `.broadcast_to`"))
    }

    /// Requires a rank.
    ///
    /// # Errors
    /// Another rank.
    pub fn rank(&self, slot: usize, rank: usize) -> Result<&'a TensorType, Mismatch> {
        let ty = self.ty(slot);
        if ty.rank() == rank {
            return Ok(ty);
        }
        Err(Mismatch::shape(format!("{} must have rank {rank}, found {ty}", self.name(slot)))
            .help(format!("give {} {rank} axes, with `.reshape` say", self.name(slot))))
    }

    /// Requires a vector with as many entries as `dim`.
    ///
    /// # Errors
    /// Another shape or element type.
    pub fn vector_of(&self, slot: usize, dim: Dim, dtype: DType, what: &str) -> Result<(), Mismatch> {
        let ty = self.ty(slot);
        let want = TensorType::new(dtype, [dim]);
        if *ty == want {
            return Ok(());
        }
        let mismatch = if ty.dtype == dtype { Mismatch::shape } else { Mismatch::dtype };
        Err(mismatch(format!("{} must be {want}, one entry for each {what}, found {ty}", self.name(slot)))
            .help(format!("give {} the shape [{dim}] and the element type {dtype}", self.name(slot))))
    }

    /// Requires that `axis` exists in an operand.
    ///
    /// # Errors
    /// An axis that the operand does not have.
    pub fn axis(&self, slot: usize, axis: usize) -> Result<Dim, Mismatch> {
        let ty = self.ty(slot);
        ty.shape.get(axis).copied().ok_or_else(|| {
            Mismatch::attribute(format!("axis {axis} is out of range for {} {ty}", self.name(slot))).help(format!(
                "axes are counted from 0; {} has {}",
                self.name(slot),
                ty.rank()
            ))
        })
    }

    /// Requires that `axes` exist in an operand, in ascending order.
    ///
    /// # Errors
    /// An axis that the operand does not have, or one that comes twice or out of order.
    pub fn axes(&self, slot: usize, axes: &[usize]) -> Result<(), Mismatch> {
        axes.iter().try_for_each(|&axis| self.axis(slot, axis).map(drop))?;
        if axes.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(());
        }
        Err(Mismatch::attribute(format!("axes {axes:?} must be ascending, without repetition"))
            .help("name each axis once"))
    }

    /// Requires that batch norm's ε keeps its square root real.
    pub(crate) fn epsilon(&self, eps: f64) -> Result<(), Mismatch> {
        if eps >= 0.0 && eps.is_finite() {
            return Ok(());
        }
        Err(Mismatch::attribute(format!("eps is {eps}"))
            .help("it is added to the variance under a square root; give a small positive number such as 1e-3"))
    }
}

fn dtype_path(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "DType::F32",
        DType::F64 => "DType::F64",
        DType::I32 => "DType::I32",
        DType::Bool => "DType::Bool",
    }
}

/// Operand values and concrete result shapes, for the reference interpreter.
#[derive(Debug)]
pub struct EvalCx<'a, S> {
    pub(crate) operands: &'a [&'a Array<S>],
    pub(crate) shapes: &'a [Vec<usize>],
    pub(crate) types: &'a [TensorType],
    pub(crate) bindings: &'a Bindings,
}

impl<'a, S: Number> EvalCx<'a, S> {
    /// An operand's value.
    pub fn operand(&self, slot: usize) -> &'a Array<S> {
        self.operands[slot]
    }

    /// Every operand's value.
    pub fn operands(&self) -> &'a [&'a Array<S>] {
        self.operands
    }

    /// The concrete shape of a result.
    pub fn shape(&self, result: usize) -> &'a [usize] {
        &self.shapes[result]
    }

    /// The type of a result.
    pub fn ty(&self, result: usize) -> &'a TensorType {
        &self.types[result]
    }

    /// The size of a dimension; every symbol of the node was bound before evaluation.
    pub fn size(&self, dim: Dim) -> usize {
        dim.resolve(self.bindings).unwrap_or(0)
    }
}

/// A gradient with respect to a value: a symbolic zero that is never materialised, or an expression.
#[derive(Clone, Copy, Debug)]
pub enum Cotangent<'b> {
    /// Nothing flows.
    Zero,
    /// The cotangent, of the same type as its primal.
    Value(Expr<'b>),
}

impl<'b> Cotangent<'b> {
    /// The expression, unless it is zero.
    pub fn value(self) -> Option<Expr<'b>> {
        match self {
            Cotangent::Zero => None,
            Cotangent::Value(value) => Some(value),
        }
    }

    /// The cotangent of a linear function of this one: zero stays zero.
    pub fn map(self, f: impl FnOnce(Expr<'b>) -> Expr<'b>) -> Cotangent<'b> {
        match self {
            Cotangent::Zero => Cotangent::Zero,
            Cotangent::Value(value) => Cotangent::Value(f(value)),
        }
    }
}

impl<'b> From<Expr<'b>> for Cotangent<'b> {
    fn from(value: Expr<'b>) -> Cotangent<'b> {
        Cotangent::Value(value)
    }
}

/// Why an op has no reverse rule of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoVjp {
    /// The reverse sweep differentiates the op's expansion instead.
    DifferentiateExpansion,
    /// The op has no derivative; the reason, and how to get around it.
    NotDifferentiable(&'static str),
}

/// What a reverse rule sees: the primal operands and results, and the cotangents of the results.
#[derive(Debug)]
pub struct VjpCx<'a, 'b> {
    pub(crate) builder: &'b Builder,
    pub(crate) operands: &'a [Expr<'b>],
    pub(crate) results: &'a [Expr<'b>],
    pub(crate) cotangents: &'a [Cotangent<'b>],
    pub(crate) needed: &'a [bool],
}

impl<'b> VjpCx<'_, 'b> {
    /// The builder that the gradient is appended to.
    pub fn builder(&self) -> &'b Builder {
        self.builder
    }

    /// A primal operand.
    pub fn operand(&self, slot: usize) -> Expr<'b> {
        self.operands[slot]
    }

    /// Every primal operand.
    pub fn operands(&self) -> &[Expr<'b>] {
        self.operands
    }

    /// A primal result.
    pub fn result(&self, index: usize) -> Expr<'b> {
        self.results[index]
    }

    /// The cotangent of a result.
    pub fn cotangent(&self, index: usize) -> Cotangent<'b> {
        self.cotangents[index]
    }

    /// The cotangent of a result as an expression; zeros are written out.
    pub fn materialised(&self, index: usize) -> Expr<'b> {
        self.cotangents[index].value().unwrap_or_else(|| self.results[index].zeros_like())
    }

    /// Whether anyone asks for the cotangent of that operand; a rule may return zero where nobody does.
    pub fn needed(&self, slot: usize) -> bool {
        self.needed[slot]
    }

    /// `cotangent` if anyone asks for it.
    pub fn if_needed(&self, slot: usize, cotangent: impl FnOnce() -> Expr<'b>) -> Cotangent<'b> {
        if self.needed(slot) { Cotangent::Value(cotangent()) } else { Cotangent::Zero }
    }
}
