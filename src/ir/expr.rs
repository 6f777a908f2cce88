//! Expressions: values tied to their builder, with operator sugar and numpy-style broadcasting.
//!
//! In the graph itself broadcasting is explicit: element-wise ops take operands of one shape. The sugar here inserts
//! the `broadcast` nodes. Each op's own file adds its method to [`Expr`].

use super::builder::POISON;
use super::{Builder, Code, DType, Diagnostic, Dim, Shape, TensorType, Value};
use crate::op::Op;
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};
use std::panic::Location;

/// A value under construction. Cheap to copy; `x + y` and `&x + &y` both work, and remember the line they stand on.
#[derive(Clone, Copy)]
pub struct Expr<'b> {
    pub(crate) builder: &'b Builder,
    pub(crate) value: Value,
}

impl fmt::Debug for Expr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_poisoned() { f.write_str("poisoned") } else { write!(f, "{} : {}", self.value, self.ty()) }
    }
}

impl<'b> Expr<'b> {
    /// The builder it belongs to.
    pub fn builder(self) -> &'b Builder {
        self.builder
    }

    /// The value it stands for. Meaningless when [poisoned](Expr::is_poisoned).
    pub fn value(self) -> Value {
        self.value
    }

    /// Whether a mistake in making it was already reported.
    pub fn is_poisoned(self) -> bool {
        self.value == POISON
    }

    /// Its type; a scalar `f32` when poisoned.
    pub fn ty(self) -> TensorType {
        if self.is_poisoned() {
            return TensorType::scalar(DType::F32);
        }
        self.builder.graph().ty(self.value).clone()
    }

    /// Its element type.
    pub fn dtype(self) -> DType {
        if self.is_poisoned() { DType::F32 } else { self.builder.graph().ty(self.value).dtype }
    }

    /// Its shape.
    pub fn shape(self) -> Shape {
        self.ty().shape
    }

    /// Number of dimensions.
    pub fn rank(self) -> usize {
        if self.is_poisoned() { 0 } else { self.builder.graph().ty(self.value).rank() }
    }

    /// A scalar of the same element type.
    #[track_caller]
    pub fn scalar_like(self, value: f64) -> Expr<'b> {
        self.builder.scalar(self.dtype(), value)
    }

    /// A constant of the same type, every element `value`.
    #[track_caller]
    pub fn full_like(self, value: f64) -> Expr<'b> {
        self.scalar_like(value).broadcast_to(self.shape())
    }

    /// Zeros of the same type.
    #[track_caller]
    pub fn zeros_like(self) -> Expr<'b> {
        self.full_like(0.0)
    }

    /// This expression, if each of `axes` is one of its own and named once; poisoned, after a report under the method's
    /// name, if not.
    #[track_caller]
    pub(crate) fn with_axes(self, method: &str, axes: &[usize]) -> Expr<'b> {
        if self.is_poisoned() {
            return self;
        }
        let (ty, rank) = (self.ty(), self.rank());
        let wrong = match axes.iter().enumerate().find(|(i, axis)| **axis >= rank || axes[..*i].contains(axis)) {
            None => return self,
            Some((_, axis)) if *axis >= rank => format!("axis {axis} is out of range for {ty}"),
            Some((_, axis)) => format!("axis {axis} is named twice in {axes:?}"),
        };
        let place = self.builder.graph().place(self.value.node);
        self.builder.report(
            Diagnostic::new(Code::Attribute, format!("{method}: {wrong}"))
                .at(Location::caller())
                .note_at(format!("{ty} was made here"), place)
                .help(format!("axes are counted from 0; there are {rank}; name each at most once")),
        );
        self.builder.poisoned()
    }

    /// Applies an op to this expression alone.
    #[track_caller]
    pub(crate) fn apply(self, op: impl Into<Op>) -> Expr<'b> {
        self.builder.push(op.into(), &[self])
    }

    /// Applies an op to this expression and another of the same shape after numpy-style broadcasting.
    #[track_caller]
    pub(crate) fn apply_broadcast(self, op: impl Into<Op>, other: Expr<'b>) -> Expr<'b> {
        let (a, b) = self.broadcast_together(other);
        self.builder.push(op.into(), &[a, b])
    }

    /// Both expressions at their common shape: axes are aligned from the right, and size 1 stretches.
    #[track_caller]
    pub fn broadcast_together(self, other: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
        if self.is_poisoned() || other.is_poisoned() {
            return (self.builder.poisoned(), self.builder.poisoned());
        }
        let (a, b) = (self.shape(), other.shape());
        if a == b {
            return (self, other);
        }
        match common_shape(&a, &b) {
            Some(shape) => (self.broadcast_to(shape.clone()), other.broadcast_to(shape)),
            None => {
                let place = |e: Expr<'b>| self.builder.graph().place(e.value.node);
                self.builder.report(
                    Diagnostic::new(Code::Shape, format!("shapes {a} and {b} do not broadcast together"))
                        .at(Location::caller())
                        .note_at(format!("the left side, {}, was made here", self.ty()), place(self))
                        .note_at(format!("the right side, {}, was made here", other.ty()), place(other))
                        .help("axes are aligned from the right and must be equal or 1; use `.reshape` to line them up"),
                );
                (self.builder.poisoned(), self.builder.poisoned())
            }
        }
    }
}

