//! Contraction of two values over pairs of axes, with batch axes: `result[b…, i…, j…] = Σ_k lhs[b…, i…, k…]·rhs[b…, k…, j…]`.

use crate::ir::{Dim, Expr, Shape, TensorType};
use crate::op::onnx::{Attribute, Exported, Held, Onnx, axes_of, exactly};
use crate::op::{
    Attr, AttrError, Attrs, Case, Cotangent, Edge, EvalCx, InferCx, Mismatch, Nature, NoVjp, OpDef, Rows, RowsCx,
    Sample, Types, VjpCx,
};
use crate::reference::{Array, NdArray, Number};

/// The general product. Result axes: batch axes, then the free axes of `lhs`, then those of `rhs`, each in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dot {
    /// Axes of `lhs` that are summed over, paired with those of `rhs`.
    pub lhs_contract: Vec<usize>,
    /// Axes of `rhs` that are summed over.
    pub rhs_contract: Vec<usize>,
    /// Axes of `lhs` that are kept in step with those of `rhs`.
    pub lhs_batch: Vec<usize>,
    /// Axes of `rhs` that are kept in step.
    pub rhs_batch: Vec<usize>,
}

impl Dot {
    /// Axes of `lhs` that are neither batch nor contracted, ascending.
    pub fn lhs_free(&self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|axis| !self.lhs_contract.contains(axis) && !self.lhs_batch.contains(axis)).collect()
    }

    /// Axes of `rhs` that are neither batch nor contracted, ascending.
    pub fn rhs_free(&self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|axis| !self.rhs_contract.contains(axis) && !self.rhs_batch.contains(axis)).collect()
    }
}

