//! One op, one layout, one element type, one set of values: a gradient problem.

use super::{Feeds, Layout, Problem, Random, UNITS, gradient_name};
use foldgrad::autodiff::{ReverseRules, vjp_with};
use foldgrad::ir::{DType, TensorType};
use foldgrad::op::{Case, Cotangent, Domain, Op, Sample};
use foldgrad::ops::{Cast, Dense, Dot, StopGradient};
use foldgrad::{Builder, Expr, Graph};

/// Which results get a cotangent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeded {
    All,
    Only(usize),
}

/// An op over sampled operands, each reached through a layout.
#[derive(Clone, Debug)]
pub struct Trial {
    pub case: Case,
    pub dtype: DType,
    pub layout: Layout,
    pub seeded: Seeded,
    pub feeds: Feeds,
}

/// The ops' own cases, and a few more: conversions between floats, and square matrices, at which a forgotten
/// transposition is of the right type.
pub fn cases() -> Vec<Case> {
    let matrix_product =
        Dot { lhs_contract: vec![1], rhs_contract: vec![0], lhs_batch: Vec::new(), rhs_batch: Vec::new() };
    let square = || Sample::any(&[4, 4]);
    let mut cases = Op::cases();
    cases.extend([
        Case::new(Cast { dtype: DType::F32 }, [Sample::any(&[3, 5])]),
        Case::new(Cast { dtype: DType::F64 }, [Sample::any(&[])]),
        Case::new(StopGradient, [Sample::any(&[3])]),
        Case::new(matrix_product, [square(), square()]),
        Case::new(Dense, [square(), square(), Sample::any(&[4])]),
    ]);
    cases
}

/// Whether a gradient can be asked for: a float operand and a float result, and no deliberate cut between them.
pub fn is_differentiable(case: &Case) -> bool {
    let b = Builder::new();
    let operands = operands_in(&b, case, DType::F64);
    let results = b.push_all(case.op.clone(), &operands);
    let floats = |exprs: &[Expr<'_>]| exprs.iter().any(|expr| expr.dtype().is_float());
    floats(&operands) && floats(&results) && case.op.name() != "stop_gradient"
}

pub(super) fn operands_in<'b>(b: &'b Builder, case: &Case, dtype: DType) -> Vec<Expr<'b>> {
    let declare = |(slot, sample): (usize, &Sample)| {
        let dtype = if sample.ty.dtype.is_float() { dtype } else { sample.ty.dtype };
        b.input(&format!("operand{slot}"), dtype, sample.ty.shape.clone())
    };
    case.operands.iter().enumerate().map(declare).collect()
}

/// Every differentiable case in every layout, with every result seeded together and each alone.
pub fn trials(dtype: DType, seed: u64) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, case) in cases().into_iter().enumerate().filter(|(_, case)| is_differentiable(case)) {
        for (index, layout) in Layout::ALL.into_iter().enumerate() {
            let seed = seed ^ ((number * 8 + index) as u64) << 40;
            trials.push(Trial::new(&case, dtype, layout, Seeded::All, seed));
            if case.op.results() > 1 && layout == Layout::Contiguous {
                let alone = |result| Trial::new(&case, dtype, layout, Seeded::Only(result), seed);
                trials.extend((0..case.op.results()).map(alone));
            }
        }
    }
    trials
}

/// What [`Trial::declare`] puts into a builder.
struct Declared<'b> {
    /// The inputs beneath the float operands.
    sources: Vec<Expr<'b>>,
    /// The float results that are seeded, each with its cotangent input.
    seeded: Vec<(Expr<'b>, Expr<'b>)>,
}

impl Trial {
    pub fn new(case: &Case, dtype: DType, layout: Layout, seeded: Seeded, seed: u64) -> Trial {
        let mut random = Random(seed);
        let mut trial = Trial { case: case.clone(), dtype, layout, seeded, feeds: Feeds::new() };
        for (slot, sample) in case.operands.iter().enumerate() {
            let (ty, _) = trial.source_type(sample);
            let shape = ty.shape.known().unwrap_or_default();
            trial.feeds.insert(format!("x{slot}"), random.array(ty.dtype, &shape, sample.domain));
        }
        let b = Builder::new();
        for (index, (result, _)) in trial.declare(&b).seeded.iter().enumerate() {
            let shape = result.shape().known().unwrap_or_default();
            let cotangent = random.array(result.dtype(), &shape, Domain::Range(-1.0, 1.0));
            trial.feeds.insert(format!("u{index}"), cotangent);
        }
        trial
    }

