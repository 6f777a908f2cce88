//! Fewer sums: each is written as `Σₖ cₖ ⊙ S(mₖ)`, and sums that need the same few `S` share them.
//!
//! Summation is linear, so `Σ(c·x ± y) = c·Σx ± Σy` wherever `c` does not vary along the summed axes, and `Σc = N·c`.
//! That is all: `Σ(x − mean x) = Σx − N·(Σx/N) = 0` and the closed-form gradient of batch norm follow from it. Products
//! of values that do vary are never multiplied out: `Σ dy·(x − m)` must not become the difference of two large sums.

mod choose;
mod emit;
mod form;
mod narrow;
mod term;

use crate::ir::{Diagnostics, Expr, Graph, NodeId, Rebuild, Source, Value};
use crate::op::Op;
use crate::ops::{Binary, Reduction, Unary};
use emit::SumWriter;
use form::Forms;

/// A round leaves little to the next one; the bound keeps the whole pass linear in the graph.
const ROUNDS: usize = 8;

/// The same outputs from fewer sums.
///
/// Every [`sum`](Expr::sum) and [`mean`](Expr::mean) is expanded, by linearity alone, into sums of products whose
/// factors all vary along the summed axes. Where a family of sums needs fewer of these than it has members, each member
/// is written in terms of them; a sum that comes out as zero goes, and what it was added to or multiplied with is
/// simplified. Other sums stay as they are. A function of repeated values is computed before they are repeated.
///
/// Batch norm written by hand, with its gradients, then takes four sums over the batch:
///
/// ```
/// use foldgrad::op::Cotangent;
/// use foldgrad::{Builder, DType, autodiff, rewrite};
/// let g = Builder::new();
/// let x = g.input("x", DType::F64, ["batch", "4"]);
/// let dy = g.input("dy", DType::F64, ["batch", "4"]);
/// let gamma = g.parameter("gamma", DType::F64, [4]);
/// let beta = g.parameter("beta", DType::F64, [4]);
/// let centred = x - x.mean(&[0]);
/// let var = (centred * centred).mean(&[0]);
/// let y = centred * (var + 1e-3).rsqrt() * gamma + beta;
/// g.output("y", y);
/// let gradients = autodiff::vjp(&[y], &[Cotangent::Value(dy)], &[x, gamma, beta])?;
/// for (name, gradient) in ["dx", "dgamma", "dbeta"].iter().zip(gradients) {
///     g.output(name, gradient.value().unwrap_or(x));
/// }
/// let graph = g.finish().map_err(|errors| errors.first().clone())?;
/// let shared = rewrite::share_sums(&graph).map_err(|errors| errors.first().clone())?;
/// assert!(rewrite::count_sums(&graph) > 4);
/// assert_eq!(rewrite::count_sums(&shared), 4);
/// # Ok::<(), foldgrad::Diagnostic>(())
/// ```
///
/// The result is equal as algebra, and to rounding in floating point; it can differ where a value is infinite or not a
/// number, since `0·∞` is left out with its zero. It has no dead nodes, and no more sums than `graph` has. Applying the
/// pass again changes nothing.
///
/// # Errors
/// Those of building a graph, which a verified graph does not meet.
pub fn share_sums(graph: &Graph) -> Result<Graph, Diagnostics> {
    let mut current = narrow::narrow(graph)?;
    for _ in 0..ROUNDS {
        let forms = Forms::of(&current);
        let chosen = choose::choose(&forms);
        let rewritten = if chosen.is_empty() { None } else { Some(rewrite(&current, &forms, &chosen)?) };
        let next = narrow::narrow(rewritten.as_ref().unwrap_or(&current))?;
        if is_same(&next, &current) {
            break;
        }
        current = next;
    }
    Ok(current)
}

/// Whether the nodes of two graphs are the same, one by one.
fn is_same(one: &Graph, other: &Graph) -> bool {
    let pairs = || one.nodes().zip(other.nodes()).map(|((_, a), (_, b))| (a, b));
    one.len() == other.len() && pairs().all(|(a, b)| a.op() == b.op() && a.operands() == b.operands())
}

/// The number of sums and means that the outputs and updates of a graph need.
pub fn count_sums(graph: &Graph) -> usize {
    let live = graph.live();
    graph.nodes().filter(|(id, node)| live[id.index()] && sum_of(node.op()).is_some()).count()
}

