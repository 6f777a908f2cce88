//! Counter-based random numbers: element `i` of the draw with key `(seed, counter)` at site `s` is a pure function of
//! `(seed, counter, s, i)`, so a draw is the same for any number of threads and any order of evaluation.

use crate::ir::{Builder, DType, Expr, Shape, TensorType};
use crate::op::onnx::{Exported, Held, Onnx, Refusal};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::random::{GAMMA, mix};
use crate::reference::{Array, NdArray, Number};

/// Uniform numbers in [0, 1), multiples of 2⁻²⁴ so that f32 and f64 draw the same.
///
/// `site` is different for every random op of a graph: two draws with one key are never merged, and differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RandomUniform {
    shape: Shape,
    dtype: DType,
    site: u32,
}

impl Builder {
    /// Uniform numbers in [0, 1) of that shape. `key` is `i32[2]`: a seed and a counter that changes from step to step.
    #[track_caller]
    pub fn random_uniform<'b>(&'b self, key: Expr<'b>, dtype: DType, shape: impl Into<Shape>) -> Expr<'b> {
        RandomUniform::draw(self, key, dtype, shape.into(), self.next_site())
    }
}

impl RandomUniform {
    #[track_caller]
    pub(crate) fn draw<'b>(builder: &'b Builder, key: Expr<'b>, dtype: DType, shape: Shape, site: u32) -> Expr<'b> {
        builder.push(RandomUniform { shape, dtype, site }.into(), &[key])
    }
}

/// Element `index` of a draw.
///
/// Key and site choose a stream of splitmix64, and the index a position in it, so elements can be drawn in any order.
pub(crate) fn uniform(key: [i32; 2], site: u32, index: u64) -> f64 {
    let seed = u64::from(key[0] as u32) << 32 | u64::from(key[1] as u32);
    let stream = mix(seed ^ mix(GAMMA.wrapping_mul(u64::from(site) + 1)));
    let bits = mix(stream.wrapping_add(GAMMA.wrapping_mul(index + 1)));
    (bits >> 40) as f64 / (1u64 << 24) as f64
}

impl OpDef for RandomUniform {
    const NAMES: &'static [&'static str] = &["random_uniform"];

    fn about(&self) -> &'static str {
        "counter-based uniform random numbers in [0, 1)"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Random
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["key"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("shape", Attr::Shape(self.shape.clone())),
            ("dtype", Attr::DType(self.dtype)),
            ("site", Attr::Int(self.site as usize)),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<RandomUniform, AttrError> {
        let (shape, dtype) = (attrs.shape("shape")?, attrs.dtype("dtype")?);
        Ok(RandomUniform { shape, dtype, site: attrs.int("site")? as u32 })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let key = TensorType::new(DType::I32, [2]);
        if *cx.ty(0) != key {
            return Err(Mismatch::shape(format!("key must be {key}, a seed and a counter; found {}", cx.ty(0))).help(
                "declare it with `.state(\"key\", DType::I32, [2])`, and update its second element at each step",
            ));
        }
        if !self.dtype.is_float() {
            return Err(Mismatch::dtype(format!("random numbers are f32 or f64, not {}", self.dtype))
                .help("ask for DType::F32, and convert the result with `.cast`"));
        }
        Ok([TensorType::new(self.dtype, self.shape.clone())].into())
    }

    /// What is drawn depends on an element's place in the whole.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        if cx.axis_in(&self.shape).is_some() { Rows::Coupled } else { Rows::apart(None) }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let key = &cx.operand(0).int().data;
        let len: usize = cx.shape(0).iter().product();
        let data = (0..len as u64).map(|i| S::from_f64(uniform([key[0], key[1]], self.site, i))).collect();
        Some(vec![Array::Real(NdArray { shape: cx.shape(0).to_vec(), data })])
    }

    fn vjp<'b>(&self, _: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        Ok(vec![Cotangent::Zero])
    }

    fn onnx(&self, _: &mut dyn Onnx, _: &[Held], _: &TensorType) -> Exported<Held> {
        Err(Refusal::training("ONNX has no random numbers that are a function of a key"))
    }

    fn cases() -> Vec<Case> {
        [vec![], vec![7], vec![0, 3], vec![5, 3]]
            .into_iter()
            .map(|shape| {
                let op = RandomUniform { shape: Shape::from(shape), dtype: DType::F64, site: 3 };
                Case::new(op, [Sample::integers(&[2], -1000, 1000)])
            })
            .collect()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }

    fn site(&self) -> Option<u32> {
        Some(self.site)
    }
}
