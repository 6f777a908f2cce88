//! Softmax cross-entropy with integer labels: `−log softmax(logits)[label]`, one loss a row.

use super::edge::undefined_at;
use crate::ir::{DType, Expr, Shape, Tensor, TensorType};
use crate::op::onnx::{Exported, Held, Onnx};
use crate::op::{
    AttrError, Attrs, Case, Cotangent, Edge, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Sample, Types, VjpCx,
};

/// `−log softmax(logits)[label]` over the last axis of `logits`; a label out of range gives NaN,
/// and NaN gradients for its row unless the cotangent of its loss is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxCrossEntropy;

impl<'b> Expr<'b> {
    /// The cross-entropy of these logits (classes on the last axis) with integer `labels`: one loss a row.
    #[track_caller]
    pub fn softmax_cross_entropy(self, labels: Expr<'b>) -> Expr<'b> {
        self.builder().push(SoftmaxCrossEntropy.into(), &[self, labels])
    }
}

impl OpDef for SoftmaxCrossEntropy {
    const NAMES: &'static [&'static str] = &["softmax_cross_entropy"];

    fn about(&self) -> &'static str {
        "−log softmax(logits)[label], one loss a row"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Normalisation { operations: 4 }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["logits", "labels"]
    }

    fn from_attrs(_: &str, _: &mut Attrs) -> Result<SoftmaxCrossEntropy, AttrError> {
        Ok(SoftmaxCrossEntropy)
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let (logits, labels) = (cx.float(0)?, cx.ty(1));
        if labels == logits {
            let last = logits.rank().saturating_sub(1);
            return Err(Mismatch::dtype(format!("labels must be i32 class indices, found {labels}"))
                .help(format!("if these are one-hot rows, take `.arg_max({last})` of them")));
        }
        cx.dtype(1, DType::I32)?;
        let rows: Shape = logits.shape.iter().take(logits.rank().saturating_sub(1)).copied().collect();
        if logits.rank() == 0 || rows != labels.shape {
            return Err(Mismatch::shape(format!("logits are {logits}, but labels are {labels}"))
                .help("labels have the shape of logits without the last axis, one class index a row"));
        }
        Ok([logits.with_shape(rows)].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [logits, labels] = *operands else { return None };
        let classes = logits.rank() - 1;
        let column: Shape = labels.shape().iter().copied().chain([1.into()]).collect();
        let picked = logits.log_softmax(classes).take_along_axis(labels.reshape(column), classes);
        Some(vec![-picked.reshape(labels.shape())])
    }

    /// `dlogits = (softmax(logits) − one_hot(label))·dloss`.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let (logits, labels) = (cx.operand(0), cx.operand(1));
        let classes = logits.rank() - 1;
        let dlogits = |dloss: Expr<'b>| {
            let index = labels.reshape(labels.shape().iter().copied().chain([1.into()]).collect::<Shape>());
            let index = index.broadcast_to(logits.shape());
            let hot = index.equal(cx.builder().iota(DType::I32, logits.shape(), classes));
            let hot = hot.select(logits.full_like(1.0), logits.zeros_like());
            let zero = cx.builder().scalar(DType::I32, 0.0).broadcast_to(labels.shape());
            let size = cx.builder().size([logits.shape()[classes]], DType::I32).broadcast_to(labels.shape());
            let negative = labels.less(zero);
            let dloss = undefined_at(negative.select(negative, labels.greater_equal(size)), dloss);
            (logits.softmax(classes) - hot) * dloss.unreduce(&[classes], logits)
        };
        Ok(vec![cx.cotangent(0).map(dlogits), Cotangent::Zero])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        e.expand(&|operands| self.expand(operands), operands)
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize]| {
            let (rows, classes) = shape.split_at(shape.len() - 1);
            Case::new(SoftmaxCrossEntropy, [Sample::any(shape), Sample::integers(rows, 0, classes[0] as i32)])
        };
        vec![case(&[5, 3]), case(&[7]), case(&[1, 1]), case(&[2, 3, 4]), case(&[0, 3])]
    }

    fn edges() -> Vec<Edge> {
        fn loss<'b>(logits: Expr<'b>, label: i32) -> Expr<'b> {
            logits.softmax_cross_entropy(logits.builder().constant(Tensor::scalar(label)))
        }
        let first = Edge::of("softmax_cross_entropy", |x| loss(x[0], 1)).how("label 1");
        let beyond = Edge::of("softmax_cross_entropy", |x| loss(x[0], 2)).how("label 2");
        let negative = Edge::of("softmax_cross_entropy", |x| loss(x[0], -1)).how("label −1");
        vec![
            first.row(&[&[0.0, -1000.0]], &[1000.0], &[&[1.0, -1.0]]),
            beyond.row(&[&[0.0, 0.0]], &[NAN], &[&[NAN, NAN]]).elsewhere("0, 0", "an error"),
            beyond.row(&[&[0.0, 0.0]], &[NAN], &[&[0.0, 0.0]]).seeded(0.0).elsewhere("same", "an error"),
            negative.row(&[&[0.0, 0.0]], &[NAN], &[&[NAN, NAN]]).elsewhere("−1 counts from the end", "an error"),
        ]
    }
}