impl<'b> Expr<'b> {
    /// The matrix product over the last axis of this value and the first of `rhs`.
    #[track_caller]
    pub fn dot(self, rhs: Expr<'b>) -> Expr<'b> {
        let last = self.rank().saturating_sub(1);
        self.dot_general(rhs, (&[last], &[0]), (&[], &[]))
    }

    /// The product contracted over pairs of axes, kept in step over pairs of batch axes: `(of self, of rhs)` each.
    #[track_caller]
    pub fn dot_general(self, rhs: Expr<'b>, contract: (&[usize], &[usize]), batch: (&[usize], &[usize])) -> Expr<'b> {
        let op = Dot {
            lhs_contract: contract.0.to_vec(),
            rhs_contract: contract.1.to_vec(),
            lhs_batch: batch.0.to_vec(),
            rhs_batch: batch.1.to_vec(),
        };
        self.builder().push(op.into(), &[self, rhs])
    }
}

impl OpDef for Dot {
    const NAMES: &'static [&'static str] = &["dot"];

    fn about(&self) -> &'static str {
        "product contracted over pairs of axes, with batch axes"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Contraction { operand: 0, axes: &self.lhs_contract, biased: false }
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &["lhs", "rhs"]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("lhs_contract", Attr::Ints(self.lhs_contract.clone())),
            ("rhs_contract", Attr::Ints(self.rhs_contract.clone())),
            ("lhs_batch", Attr::Ints(self.lhs_batch.clone())),
            ("rhs_batch", Attr::Ints(self.rhs_batch.clone())),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Dot, AttrError> {
        Ok(Dot {
            lhs_contract: attrs.ints("lhs_contract")?,
            rhs_contract: attrs.ints("rhs_contract")?,
            lhs_batch: attrs.ints("lhs_batch")?,
            rhs_batch: attrs.ints("rhs_batch")?,
        })
    }

    fn infer(&self, cx: &InferCx) -> Result<Types, Mismatch> {
        let (lhs, rhs) = (cx.float(0)?, cx.float(1)?);
        cx.same_dtype(0, 1)?;
        let pairs = [(&self.lhs_contract, &self.rhs_contract), (&self.lhs_batch, &self.rhs_batch)];
        for (of_lhs, of_rhs) in pairs {
            if of_lhs.len() != of_rhs.len() {
                return Err(Mismatch::attribute(format!(
                    "axes {of_lhs:?} of lhs have no partners in {of_rhs:?} of rhs"
                ))
                .help("name as many axes of one as of the other"));
            }
            for (&l, &r) in of_lhs.iter().zip(of_rhs) {
                let (a, b) = (cx.axis(0, l)?, cx.axis(1, r)?);
                if a != b {
                    return Err(Mismatch::shape(format!(
                        "axis {l} of lhs {lhs} has size {a}, but axis {r} of rhs {rhs} has size {b}"
                    ))
                    .help("paired axes must have one size; check the order of the operands, or transpose one"));
                }
            }
        }
        for (slot, axes) in [(0, (&self.lhs_contract, &self.lhs_batch)), (1, (&self.rhs_contract, &self.rhs_batch))] {
            let mut all: Vec<usize> = axes.0.iter().chain(axes.1).copied().collect();
            all.sort_unstable();
            if all.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Mismatch::attribute(format!("an axis of {} is named twice", cx.name(slot)))
                    .help("an axis is contracted, or kept in step, or left: name it at most once"));
            }
        }
        let batch = self.lhs_batch.iter().map(|&axis| lhs.shape[axis]);
        let rows = self.lhs_free(lhs.rank()).into_iter().map(|axis| lhs.shape[axis]);
        let columns = self.rhs_free(rhs.rank()).into_iter().map(|axis| rhs.shape[axis]);
        Ok([lhs.with_shape(batch.chain(rows).chain(columns).collect::<Shape>())].into())
    }

    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        let (lhs, rhs) = (cx.axis(0), cx.axis(1));
        let place = |axes: &[usize], of: Option<usize>| axes.iter().position(|&axis| Some(axis) == of);
        let (lhs_free, rhs_free) = (self.lhs_free(cx.ty(0).rank()), self.rhs_free(cx.ty(1).rank()));
        let (rows, columns) = (self.lhs_batch.len(), self.lhs_batch.len() + lhs_free.len());
        match (lhs, rhs) {
            (None, None) => Rows::apart(None),
            (Some(_), Some(_)) => match (place(&self.lhs_batch, lhs), place(&self.rhs_batch, rhs)) {
                (Some(l), Some(r)) if l == r => Rows::apart(Some(l)),
                _ => Rows::Coupled,
            },
            (Some(_), None) => place(&lhs_free, lhs).map_or(Rows::Coupled, |at| Rows::apart(Some(rows + at))),
            (None, Some(_)) => place(&rhs_free, rhs).map_or(Rows::Coupled, |at| Rows::apart(Some(columns + at))),
        }
    }

    fn eval<S: Number>(&self, cx: &EvalCx<S>) -> Option<Vec<Array<S>>> {
        let (lhs, rhs) = (cx.operand(0).real(), cx.operand(1).real());
        let (lhs_free, rhs_free) = (self.lhs_free(lhs.shape.len()), self.rhs_free(rhs.shape.len()));
        let contracted: Vec<usize> = self.lhs_contract.iter().map(|&axis| lhs.shape[axis]).collect();
        let (mut l, mut r) = (vec![0; lhs.shape.len()], vec![0; rhs.shape.len()]);
        let set = |at: &mut [usize], axes: &[usize], values: &[usize]| {
            axes.iter().zip(values).for_each(|(&axis, &value)| at[axis] = value);
        };
        Some(vec![Array::Real(NdArray::from_fn(cx.shape(0), |index| {
            let (batch, rest) = index.split_at(self.lhs_batch.len());
            let (rows, columns) = rest.split_at(lhs_free.len());
            set(&mut l, &self.lhs_batch, batch);
            set(&mut r, &self.rhs_batch, batch);
            set(&mut l, &lhs_free, rows);
            set(&mut r, &rhs_free, columns);
            let mut terms = Vec::new();
            NdArray::from_fn(&contracted, |k| {
                set(&mut l, &self.lhs_contract, k);
                set(&mut r, &self.rhs_contract, k);
                terms.push((lhs.at(&l), rhs.at(&r)));
            });
            S::dot(terms.into_iter())
        }))])
    }

    /// `dlhs = dy · rhsᵀ`, `drhs = lhsᵀ · dy`, with axes brought back to their places.
    fn vjp<'b>(&self, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        let Some(dy) = cx.cotangent(0).value() else { return Ok(vec![Cotangent::Zero; 2]) };
        let (lhs, rhs) = (cx.operand(0), cx.operand(1));
        let (lhs_free, rhs_free) = (self.lhs_free(lhs.rank()), self.rhs_free(rhs.rank()));
        let batches = self.lhs_batch.len();
        let dy_batch: Vec<usize> = (0..batches).collect();
        let dy_rows: Vec<usize> = (batches..batches + lhs_free.len()).collect();
        let dy_columns: Vec<usize> = (batches + lhs_free.len()..dy.rank()).collect();

        let dlhs = || {
            let of_dy =
                Side { value: dy, contract: &dy_columns, batch: &dy_batch, becomes: [&self.lhs_batch, &lhs_free] };
            let of_rhs = Side {
                value: rhs,
                contract: &rhs_free,
                batch: &self.rhs_batch,
                becomes: [&self.lhs_batch, &partners(&self.rhs_contract, &self.lhs_contract)],
            };
            product_in_order(of_dy, of_rhs)
        };
        let drhs = || {
            let of_dy = Side { value: dy, contract: &dy_rows, batch: &dy_batch, becomes: [&self.rhs_batch, &rhs_free] };
            let of_lhs = Side {
                value: lhs,
                contract: &lhs_free,
                batch: &self.lhs_batch,
                becomes: [&self.rhs_batch, &partners(&self.lhs_contract, &self.rhs_contract)],
            };
            product_in_order(of_lhs, of_dy)
        };
        Ok(vec![cx.if_needed(0, dlhs), cx.if_needed(1, drhs)])
    }

    fn onnx(&self, e: &mut dyn Onnx, operands: &[Held], ty: &TensorType) -> Exported<Held> {
        let [lhs, rhs] = exactly(operands);
        if self.lhs_contract.iter().any(|&axis| lhs.shape[axis] == Dim::Known(0)) {
            // Nothing to sum; runtimes differ on empty products.
            return Ok(e.filled(ty, 0.0));
        }
        let (left, right) = (e.whole(lhs)?, e.whole(rhs)?);
        let name = match self.onnx_of_matrices(e, (&left, lhs.shape.rank()), (&right, rhs.shape.rank())) {
            Some(name) => name,
            None => self.onnx_with_axes_merged(e, (&left, &lhs.shape), (&right, &rhs.shape), ty)?,
        };
        Ok(Held::of(name, ty))
    }

    fn cases() -> Vec<Case> {
        let case = |lhs: &[usize], rhs: &[usize], contract: (&[usize], &[usize]), batch: (&[usize], &[usize])| {
            let op = Dot {
                lhs_contract: contract.0.to_vec(),
                rhs_contract: contract.1.to_vec(),
                lhs_batch: batch.0.to_vec(),
                rhs_batch: batch.1.to_vec(),
            };
            Case::new(op, [Sample::any(lhs), Sample::any(rhs)])
        };
        let none: (&[usize], &[usize]) = (&[], &[]);
        vec![
            case(&[3, 5], &[5, 7], (&[1], &[0]), none),
            case(&[5, 3], &[5, 7], (&[0], &[0]), none),
            case(&[3, 5], &[7, 5], (&[1], &[1]), none),
            case(&[5, 3], &[7, 5], (&[0], &[1]), none),
            case(&[1, 11], &[11, 3], (&[1], &[0]), none),
            case(&[7], &[7], (&[0], &[0]), none),
            case(&[3], &[2], none, none),
            case(&[2, 3, 5], &[2, 5, 4], (&[2], &[1]), (&[0], &[0])),
            case(&[3, 2, 5], &[5, 4, 2], (&[2], &[0]), (&[1], &[2])),
            case(&[2, 3, 4], &[4, 3, 2], (&[0, 2], &[2, 0]), none),
            case(&[2, 3, 4], &[4, 5], (&[2], &[0]), none),
            case(&[0, 3], &[3, 2], (&[1], &[0]), none),
            case(&[2, 0], &[0, 3], (&[1], &[0]), none),
        ]
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}

