//! Reductions over any set of axes, a row each.

use super::edge::zero_or_nan;
use crate::ir::{Dim, Expr, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Domain, Edge, EvalCx, INF, InferCx, Mismatch, NAN, Nature, NoVjp, OpDef,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number, index_of};

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reduction {
    /// Their sum; 0 over nothing.
    Sum,
    /// The largest; −∞ over nothing. Ties share the gradient evenly; over a NaN it is NaN.
    Max,
    /// The smallest; +∞ over nothing. Ties share the gradient evenly; over a NaN it is NaN.
    Min,
    /// Their product; 1 over nothing.
    Product,
}

impl Reduction {
    /// The result over no elements.
    pub fn identity(self) -> f64 {
        match self {
            Reduction::Sum => 0.0,
            Reduction::Max => f64::NEG_INFINITY,
            Reduction::Min => f64::INFINITY,
            Reduction::Product => 1.0,
        }
    }
}

/// A reduction over `axes`, which disappear from the shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// How elements are combined.
    pub reduction: Reduction,
    axes: Vec<usize>,
}

impl Reduce {
    /// The axes that disappear, ascending.
    pub fn axes(&self) -> &[usize] {
        &self.axes
    }
}

impl<'b> Expr<'b> {
    #[track_caller]
    fn reduce(self, reduction: Reduction, axes: &[usize]) -> Expr<'b> {
        if axes.is_empty() {
            return self;
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.apply(Reduce { reduction, axes })
    }

    /// The sum over `axes`, which disappear.
    #[track_caller]
    pub fn sum(self, axes: &[usize]) -> Expr<'b> {
        self.reduce(Reduction::Sum, axes)
    }

    /// The sum over every axis.
    #[track_caller]
    pub fn sum_all(self) -> Expr<'b> {
        self.sum(&(0..self.rank()).collect::<Vec<_>>())
    }

    /// The largest element over `axes`, which disappear.
    #[track_caller]
    pub fn reduce_max(self, axes: &[usize]) -> Expr<'b> {
        self.reduce(Reduction::Max, axes)
    }

    /// The smallest element over `axes`, which disappear.
    #[track_caller]
    pub fn reduce_min(self, axes: &[usize]) -> Expr<'b> {
        self.reduce(Reduction::Min, axes)
    }

    /// The product over `axes`, which disappear.
    #[track_caller]
    pub fn product(self, axes: &[usize]) -> Expr<'b> {
        self.reduce(Reduction::Product, axes)
    }

    /// A value reduced over `axes` of `like`, repeated along them again.
    #[track_caller]
    pub fn unreduce(self, axes: &[usize], like: Expr<'b>) -> Expr<'b> {
        if self.is_poisoned() || like.with_axes("unreduce", axes).is_poisoned() {
            return self.builder().poisoned();
        }
        let kept: Vec<usize> = (0..like.rank()).filter(|axis| !axes.contains(axis)).collect();
        if axes.is_empty() && self.shape() == like.shape() { self } else { self.broadcast_in(like.shape(), &kept) }
    }
}