/// The axes of a sum or mean, and whether it is a mean.
fn sum_of(op: &Op) -> Option<(&[usize], bool)> {
    match op {
        Op::Reduce(reduce) if reduce.reduction == Reduction::Sum => Some((reduce.axes(), false)),
        Op::Mean(mean) => Some((mean.axes(), true)),
        _ => None,
    }
}

/// Writes each chosen sum as its form says, and simplifies what the zeros among them reach.
fn rewrite(graph: &Graph, forms: &Forms, chosen: &[NodeId]) -> Result<Graph, Diagnostics> {
    let live = graph.live();
    let mut zero = vec![false; graph.len()];
    let mut is_chosen = vec![false; graph.len()];
    chosen.iter().for_each(|id| is_chosen[id.index()] = true);
    let mut rebuild = Rebuild::new(graph);
    let mut emitter = SumWriter::new(graph, forms);
    for id in graph.ids().filter(|id| live[id.index()]) {
        let form = forms.get(id).filter(|_| is_chosen[id.index()]);
        let outcome = match form {
            Some(form) if form.is_empty() => Became::Zero,
            Some(form) => Became::Is(within(&rebuild, id, || emitter.form(&rebuild, id, form)).value()),
            None => fold(&rebuild, id, &zero),
        };
        match outcome {
            Became::Zero => {
                zero[id.index()] = true;
                let ty = &graph.node(id).types()[0];
                let scalar = || rebuild.builder().scalar(ty.dtype, 0.0).broadcast_to(ty.shape.clone());
                let value = within(&rebuild, id, scalar).value();
                rebuild.replace(id, &[value]);
            }
            Became::Is(value) => rebuild.replace(id, &[value]),
            Became::Same => rebuild.copy(id),
        }
    }
    rebuild.finish()
}

enum Became {
    Zero,
    Is(Value),
    Same,
}

/// What a node becomes when some of its operands are sums that came out as zero, or follow from such.
fn fold(rebuild: &Rebuild<'_>, id: NodeId, zero: &[bool]) -> Became {
    let node = rebuild.old().node(id);
    let is_zero = |slot: usize| node.operands().get(slot).is_some_and(|operand| zero[operand.node.index()]);
    let operand = |slot: usize| rebuild.get(node.operands()[slot]);
    match node.op() {
        Op::Binary(Binary::Add | Binary::Sub) if is_zero(0) && is_zero(1) => Became::Zero,
        Op::Binary(Binary::Add) if is_zero(0) => Became::Is(operand(1).value()),
        Op::Binary(Binary::Add | Binary::Sub) if is_zero(1) => Became::Is(operand(0).value()),
        Op::Binary(Binary::Sub) if is_zero(0) => Became::Is(within(rebuild, id, || -operand(1)).value()),
        Op::Binary(Binary::Mul) if is_zero(0) || is_zero(1) => Became::Zero,
        Op::Binary(Binary::Div) | Op::Unary(Unary::Neg) | Op::Mean(_) if is_zero(0) => Became::Zero,
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) if is_zero(0) => Became::Zero,
        Op::Reduce(reduce) if reduce.reduction == Reduction::Sum && is_zero(0) => Became::Zero,
        _ => Became::Same,
    }
}

/// Runs `body` with new nodes attributed to the layer and line of the old node `id`.
fn within<'r>(rebuild: &'r Rebuild<'_>, id: NodeId, body: impl FnOnce() -> Expr<'r>) -> Expr<'r> {
    let (old, builder) = (rebuild.old(), rebuild.builder());
    let mut source = old.node(id).origins().first().map(|origin| origin.source);
    while let Some(Source::GradientOf(primal)) = source {
        let kept = rebuild.get(Value::first(primal));
        if !kept.is_poisoned() {
            source = Some(Source::GradientOf(kept.value().node));
            break;
        }
        source = old.node(primal).origins().first().map(|origin| origin.source);
    }
    let source = source.unwrap_or(Source::Rewritten { rule: "share_sums", at: rebuild.old().place(id) });
    builder.attributed(source, || match old.scope(id) {
        Some(scope) => builder.scoped(scope, body),
        None => body(),
    })
}
