//! Functions of every kind of op, with points at which they are differentiated.

use super::{Draws, Outcome};
use foldgrad::autodiff::{gradients, vjp};
use foldgrad::exec::Executable;
use foldgrad::ir::Bindings;
use foldgrad::ir::Weights;
use foldgrad::nn::{Activation, Mode, Sequential};
use foldgrad::op::Cotangent;
use foldgrad::ops::GeluForm;
use foldgrad::train::Loss;
use foldgrad::{Builder, DType, Expr, Tensor};
use std::collections::BTreeMap;
use std::ops::Index;

/// Named values, to be compared one by one.
type Outs<'b> = Vec<(&'static str, Expr<'b>)>;

/// A function with the point at which it is differentiated.
pub struct Case {
    pub name: String,
    inputs: Vec<(&'static str, Tensor)>,
    function: Box<dyn for<'b> Fn(&Ins<'b>) -> Outs<'b>>,
}

/// The inputs of a function, by name.
struct Ins<'b>(BTreeMap<&'static str, Expr<'b>>);

impl<'b> Index<&str> for Ins<'b> {
    type Output = Expr<'b>;

    fn index(&self, name: &str) -> &Expr<'b> {
        &self.0[name]
    }
}

#[derive(Default)]
struct Cases(Vec<Case>);

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    [element_wise, binary, reductions, layers_and_losses, networks].iter().for_each(|add| add(&mut cases));
    cases.0
}

impl Cases {
    fn add(
        &mut self,
        name: impl Into<String>,
        inputs: impl Into<Vec<(&'static str, Tensor)>>,
        function: impl for<'b> Fn(&Ins<'b>) -> Outs<'b> + 'static,
    ) {
        self.0.push(Case { name: name.into(), inputs: inputs.into(), function: Box::new(function) });
    }

    /// An element-wise function over some ranges of its operand.
    fn element_wise(&mut self, name: &str, ranges: &[(f64, f64)], f: for<'b> fn(Expr<'b>) -> Expr<'b>) {
        for (at, &(low, high)) in ranges.iter().enumerate() {
            let x = Draws(at as u64).within(&[6, 7], low, high);
            self.add(format!("{name}/{low:?}..{high:?}"), [("x", x)], move |of| vec![("y", f(of["x"]))]);
        }
    }
}

const USUAL: (f64, f64) = (-3.0, 3.0);
const POSITIVE: (f64, f64) = (0.1, 4.0);
const TINY: (f64, f64) = (-1e-9, 1e-9);
/// Far past where the exponential overflows.
const WIDE: (f64, f64) = (-900.0, 900.0);

fn element_wise(cases: &mut Cases) {
    cases.element_wise("exp", &[USUAL], |x| x.exp());
    cases.element_wise("expm1", &[USUAL, TINY], |x| x.expm1());
    cases.element_wise("log", &[POSITIVE], |x| x.log());
    cases.element_wise("log1p", &[(-0.9, 4.0), TINY], |x| x.log1p());
    cases.element_wise("sqrt", &[POSITIVE], |x| x.sqrt());
    cases.element_wise("rsqrt", &[POSITIVE], |x| x.rsqrt());
    cases.element_wise("tanh", &[USUAL, TINY, WIDE], |x| x.tanh());
    cases.element_wise("sigmoid", &[USUAL, WIDE], |x| x.sigmoid());
    cases.element_wise("erf", &[USUAL, TINY, WIDE], |x| x.erf());
    cases.element_wise("sin", &[USUAL], |x| x.sin());
    cases.element_wise("cos", &[USUAL], |x| x.cos());
    cases.element_wise("abs", &[USUAL], |x| x.abs());
    cases.element_wise("relu", &[USUAL, (0.0, 0.0)], |x| x.relu());
    cases.element_wise("leaky_relu", &[USUAL], |x| x.leaky_relu(0.3));
    cases.element_wise("elu", &[USUAL, TINY, WIDE], |x| x.elu(0.7));
    cases.element_wise("selu", &[USUAL, WIDE], |x| x.selu());
    cases.element_wise("gelu_exact", &[USUAL, WIDE], |x| x.gelu(GeluForm::Exact));
    cases.element_wise("gelu_tanh", &[USUAL, WIDE], |x| x.gelu(GeluForm::Tanh));
    cases.element_wise("silu", &[USUAL, WIDE], |x| x.silu());
    cases.element_wise("softplus", &[USUAL, WIDE, (0.0, 0.0)], |x| x.softplus());
    cases.element_wise("clamp", &[USUAL], |x| x.clamp(-1.0, 1.5));
    cases.element_wise("cube", &[USUAL], |x| x.pow(3.0));
    for name in KERAS_ACTIVATIONS {
        let x = Draws(9).within(&[5, 8], -5.0, 5.0);
        cases.add(format!("keras/{name}"), [("x", x)], move |of| {
            let activation = Activation::from_name(name).expect("a name that Keras knows");
            let model = Sequential::new([8]).add(activation).build().expect("one layer");
            let x = of["x"];
            let applied = model.apply(x.builder(), Mode::Training, DType::F64, &[x]).expect("its own input type");
            vec![("y", applied.outputs[0])]
        });
    }
}