/// The shape that two shapes broadcast to, axes aligned from the right.
pub(crate) fn common_shape(a: &Shape, b: &Shape) -> Option<Shape> {
    let rank = a.rank().max(b.rank());
    let at = |shape: &Shape, axis: usize| (axis + shape.rank()).checked_sub(rank).map_or(Dim::Known(1), |i| shape[i]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y || y.is_one() => Some(x),
            (x, y) if x.is_one() => Some(y),
            _ => None,
        })
        .collect()
}

/// What can stand on the other side of an operator: an expression, or a number that takes its element type.
pub trait ToExpr<'b>: Copy {
    /// The expression, given the one it is combined with.
    #[track_caller]
    fn to_expr(self, like: Expr<'b>) -> Expr<'b>;
}

impl<'b> ToExpr<'b> for Expr<'b> {
    fn to_expr(self, _like: Expr<'b>) -> Expr<'b> {
        self
    }
}

impl<'b> ToExpr<'b> for &Expr<'b> {
    fn to_expr(self, _like: Expr<'b>) -> Expr<'b> {
        *self
    }
}

impl<'b> ToExpr<'b> for f64 {
    #[track_caller]
    fn to_expr(self, like: Expr<'b>) -> Expr<'b> {
        like.scalar_like(self)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident $named:ident),*) => {$(
        impl<'b, R: ToExpr<'b>> $Trait<R> for Expr<'b> {
            type Output = Expr<'b>;
            #[track_caller]
            fn $method(self, rhs: R) -> Expr<'b> { self.$named(rhs.to_expr(self)) }
        }
        impl<'b, R: ToExpr<'b>> $Trait<R> for &Expr<'b> {
            type Output = Expr<'b>;
            #[track_caller]
            fn $method(self, rhs: R) -> Expr<'b> { self.$named(rhs.to_expr(*self)) }
        }
        impl<'b> $Trait<Expr<'b>> for f64 {
            type Output = Expr<'b>;
            #[track_caller]
            fn $method(self, rhs: Expr<'b>) -> Expr<'b> { rhs.scalar_like(self).$named(rhs) }
        }
        impl<'b> $Trait<&Expr<'b>> for f64 {
            type Output = Expr<'b>;
            #[track_caller]
            fn $method(self, rhs: &Expr<'b>) -> Expr<'b> { rhs.scalar_like(self).$named(*rhs) }
        }
    )*};
}
operators!(Add add plus, Sub sub minus, Mul mul times, Div div over);

impl<'b> Neg for Expr<'b> {
    type Output = Expr<'b>;
    #[track_caller]
    fn neg(self) -> Expr<'b> {
        self.negated()
    }
}

impl<'b> Neg for &Expr<'b> {
    type Output = Expr<'b>;
    #[track_caller]
    fn neg(self) -> Expr<'b> {
        self.negated()
    }
}
