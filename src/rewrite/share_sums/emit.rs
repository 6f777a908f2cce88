//! Forms as nodes again: `Σₖ cₖ ⊙ S(mₖ)`, each shared sum once.

use super::form::{Forms, Shared};
use super::narrow::{reshaped, spread, squeezed};
use super::sum_of;
use super::term::{Atom, Base, Form, GONE, Scale, Term};
use crate::ir::{Builder, Dim, Expr, Graph, NodeId, Rebuild, Shape, TensorType, Value};

pub(super) struct SumWriter<'g> {
    graph: &'g Graph,
    forms: &'g Forms,
    // The shared sums that were written already.
    made: Vec<Option<Value>>,
}

impl<'g> SumWriter<'g> {
    pub fn new(graph: &'g Graph, forms: &'g Forms) -> SumWriter<'g> {
        SumWriter { graph, forms, made: vec![None; forms.shared_count()] }
    }

    /// The sum `id` in its form, which is not zero.
    pub fn form<'r>(&mut self, rebuild: &'r Rebuild<'_>, id: NodeId, form: &Form) -> Expr<'r> {
        let ty = &self.graph.node(id).types()[0];
        // A difference rather than the sum of a negation, where some term is positive.
        let mut terms: Vec<&Term> = form.iter().collect();
        terms.sort_by_key(|term| term.scale.ratio.over < 0);
        let mut total: Option<Expr<'r>> = None;
        for term in terms {
            let size = self.term(rebuild, ty, term);
            let negative = term.scale.ratio.over < 0;
            total = Some(match total {
                None if negative => -size,
                None => size,
                Some(total) if negative => total - size,
                Some(total) => total + size,
            });
        }
        total.unwrap_or(rebuild.builder().poisoned())
    }

    /// A term without its sign.
    fn term<'r>(&mut self, rebuild: &'r Rebuild<'_>, ty: &TensorType, term: &Term) -> Expr<'r> {
        let over = self.product(rebuild, &ty.shape, &term.over);
        let under = self.product(rebuild, &ty.shape, &term.under);
        let (times, by) = scalars(rebuild.builder(), ty, &term.scale);
        let full = |scalar: Expr<'r>| scalar.broadcast_to(ty.shape.clone());
        let mut value = match (over, times) {
            (Some(over), Some(times)) => over * full(times),
            (Some(over), None) => over,
            (None, times) => full(times.unwrap_or(rebuild.builder().scalar(ty.dtype, 1.0))),
        };
        for below in [under, by.map(full)].into_iter().flatten() {
            value = value / below;
        }
        value
    }

    fn product<'r>(&mut self, rebuild: &'r Rebuild<'_>, shape: &Shape, atoms: &[Atom]) -> Option<Expr<'r>> {
        let mut factors = Vec::with_capacity(atoms.len());
        for atom in atoms {
            let value = match atom.base {
                Base::Value(value) => squeezed(rebuild.get(value)),
                Base::Sum(sum) => self.shared(rebuild, sum),
            };
            let dims: Vec<usize> = atom.at.iter().filter(|&&axis| axis != GONE).map(|&axis| axis.into()).collect();
            factors.push(spread(value, shape.clone(), &dims));
        }
        factors.into_iter().reduce(|a, b| a * b)
    }

    /// A shared sum, in the shape of the axes that it keeps.
    fn shared<'r>(&mut self, rebuild: &'r Rebuild<'_>, index: usize) -> Expr<'r> {
        if let Some(value) = self.made[index] {
            return rebuild.builder().expr(value);
        }
        let Some((shared, example)) = self.forms.shared(index) else { return rebuild.builder().poisoned() };
        let sum = match example.and_then(|id| self.example(rebuild, shared, id)) {
            Some(sum) => sum,
            None => {
                let over = self.product(rebuild, &shared.shape, &shared.over);
                let under = self.product(rebuild, &shared.shape, &shared.under);
                let value = match (over, under) {
                    (Some(over), Some(under)) => over / under,
                    (None, Some(under)) => 1.0 / under,
                    (over, None) => over.unwrap_or(rebuild.builder().poisoned()),
                };
                let axes: Vec<usize> = (0..shared.shape.rank()).filter(|axis| shared.summed & 1 << axis != 0).collect();
                value.sum(&axes)
            }
        };
        self.made[index] = Some(sum.value());
        sum
    }

    /// The same from a sum of the old graph that is just this, if what it sums exists by now.
    fn example<'r>(&self, rebuild: &'r Rebuild<'_>, shared: &Shared, id: NodeId) -> Option<Expr<'r>> {
        let node = self.graph.node(id);
        let (axes, _) = sum_of(node.op())?;
        let operand = node.operands()[0];
        if !rebuild.is_done(operand.node) {
            return None;
        }
        let shape: Shape = shared.kept().map(|axis| shared.shape[axis]).collect();
        Some(reshaped(rebuild.get(operand).sum(axes), shape))
    }
}

/// What to multiply by and what to divide by, as scalars, apart from the sign; `None` for 1.
fn scalars<'b>(builder: &'b Builder, ty: &TensorType, scale: &Scale) -> (Option<Expr<'b>>, Option<Expr<'b>>) {
    let (over, under) = (scale.ratio.over.unsigned_abs(), scale.ratio.under.unsigned_abs());
    // Multiplying by a power of two is as exact as dividing.
    let (times, by) = if under.is_power_of_two() { (over as f64 / under as f64, 1) } else { (over as f64, under) };
    let sizes = |sign: i32| {
        let repeated = |&(symbol, exponent): &(crate::ir::Symbol, i32)| {
            std::iter::repeat_n(Dim::Symbol(symbol), usize::try_from(exponent * sign).unwrap_or(0))
        };
        let dims: Vec<Dim> = scale.sizes.iter().flat_map(repeated).collect();
        if dims.is_empty() { None } else { Some(builder.size(dims, ty.dtype)) }
    };
    let both = |number: f64, size: Option<Expr<'b>>| match (number, size) {
        (1.0, size) => size,
        (number, None) => Some(builder.scalar(ty.dtype, number)),
        (number, Some(size)) => Some(size * number),
    };
    (both(times, sizes(1)), both(by as f64, sizes(-1)))
}
