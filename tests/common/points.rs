//! Laws at chosen points: kinks, ties, zeros, far out, and where there is no derivative at all.
//!
//! Each takes the reverse rules it judges, so that the planted mistakes go through the same checks.

use super::trial::reverse;
use foldgrad::autodiff::{ReverseRules, vjp_with};
use foldgrad::ir::Code;
use foldgrad::op::Cotangent;
use foldgrad::ops::GeluForm;
use foldgrad::reference::{Array, NdArray, interpret};
use foldgrad::{Builder, DType, Diagnostic, Expr};

/// What a function is, over vectors `x0`, `x1`, … of the graph.
pub type Function = for<'b> fn(&'b Builder, &[Expr<'b>]) -> Expr<'b>;

/// The sum of a function's entries differentiated `order` times with respect to `x0`, each time summed again: entries of
/// the last gradient with respect to every input.
pub fn derivative(
    rules: &dyn ReverseRules,
    order: usize,
    inputs: &[&[f64]],
    f: Function,
) -> Result<Vec<Vec<f64>>, Box<Diagnostic>> {
    let b = Builder::new();
    let xs: Vec<Expr<'_>> =
        inputs.iter().enumerate().map(|(i, x)| b.input(&format!("x{i}"), DType::F64, [x.len()])).collect();
    let mut value = f(&b, &xs);
    let mut found = Vec::new();
    for _ in 0..order {
        let loss = value.sum_all();
        found = reverse(rules, &[(loss, loss.scalar_like(1.0))], &xs)?;
        value = found[0];
    }
    for (index, gradient) in found.iter().enumerate() {
        b.output(&index.to_string(), *gradient);
    }
    let graph = b.finish().map_err(|errors| errors.first().clone())?;
    let feed =
        |(i, x): (usize, &&[f64])| (format!("x{i}"), Array::Real(NdArray { shape: vec![x.len()], data: x.to_vec() }));
    let feeds = inputs.iter().enumerate().map(feed).collect();
    let outputs = interpret(&graph, &feeds).map_err(|e| Box::new(Diagnostic::new(Code::Graph, e.to_string())))?;
    Ok(outputs.outputs.values().map(|output| output.real().data.clone()).collect())
}

/// Requires the derivative to be exactly what is expected.
fn exactly(
    what: &str,
    rules: &dyn ReverseRules,
    order: usize,
    inputs: &[&[f64]],
    f: Function,
    expected: &[&[f64]],
) -> Result<(), String> {
    let found = derivative(rules, order, inputs, f).map_err(|error| format!("{what}: {error}"))?;
    if found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a == b) {
        return Ok(());
    }
    Err(format!("{what}: derivative {order} is {found:?}, expected {expected:?}"))
}

/// What is marked as a constant has the gradient of a constant, and what lies before it is never asked for one.
pub fn stop_gradient_blocks(rules: &dyn ReverseRules) -> Result<(), String> {
    let x: &[&[f64]] = &[&[3.0, -2.0]];
    exactly("x·stop(x)", rules, 1, x, |_, x| x[0] * x[0].stop_gradient(), &[&[3.0, -2.0]])?;
    exactly("x·stop(x) again", rules, 2, x, |_, x| x[0] * x[0].stop_gradient(), &[&[0.0, 0.0]])?;
    exactly("stop(x²)", rules, 1, x, |_, x| (x[0] * x[0]).stop_gradient(), &[&[0.0, 0.0]])?;
    // An op without a derivative behind the cut is on nobody's path.
    let hard: Function = |_, x| x[0] * x[0].stop_gradient().arg_max(0).one_hot(2, DType::F64);
    exactly("x·one_hot(arg_max(stop(x)))", rules, 1, x, hard, &[&[1.0, 0.0]])?;
    let hard: Function = |_, x| x[0] * x[0].greater(x[0].zeros_like()).stop_gradient().cast(DType::F64);
    exactly("x·cast(stop(x > 0))", rules, 1, x, hard, &[&[1.0, 0.0]])?;
    let hard: Function = |_, x| x[0] * x[0].cast(DType::I32).cast(DType::F64).stop_gradient();
    exactly("x·stop(truncate(x))", rules, 1, x, hard, &[&[3.0, -2.0]])?;
    // The cut value itself has a gradient like any other value; it goes no further.
    let b = Builder::new();
    let x = b.input("x", DType::F64, [2]);
    let cut = x.stop_gradient();
    let loss = (cut * cut).sum_all();
    let found = vjp_with(rules, &[loss], &[loss.scalar_like(1.0).into()], &[x, cut]).map_err(|e| e.to_string())?;
    match found[..] {
        [Cotangent::Zero, Cotangent::Value(_)] => Ok(()),
        _ => Err(format!("the gradients of stop(x)² by x and by stop(x): {found:?}")),
    }
}