/// Every name of [`Activation::from_name`] that `keras.activations.get` knows too.
pub const KERAS_ACTIVATIONS: [&str; 17] = [
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "swish",
    "softplus",
    "softsign",
    "exponential",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "softmax",
    "log_softmax",
];

fn binary(cases: &mut Cases) {
    let draws = &mut Draws(20);
    let mut add = |name: &str, a: Tensor, b: Tensor, f: for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>| {
        cases.add(name, [("a", a), ("b", b)], move |of| vec![("y", f(of["a"], of["b"]))]);
    };
    add("add", draws.any(&[4, 1, 3]), draws.any(&[5, 1]), |a, b| a + b);
    add("sub", draws.any(&[5, 1]), draws.any(&[4, 1, 3]), |a, b| a - b);
    add("mul", draws.any(&[4, 1, 3]), draws.any(&[5, 1]), |a, b| a * b);
    add("div", draws.any(&[5, 1]), draws.within(&[4, 1, 3], 0.5, 2.0), |a, b| a / b);
    add("pow", draws.within(&[4, 3], 0.3, 3.0), draws.any(&[3]), |a, b| a.pow(b));
    add("max", draws.any(&[4, 3]), draws.any(&[3]), |a, b| a.max(b));
    add("min", draws.any(&[4, 3]), draws.any(&[3]), |a, b| a.min(b));
    add("max_tied", draws.tied(&[9, 5]), draws.tied(&[9, 5]), |a, b| a.max(b));
    add("min_tied", draws.tied(&[9, 5]), draws.tied(&[9, 5]), |a, b| a.min(b));
    add("select", draws.any(&[4, 3]), draws.any(&[4, 3]), |a, b| a.less(b).select(a * a, b * a));
    add("stop_gradient", draws.any(&[4, 3]), draws.any(&[4, 3]), |a, b| a.stop_gradient() * b + a * a);
    add("dot", draws.any(&[5, 7]), draws.any(&[7, 3]), |a, b| a.dot(b));
    // Axes of the left side: contracted 2, free 2, batch 1 (5) and 3 (4); of the right: 4 batch, 3 and 5 free …
    add("dot_batch", draws.any(&[2, 5, 3, 4]), draws.any(&[4, 6, 3, 5]), |a, b| {
        a.dot_general(b, (&[2], &[2]), (&[1, 3], &[3, 0]))
    });
    add("dot_two_axes", draws.any(&[3, 5, 4]), draws.any(&[4, 2, 3]), |a, b| {
        a.dot_general(b, (&[2, 0], &[0, 2]), (&[], &[]))
    });
    add("dot_outer", draws.any(&[3, 2]), draws.any(&[4]), |a, b| a.dot_general(b, (&[], &[]), (&[], &[])));
    add("moved", draws.any(&[3, 8, 2]), draws.any(&[2, 3, 3]), |a, b| {
        let strided = a.slice_by(1, 1..8, 3).transpose(&[2, 0, 1]);
        let joined = a.builder().concat(&[strided, b], 1).reshape([6, 6]);
        joined.pad(0, 1, 2, 2, a.scalar_like(0.5))
    });
}

fn reductions(cases: &mut Cases) {
    let draws = &mut Draws(30);
    let mut add = |name: &str, x: Tensor, f: for<'b> fn(Expr<'b>) -> Expr<'b>| {
        cases.add(name, [("x", x)], move |of| vec![("y", f(of["x"]))]);
    };
    let shape = &[3, 4, 5];
    add("sum", draws.any(shape), |x| x.sum(&[0, 2]));
    add("mean", draws.any(shape), |x| x.mean(&[1]));
    add("reduce_max", draws.any(shape), |x| x.reduce_max(&[0, 2]));
    add("reduce_min", draws.any(shape), |x| x.reduce_min(&[1]));
    add("reduce_max_tied", draws.tied(shape), |x| x.reduce_max(&[0, 2]));
    add("product", draws.any(shape), |x| x.product(&[0, 2]));
    add("product_with_zeros", draws.tied(shape), |x| x.product(&[1]));
    add("softmax", draws.any(shape), |x| x.softmax(1));
    add("log_softmax", draws.any(shape), |x| x.log_softmax(2));
    add("softmax_wide", draws.within(shape, WIDE.0, WIDE.1), |x| x.softmax(2));
    add("log_softmax_wide", draws.within(shape, WIDE.0, WIDE.1), |x| x.log_softmax(2));
    for (name, axis, size, index) in [("take", 1, 4, [3, 6, 5]), ("scatter", 2, 7, [3, 4, 5])] {
        let index = draws.below(&index, size);
        cases.add(name, [("x", draws.any(shape)), ("index", index)], move |of| {
            let take = of["x"].ty().shape != of["index"].ty().shape;
            let y = if take {
                of["x"].take_along_axis(of["index"], axis)
            } else {
                of["x"].scatter_along_axis(of["index"], axis, size)
            };
            vec![("y", y)]
        });
    }
}

