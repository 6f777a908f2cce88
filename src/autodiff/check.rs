//! Gradient checking for any graph: the reverse sweep against central differences and against dual numbers.

use super::backward::gradients;
use crate::ir::{Builder, DType, Diagnostic, Graph, OrderedMap, Tensor, Value};
use crate::reference::{Array, Dual, EvalError, interpret};
use std::fmt;

/// How to check. `GradientCheck::default()` suits smooth functions of values around 1.
#[derive(Clone, Debug)]
pub struct GradientCheck {
    /// Largest accepted difference from central differences, relative to the largest gradient entry of that input.
    pub difference_tolerance: f64,
    /// Largest accepted difference from dual numbers, relative likewise.
    pub exact_tolerance: f64,
    /// Step of the central differences, relative to the entry (or to 1 for small entries).
    pub step: f64,
    /// At most this many entries of each input are checked, spread evenly over it.
    pub max_entries: usize,
}

impl Default for GradientCheck {
    fn default() -> Self {
        GradientCheck { difference_tolerance: 1e-8, exact_tolerance: 1e-12, step: 1e-3, max_entries: 64 }
    }
}

/// What was compared, and the largest relative differences seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GradientReport {
    /// Number of gradient entries compared.
    pub entries: usize,
    /// Largest relative difference from central differences.
    pub worst_difference: f64,
    /// Largest relative difference from dual numbers.
    pub worst_exact: f64,
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} gradient entries agree: within {:.1e} of central differences, within {:.1e} of dual numbers",
            self.entries, self.worst_difference, self.worst_exact
        )
    }
}

/// Why a gradient check failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GradientMismatch {
    /// The graph cannot be differentiated.
    #[error(transparent)]
    NotDifferentiable(#[from] Box<Diagnostic>),
    /// The graph has no such output.
    #[error("the graph has no output `{name}`; it has {known}")]
    UnknownOutput {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The graph cannot be evaluated with these inputs.
    #[error(transparent)]
    Evaluation(#[from] EvalError),
    /// The gradient is wrong, or the point lies at a kink or pole.
    #[error(
        "the gradient of `{output}` with respect to `{input}`{index:?} is {reverse:e}, but {oracle} give {expected:e}; \
         either a reverse rule is wrong, or the point lies at a kink of the function"
    )]
    Differs {
        /// The loss.
        output: String,
        /// The input.
        input: String,
        /// Which entry of the input.
        index: Vec<usize>,
        /// What the reverse sweep gives.
        reverse: f64,
        /// What it was compared with.
        oracle: &'static str,
        /// What that gives.
        expected: f64,
    },
}

/// Checks the gradient of the scalar output `loss` with respect to every float input that is fed, in f64.
///
/// The reverse sweep is compared with sixth-order central differences and with dual numbers, entry by entry.
///
/// ```
/// use foldgrad::autodiff::{GradientCheck, check_gradients};
/// use foldgrad::{Builder, DType, Tensor};
/// let g = Builder::new();
/// let x = g.input("x", DType::F64, ["n"]);
/// g.output("loss", (x.tanh() * x).sum_all());
/// let graph = g.finish()?;
/// let report = check_gradients(&graph, "loss", [("x", Tensor::vector(vec![0.3, -1.2]))], &GradientCheck::default())?;
/// assert_eq!(report.entries, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first entry that differs by more than the tolerances, or why the graph could not be checked.
pub fn check_gradients<'a>(
    graph: &Graph,
    loss: &str,
    feeds: impl IntoIterator<Item = (&'a str, Tensor)>,
    check: &GradientCheck,
) -> Result<GradientReport, GradientMismatch> {
    let feeds: OrderedMap<String, Tensor> = feeds.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    let differentiated = with_gradients(graph, loss, &feeds)?;
    let at = |feeds: &OrderedMap<String, Tensor>| -> OrderedMap<String, Array<f64>> {
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect()
    };
    let reverse = interpret(&differentiated, &at(&feeds))?.outputs;
    let mut report = GradientReport::default();
    for (input, tensor) in &feeds {
        let Some(gradient) = reverse.get(&gradient_name(input)) else { continue };
        let gradient = &gradient.real().data;
        let scale = gradient.iter().fold(0.0f64, |scale, entry| scale.max(entry.abs())).max(1e-3);
        let stride = gradient.len().div_ceil(check.max_entries.max(1)).max(1);
        for entry in (0..gradient.len()).step_by(stride) {
            let probes = [
                ("dual numbers", exact_slope(graph, loss, &feeds, input, entry)?, check.exact_tolerance),
                (
                    "central differences",
                    difference(graph, loss, &at(&feeds), input, entry, check)?,
                    check.difference_tolerance,
                ),
            ];
            for (oracle, expected, tolerance) in probes {
                let error = (gradient[entry] - expected).abs() / scale;
                if error.is_nan() || error > tolerance {
                    return Err(GradientMismatch::Differs {
                        output: loss.to_owned(),
                        input: input.clone(),
                        index: multi_index(tensor.shape(), entry),
                        reverse: gradient[entry],
                        oracle,
                        expected,
                    });
                }
                let worst =
                    if oracle == "dual numbers" { &mut report.worst_exact } else { &mut report.worst_difference };
                *worst = worst.max(error);
            }
            report.entries += 1;
        }
    }
    Ok(report)
}

