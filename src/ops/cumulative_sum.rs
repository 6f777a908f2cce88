//! Running sums along an axis: `yᵢ = x₀ + … + xᵢ`, or from the other end.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, INF, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef, Sample,
    Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// `yᵢ = x₀ + … + xᵢ` along `axis`; reversed, `yᵢ = xᵢ + … + xₙ₋₁`. The shape stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CumulativeSum {
    /// The axis that is summed along.
    pub axis: usize,
    /// Whether sums begin at the last element.
    pub reversed: bool,
}

impl<'b> Expr<'b> {
    /// The sum of each element and those before it on `axis` (`cumsum` elsewhere).
    ///
    /// ```
    /// use foldgrad::{Builder, DType, Tensor, exec::Executable, ir::Bindings};
    /// let g = Builder::new();
    /// g.output("y", g.input("x", DType::F32, [3]).cumulative_sum(0));
    /// let mut run = Executable::new(g.finish()?, &Bindings::new())?;
    /// run.run(&[&Tensor::vector(vec![1.0f32, 2.0, 4.0])], &mut [])?;
    /// assert_eq!(run.output::<f32>(0), Some(&[1.0f32, 3.0, 7.0][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn cumulative_sum(self, axis: usize) -> Expr<'b> {
        self.apply(CumulativeSum { axis, reversed: false })
    }

    /// The sum of each element and those behind it on `axis`.
    #[track_caller]
    pub fn reversed_cumulative_sum(self, axis: usize) -> Expr<'b> {
        self.apply(CumulativeSum { axis, reversed: true })
    }
}

impl OpDef for CumulativeSum {
    const NAMES: &'static [&'static str] = &["cumulative_sum"];

    fn about(&self) -> &'static str {
        "sums of each element and those before it, or behind it, along an axis"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Scan { axis: self.axis }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        let from = if self.reversed { "end" } else { "start" };
        vec![("axis", Attr::Int(self.axis)), ("from", Attr::Word(from))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<CumulativeSum, AttrError> {
        let axis = attrs.int("axis")?;
        Ok(CumulativeSum { axis, reversed: attrs.word("from", &[("start", false), ("end", true)])? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.axis(0, self.axis)?;
        Ok([cx.ty(0).clone()].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let x = cx.operand(0).real();
        let of = |index: &[usize]| {
            let mut at = index.to_vec();
            let last = x.shape[self.axis] - 1;
            // From the end that sums begin at.
            let steps = if self.reversed { last - index[self.axis] } else { index[self.axis] };
            let terms = (0..=steps).map(|step| {
                at[self.axis] = if self.reversed { last - step } else { step };
                x.at(&at)
            });
            terms.reduce(S::add).unwrap_or(S::from_f64(0.0))
        };
        Some(vec![Array::Real(NdArray::from_fn(cx.shape(0), of))])
    }

    /// Each element is in the sums of all behind it.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let back = CumulativeSum { reversed: !self.reversed, ..*self };
        Ok(vec![cx.cotangent(0).map(|dy| dy.apply(back))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        let (input, axis) = (e.whole(x)?, e.integer(self.axis as i64));
        let name = e.node("CumSum", &[&input, &axis], &[("reverse", Attribute::Int(i64::from(self.reversed)))]);
        Ok(Held::of(name, ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis, reversed| Case::new(CumulativeSum { axis, reversed }, [Sample::any(shape)]);
        vec![
            case(&[7], 0, false),
            case(&[40, 3], 1, true),
            case(&[5, 70], 0, true),
            case(&[2, 3, 5], 1, false),
            case(&[1, 1], 1, false),
            case(&[0, 3], 1, true),
            case(&[3, 0], 1, false),
        ]
    }

    fn edges() -> Vec<Edge> {
        vec![
            Edge::of("cumulative_sum", |x| x[0].cumulative_sum(0)).row(
                &[&[1.0, INF, -INF, 2.0]],
                &[1.0, INF, NAN, NAN],
                &[&[4.0, 3.0, 2.0, 1.0]],
            ),
            Edge::of("cumulative_sum", |x| x[0].reversed_cumulative_sum(0)).how("from the end").row(
                &[&[1.0, NAN, 2.0]],
                &[NAN, NAN, 2.0],
                &[&[1.0, 2.0, 3.0]],
            ),
        ]
    }
}
