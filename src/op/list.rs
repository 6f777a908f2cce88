//! THE list of ops, and what is made of it: a closed enum, so that equality, hashing and exhaustive matches come for free.

use super::onnx::{Exported, Held, Onnx};
use super::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Types, VjpCx,
};
use crate::ir::{Expr, TensorType};
use crate::ops::*;
use crate::reference::{Array, Number};

/// Hands the list to a macro. A line is a file of [`ops`](crate::ops), and the ops that it defines; and for an op that a kernel
/// of its own computes, the name of the kernel, its file in `kernel`, and its call.
macro_rules! all_ops {
    ($then:ident) => {
        $then! {
            input { Input },
            constant { Constant },
            size { Size },
            iota { Iota },
            random { RandomUniform by Random(random::RandomCall) },
            unary { Unary },
            binary { Binary },
            compare { Compare },
            select { Select },
            clamp { Clamp },
            cast { Cast },
            stop_gradient { StopGradient },
            broadcast { Broadcast },
            reshape { Reshape },
            transpose { Transpose },
            slice { Slice },
            pad { Pad by Fill(fill::FillCall) },
            concat { Concat by Copy(copy::CopyCall) },
            reduce { Reduce by Reduce(reduce::ReduceCall) },
            mean { Mean },
            cumulative_sum { CumulativeSum by CumulativeSum(cumulative_sum::CumulativeSumCall) },
            arg_max { ArgMax by ArgMax(arg_max::ArgMaxCall) },
            dot { Dot by Gemm(gemm::GemmCall) },
            dense { Dense },
            one_hot { OneHot by OneHot(one_hot::OneHotCall) },
            take_along_axis {
                TakeAlongAxis by Take(take::TakeCall),
                ScatterAlongAxis by Scatter(scatter::ScatterCall)
            },
            activation { LeakyRelu, Elu, Selu, Gelu, Silu, Softplus },
            softmax { Softmax, LogSoftmax },
            cross_entropy { SoftmaxCrossEntropy },
            dropout { Dropout },
            batch_norm_train { BatchNormTrain by BatchNormTrain(batch_norm_train::BatchNormTrainCall) },
            batch_norm_grad { BatchNormGrad by BatchNormGrad(batch_norm_grad::BatchNormGradCall) },
            batch_norm_infer { BatchNormInfer },
        }
    };
}
pub(crate) use all_ops;

macro_rules! define_ops {
    ($($file:ident { $($variant:ident $(by $kernel:ident($code:ident::$call:ident))?),+ },)*) => {
        /// Any op.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Op { $($($variant($variant),)+)* }

        $($(impl From<$variant> for Op { fn from(op: $variant) -> Op { Op::$variant(op) } })+)*

        macro_rules! each {
            ($op:expr, $inner:ident => $body:expr) => { match $op { $($(Op::$variant($inner) => $body,)+)* } };
        }

        impl Op {
            /// Every op name, in list order.
            pub fn names() -> impl Iterator<Item = &'static str> {
                [$($($variant::NAMES),+),*].into_iter().flatten().copied()
            }

            /// The op of that name with those attributes; `None` for a name that no op has.
            pub fn from_attrs(name: &str, attrs: &mut Attrs) -> Option<Result<Op, AttrError>> {
                $($(if $variant::NAMES.contains(&name) {
                    return Some($variant::from_attrs(name, attrs).map(Op::from));
                })+)*
                None
            }

            /// Sample instances of every op, for the laws.
            pub fn cases() -> Vec<Case> {
                let mut cases = Vec::new();
                $($(cases.extend($variant::cases());)+)*
                cases
            }

            /// The edges of every op, in list order.
            pub fn edges() -> Vec<Edge> {
                let mut edges = Vec::new();
                $($(edges.extend($variant::edges());)+)*
                edges
            }

            /// See [`OpDef::name`].
            pub fn name(&self) -> &'static str { each!(self, op => OpDef::name(op)) }
            /// See [`OpDef::about`].
            pub fn about(&self) -> &'static str { each!(self, op => op.about()) }
            /// See [`OpDef::nature`].
            pub fn nature(&self) -> Nature<'_> { each!(self, op => op.nature()) }
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
            /// See [`OpDef::onnx`].
            ///
            /// # Errors
            /// What has no equal in ONNX, and what to do instead.
            pub fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
                each!(self, op => op.onnx(e, operands, ty))
            }
            /// See [`OpDef::site`].
            pub fn site(&self) -> Option<u32> { each!(self, op => op.site()) }
        }
    };
}

all_ops!(define_ops);
