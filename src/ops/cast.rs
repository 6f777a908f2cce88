//! Conversion between element types.

use crate::ir::{DType, Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, Function, INF, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, Number};

/// Conversion to another element type: floats round to nearest, float to `i32` truncates and saturates (NaN gives 0),
/// anything non-zero is `true`, masks become 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cast {
    /// The element type of the result.
    pub dtype: DType,
}

impl<'b> Expr<'b> {
    /// The same values as another element type.
    #[track_caller]
    pub fn cast(self, dtype: DType) -> Expr<'b> {
        if self.is_poisoned() || self.dtype() == dtype { self } else { self.apply(Cast { dtype }) }
    }
}

impl OpDef for Cast {
    const NAMES: &'static [&'static str] = &["cast"];

    fn about(&self) -> &'static str {
        "conversion to another element type"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Elementwise(Some(Function::Cast(self.dtype)))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("dtype", Attr::DType(self.dtype))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Cast, AttrError> {
        Ok(Cast { dtype: attrs.dtype("dtype")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        Ok([cx.ty(0).with_dtype(self.dtype)].into())
    }

    // Between f32 and f64 the interpreter's number type stays as it is: it is the precision that was asked for.
    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let x = cx.operand(0);
        Some(vec![match self.dtype {
            DType::F32 | DType::F64 => Array::Real(match x {
                Array::Real(x) => x.clone(),
                Array::Int(x) => x.map(|v| S::from_f64(f64::from(v))),
                Array::Bool(x) => x.map(|v| S::from_f64(f64::from(u8::from(v)))),
            }),
            DType::I32 => Array::Int(match x {
                Array::Real(x) => x.map(|v| v.to_f64() as i32),
                Array::Int(x) => x.clone(),
                Array::Bool(x) => x.map(i32::from),
            }),
            DType::Bool => Array::Bool(match x {
                Array::Real(x) => x.map(|v| !v.equal(S::from_f64(0.0))),
                Array::Int(x) => x.map(|v| v != 0),
                Array::Bool(x) => x.clone(),
            }),
        }])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let from = cx.operand(0).dtype();
        if from.is_float() && self.dtype.is_float() {
            return Ok(vec![cx.cotangent(0).map(|dy| dy.cast(from))]);
        }
        Err(NoVjp::NotDifferentiable(
            "a conversion from or to integers or masks is piecewise constant; wrap it in `.stop_gradient()` if it is \
             meant as a constant, or use `.select` with the mask",
        ))
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], _: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        Ok(cast(e, x, self.dtype))
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new(Cast { dtype: DType::I32 }, [Sample::any(&[7])]),
            Case::new(Cast { dtype: DType::F64 }, [Sample::integers(&[2, 3], -5, 5)]),
            Case::new(Cast { dtype: DType::F64 }, [Sample::mask(&[5])]),
            Case::new(Cast { dtype: DType::Bool }, [Sample::integers(&[5], -1, 2)]),
            Case::new(Cast { dtype: DType::I32 }, [Sample::mask(&[0, 2])]),
        ]
    }

    fn edges() -> Vec<Edge> {
        vec![
            Edge::of("cast", |x| x[0].cast(DType::I32))
                .how("to i32")
                .row(
                    &[&[2.9, -2.9, 1e10, -1e10, INF, -INF, NAN]],
                    &[2.0, -2.0, 2147483647.0, -2147483648.0, 2147483647.0, -2147483648.0, 0.0],
                    &[],
                )
                .elsewhere("same", "undefined out of range"),
            Edge::of("cast", |x| x[0].cast(DType::Bool)).how("to bool").row(
                &[&[0.0, -0.0, 0.5, NAN]],
                &[0.0, 0.0, 1.0, 1.0],
                &[],
            ),
        ]
    }
}

/// The conversion in ONNX.
pub(super) fn cast(e: &mut dyn Onnx, x: &Held, dtype: DType) -> Held {
    if x.dtype == dtype {
        return x.clone();
    }
    if dtype == DType::Bool {
        // Readers that keep masks as integers would not make every number but 0 a 1.
        let zero = e.scalar(x.dtype, 0.0);
        let equal = e.node("Equal", &[&x.name, &zero], &[]);
        return Held { name: e.node("Not", &[&equal], &[]), dtype, ..x.clone() };
    }
    Held { name: e.cast(&x.name, dtype), dtype, ..x.clone() }
}