    pub fn label(&self) -> String {
        let attrs: Vec<String> = self.case.op.attrs().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let operands: Vec<String> = self.case.operands.iter().map(|sample| sample.ty.to_string()).collect();
        let (name, dtype, layout, seeded) = (self.case.op.name(), self.dtype, self.layout, self.seeded);
        format!("{name}({}) [{}] in {dtype}, {layout:?}, seeded {seeded:?}", operands.join(", "), attrs.join(" "))
    }

    /// The type of the input beneath an operand, and of the operand itself.
    fn source_type(&self, sample: &Sample) -> (TensorType, Vec<usize>) {
        let shape = sample.ty.shape.known().unwrap_or_default();
        if sample.ty.dtype.is_float() {
            (TensorType::new(self.dtype, self.layout.source(&shape)), shape)
        } else {
            (sample.ty.clone(), shape)
        }
    }

    fn operands<'b>(&self, b: &'b Builder) -> (Vec<Expr<'b>>, Vec<Expr<'b>>) {
        let mut sources = Vec::new();
        let mut operands = Vec::new();
        for (slot, sample) in self.case.operands.iter().enumerate() {
            let (ty, shape) = self.source_type(sample);
            let source = b.input(&format!("x{slot}"), ty.dtype, ty.shape);
            if ty.dtype.is_float() {
                sources.push(source);
                operands.push(self.layout.view(source, &shape));
            } else {
                operands.push(source);
            }
        }
        (sources, operands)
    }

    fn declare<'b>(&self, b: &'b Builder) -> Declared<'b> {
        let (sources, operands) = self.operands(b);
        let results = b.push_all(self.case.op.clone(), &operands);
        let chosen = |&(index, result): &(usize, Expr<'b>)| {
            result.dtype().is_float() && (self.seeded == Seeded::All || self.seeded == Seeded::Only(index))
        };
        let seeded = results.into_iter().enumerate().filter(chosen).map(|(_, result)| result).enumerate();
        let with_cotangent = |(index, result): (usize, Expr<'b>)| {
            (result, b.input(&format!("u{index}"), result.dtype(), result.shape()))
        };
        Declared { sources, seeded: seeded.map(with_cotangent).collect() }
    }

    /// The op alone: the inputs beneath its float operands, and its float results.
    pub fn plain<'b>(&self, b: &'b Builder) -> (Vec<Expr<'b>>, Vec<Expr<'b>>) {
        let (sources, operands) = self.operands(b);
        let results = b.push_all(self.case.op.clone(), &operands);
        (sources, results.into_iter().filter(|result| result.dtype().is_float()).collect())
    }

    /// The values of the operands' inputs, without the cotangents.
    pub fn operand_feeds(&self) -> Feeds {
        self.feeds.iter().filter(|(name, _)| name.starts_with('x')).map(|(n, x)| (n.clone(), x.clone())).collect()
    }

    /// The names of the inputs beneath the float operands.
    pub fn source_names(&self) -> Vec<String> {
        let feeds = self.operand_feeds().into_iter();
        feeds.filter(|(_, x)| matches!(x, foldgrad::reference::Array::Real(_))).map(|(name, _)| name).collect()
    }

    /// `Σ u⊙op(x)`, term by term, beside its gradient with respect to every `x` by these rules.
    pub fn problem(&self, rules: &dyn ReverseRules) -> Result<Problem, String> {
        let (forward, _) = self.forward()?;
        let (gradient, wrt) = self.gradient(rules)?;
        Ok(Problem { label: self.label(), forward, gradient, feeds: self.feeds.clone(), wrt, units: UNITS })
    }

    fn forward(&self) -> Result<(Graph, usize), String> {
        let b = Builder::new();
        let declared = self.declare(&b);
        for (index, &(result, u)) in declared.seeded.iter().enumerate() {
            b.output(&format!("terms{index}"), result * u);
        }
        let seeded = declared.seeded.len();
        Ok((b.finish().map_err(|errors| format!("{}: {errors}", self.label()))?, seeded))
    }

    fn gradient(&self, rules: &dyn ReverseRules) -> Result<(Graph, Vec<String>), String> {
        let b = Builder::new();
        let declared = self.declare(&b);
        let found =
            reverse(rules, &declared.seeded, &declared.sources).map_err(|e| format!("{}: {e}", self.label()))?;
        let mut wrt = Vec::new();
        for (source, gradient) in declared.sources.iter().zip(found) {
            let name = name_of(*source);
            b.output(&gradient_name(&name), gradient);
            wrt.push(name);
        }
        Ok((b.finish().map_err(|errors| format!("{}: {errors}", self.label()))?, wrt))
    }

    /// `Σ w⊙gradient`, term by term, beside its own gradient with respect to every `x` and every `u`.
    pub fn second_problem(&self, rules: &dyn ReverseRules, seed: u64) -> Result<Problem, String> {
        let mut feeds = self.feeds.clone();
        let mut random = Random(seed);
        let mut graphs = Vec::new();
        let mut wrt = Vec::new();
        for order in 1..=2 {
            let b = Builder::new();
            let Declared { mut sources, seeded } = self.declare(&b);
            let fail = |error: &dyn std::fmt::Display| format!("{}: order {order}: {error}", self.label());
            let found = reverse(rules, &seeded, &sources).map_err(|e| fail(&e))?;
            let weighted: Vec<(Expr<'_>, Expr<'_>)> = found
                .iter()
                .enumerate()
                .map(|(index, &gradient)| (gradient, b.input(&format!("w{index}"), gradient.dtype(), gradient.shape())))
                .collect();
            sources.extend(seeded.iter().map(|&(_, u)| u));
            if order == 1 {
                for (index, &(gradient, w)) in weighted.iter().enumerate() {
                    b.output(&format!("terms{index}"), gradient * w);
                    let shape = gradient.shape().known().unwrap_or_default();
                    let values = random.array(gradient.dtype(), &shape, Domain::Range(-1.0, 1.0));
                    feeds.insert(name_of(w), values);
                }
            } else {
                let second = reverse(rules, &weighted, &sources).map_err(|e| fail(&e))?;
                for (&source, &gradient) in sources.iter().zip(&second) {
                    b.output(&gradient_name(&name_of(source)), gradient);
                    wrt.push(name_of(source));
                }
            }
            graphs.push(b.finish().map_err(|e| fail(&e))?);
        }
        let (Some(gradient), Some(forward)) = (graphs.pop(), graphs.pop()) else {
            return Err(format!("{}: no graphs", self.label()));
        };
        Ok(Problem { label: format!("second order of {}", self.label()), forward, gradient, feeds, wrt, units: UNITS })
    }
}

/// The cotangents of `wrt`, with symbolic zeros written out.
pub(super) fn reverse<'b>(
    rules: &dyn ReverseRules,
    seeded: &[(Expr<'b>, Expr<'b>)],
    wrt: &[Expr<'b>],
) -> Result<Vec<Expr<'b>>, foldgrad::Diagnostic> {
    let (outputs, seeds): (Vec<Expr<'b>>, Vec<Cotangent<'b>>) =
        seeded.iter().map(|&(output, seed)| (output, Cotangent::Value(seed))).unzip();
    let found = vjp_with(rules, &outputs, &seeds, wrt)?;
    Ok(found.into_iter().zip(wrt).map(|(c, x)| c.value().unwrap_or_else(|| x.zeros_like())).collect())
}

pub(super) fn name_of(input: Expr<'_>) -> String {
    let graph = input.builder().graph();
    graph.as_input(input.value().node).map(|(name, _)| name.to_owned()).unwrap_or_default()
}