fn layers_and_losses(cases: &mut Cases) {
    let draws = &mut Draws(40);
    let dense = [("x", draws.any(&[6, 5])), ("kernel", draws.any(&[5, 4])), ("bias", draws.any(&[4]))];
    cases.add("dense", dense, |of| vec![("y", of["x"].dense(of["kernel"], Some(of["bias"])))]);
    for (name, shape, shift, eps) in [
        ("batch_norm_train", &[9, 4][..], 0.0, 1e-3),
        ("batch_norm_train_of_images", &[3, 4, 5, 2], 0.0, 1e-3),
        ("batch_norm_train_shifted", &[9, 4], 100.0, 1e-5),
        ("batch_norm_train_constant", &[9, 4], f64::INFINITY, 1e-3),
    ] {
        let x = match shift.is_finite() {
            true => draws.within(shape, shift - 2.0, shift + 2.0),
            // Each channel is one number, and its variance 0.
            false => Tensor::full(DType::F64, shape, 0.75),
        };
        let inputs = [("x", x), ("gamma", draws.any(&[4])), ("beta", draws.any(&[4]))];
        cases.add(name, inputs, move |of| {
            let normed = of["x"].batch_norm_train(of["gamma"], of["beta"], 1, eps);
            vec![("y", normed.y), ("mean", normed.mean), ("var", normed.var)]
        });
    }
    let vector = |draws: &mut Draws| draws.any(&[4]);
    let infer = [
        ("x", draws.any(&[3, 4, 5])),
        ("gamma", vector(draws)),
        ("beta", vector(draws)),
        ("mean", vector(draws)),
        ("var", draws.within(&[4], 0.0, 2.0)),
    ];
    cases.add("batch_norm_infer", infer, |of| {
        let statistics = ["gamma", "beta", "mean", "var"].map(|name| of[name]);
        vec![("y", of["x"].batch_norm_infer(statistics, 1, 1e-3))]
    });
    for (name, size) in [("softmax_cross_entropy", 2.0), ("softmax_cross_entropy_wide", WIDE.1)] {
        let inputs = [("x", draws.within(&[8, 5], -size, size)), ("labels", draws.below(&[8], 5))];
        cases.add(name, inputs, |of| vec![("losses", of["x"].softmax_cross_entropy(of["labels"]))]);
    }
    // Given as probabilities, and as the results of a softmax or sigmoid, whose operands the loss then uses.
    for (loss, of_logits) in [
        (Loss::SparseCategoricalCrossentropy, true),
        (Loss::SparseCategoricalCrossentropy, false),
        (Loss::CategoricalCrossentropy, true),
        (Loss::CategoricalCrossentropy, false),
        (Loss::BinaryCrossentropy, true),
        (Loss::BinaryCrossentropy, false),
        (Loss::MeanSquaredError, false),
    ] {
        let x = if of_logits { draws.any(&[8, 5]) } else { draws.within(&[8, 5], 0.05, 0.95) };
        let target = match loss {
            Loss::SparseCategoricalCrossentropy => draws.below(&[8], 5),
            _ => draws.within(&[8, 5], 0.0, 1.0),
        };
        let name = format!("loss/{}{}", loss.name(), if of_logits { "/logits" } else { "" });
        cases.add(name, [("x", x), ("target", target)], move |of| {
            let prediction = match (loss, of_logits) {
                (_, false) => of["x"],
                (Loss::BinaryCrossentropy, true) => of["x"].sigmoid(),
                (_, true) => of["x"].softmax(1),
            };
            vec![("losses", loss.build(prediction, of["target"]).expect("a target of the loss's type"))]
        });
    }
}

/// `γ·(x − m)/√(v + ε) + β` over the last axis, written out.
fn layer_norm<'b>(x: Expr<'b>, gamma: Expr<'b>, beta: Expr<'b>) -> Expr<'b> {
    let last = [x.rank() - 1];
    let centred = x - x.mean(&last).unreduce(&last, x);
    let variance = (centred * centred).mean(&last).unreduce(&last, x);
    centred * (variance + 1e-5).rsqrt() * gamma + beta
}

