//! Surrounding one axis with a value: `low` before, `high` after, `interior` between neighbours.

use super::Slice;
use crate::ir::{Dim, Expr, Shape, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, axes_of, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, Dense, Number};

/// `low` entries of `value` before, `high` after, and `interior` between neighbours of one axis of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pad {
    /// The axis that grows.
    pub axis: usize,
    /// Entries before.
    pub low: usize,
    /// Entries after.
    pub high: usize,
    /// Entries between neighbours.
    pub interior: usize,
}

impl Pad {
    fn len(self, size: usize) -> Option<usize> {
        let inside = if size == 0 { 0 } else { (size - 1).checked_mul(self.interior + 1)?.checked_add(1)? };
        inside.checked_add(self.low)?.checked_add(self.high)
    }
}

impl<'b> Expr<'b> {
    /// Grows `axis`: `low` entries of the scalar `value` before, `high` after, `interior` between neighbours.
    #[track_caller]
    pub fn pad(self, axis: usize, low: usize, high: usize, interior: usize, value: Expr<'b>) -> Expr<'b> {
        self.builder().push(Pad { axis, low, high, interior }.into(), &[self, value])
    }
}

impl OpDef for Pad {
    const NAMES: &'static [&'static str] = &["pad"];

    fn about(&self) -> &'static str {
        "one axis surrounded and interleaved with a value"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Assembly
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x", "value"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("axis", Attr::Int(self.axis)),
            ("low", Attr::Int(self.low)),
            ("high", Attr::Int(self.high)),
            ("interior", Attr::Int(self.interior)),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Pad, AttrError> {
        let (axis, low) = (attrs.int("axis")?, attrs.int("low")?);
        Ok(Pad { axis, low, high: attrs.int("high")?, interior: attrs.int("interior")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.same_dtype(0, 1)?;
        cx.rank(1, 0)?;
        let dim = cx.axis(0, self.axis)?;
        let Some(size) = dim.known() else {
            return Err(Mismatch::shape(format!("axis {} is the symbolic dimension `{dim}`", self.axis))
                .help("only an axis of known size can grow; pad the data before it is fed"));
        };
        let Some(size) = self.interior.checked_add(1).and_then(|_| self.len(size)) else {
            return Err(Mismatch::attribute("the padded axis is too long").help("pad by less"));
        };
        Ok([cx.ty(0).with_shape(cx.shape(0).with(self.axis, size))].into())
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        cx.along(self.axis)
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let (x, value) = (cx.operand(0).real(), cx.operand(1).real().data[0]);
        Some(vec![Array::Real(Dense::from_fn(cx.shape(0), |index| {
            let Some(inside) = index[self.axis].checked_sub(self.low) else { return value };
            let step = self.interior + 1;
            if inside % step != 0 || inside / step >= x.shape[self.axis] {
                return value;
            }
            let mut from = index.to_vec();
            from[self.axis] = inside / step;
            x.at(&from)
        }))])
    }

    /// The adjoint of padding is cutting; what falls outside goes to the value.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let Some(dy) = cx.cotangent(0).value() else { return Ok(vec![Cotangent::Zero; 2]) };
        let size = cx.result(0).shape()[self.axis].known().unwrap_or(0);
        let inside = dy.slice_by(self.axis, self.low..size - self.high, self.interior + 1);
        // Summed over the padding alone: a total minus what is inside would cancel.
        let outside = || {
            let zero = dy.scalar_like(0.0);
            let kept = cx.operand(0).shape()[self.axis];
            let padding = zero.broadcast_to([kept]).pad(0, self.low, self.high, self.interior, dy.scalar_like(1.0));
            padding.along(self.axis, dy).equal(1.0).select(dy, dy.zeros_like()).sum_all()
        };
        Ok(vec![inside.into(), cx.if_needed(1, outside)])
    }

    /// What stands between neighbours is padding of an axis of its own, merged into the padded one.
    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x, value] = exactly(operands);
        let Pad { axis, low, high, interior } = *self;
        let size = x.shape[axis].known().unwrap_or(0);
        if size == 0 {
            return Ok(Held { held: Shape::scalar(), ..Held::of(value.name.clone(), ty) });
        }
        let mut name = e.whole(x)?;
        if interior > 0 && size > 1 {
            let (step, spread) = (interior + 1, size * (interior + 1));
            name = e.unsqueeze(&name, &[axis + 1]);
            name = surround(e, &name, &value.name, x.shape.rank() + 1, (axis + 1, 0, interior));
            let mut from = axes_of(&x.shape);
            from.insert(axis + 1, vec![Dim::Known(step)]);
            name = e.reshape(&name, &from, &axes_of(&x.shape.with(axis, spread)))?;
            name = Slice { axis, start: 0, limit: spread - interior, stride: 1 }.cut(e, &name);
        }
        if low > 0 || high > 0 {
            name = surround(e, &name, &value.name, x.shape.rank(), (axis, low, high));
        }
        Ok(Held::of(name, ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], axis, low, high, interior| {
            Case::new(Pad { axis, low, high, interior }, [Sample::any(shape), Sample::any(&[])])
        };
        vec![
            case(&[3], 0, 1, 2, 0),
            case(&[3, 5], 1, 0, 1, 2),
            case(&[2, 3], 0, 2, 0, 1),
            case(&[0, 3], 0, 2, 1, 1),
            case(&[1, 1], 1, 0, 0, 3),
        ]
    }

    fn edges() -> Vec<Edge> {
        vec![Edge::of("pad", |x| x[0].pad(0, 1, 1, 1, x[1].reshape(Shape::scalar())) * x[2]).row(
            &[&[7.0, 8.0], &[2.0], &[1.0, 1e8, -3.0, 1e8, 4.0]],
            &[2.0, 700000000.0, -6.0, 800000000.0, 8.0],
            &[&[100000000.0, 100000000.0], &[2.0], &[2.0, 7.0, 2.0, 8.0, 2.0]],
        )]
    }
}

fn surround(
    e: &mut dyn Onnx,
    name: &str,
    value: &str,
    rank: usize,
    (axis, low, high): (usize, usize, usize),
) -> String {
    let mut pads = vec![0; 2 * rank];
    (pads[axis], pads[rank + axis]) = (low as i64, high as i64);
    let pads = e.integers(&pads);
    e.node("Pad", &[name, &pads, value], &[("mode", Attribute::Text("constant"))])
}