fn gradient_name(input: &str) -> String {
    format!("gradient of {input}")
}

/// The graph with an output for the gradient of `loss` with respect to each float input that is fed.
fn with_gradients(graph: &Graph, loss: &str, feeds: &OrderedMap<String, Tensor>) -> Result<Graph, GradientMismatch> {
    let Some(output) = graph.output(loss) else {
        let known = graph.outputs().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(GradientMismatch::UnknownOutput { name: loss.to_owned(), known });
    };
    let is_float = |name: &str, dtype: DType| feeds.contains_key(name) && dtype.is_float();
    let inputs: Vec<(String, Value)> = graph
        .inputs()
        .filter(|&(name, id)| is_float(name, graph.node(id).types()[0].dtype))
        .map(|(name, id)| (name.to_owned(), Value::first(id)))
        .collect();
    let builder = Builder::resume(graph.clone());
    let wrt: Vec<_> = inputs.iter().map(|&(_, value)| builder.expr(value)).collect();
    let found = gradients(&[builder.expr(output)], &wrt).map_err(Box::new)?;
    for ((name, _), gradient) in inputs.iter().zip(found) {
        builder.output(&gradient_name(name), gradient);
    }
    builder.finish().map_err(|errors| Box::new(errors.first().clone()).into())
}

/// The derivative along one entry, by dual numbers.
fn exact_slope(
    graph: &Graph,
    loss: &str,
    feeds: &OrderedMap<String, Tensor>,
    input: &str,
    entry: usize,
) -> Result<f64, EvalError> {
    let mut arrays: OrderedMap<String, Array<Dual>> =
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    if let Some(Array::Real(array)) = arrays.get_mut(input) {
        array.data[entry].du = 1.0;
    }
    let outputs = interpret(graph, &arrays)?.outputs;
    Ok(outputs[loss].real().data[0].du)
}

/// `(45(f(x+h) − f(x−h)) − 9(f(x+2h) − f(x−2h)) + f(x+3h) − f(x−3h)) / 60h`: error of order h⁶.
fn difference(
    graph: &Graph,
    loss: &str,
    feeds: &OrderedMap<String, Array<f64>>,
    input: &str,
    entry: usize,
    check: &GradientCheck,
) -> Result<f64, EvalError> {
    let x = feeds[input].real().data[entry];
    let h = check.step * x.abs().max(1.0);
    let at = |x: f64| -> Result<f64, EvalError> {
        let mut moved = feeds.clone();
        if let Some(Array::Real(array)) = moved.get_mut(input) {
            array.data[entry] = x;
        }
        Ok(interpret(graph, &moved)?.outputs[loss].real().data[0])
    };
    let spread = |distance: f64| Ok::<f64, EvalError>(at(x + distance)? - at(x - distance)?);
    Ok((45.0 * spread(h)? - 9.0 * spread(2.0 * h)? + spread(3.0 * h)?) / (60.0 * h))
}

fn multi_index(shape: &[usize], mut flat: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    index
}
