//! THE list of planted rules, and the same rules without their mistakes.

use super::examples::Example::{self, *};
use foldgrad::Expr;
use foldgrad::ir::{NodeId, Value};
use foldgrad::op::Op;
use foldgrad::ops::{Binary, Reduction};
use foldgrad::rewrite::{Equality, Match, Miss, Rewrite, Rule};

/// A wrong rule, where it fires, and the op of the node that it is blamed at.
pub struct Planted {
    pub rule: Rule,
    pub example: Example,
    pub at: &'static str,
}

type Done = Result<Rewrite, Miss>;

/// The operands of a batch norm with its neighbouring Dense, and its equations.
#[derive(Clone, Copy)]
struct Parts<'b> {
    x: Expr<'b>,
    w: Expr<'b>,
    b: Expr<'b>,
    gamma: Expr<'b>,
    beta: Expr<'b>,
    mean: Expr<'b>,
    var: Expr<'b>,
    eps: f64,
}

impl<'b> Parts<'b> {
    /// s = γ/√(σ² + ε)
    fn s(self) -> Expr<'b> {
        self.gamma * (self.var + self.eps).rsqrt()
    }
    /// t = β − s⊙μ
    fn t(self) -> Expr<'b> {
        self.beta - self.s() * self.mean
    }
    /// W·diag v
    fn columns(self, v: Expr<'b>) -> Expr<'b> {
        self.w * v.along(1, self.w)
    }
    /// diag v·W
    fn rows(self, v: Expr<'b>) -> Expr<'b> {
        self.w * v.along(0, self.w)
    }
    /// The fold behind a Dense, with another scale.
    fn scaled_by(self, s: Expr<'b>) -> [Expr<'b>; 2] {
        [self.columns(s), (self.b - self.mean) * s + self.beta]
    }
}

/// A kernel and a bias.
type Fold = for<'b> fn(Parts<'b>) -> [Expr<'b>; 2];

fn parts<'g>(m: &Match<'g>, norm: NodeId, dense: NodeId, x: Value) -> Result<Parts<'g>, Miss> {
    let (Op::BatchNormInfer(op), Op::Dense(_)) = (m.node(norm).op(), m.node(dense).op()) else {
        return Err(Miss::Absent);
    };
    let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|slot| m.get(m.node(norm).operands()[slot]));
    let [w, b] = [1, 2].map(|slot| m.get(m.node(dense).operands()[slot]));
    Ok(Parts { x: m.get(x), w, b, gamma, beta, mean, var, eps: op.eps.0 })
}

/// The op before the matched one, if it is of that name.
fn before(m: &Match<'_>, name: &str) -> Result<NodeId, Miss> {
    let id = m.operands().first().ok_or(Miss::Absent)?.node;
    if m.node(id).op().name() == name { Ok(id) } else { Err(Miss::Absent) }
}

/// bn(x·W + b) ⇒ x·W' + b'
fn behind_dense(m: &Match<'_>, fold: Fold) -> Done {
    let dense = before(m, "dense")?;
    let parts = parts(m, m.root(), dense, m.node(dense).operands()[0])?;
    let [w, b] = fold(parts);
    Ok(Rewrite::by(parts.x.dense(w, Some(b))))
}

/// f(bn(x))·W + b ⇒ f(x)·W' + b', where f is an op of that name or nothing
fn before_dense(m: &Match<'_>, between: Option<&str>, fold: Fold) -> Done {
    let data = m.operands().first().ok_or(Miss::Absent)?.node;
    let norm = match between {
        None => data,
        Some(name) if m.node(data).op().name() == name => m.node(data).operands()[0].node,
        Some(_) => return Err(Miss::Absent),
    };
    let parts = parts(m, norm, m.root(), m.node(norm).operands().first().copied().ok_or(Miss::Absent)?)?;
    let [w, b] = fold(parts);
    let x = if between.is_some() { parts.x.builder().push(m.node(data).op().clone(), &[parts.x]) } else { parts.x };
    Ok(Rewrite::by(x.dense(w, Some(b))))
}