fn networks(cases: &mut Cases) {
    let draws = &mut Draws(50);
    let (width, hidden) = (6, 9);
    let mut inputs = vec![("x", draws.any(&[7, width])), ("labels", draws.below(&[7], width))];
    for [w1, b1, w2, b2, gamma, beta] in BLOCKS {
        inputs.extend([(w1, draws.any(&[width, hidden])), (b1, draws.any(&[hidden]))]);
        inputs.extend([(w2, draws.any(&[hidden, width])), (b2, draws.any(&[width]))]);
        inputs.extend([(gamma, draws.any(&[width])), (beta, draws.any(&[width]))]);
    }
    cases.add("residual_mlp", inputs, |of| {
        let mut x = of["x"];
        for [w1, b1, w2, b2, gamma, beta] in BLOCKS {
            let inner = layer_norm(x, of[gamma], of[beta]).dense(of[w1], Some(of[b1])).gelu(GeluForm::Exact);
            x = x + inner.dense(of[w2], Some(of[b2]));
        }
        vec![("loss", x.softmax_cross_entropy(of["labels"]).mean_all())]
    });
    // The slope of the loss along (dw, dgamma, dbeta); its gradient is the Hessian times that direction.
    let names = ["w", "gamma", "beta"];
    let shapes = [&[5, 4][..], &[4], &[4]];
    let mut inputs = vec![("x", draws.any(&[8, 5])), ("c", draws.any(&[8, 4]))];
    inputs.extend(names.iter().zip(shapes).map(|(&name, shape)| (name, draws.any(shape))));
    inputs.extend(["dw", "dgamma", "dbeta"].into_iter().zip(shapes).map(|(name, shape)| (name, draws.any(shape))));
    cases.add("hessian_of_batch_norm", inputs, move |of| {
        let normed = of["x"].dot(of["w"]).batch_norm_train(of["gamma"], of["beta"], 1, 1e-3);
        let loss = (normed.y.tanh() * of["c"]).sum_all() + (normed.mean * normed.var).sum_all();
        let slopes = gradients(&[loss], &names.map(|name| of[name])).expect("a differentiable loss");
        let along = slopes.iter().zip(["dw", "dgamma", "dbeta"]).map(|(slope, name)| (slope * of[name]).sum_all());
        vec![("slope", along.reduce(|sum, term| sum + term).expect("three terms"))]
    });
}

const BLOCKS: [[&str; 6]; 2] =
    [["w1", "b1", "w2", "b2", "gamma", "beta"], ["w1'", "b1'", "w2'", "b2'", "gamma'", "beta'"]];

/// Outputs, and the cotangents of the float inputs for random cotangents of the outputs.
pub fn differentiate(case: &Case, into: &mut Weights) -> Outcome<()> {
    let g = Builder::new();
    let mut feeds: Weights = Weights::new();
    let mut declare = |name: String, tensor: &Tensor| {
        let expr = g.input(&name, tensor.dtype(), tensor.shape());
        feeds.insert(name, tensor.clone());
        expr
    };
    let ins = Ins(case.inputs.iter().map(|(name, at)| (*name, declare(format!("in/{name}"), at))).collect());
    let outs = (case.function)(&ins);
    let draws = &mut Draws(outs.len() as u64);
    let mut seeds = Vec::new();
    for (name, out) in &outs {
        let shape = out.shape().known().ok_or("a case without symbols has known shapes")?;
        seeds.push(Cotangent::Value(declare(format!("cotangent/{name}"), &draws.any(&shape))));
        g.output(&format!("out/{name}"), *out);
    }
    let wrt: Vec<(&str, Expr<'_>)> =
        ins.0.iter().filter(|(_, x)| x.dtype().is_float()).map(|(name, x)| (*name, *x)).collect();
    let results: Vec<Expr<'_>> = outs.iter().map(|(_, out)| *out).collect();
    let operands: Vec<Expr<'_>> = wrt.iter().map(|(_, x)| *x).collect();
    for ((name, x), cotangent) in wrt.iter().zip(vjp(&results, &seeds, &operands)?) {
        g.output(&format!("grad/{name}"), cotangent.value().unwrap_or_else(|| x.zeros_like()));
    }
    let mut run = Executable::new(g.finish()?, &Bindings::new())?;
    let fed: Vec<&Tensor> = run.plan().feeds().iter().map(|port| &feeds[&port.name]).collect();
    run.run(&fed, &mut [])?;
    for (index, port) in run.plan().outputs().enumerate() {
        into.insert(format!("{}/{}", case.name, port.name), run.output_tensor(index).ok_or("an output")?);
    }
    into.extend(feeds.into_iter().map(|(name, tensor)| (format!("{}/{name}", case.name), tensor)));
    Ok(())
}
