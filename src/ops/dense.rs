//! The Dense layer's arithmetic: `x·W + b`.

use crate::ir::{Expr, Shape, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{AttrError, Attrs, Case, Edge, InferCx, Mismatch, Nature, OpDef, Sample, Types};

/// `x·W + b` over the last axis of `x`; `W` is `[in, out]`, `b` is `[out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dense;

impl<'b> Expr<'b> {
    /// `self·kernel + bias` over the last axis; without a bias it is a plain product.
    #[track_caller]
    pub fn dense(self, kernel: Expr<'b>, bias: Option<Expr<'b>>) -> Expr<'b> {
        match bias {
            Some(bias) => self.builder().push(Dense.into(), &[self, kernel, bias]),
            None => self.dot(kernel),
        }
    }
}

impl OpDef for Dense {
    const NAMES: &'static [&'static str] = &["dense"];

    fn about(&self) -> &'static str {
        "x·W + b"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Contraction { operand: 1, axes: &[0], biased: true }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "kernel", "bias"]
    }

    fn from_attrs(_: &str, _: &mut Attrs) -> Result<Dense, AttrError> {
        Ok(Dense)
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let (x, kernel) = (cx.float(0)?, cx.rank(1, 2)?);
        cx.same_dtype(0, 1)?;
        let Some(&features) = x.shape.last() else {
            return Err(Mismatch::shape(format!("x must have at least one axis, found {x}"))
                .help("its last axis holds the features"));
        };
        if features != kernel.shape[0] {
            return Err(Mismatch::shape(format!("x has {features} features, but kernel expects {}", kernel.shape[0]))
                .help(format!("give kernel the shape [{features},{}], or reshape x", kernel.shape[1])));
        }
        cx.vector_of(2, kernel.shape[1], x.dtype, "unit")?;
        let shape: Shape = x.shape[..x.rank() - 1].iter().copied().chain([kernel.shape[1]]).collect();
        Ok([x.with_shape(shape)].into())
    }

    fn expand<'b>(&self, operands: &[Expr<'b>]) -> Option<Vec<Expr<'b>>> {
        let [x, kernel, bias] = *operands else { return None };
        Some(vec![x.dot(kernel) + bias])
    }

    /// `Gemm` for matrices, `MatMul` otherwise.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x, kernel, bias] = exactly(operands);
        if kernel.shape[0].known() == Some(0) {
            // Nothing to sum; runtimes differ on empty products.
            return Ok(Held { shape: ty.shape.clone(), ..bias.clone() });
        }
        let (input, kernel) = (e.whole(x)?, e.whole(kernel)?);
        let name = if x.shape.rank() == 2 {
            e.node("Gemm", &[&input, &kernel, &bias.name], &[])
        } else {
            let product = e.node("MatMul", &[&input, &kernel], &[]);
            e.node("Add", &[&product, &bias.name], &[])
        };
        Ok(Held::of(name, ty))
    }

    fn cases() -> Vec<Case> {
        let case = |x: &[usize], units| {
            let features = x[x.len() - 1];
            Case::new(Dense, [Sample::any(x), Sample::any(&[features, units]), Sample::any(&[units])])
        };
        vec![case(&[3, 5], 7), case(&[1, 4], 2), case(&[2, 3, 5], 4), case(&[0, 3], 2), case(&[5], 3)]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