impl OpDef for Reduce {
    const NAMES: &'static [&'static str] = &["reduce_sum", "reduce_max", "reduce_min", "reduce_product"];

    fn name(&self) -> &'static str {
        Self::NAMES[self.reduction as usize]
    }

    fn about(&self) -> &'static str {
        ["sum over axes", "largest over axes", "smallest over axes", "product over axes"][self.reduction as usize]
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Reduction { axes: &self.axes }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![("axes", Attr::Ints(self.axes.clone()))]
    }

    fn from_attrs(name: &str, attrs: &mut Attrs) -> Result<Reduce, AttrError> {
        let reduction = match name {
            "reduce_sum" => Reduction::Sum,
            "reduce_max" => Reduction::Max,
            "reduce_min" => Reduction::Min,
            _ => Reduction::Product,
        };
        Ok(Reduce { reduction, axes: attrs.ints("axes")? })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        cx.float(0)?;
        cx.axes(0, &self.axes)?;
        Ok([cx.ty(0).with_shape(cx.shape(0).without(&self.axes))].into())
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let x = cx.operand(0).real();
        let shape = cx.shape(0);
        let len = shape.iter().product();
        let mut groups: Vec<Vec<S>> = vec![Vec::new(); len];
        NdArray::from_fn(&x.shape, |index| {
            let kept: Vec<usize> =
                index.iter().enumerate().filter(|(axis, _)| !self.axes.contains(axis)).map(|(_, &i)| i).collect();
            groups[index_of(shape, &kept)].push(x.at(index));
        });
        let combine = |group: Vec<S>| match self.reduction {
            Reduction::Sum => S::sum(group.into_iter()),
            Reduction::Product => group.into_iter().fold(S::from_f64(1.0), S::mul),
            // The first element starts, so that no infinity enters where there are elements.
            Reduction::Max => group.into_iter().reduce(S::max).unwrap_or(S::from_f64(self.reduction.identity())),
            Reduction::Min => group.into_iter().reduce(S::min).unwrap_or(S::from_f64(self.reduction.identity())),
        };
        Some(vec![Array::Real(NdArray { shape: shape.to_vec(), data: groups.into_iter().map(combine).collect() })])
    }

    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let x = cx.operand(0);
        let Some(dy) = cx.cotangent(0).value() else { return Ok(vec![Cotangent::Zero]) };
        Ok(vec![match self.reduction {
            Reduction::Sum => dy.unreduce(&self.axes, x).into(),
            Reduction::Max | Reduction::Min => {
                let best = x.equal(cx.result(0).unreduce(&self.axes, x));
                let count = best.select(x.full_like(1.0), x.zeros_like()).sum(&self.axes);
                let share = (dy / count).unreduce(&self.axes, x);
                // Over a NaN nothing is the best, and all get NaN.
                best.select(share, zero_or_nan(cx.result(0)).unreduce(&self.axes, x)).into()
            }
            Reduction::Product => product_cotangent(x, &self.axes, dy)?.into(),
        }])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [x] = exactly(operands);
        let op = match self.reduction {
            Reduction::Sum => "ReduceSum",
            Reduction::Max => "ReduceMax",
            Reduction::Min => "ReduceMin",
            Reduction::Product => "ReduceProd",
        };
        over(e, op, &self.axes, x, ty, self.reduction.identity())
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Product] {
            let domain = match reduction {
                Reduction::Sum => Domain::Range(-2.0, 2.0),
                Reduction::Product => Domain::Range(-1.5, 1.5),
                Reduction::Max | Reduction::Min => Domain::Distinct(0.1),
            };
            let shapes: [(&[usize], &[usize]); 7] = [
                (&[7], &[0]),
                (&[3, 5], &[0]),
                (&[3, 5], &[1]),
                (&[2, 3, 5], &[0, 2]),
                (&[2, 3, 2], &[0, 1, 2]),
                (&[1, 4], &[0]),
                (&[0, 3], &[1]),
            ];
            cases.extend(shapes.map(|(shape, axes)| {
                Case::new(Reduce { reduction, axes: axes.to_vec() }, [Sample::float(shape, domain)])
            }));
        }
        cases.push(Case::new(Reduce { reduction: Reduction::Sum, axes: vec![0] }, [Sample::any(&[0, 3])]));
        cases
    }

    fn edges() -> Vec<Edge> {
        let reduce_max = Edge::of("reduce_max", |x| x[0].reduce_max(&[0]));
        let reduce_min = Edge::of("reduce_min", |x| x[0].reduce_min(&[0]));
        let reduce_product = Edge::of("reduce_product", |x| x[0].product(&[0]));
        vec![
            Edge::of("reduce_sum", |x| x[0].sum(&[0])).row(&[&[]], &[0.0], &[&[]]),
            reduce_max.row(&[&[]], &[-INF], &[&[]]).elsewhere("an error", "an error"),
            reduce_max.row(&[&[1.0, 3.0, 3.0, 1.0]], &[3.0], &[&[0.0, 0.5, 0.5, 0.0]]),
            reduce_max.row(&[&[INF, INF]], &[INF], &[&[0.5, 0.5]]),
            reduce_max.row(&[&[1.0, NAN, 2.0]], &[NAN], &[&[NAN, NAN, NAN]]),
            reduce_min.row(&[&[]], &[INF], &[&[]]).elsewhere("an error", "an error"),
            reduce_min.row(&[&[1.0, 3.0, 3.0, 1.0]], &[1.0], &[&[0.5, 0.0, 0.0, 0.5]]),
            reduce_min.row(&[&[INF, INF]], &[INF], &[&[0.5, 0.5]]),
            reduce_min.row(&[&[1.0, NAN, 2.0]], &[NAN], &[&[NAN, NAN, NAN]]),
            reduce_product.row(&[&[]], &[1.0], &[&[]]),
            reduce_product.row(&[&[2.0, 0.0, 3.0]], &[0.0], &[&[0.0, 6.0, 0.0]]),
            reduce_product.row(&[&[2.0, 0.0, 0.0]], &[0.0], &[&[0.0, 0.0, 0.0]]),
            reduce_product.row(&[&[2.0, INF, 0.0]], &[NAN], &[&[NAN, 0.0, INF]]),
        ]
    }
}

