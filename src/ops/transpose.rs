//! A permutation of axes: result axis `i` is operand axis `permutation[i]`.

use crate::ir::{Expr, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rearrangement,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, each_kind};

/// Result axis `i` is operand axis `permutation[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transpose {
    permutation: Vec<usize>,
}

impl Transpose {
    /// The operand axis of each result axis.
    pub fn permutation(&self) -> &[usize] {
        &self.permutation
    }
}

impl<'b> Expr<'b> {
    /// The axes in another order: axis `i` of the result is axis `permutation[i]` of this value.
    #[track_caller]
    pub fn transpose(self, permutation: &[usize]) -> Expr<'b> {
        let identity = permutation.iter().enumerate().all(|(axis, &from)| axis == from);
        if self.is_poisoned() || (identity && permutation.len() == self.rank()) {
            return self;
        }
        self.apply(Transpose { permutation: permutation.to_vec() })
    }
}

pub(crate) fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (to, &from) in permutation.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

impl OpDef for Transpose {
    const NAMES: &'static [&'static str] = &["transpose"];

    fn about(&self) -> &'static str {
        "the axes in another order"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::View(Rearrangement::Permute(&self.permutation))
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("permutation", Attr::Ints(self.permutation.clone()))]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Transpose, AttrError> {
        Ok(Transpose { permutation: attrs.ints("permutation")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let x = cx.ty(0);
        let mut sorted = self.permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.rank()) {
            return Err(Mismatch::attribute(format!("{:?} is no permutation of the axes of {x}", self.permutation))
                .help(format!("name each of the axes 0..{} once", x.rank())));
        }
        Ok([x.with_shape(self.permutation.iter().map(|&axis| x.shape[axis]).collect::<crate::ir::Shape>())].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let mut from = vec![0; self.permutation.len()];
        Some(vec![each_kind!(cx.operand(0), x => NdArray::from_fn(cx.shape(0), |index| {
            for (&i, &axis) in index.iter().zip(&self.permutation) {
                from[axis] = i;
            }
            x.at(&from)
        }))])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(vec![cx.cotangent(0).map(|dy| dy.transpose(&inverse(&self.permutation)))])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        if let Some(uniform) = x.uniform(ty) {
            return Ok(uniform);
        }
        let name = e.whole(x)?;
        Ok(Held::of(e.transpose(&name, &self.permutation), ty))
    }

    fn cases() -> Vec<Case> {
        let case = |shape: &[usize], permutation: &[usize]| {
            Case::new(Transpose { permutation: permutation.to_vec() }, [Sample::any(shape)])
        };
        vec![
            case(&[3, 5], &[1, 0]),
            case(&[2, 3, 5], &[2, 0, 1]),
            case(&[0, 3], &[1, 0]),
            case(&[], &[]),
            case(&[7, 1, 2, 3], &[3, 1, 0, 2]),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
