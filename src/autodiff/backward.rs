//! The reverse sweep: `cotangent(operand) += vjp(op)(cotangent(results))`, from the last node to the first.

use super::template::Templates;
use crate::ir::{Builder, Code, Diagnostic, Expr, NodeId, Source, Value};
use crate::op::{Cotangent, NoVjp, Op, VjpCx};
use smallvec::SmallVec;
use std::panic::Location;

/// The reverse rules that a sweep uses. [`OpRules`] are each op's own; tests and users can override some.
pub trait ReverseRules {
    /// The cotangents of the operands of `op`.
    ///
    /// # Errors
    /// As for [`OpDef::vjp`](crate::op::OpDef::vjp).
    fn vjp<'b>(&self, op: &Op, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        op.vjp(cx)
    }
}

/// Each op's own reverse rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpRules;

impl ReverseRules for OpRules {}

/// The gradients of the sum of scalar `losses` with respect to `wrt`, any float values of the graph.
///
/// ```
/// use foldgrad::{Builder, DType, autodiff};
/// let g = Builder::new();
/// let x = g.input("x", DType::F64, ["n"]);
/// let loss = (x * x).sum_all();
/// let dx = autodiff::gradients(&[loss], &[x])?[0];
/// g.output("dx", dx);
/// # g.finish().map_err(|errors| errors.first().clone())?;
/// # Ok::<(), foldgrad::Diagnostic>(())
/// ```
///
/// # Errors
/// A loss that is no float scalar, a `wrt` that is no float, or an op on the way that has no derivative: never a
/// silent zero. A value that the losses do not depend on has the gradient zero.
#[track_caller]
pub fn gradients<'b>(losses: &[Expr<'b>], wrt: &[Expr<'b>]) -> Result<Vec<Expr<'b>>, Diagnostic> {
    let caller = Location::caller();
    let wrong = |loss: &&Expr<'b>| !loss.is_poisoned() && (loss.rank() != 0 || !loss.dtype().is_float());
    if let Some(loss) = losses.iter().find(wrong) {
        let ty = loss.ty();
        let (code, help) = if ty.dtype.is_float() {
            (Code::Shape, "reduce it with `.mean_all()` or `.sum_all()`, or use `vjp` with a cotangent of its shape")
        } else {
            (Code::DType, "a count or an index is piecewise constant: take a smooth loss, such as a cross-entropy")
        };
        return Err(Diagnostic::new(code, format!("a loss must be an f32 or f64 scalar, found {ty}"))
            .at(caller)
            .note(loss.builder().graph().describe(loss.value().node))
            .help(help));
    }
    let Some(builder) = losses.first().or(wrt.first()).map(|expr| expr.builder()) else { return Ok(Vec::new()) };
    builder.attributed(Source::User(caller), || {
        let seeds: Vec<Cotangent<'b>> = losses.iter().map(|loss| Cotangent::Value(loss.scalar_like(1.0))).collect();
        let cotangents = vjp_at(&OpRules, losses, &seeds, wrt, caller)?;
        let materialise =
            |(cotangent, x): (Cotangent<'b>, &Expr<'b>)| cotangent.value().unwrap_or_else(|| x.zeros_like());
        Ok(cotangents.into_iter().zip(wrt).map(materialise).collect())
    })
}

/// The vector–Jacobian product: the cotangents of `wrt`, given those of `outputs`.
///
/// # Errors
/// As [`gradients`]; and a cotangent whose type is not that of its output.
#[track_caller]
pub fn vjp<'b>(
    outputs: &[Expr<'b>],
    cotangents: &[Cotangent<'b>],
    wrt: &[Expr<'b>],
) -> Result<Vec<Cotangent<'b>>, Diagnostic> {
    vjp_with(&OpRules, outputs, cotangents, wrt)
}

/// [`vjp`] with some reverse rules overridden.
///
/// # Errors
/// As for [`vjp`].
#[track_caller]
pub fn vjp_with<'b>(
    rules: &dyn ReverseRules,
    outputs: &[Expr<'b>],
    cotangents: &[Cotangent<'b>],
    wrt: &[Expr<'b>],
) -> Result<Vec<Cotangent<'b>>, Diagnostic> {
    vjp_at(rules, outputs, cotangents, wrt, Location::caller())
}

/// [`vjp_with`], with the line that mistakes are reported at.
fn vjp_at<'b>(
    rules: &dyn ReverseRules,
    outputs: &[Expr<'b>],
    cotangents: &[Cotangent<'b>],
    wrt: &[Expr<'b>],
    caller: &'static Location<'static>,
) -> Result<Vec<Cotangent<'b>>, Diagnostic> {
    let Some(builder) = outputs.first().or(wrt.first()).map(|expr| expr.builder()) else { return Ok(Vec::new()) };
    check_counts("outputs", outputs.len(), "cotangents", cotangents.len(), caller)?;
    let seeds = cotangents.iter().filter_map(|cotangent| cotangent.value());
    let all: Vec<Expr<'b>> = outputs.iter().chain(wrt).copied().chain(seeds).collect();
    if all.iter().any(|expr| expr.is_poisoned()) {
        // The mistake is already on the builder's list; what follows from it would only hide it.
        return Ok(wrt.iter().map(|_| Cotangent::Zero).collect());
    }
    if let Some(foreign) = all.iter().find(|expr| !std::ptr::eq(expr.builder(), builder)) {
        return Err(Diagnostic::new(Code::Graph, "a gradient was asked for across two graphs")
            .at(caller)
            .note(format!("of another graph: {}", foreign.builder().graph().describe(foreign.value().node)))
            .help("differentiate expressions of one builder by expressions of the same one"));
    }
    for x in wrt {
        if !x.dtype().is_float() {
            let title = format!("there is no gradient with respect to {}", x.ty());
            return Err(Diagnostic::new(Code::DType, title)
                .at(caller)
                .note(builder.graph().describe(x.value().node))
                .help("gradients exist with respect to f32 and f64 values"));
        }
    }
    let mut sweep = ReverseSweep::new(builder, rules, wrt);
    for (output, cotangent) in outputs.iter().zip(cotangents) {
        if let Cotangent::Value(seed) = cotangent {
            if !output.dtype().is_float() {
                let title = format!("there is no gradient of {}", output.ty());
                return Err(Diagnostic::new(Code::DType, title)
                    .at(caller)
                    .note(builder.graph().describe(output.value().node))
                    .help("gradients exist of f32 and f64 values"));
            }
            if seed.ty() != output.ty() {
                let title = format!("the cotangent of {} is {}", output.ty(), seed.ty());
                let of = builder.graph().describe(output.value().node);
                let help = "give it the type of its output";
                return Err(Diagnostic::new(Code::Shape, title)
                    .at(caller)
                    .note(format!("the output is {of}"))
                    .help(help));
            }
            sweep.add(output.value(), *seed);
        }
    }
    sweep.run()?;
    Ok(wrt.iter().map(|x| sweep.cotangent(x.value())).collect())
}

/// Refuses lists that belong together but differ in length.
pub(super) fn check_counts(
    ones: &str,
    one_count: usize,
    others: &str,
    other_count: usize,
    caller: &'static Location<'static>,
) -> Result<(), Diagnostic> {
    if one_count == other_count {
        return Ok(());
    }
    let title = format!("there are {one_count} {ones}, but {other_count} {others}");
    Err(Diagnostic::new(Code::Graph, title).at(caller).help("give one for each, in the same order"))
}

struct ReverseSweep<'r, 'b> {
    builder: &'b Builder,
    rules: &'r dyn ReverseRules,
    templates: Templates,
    // Whether a node depends on a value of `wrt`, or is one: only there do cotangents matter.
    active: Vec<bool>,
    // For each node of the primal graph, the cotangent of each result so far.
    cotangents: Vec<SmallVec<[Option<Value>; 1]>>,
}

impl<'r, 'b> ReverseSweep<'r, 'b> {
    fn new(builder: &'b Builder, rules: &'r dyn ReverseRules, wrt: &[Expr<'b>]) -> ReverseSweep<'r, 'b> {
        let graph = builder.graph();
        let mut active = vec![false; graph.len()];
        for x in wrt {
            active[x.value().node.index()] = true;
        }
        for (id, node) in graph.nodes() {
            let cut = matches!(node.op(), Op::StopGradient(_));
            if !cut && node.operands().iter().any(|operand| active[operand.node.index()]) {
                active[id.index()] = true;
            }
        }
        let cotangents = vec![SmallVec::new(); graph.len()];
        ReverseSweep { builder, rules, templates: Templates::default(), active, cotangents }
    }

    fn cotangent(&self, value: Value) -> Cotangent<'b> {
        let slot = self.cotangents[value.node.index()].get(value.output as usize).copied().flatten();
        slot.map_or(Cotangent::Zero, |value| Cotangent::Value(self.builder.expr(value)))
    }

    /// Adds to the cotangent of a value: fan-out in the primal graph is a sum in its gradient.
    fn add(&mut self, value: Value, cotangent: Expr<'b>) {
        if !self.active[value.node.index()] {
            return;
        }
        let sum = match self.cotangent(value) {
            Cotangent::Zero => cotangent,
            Cotangent::Value(so_far) => self.builder.attributed(Source::GradientOf(value.node), || so_far + cotangent),
        };
        let slots = &mut self.cotangents[value.node.index()];
        if slots.len() <= value.output as usize {
            slots.resize(value.output as usize + 1, None);
        }
        slots[value.output as usize] = Some(sum.value());
    }

    fn run(&mut self) -> Result<(), Diagnostic> {
        for index in (0..self.active.len()).rev() {
            let id = NodeId(index as u32);
            if self.active[index] && !self.cotangents[index].is_empty() {
                self.visit(id)?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, id: NodeId) -> Result<(), Diagnostic> {
        let (op, operands, scope) = {
            let graph = self.builder.graph();
            let node = graph.node(id);
            let operands: SmallVec<[Value; 4]> = SmallVec::from_slice(node.operands());
            if !operands.iter().any(|operand| self.active[operand.node.index()]) {
                return Ok(());
            }
            (node.op().clone(), operands, graph.scope(id).map(str::to_owned))
        };
        let builder = self.builder;
        let exprs: SmallVec<[Expr<'b>; 4]> = operands.iter().map(|&operand| builder.expr(operand)).collect();
        let needed: SmallVec<[bool; 4]> =
            exprs.iter().map(|e| self.active[e.value().node.index()] && e.dtype().is_float()).collect();
        let results: SmallVec<[Expr<'b>; 3]> =
            (0..op.results() as u32).map(|output| builder.expr(Value { node: id, output })).collect();
        let cotangents: SmallVec<[Cotangent<'b>; 3]> =
            results.iter().map(|result| self.cotangent(result.value())).collect();
        let cx = VjpCx { builder, operands: &exprs, results: &results, cotangents: &cotangents, needed: &needed };
        let (rules, templates) = (self.rules, &mut self.templates);
        let reverse = || match rules.vjp(&op, &cx) {
            Err(NoVjp::DifferentiateExpansion) => {
                templates.apply(&|outputs, cotangents, wrt| vjp_with(rules, outputs, cotangents, wrt), &op, &cx)
            }
            Err(NoVjp::NotDifferentiable(reason)) => Err(Err(reason)),
            Ok(cotangents) => Ok(cotangents),
        };
        let reverse = || builder.attributed(Source::GradientOf(id), reverse);
        let outcome = match &scope {
            Some(scope) => builder.scoped(scope, reverse),
            None => reverse(),
        };
        let found = match outcome {
            Ok(found) => found,
            Err(Ok(inner)) => return Err(self.describe_failure(id, inner)),
            Err(Err(reason)) => return Err(self.not_differentiable(id, &op, reason)),
        };
        for (slot, cotangent) in found.into_iter().enumerate() {
            let Cotangent::Value(cotangent) = cotangent else { continue };
            if needed[slot] && !cotangent.is_poisoned() {
                self.check_type(id, &op, exprs[slot], cotangent)?;
                self.add(operands[slot], cotangent);
            }
        }
        Ok(())
    }

    fn check_type(&self, id: NodeId, op: &Op, primal: Expr<'b>, cotangent: Expr<'b>) -> Result<(), Diagnostic> {
        if primal.ty() == cotangent.ty() {
            return Ok(());
        }
        let title =
            format!("the reverse rule of {} gives {} for an operand {}", op.name(), cotangent.ty(), primal.ty());
        Err(Diagnostic::new(Code::Graph, title)
            .at_place(self.builder.graph().place(id))
            .help("a cotangent has the type of its primal; this is a mistake in the rule"))
    }

    fn not_differentiable(&self, id: NodeId, op: &Op, reason: &str) -> Diagnostic {
        let graph = self.builder.graph();
        let mut diagnostic = Diagnostic::new(Code::NotDifferentiable, format!("{} has no derivative", op.name()))
            .at_place(graph.place(id))
            .note(format!("a gradient was asked for that flows through {}", graph.describe(id)));
        for operand in graph.node(id).operands() {
            if self.active[operand.node.index()] {
                let message = format!("its operand {} depends on a value to differentiate by", graph.ty(*operand));
                diagnostic = diagnostic.note_at(message, graph.place(operand.node));
            }
        }
        diagnostic.help(reason)
    }

    fn describe_failure(&self, id: NodeId, inner: Diagnostic) -> Diagnostic {
        let graph = self.builder.graph();
        inner.at_place(graph.place(id)).note(format!("in the definition of {}", graph.describe(id)))
    }
}