impl Dot {
    /// `MatMul` over the last axis of the left side and the first of a matrix, `Gemm` for two matrices with a
    /// transposition, and nothing for other products. Each side is a name and a rank.
    fn onnx_of_matrices(&self, e: &mut dyn Onnx, left: (&str, usize), right: (&str, usize)) -> Option<String> {
        let ((left, left_rank), (right, 2)) = (left, right) else { return None };
        if !self.lhs_batch.is_empty() {
            return None;
        }
        let pair = (&self.lhs_contract[..], &self.rhs_contract[..]);
        if pair == (&[left_rank.wrapping_sub(1)][..], &[0][..]) {
            return Some(e.node("MatMul", &[left, right], &[]));
        }
        let (2, &[l], &[r]) = (left_rank, pair.0, pair.1) else { return None };
        let flags = [("transA", Attribute::Int(i64::from(l == 0))), ("transB", Attribute::Int(i64::from(r == 1)))];
        Some(e.node("Gemm", &[left, right], &flags))
    }

    /// `[batch…, rows, terms]·[batch…, terms, columns]` by `MatMul`, with rows, terms and columns merged into one axis
    /// each.
    fn onnx_with_axes_merged(
        &self,
        e: &mut dyn Onnx,
        (left, lhs): (&str, &Shape),
        (right, rhs): (&str, &Shape),
        ty: &TensorType,
    ) -> Exported<String> {
        let sizes = |shape: &Shape, axes: &[usize]| -> Vec<Dim> { axes.iter().map(|&axis| shape[axis]).collect() };
        let each = |shape: &Shape, axes: &[usize]| axes_of(&sizes(shape, axes).into_iter().collect());
        let (rows, columns) = (self.lhs_free(lhs.rank()), self.rhs_free(rhs.rank()));
        let left_order = [&self.lhs_batch[..], &rows, &self.lhs_contract].concat();
        let right_order = [&self.rhs_batch[..], &self.rhs_contract, &columns].concat();
        let (batch, terms) = (each(lhs, &self.lhs_batch), sizes(lhs, &self.lhs_contract));
        let (rows, columns) = (sizes(lhs, &rows), sizes(rhs, &columns));
        let matrix = |first: &Vec<Dim>, second: &Vec<Dim>| -> Vec<Vec<Dim>> {
            batch.iter().chain([first, second]).cloned().collect()
        };
        let left = e.transpose(left, &left_order);
        let left = e.reshape(&left, &each(lhs, &left_order), &matrix(&rows, &terms))?;
        let right = e.transpose(right, &right_order);
        let right = e.reshape(&right, &each(rhs, &right_order), &matrix(&terms, &columns))?;
        let product = e.node("MatMul", &[&left, &right], &[]);
        e.reshape(&product, &matrix(&rows, &columns), &axes_of(&ty.shape))
    }
}