/// op(x·W + b, c) or op(c, x·W + b), with `c` laid along the units ⇒ x·W' + b'; the fold is given W, b and c.
fn binary(m: &Match<'_>, op: Binary, dense_slot: usize, fold: for<'b> fn([Expr<'b>; 3]) -> [Expr<'b>; 2]) -> Done {
    if !matches!(m.op(), Op::Binary(found) if *found == op) {
        return Err(Miss::Absent);
    }
    let (dense, laid) = (m.operand(dense_slot).node, m.operand(1 - dense_slot).node);
    let (Op::Dense(_), Op::Broadcast(_)) = (m.node(dense).op(), m.node(laid).op()) else { return Err(Miss::Absent) };
    let [x, w, b] = [0, 1, 2].map(|slot| m.get(m.node(dense).operands()[slot]));
    let [w, b] = fold([w, b, m.get(m.node(laid).operands()[0])]);
    Ok(Rewrite::by(x.dense(w, Some(b))))
}

/// bn_train(x·W + b) ⇒ the results of bn_train(x·W), changed
fn training(m: &Match<'_>, results: for<'b> fn([Expr<'b>; 3], Expr<'b>) -> [Expr<'b>; 3]) -> Done {
    let Op::BatchNormTrain(op) = m.op() else { return Err(Miss::Absent) };
    let dense = before(m, "dense")?;
    let [x, w, b] = [0, 1, 2].map(|slot| m.get(m.node(dense).operands()[slot]));
    let normed = x.dot(w).batch_norm_train(m.get(m.operand(1)), m.get(m.operand(2)), op.axis, op.eps.0);
    let results = results([normed.y, normed.mean, normed.var], b);
    Ok(Rewrite { results: results.map(|result| result.value()).to_vec(), ..Rewrite::by(normed.y) })
}

/// (x·W₁ + b₁)·W₂ + b₂ ⇒ x·W + b; the fold is given W₁, b₁, W₂, b₂.
fn products(m: &Match<'_>, fold: for<'b> fn([Expr<'b>; 4]) -> [Expr<'b>; 2]) -> Done {
    let Op::Dense(_) = m.op() else { return Err(Miss::Absent) };
    let first = before(m, "dense")?;
    let [x, w1, b1] = [0, 1, 2].map(|slot| m.get(m.node(first).operands()[slot]));
    let [w, b] = fold([w1, b1, m.get(m.operand(1)), m.get(m.operand(2))]);
    Ok(Rewrite::by(x.dense(w, Some(b))))
}

/// f(op(x, c))·W + b ⇒ f(x)·W' + b', where f has that name; the fold is given W, b and c.
fn moved(m: &Match<'_>, op: Binary, f: &str, fold: for<'b> fn([Expr<'b>; 3]) -> [Expr<'b>; 2]) -> Done {
    let between = before(m, f)?;
    let (inner, others) = m.node(between).operands().split_first().ok_or(Miss::Absent)?;
    if !matches!(m.producer(*inner), Op::Binary(found) if *found == op) {
        return Err(Miss::Absent);
    }
    let [x, laid] = [0, 1].map(|slot| m.node(inner.node).operands()[slot]);
    let c = m.get(m.node(laid.node).operands()[0]);
    let w = m.get(m.operand(1));
    let bias = m.operands().get(2).map_or(c * 0.0, |&bias| m.get(bias));
    let operands: Vec<Expr<'_>> = [m.get(x)].into_iter().chain(others.iter().map(|&other| m.get(other))).collect();
    let f = w.builder().push(m.node(between).op().clone(), &operands);
    let [w, b] = fold([w, bias, c]);
    Ok(Rewrite::by(f.dense(w, Some(b))))
}

/// relu(x·W + b)⊙s ⇒ relu(x·(W·diag s) + s⊙b)
fn through_relu(m: &Match<'_>) -> Done {
    let (Op::Binary(Binary::Mul), relu) = (m.op(), before(m, "relu")?) else { return Err(Miss::Absent) };
    let dense = m.node(relu).operands()[0].node;
    let [x, w, b] = [0, 1, 2].map(|slot| m.get(m.node(dense).operands()[slot]));
    let s = m.get(m.node(m.operand(1).node).operands()[0]);
    Ok(Rewrite::by(x.dense(w * s.along(1, w), Some(b * s)).relu()))
}

/// The Dense itself becomes what the batch norm behind it was, and the batch norm becomes the Dense.
fn shared_value(m: &Match<'_>) -> Done {
    if let Op::BatchNormInfer(_) = m.op() {
        return Ok(Rewrite::by(m.get(m.operand(0))));
    }
    let is_norm = |&user: &NodeId| matches!(m.node(user).op(), Op::BatchNormInfer(_));
    let norm = m.users(m.result()).find(is_norm).ok_or(Miss::Absent)?;
    let parts = parts(m, norm, m.root(), m.operands().first().copied().ok_or(Miss::Absent)?)?;
    let [w, b] = parts.scaled_by(parts.s());
    Ok(Rewrite::by(parts.x.dense(w, Some(b))))
}

/// The kernel itself is scaled, and the batch norm becomes a Dense over it.
fn shared_kernel(m: &Match<'_>) -> Done {
    let is_norm = |&(_, node): &(NodeId, &foldgrad::ir::Node)| matches!(node.op(), Op::BatchNormInfer(_));
    let (norm, node) = m.graph().nodes().find(is_norm).ok_or(Miss::Absent)?;
    let dense = node.operands()[0].node;
    let parts = parts(m, norm, dense, m.node(dense).operands()[0])?;
    if m.root() == norm {
        return Ok(Rewrite::by(parts.x.dense(parts.w, Some(parts.scaled_by(parts.s())[1]))));
    }
    if m.result() != m.node(dense).operands()[1] {
        return Err(Miss::Absent);
    }
    Ok(Rewrite::by(parts.columns(parts.s())))
}

/// transpose(transpose(x; p); q) ⇒ transpose(x; order(p, q))
fn transposes(m: &Match<'_>, order: fn(&[usize], &[usize]) -> Vec<usize>) -> Done {
    let (Op::Transpose(outer), inner) = (m.op(), before(m, "transpose")?) else { return Err(Miss::Absent) };
    let Op::Transpose(first) = m.node(inner).op() else { return Err(Miss::Absent) };
    let x = m.get(m.node(inner).operands()[0]);
    Ok(Rewrite::by(x.transpose(&order(first.permutation(), outer.permutation()))))
}

/// (x + t₁)⊙s + t₂ ⇒ x⊙s + t
fn chain(m: &Match<'_>, shift: for<'b> fn([Expr<'b>; 3]) -> Expr<'b>) -> Done {
    let (Op::Binary(Binary::Add), mul) = (m.op(), before(m, "mul")?) else { return Err(Miss::Absent) };
    let add = m.node(mul).operands()[0].node;
    if m.node(add).op().name() != "add" {
        return Err(Miss::Absent);
    }
    let vector = |of: NodeId| m.get(m.node(m.node(of).operands()[1].node).operands()[0]);
    let (x, s) = (m.get(m.node(add).operands()[0]), vector(mul));
    Ok(Rewrite::by(x * s + shift([vector(add), s, vector(m.root())])))
}

/// The sum of a gradient of training batch norm over the batch.
fn summed_gradient(m: &Match<'_>, result: for<'b> fn(Expr<'b>) -> Expr<'b>) -> Done {
    let Op::Reduce(reduce) = m.op() else { return Err(Miss::Absent) };
    let grad = before(m, "batch_norm_grad")?;
    if reduce.reduction != Reduction::Sum {
        return Err(Miss::Absent);
    }
    Ok(Rewrite::by(result(m.get(m.node(grad).operands()[5]))))
}

/// −W, b's of `c − (x·W + b)`.
fn negated<'b>([w, b, c]: [Expr<'b>; 3]) -> [Expr<'b>; 2] {
    [-w, c - b]
}

macro_rules! rules {
    ($($name:ident: $equality:ident at $example:ident $(blamed $at:literal)?, $apply:expr;)*) => {
        [$(Planted {
            rule: Rule {
                name: stringify!($name),
                equation: "planted",
                equality: Equality::$equality,
                apply: $apply,
            },
            example: $example,
            at: concat!($($at)?),
        }),*]
    };
}

static PLANTED: &[Planted] = &rules! {
    bias_not_scaled: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()), p.b + p.t()]);
    beta_dropped: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()), (p.b - p.mean) * p.s()]);
    mean_not_scaled: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()), p.b * p.s() - p.mean + p.beta]);
    mean_added: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()), (p.b + p.mean) * p.s() + p.beta]);
    epsilon_forgotten: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| p.scaled_by(p.gamma * p.var.rsqrt()));
    epsilon_outside_of_the_root: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| p.scaled_by(p.gamma / (p.var.sqrt() + p.eps)));
    variance_for_deviation: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| p.scaled_by(p.gamma / (p.var + p.eps)));
    divided_by_gamma: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| p.scaled_by((p.var + p.eps).rsqrt() / p.gamma));
    rows_for_columns: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.rows(p.s()), (p.b - p.mean) * p.s() + p.beta]);
    kernel_transposed: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()).transpose(&[1, 0]), (p.b - p.mean) * p.s() + p.beta]);
    batch_mean_for_moving_mean: Algebraic at NormBehindDense blamed "batch_norm_infer",
        |m| behind_dense(m, |p| [p.columns(p.s()), p.beta - p.x.mean(&[0]).dot(p.columns(p.s()))]);
    shift_forgotten_before_a_product: Algebraic at NormBeforeDense blamed "dense",
        |m| before_dense(m, None, |p| [p.rows(p.s()), p.b]);
    shift_not_multiplied_by_the_kernel: Algebraic at NormBeforeDense blamed "dense",
        |m| before_dense(m, None, |p| [p.rows(p.s()), p.b + p.t()]);
    shift_scaled_before_a_product: Algebraic at NormBeforeDense blamed "dense",
        |m| before_dense(m, None, |p| [p.rows(p.s()), p.b + p.t().dot(p.rows(p.s()))]);
    columns_for_rows: Algebraic at NormBeforeDense blamed "dense",
        |m| before_dense(m, None, |p| [p.columns(p.s()), p.b + p.t().dot(p.w)]);
    order_of_subtraction: Algebraic at SubtractedFrom blamed "sub",
        |m| binary(m, Binary::Sub, 1, |[w, b, c]| [w, b - c]);
    kernel_not_negated: Algebraic at SubtractedFrom blamed "sub",
        |m| binary(m, Binary::Sub, 1, |[w, b, c]| [w, c - b]);
    order_of_division: Algebraic at DividedBy blamed "div",
        |m| binary(m, Binary::Div, 1, |[w, b, c]| [w / c.along(1, w), b / c]);
    division_as_an_affine_map: Algebraic at DividedBy blamed "div",
        |m| binary(m, Binary::Div, 1, |[w, b, c]| [c.along(1, w) / w, c / b]);
    shared_value_changed: Algebraic at SecondUser blamed "dense", shared_value;
    shared_kernel_edited: Algebraic at SharedKernel blamed "input", shared_kernel;
    negative_scale_through_relu: Sampled at NegativeScale blamed "mul", through_relu;
    negative_scale_through_relu_as_algebra: Algebraic at NegativeScale blamed "mul", through_relu;
    negative_scale_through_a_maximum: Sampled at LargestNegative blamed "dense",
        |m| moved(m, Binary::Mul, "reduce_max", |[w, b, c]| [w * c.along(0, w), b]);
    running_mean_without_the_bias: Algebraic at Training blamed "batch_norm_train",
        |m| training(m, |[y, mean, var], _| [y, mean, var]);
    running_mean_with_the_wrong_sign: Algebraic at Training blamed "batch_norm_train",
        |m| training(m, |[y, mean, var], b| [y, mean - b, var]);
    running_variance_moved_too: Algebraic at Training blamed "batch_norm_train",
        |m| training(m, |[y, mean, var], b| [y, mean + b, var + b * b]);
    gradient_of_the_batch_mean_dropped: Algebraic at BatchMean blamed "reduce_sum",
        |m| summed_gradient(m, |dm| dm.zeros_like());
    shift_through_a_border: Algebraic at ShiftBeforeBorder blamed "dot",
        |m| moved(m, Binary::Add, "pad", |[w, _, c]| [w, c.dot(w)]);
    shift_of_a_sum_counted_once: Algebraic at SummedShift blamed "dense",
        |m| moved(m, Binary::Add, "reduce_sum", |[w, b, c]| [w, c.dot(w) + b]);
    inner_bias_not_multiplied: Algebraic at Products blamed "dense",
        |m| products(m, |[w1, b1, w2, b2]| [w1.dot(w2), b1 + b2]);
    outer_bias_dropped: Algebraic at Products blamed "dense",
        |m| products(m, |[w1, b1, w2, _]| [w1.dot(w2), b1.dot(w2)]);
    order_of_the_factors: Algebraic at Products blamed "dense",
        |m| products(m, |[w1, b1, w2, b2]| [w2.dot(w1), b1.dot(w2) + b2]);
    axis_not_tracked_through_a_transpose: Algebraic at TransposedAway blamed "dense",
        |m| before_dense(m, Some("transpose"), |p| [p.rows(p.s()), p.b + p.t().dot(p.w)]);
    channels_tiled_for_repeated: Algebraic at Flattened blamed "dense",
        |m| before_dense(m, Some("reshape"), |p| flattened(p, 1));
    inner_shift_not_scaled: Algebraic at Chain blamed "add",
        |m| chain(m, |[t1, _, t2]| t1 + t2);
    permutations_in_the_wrong_order: Algebraic at Identities blamed "transpose",
        |m| transposes(m, |p, q| p.iter().map(|&axis| q[axis]).collect());
    zero_minus_x_is_x: Algebraic at ZeroMinus blamed "sub",
        |m| if let Op::Binary(Binary::Sub) = m.op() { Ok(Rewrite::by(m.get(m.operand(1)))) } else { Err(Miss::Absent) };
};