/// `∂/∂xᵢ Πⱼ xⱼ = Πⱼ≠ᵢ xⱼ`, by products of everything before and after: exact where elements are zero, to every order.
fn product_cotangent<'b>(x: Expr<'b>, axes: &[usize], dy: Expr<'b>) -> Result<Expr<'b>, NoVjp> {
    const LIMIT: usize = 4096;
    let shape = x.shape();
    let sizes: Option<Vec<usize>> = axes.iter().map(|&axis| shape[axis].known()).collect();
    let count = sizes.map(|sizes| sizes.iter().product::<usize>());
    let Some(count @ ..=LIMIT) = count else {
        return Err(NoVjp::NotDifferentiable(
            "a product over a symbolic or very long axis; write it as `.log().sum(..).exp()` of positive values, or \
             multiply over an axis of known size",
        ));
    };
    if count == 0 {
        return Ok(x.zeros_like());
    }
    // The reduced axes come last, as one axis of `count` factors.
    let kept: Vec<usize> = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let moved = x.transpose(&order);
    let flat_shape = kept.iter().map(|&axis| shape[axis]).chain([count.into()]).collect::<crate::ir::Shape>();
    let flat = moved.reshape(flat_shape.clone());
    let others = products_of_others(flat, kept.len(), count);
    let cotangent = others * dy.broadcast_in(flat_shape, &(0..kept.len()).collect::<Vec<_>>());
    Ok(cotangent.reshape(moved.shape()).transpose(&super::transpose::inverse(&order)))
}

/// For each element along `axis`, the product of the others: exclusive prefix products times exclusive suffix products,
/// each by log₂ n doubling steps.
fn products_of_others<'b>(x: Expr<'b>, axis: usize, count: usize) -> Expr<'b> {
    let one = x.scalar_like(1.0);
    let mut before = x.slice(axis, 0..count - 1).pad(axis, 1, 0, 0, one);
    let mut after = x.slice(axis, 1..count).pad(axis, 0, 1, 0, one);
    let mut step = 1;
    while step < count {
        before = before * before.slice(axis, 0..count - step).pad(axis, step, 0, 0, one);
        after = after * after.slice(axis, step..count).pad(axis, 0, step, 0, one);
        step *= 2;
    }
    before * after
}

/// A reduction as a node of ONNX. `nothing` is the result where there is nothing to reduce, on which runtimes differ.
pub(super) fn over(
    e: &mut dyn Onnx,
    op: &str,
    axes: &[usize],
    x: &Held,
    ty: &TensorType,
    nothing: f64,
) -> Exported<Held> {
    if axes.is_empty() {
        // An empty list would mean every axis.
        return Ok(x.clone());
    }
    if axes.iter().any(|&axis| x.shape[axis] == Dim::Known(0)) {
        return Ok(e.filled(ty, nothing));
    }
    let input = e.whole(x)?;
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    let axes = e.integers(&axes);
    Ok(Held::of(e.node(op, &[&input, &axes], &[("keepdims", Attribute::Int(0))]), ty))
}