/// One operand of a product whose free axes are to become given axes of the wanted result.
struct Side<'a, 'b> {
    value: Expr<'b>,
    contract: &'a [usize],
    batch: &'a [usize],
    // The result axes that the batch axes and the free axes become.
    becomes: [&'a [usize]; 2],
}

/// For each axis in ascending order of `axes`, its partner in `others`.
fn partners(axes: &[usize], others: &[usize]) -> Vec<usize> {
    let mut pairs: Vec<(usize, usize)> = axes.iter().copied().zip(others.iter().copied()).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, other)| other).collect()
}

/// The product of two sides with its axes in the wanted order; the order of the sides that needs no transposition is
/// preferred.
fn product_in_order<'b>(a: Side<'_, 'b>, b: Side<'_, 'b>) -> Expr<'b> {
    let order = |first: &Side, second: &Side| -> Vec<usize> {
        let batch = first.becomes[0].iter();
        batch.chain(first.becomes[1]).chain(second.becomes[1]).copied().collect()
    };
    let sorted = |order: &[usize]| order.windows(2).all(|pair| pair[0] < pair[1]);
    let (first, second) = if !sorted(&order(&a, &b)) && sorted(&order(&b, &a)) { (&b, &a) } else { (&a, &b) };
    let product = first.value.dot_general(second.value, (first.contract, second.contract), (first.batch, second.batch));
    product.transpose(&super::transpose::inverse(&order(first, second)))
}