/// A map along axis 1 of a square image that is flattened: its weights along both axes, `laid` being theirs.
fn flattened<'b>(p: Parts<'b>, laid: usize) -> [Expr<'b>; 2] {
    let size = p.gamma.shape()[0].known().unwrap_or(0);
    let flat = |v: Expr<'b>| v.broadcast_in([size, size], &[laid]).reshape([size * size]);
    [p.rows(flat(p.s())), p.b + flat(p.t()).dot(p.w)]
}

static RIGHT: &[Planted] = &rules! {
    behind_a_dense: Algebraic at NormBehindDense, |m| behind_dense(m, |p| p.scaled_by(p.s()));
    before_a_dense: Algebraic at NormBeforeDense,
        |m| before_dense(m, None, |p| [p.rows(p.s()), p.b + p.t().dot(p.w)]);
    subtracted_from: Algebraic at SubtractedFrom, |m| binary(m, Binary::Sub, 1, negated);
    divided: Algebraic at Divided, |m| binary(m, Binary::Div, 0, |[w, b, c]| [w / c.along(1, w), b / c]);
    positive_scale_through_relu: Sampled at PositiveScale, through_relu;
    positive_scale_through_a_maximum: Sampled at Largest,
        |m| moved(m, Binary::Mul, "reduce_max", |[w, b, c]| [w * c.along(0, w), b]);
    running_mean_with_the_bias: Algebraic at Training, |m| training(m, |[y, mean, var], b| [y, mean + b, var]);
    gradient_of_the_batch_mean: Algebraic at BatchMean, |m| summed_gradient(m, |dm| dm);
    scale_through_a_border: Algebraic at ScaleBeforeBorder,
        |m| moved(m, Binary::Mul, "pad", |[w, _, c]| [w * c.along(0, w), c.dot(w) * 0.0]);
    shift_of_a_sum: Algebraic at SummedShift, |m| moved(m, Binary::Add, "reduce_sum", |[w, b, c]| [w, c.dot(w) * 4.0 + b]);
    products_multiplied_out: Algebraic at Products, |m| products(m, |[w1, b1, w2, b2]| [w1.dot(w2), b1.dot(w2) + b2]);
    axis_tracked_through_a_transpose: Algebraic at Transposed,
        |m| before_dense(m, Some("transpose"), |p| [p.rows(p.s()), p.b + p.t().dot(p.w)]);
    channels_repeated: Algebraic at Flattened, |m| before_dense(m, Some("reshape"), |p| flattened(p, 0));
    chain_of_maps: Algebraic at Chain, |m| chain(m, |[t1, s, t2]| t1 * s + t2);
    permutations_in_order: Algebraic at Identities,
        |m| transposes(m, |p, q| q.iter().map(|&axis| p[axis]).collect());
};

pub fn planted() -> &'static [Planted] {
    PLANTED
}

pub fn right() -> impl Iterator<Item = (&'static Rule, Example)> {
    RIGHT.iter().map(|planted| (&planted.rule, planted.example))
}