/// A path through an op that has no derivative is an error that names it, not a zero.
pub fn no_derivative_is_an_error(rules: &dyn ReverseRules) -> Result<(), String> {
    let paths: [(&str, Function); 5] = [
        ("one_hot", |_, x| x[0].arg_max(0).one_hot(2, DType::F64)),
        ("cast", |_, x| x[0].arg_max(0).cast(DType::F64)),
        ("cast", |_, x| x[0].greater(x[0].zeros_like()).cast(DType::F64)),
        ("cast", |_, x| x[0].cast(DType::I32).cast(DType::F64) * x[0]),
        ("cast", |_, x| x[0].equal(x[0]).cast(DType::F64) + x[0]),
    ];
    for (op, f) in paths {
        match derivative(rules, 1, &[&[1.0, 2.0]], f) {
            Ok(gradient) => return Err(format!("a gradient flows through {op}: {gradient:?}")),
            Err(error) if error.code() != Code::NotDifferentiable || !error.title().starts_with(op) => {
                return Err(format!("the error through {op} should name it: {error}"));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Where several elements are the largest or smallest, the gradient is shared evenly.
pub fn ties_are_shared(rules: &dyn ReverseRules) -> Result<(), String> {
    let pair: &[&[f64]] = &[&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]];
    exactly("max", rules, 1, pair, |_, x| x[0].max(x[1]), &[&[0.5, 0.0, 1.0], &[0.5, 1.0, 0.0]])?;
    exactly("min", rules, 1, pair, |_, x| x[0].min(x[1]), &[&[0.5, 1.0, 0.0], &[0.5, 0.0, 1.0]])?;
    let row: &[&[f64]] = &[&[2.0, -1.0, 2.0, -1.0, 0.0]];
    exactly("reduce_max", rules, 1, row, |_, x| x[0].reduce_max(&[0]), &[&[0.5, 0.0, 0.5, 0.0, 0.0]])?;
    exactly("reduce_min", rules, 1, row, |_, x| x[0].reduce_min(&[0]), &[&[0.0, 0.5, 0.0, 0.5, 0.0]])
}

/// `Π xᵢ` and its derivatives where factors are zero: nothing is divided by what may be zero.
pub fn products_with_zeros_are_exact(rules: &dyn ReverseRules) -> Result<(), String> {
    let product: Function = |_, x| x[0].product(&[0]);
    exactly("one zero", rules, 1, &[&[2.0, 0.0, 3.0, 4.0]], product, &[&[0.0, 24.0, 0.0, 0.0]])?;
    exactly("two zeros", rules, 1, &[&[2.0, 0.0, 3.0, 0.0]], product, &[&[0.0; 4]])?;
    // Row sums of the Hessian: hᵢ = Σⱼ≠ᵢ Π of all others.
    exactly("one zero", rules, 2, &[&[2.0, 0.0, 3.0, 4.0]], product, &[&[12.0, 26.0, 8.0, 6.0]])?;
    exactly("two zeros", rules, 2, &[&[2.0, 0.0, 3.0, 0.0]], product, &[&[0.0, 6.0, 0.0, 6.0]])?;
    exactly("a single factor", rules, 1, &[&[0.0]], product, &[&[1.0]])
}

/// A power with a constant whole exponent is a polynomial: at negative bases and at zero, to every order.
pub fn whole_powers_are_polynomials(rules: &dyn ReverseRules) -> Result<(), String> {
    let x: &[&[f64]] = &[&[-3.0, -1.0, 0.0, 2.0]];
    exactly("x³", rules, 1, x, |_, x| x[0].pow(3.0), &[&[27.0, 3.0, 0.0, 12.0]])?;
    exactly("x³", rules, 2, x, |_, x| x[0].pow(3.0), &[&[-18.0, -6.0, 0.0, 12.0]])?;
    exactly("x³", rules, 3, x, |_, x| x[0].pow(3.0), &[&[6.0; 4]])?;
    exactly("x³", rules, 4, x, |_, x| x[0].pow(3.0), &[&[0.0; 4]])?;
    exactly("x¹", rules, 2, x, |_, x| x[0].pow(1.0), &[&[0.0; 4]])?;
    exactly("x⁰", rules, 1, x, |_, x| x[0].pow(0.0), &[&[0.0; 4]])?;
    exactly("x⁻²", rules, 1, &[&[-2.0, 2.0]], |_, x| x[0].pow(-2.0), &[&[0.25, -0.25]])?;
    // The exponent's own gradient is taken as 0 where it does not exist.
    let both: Function = |_, x| x[0].pow(x[1]);
    exactly("x^y", rules, 1, &[&[-2.0, 0.0], &[3.0, 2.0]], both, &[&[12.0, 0.0], &[0.0, 0.0]])
}

/// Derivatives at kinks follow one convention, and smooth functions have none there.
pub fn kinks_follow_the_convention(rules: &dyn ReverseRules) -> Result<(), String> {
    let zero: &[&[f64]] = &[&[0.0]];
    exactly("relu", rules, 1, zero, |_, x| x[0].relu(), &[&[0.0]])?;
    exactly("abs", rules, 1, zero, |_, x| x[0].abs(), &[&[0.0]])?;
    exactly("leaky_relu", rules, 1, zero, |_, x| x[0].leaky_relu(0.25), &[&[0.25]])?;
    exactly("elu", rules, 1, zero, |_, x| x[0].elu(0.5), &[&[0.5]])?;
    exactly("softplus", rules, 1, zero, |_, x| x[0].softplus(), &[&[0.5]])?;
    exactly("softplus", rules, 2, zero, |_, x| x[0].softplus(), &[&[0.25]])?;
    exactly("softplus", rules, 3, zero, |_, x| x[0].softplus(), &[&[0.0]])?;
    exactly("silu", rules, 2, zero, |_, x| x[0].silu(), &[&[0.5]])?;
    exactly("clamp", rules, 1, &[&[-1.0, 0.0, 1.0]], |_, x| x[0].clamp(-1.0, 1.0), &[&[0.0, 1.0, 0.0]])
}

/// Far out the derivatives are the limits of the functions, never a NaN from the branch that was not taken.
pub fn derivatives_far_out_are_limits(rules: &dyn ReverseRules) -> Result<(), String> {
    let cases: [(&str, Function, [f64; 2]); 11] = [
        ("relu", |_, x| x[0].relu(), [0.0, 1.0]),
        ("leaky_relu", |_, x| x[0].leaky_relu(0.25), [0.25, 1.0]),
        ("elu", |_, x| x[0].elu(1.0), [0.0, 1.0]),
        ("selu", |_, x| x[0].selu(), [0.0, foldgrad::ops::SELU_SCALE]),
        ("softplus", |_, x| x[0].softplus(), [0.0, 1.0]),
        ("silu", |_, x| x[0].silu(), [0.0, 1.0]),
        ("gelu", |_, x| x[0].gelu(GeluForm::Exact), [0.0, 1.0]),
        ("tanh gelu", |_, x| x[0].gelu(GeluForm::Tanh), [0.0, 1.0]),
        ("sigmoid", |_, x| x[0].sigmoid(), [0.0, 0.0]),
        ("tanh", |_, x| x[0].tanh(), [0.0, 0.0]),
        ("erf", |_, x| x[0].erf(), [0.0, 0.0]),
    ];
    for (name, f, [left, right]) in cases {
        exactly(name, rules, 1, &[&[-1000.0, 1000.0]], f, &[&[left, right]])?;
        exactly(name, rules, 2, &[&[-1000.0, 1000.0]], f, &[&[0.0, 0.0]])?;
    }
    Ok(())
}
