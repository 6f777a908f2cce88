//! THE list of ops: a closed enum, so that equality, hashing and exhaustive matches come for free.

use super::{
    Attr, AttrError, Attrs, Case, Cotangent, EvalCx, InferCx, Mismatch, NoVjp, OpDef, Rows, RowsCx, Types, VjpCx,
};
use crate::ir::Expr;
use crate::ops::*;
use crate::reference::{Array, Number};

macro_rules! define_ops {
    ($($variant:ident),* $(,)?) => {
        /// Any op.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Op { $($variant($variant)),* }

        $(impl From<$variant> for Op { fn from(op: $variant) -> Op { Op::$variant(op) } })*

        macro_rules! each {
            ($op:expr, $inner:ident => $body:expr) => { match $op { $(Op::$variant($inner) => $body),* } };
        }

        impl Op {
            /// Every op name, in list order.
            pub fn names() -> impl Iterator<Item = &'static str> {
                [$($variant::NAMES),*].into_iter().flatten().copied()
            }

            /// The op of that name with those attributes; `None` for a name that no op has.
            pub fn from_attrs(name: &str, attrs: &mut Attrs) -> Option<Result<Op, AttrError>> {
                $(if $variant::NAMES.contains(&name) {
                    return Some($variant::from_attrs(name, attrs).map(Op::from));
                })*
                None
            }

            /// Sample instances of every op, for the laws.
            pub fn cases() -> Vec<Case> {
                let mut cases = Vec::new();
                $(cases.extend($variant::cases());)*
                cases
            }

            /// See [`OpDef::name`].
            pub fn name(&self) -> &'static str { each!(self, op => OpDef::name(op)) }
            /// See [`OpDef::about`].
            pub fn about(&self) -> &'static str { each!(self, op => op.about()) }
            /// See [`OpDef::operand_names`].
            pub fn operand_names(&self) -> &'static [&'static str] { each!(self, op => op.operand_names()) }
            /// See [`OpDef::results`].
            pub fn results(&self) -> usize { each!(self, op => op.results()) }
            /// See [`OpDef::attrs`].
            pub fn attrs(&self) -> Vec<(&'static str, Attr)> { each!(self, op => op.attrs()) }
            /// See [`OpDef::infer`].
            ///
            /// # Errors
            /// Another number of operands than the op takes, and what the op itself says.
            pub fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
                cx.check_arity(self)?;
                each!(self, op => op.infer(cx))
            }
            /// See [`OpDef::rows`].
            pub fn rows(&self, cx: &RowsCx<'_>) -> Rows { each!(self, op => op.rows(cx)) }
            /// See [`OpDef::expand`].
            pub fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
                each!(self, op => op.expand(operands))
            }
            /// See [`OpDef::eval`].
            pub fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> { each!(self, op => op.eval(cx)) }
            /// See [`OpDef::vjp`].
            ///
            /// # Errors
            /// As for [`OpDef::vjp`].
            pub fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
                each!(self, op => op.vjp(cx))
            }
            /// See [`OpDef::site`].
            pub fn site(&self) -> Option<u32> { each!(self, op => op.site()) }
        }
    };
}

define_ops! {
    Input, Constant, Size, Iota, RandomUniform,
    Unary, Binary, Compare, Select, Clamp, Cast, StopGradient,
    Broadcast, Reshape, Transpose, Slice, Pad, Concat,
    Reduce, Mean, ArgMax,
    Dot, Dense,
    OneHot, TakeAlongAxis, ScatterAlongAxis,
    LeakyRelu, Elu, Selu, Gelu, Silu, Softplus,
    Softmax, LogSoftmax, SoftmaxCrossEntropy, Dropout,
    BatchNormTrain, BatchNormGrad, BatchNormInfer,
}
