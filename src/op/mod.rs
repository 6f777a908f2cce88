//! What an op is: one definition, from which printer, parser, interpreter, autodiff and laws follow.
//!
//! An op lives in one file of [`ops`](crate::ops) (or one row of a family file) and in one line of THE list (`list.rs`).
//! Registering it buys the laws L1 to L10 of docs/LAWS.md with no test written by hand.

mod attr;
mod case;
mod cx;
mod edge;
mod list;
mod nature;
pub mod onnx;
mod rows;

pub use attr::{Attr, AttrError, Attrs, Scalar};
pub(crate) use case::SHAPES;
pub use case::{Case, Domain, Sample};
pub use cx::{Cotangent, EvalCx, InferCx, Mismatch, NoVjp, Types, VjpCx};
pub use edge::Edge;
pub(crate) use edge::{INF, NAN};
pub use list::Op;
pub(crate) use list::all_ops;
pub use nature::{Function, Nature, Rearrangement};
pub(crate) use rows::keeps_rows_apart;
pub use rows::{Rows, RowsCx};

pub use crate::ir::Role;

use crate::ir::{Expr, TensorType};
use crate::reference::{Array, Number};
use onnx::{Exported, Held, Onnx};
use std::fmt::Debug;
use std::hash::Hash;

/// The definition of an op, or of a family of one-line ops.
///
/// A *primitive* op implements [`eval`](OpDef::eval); a *composite* implements [`expand`](OpDef::expand), which is its
/// definition, and gets evaluation and differentiation from it. Whatever a composite implements besides (a
/// hand-derived [`vjp`](OpDef::vjp), a kernel) is a faster form that the laws compare with that definition.
pub trait OpDef: Clone + Debug + PartialEq + Eq + Hash + Into<Op> {
    /// The stable names of this op or family: printer, parser, docs, goldens.
    const NAMES: &'static [&'static str];

    /// This op's name, one of [`NAMES`](OpDef::NAMES).
    fn name(&self) -> &'static str {
        Self::NAMES[0]
    }

    /// One line for the op index: what it computes.
    fn about(&self) -> &'static str;

    /// What kind of op it is: how rewriting, counting and planning look at it.
    fn nature(&self) -> Nature<'_>;

    /// Names of the operands in order; the last one repeats for a variadic op.
    fn operand_names(&self) -> &'static [&'static str];

    /// Number of results.
    fn results(&self) -> usize {
        1
    }

    /// The attributes, in the order in which they are printed.
    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        Vec::new()
    }

    /// The op of that name with those attributes; the inverse of [`attrs`](OpDef::attrs).
    ///
    /// # Errors
    /// An attribute that is missing or that this op cannot have.
    fn from_attrs(name: &str, attrs: &mut Attrs) -> Result<Self, AttrError>;

    /// Result types, or why the operands do not fit.
    ///
    /// # Errors
    /// What does not fit, and how to mend it. The number of operands was checked before.
    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch>;

    /// How the rows of a batch pass through it: whether they stay apart, and along which axis of each result they lie.
    ///
    /// It follows from the [`nature`](OpDef::nature) or the definition of most ops. One of another nature counts as coupling
    /// its rows, which is safe and slow, unless it says otherwise here.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        cx.by_nature(self)
    }

    /// The definition of a composite in smaller ops; `None` for a primitive.
    fn expand<'b>(&self, _operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        None
    }

    /// Reference semantics of a primitive: plain, slow, over any number type.
    fn eval<S: Number>(&self, _cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        None
    }

    /// The cotangents of the operands, given those of the results.
    ///
    /// # Errors
    /// There is no rule: either the definition is to be differentiated, or the op has no derivative.
    fn vjp<'b>(&self, _cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Err(NoVjp::DifferentiateExpansion)
    }

    /// What it becomes in ONNX, over values that are there already: the result, whose type is `ty`.
    ///
    /// There is no default, so that each op is decided on. A composite without a form of its own is written as its
    /// definition, by [`Onnx::expand`].
    ///
    /// # Errors
    /// What has no equal in ONNX, and what to do instead.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held>;

    /// Sample instances over the op's own domain, away from kinks, for the laws.
    fn cases() -> Vec<Case>;

    /// What it gives at kinks, ties and poles, outside of its domain, and over NaN. An op of a family without an edge is a
    /// polynomial, as are those that only move elements: its definition says all.
    fn edges() -> Vec<Edge>;

    /// The number that keeps two random ops apart, for an op that draws random numbers.
    fn site(&self) -> Option<u32> {
        None
    }
}
