//! Sample graphs that the tests of the text form, the verifier and the drawing share.
#![allow(dead_code)] // Each test uses some of them.

use foldgrad::ir::OrderedMap;
use foldgrad::op::{Case, Cotangent, Domain, Op};
use foldgrad::reference::{Array, Interpreted, NdArray, interpret};
use foldgrad::{Builder, DType, Graph, Tensor, autodiff};

/// A graph with a name for failure messages and values to feed it.
pub struct Sample {
    pub name: String,
    pub graph: Graph,
    pub feeds: OrderedMap<String, Array<f64>>,
}

/// A small source of repeatable numbers.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 20) as f64 / (1u64 << 20) as f64
    }

    fn array(&mut self, shape: &[usize], domain: Domain) -> Array<f64> {
        let mut order = 0.0;
        match domain {
            Domain::Integers(low, high) => {
                Array::Int(NdArray::from_fn(shape, |_| low + self.below((high - low) as u64) as i32))
            }
            Domain::Mask => Array::Bool(NdArray::from_fn(shape, |_| self.below(2) == 1)),
            Domain::Range(low, high) => Array::Real(NdArray::from_fn(shape, |_| self.within(low, high))),
            Domain::AwayFromZero(low, high) => Array::Real(NdArray::from_fn(shape, |_| {
                let sign = if self.below(2) == 1 { 1.0 } else { -1.0 };
                sign * self.within(low, high)
            })),
            Domain::Distinct(step) => Array::Real(NdArray::from_fn(shape, |_| {
                order += step;
                order
            })),
        }
    }
}

/// Declares the operands of a case and applies its op.
fn declare<'b>(builder: &'b Builder, case: &Case) -> (Vec<foldgrad::Expr<'b>>, Vec<foldgrad::Expr<'b>>) {
    let operands: Vec<_> = case
        .operands
        .iter()
        .enumerate()
        .map(|(slot, sample)| builder.input(&format!("x{slot}"), sample.ty.dtype, sample.ty.shape.clone()))
        .collect();
    let results = builder.push_all(case.op.clone(), &operands);
    for (index, result) in results.iter().enumerate() {
        builder.output(&format!("y{index}"), *result);
    }
    (operands, results)
}

fn feeds_of(case: &Case, random: &mut Random) -> OrderedMap<String, Array<f64>> {
    let samples = case.operands.iter().enumerate();
    samples
        .map(|(slot, sample)| {
            let shape = sample.ty.shape.known().expect("the shapes of a case are known");
            (format!("x{slot}"), random.array(&shape, sample.domain))
        })
        .collect()
}

/// Every instance of every op.
pub fn cases() -> Vec<Sample> {
    let mut random = Random(1);
    let of = |(index, case): (usize, Case)| {
        let builder = Builder::new();
        declare(&builder, &case);
        let graph = builder.finish().expect("a case is well typed");
        Sample { name: format!("{} #{index}", case.op.name()), graph, feeds: feeds_of(&case, &mut random) }
    };
    Op::cases().into_iter().enumerate().map(of).collect()
}

/// The same with the cotangents of every operand, for the ops that have a derivative.
pub fn gradients() -> Vec<Sample> {
    let mut random = Random(2);
    let mut samples = Vec::new();
    for (index, case) in Op::cases().into_iter().enumerate() {
        let builder = Builder::new();
        let (operands, results) = declare(&builder, &case);
        let wrt: Vec<_> = operands.iter().copied().filter(|operand| operand.dtype().is_float()).collect();
        let mut feeds = feeds_of(&case, &mut random);
        let seeds: Vec<_> = results
            .iter()
            .enumerate()
            .map(|(index, result)| match result.dtype().is_float() {
                true => {
                    let (name, shape) = (format!("d{index}"), result.shape());
                    let known = shape.known().expect("the shapes of a case are known");
                    feeds.insert(name.clone(), random.array(&known, Domain::Range(-1.0, 1.0)));
                    Cotangent::Value(builder.input(&name, result.dtype(), shape))
                }
                false => Cotangent::Zero,
            })
            .collect();
        let Ok(cotangents) = autodiff::vjp(&results, &seeds, &wrt) else { continue };
        for (slot, cotangent) in cotangents.into_iter().enumerate() {
            if let Some(cotangent) = cotangent.value() {
                builder.output(&format!("dx{slot}"), cotangent);
            }
        }
        let graph = builder.finish().expect("a gradient is well typed");
        samples.push(Sample { name: format!("gradient of {} #{index}", case.op.name()), graph, feeds });
    }
    samples
}

/// A whole training step: two layers, batch norm with running statistics, dropout, the loss, its gradients, and SGD.
pub fn training_step() -> Sample {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch", "features"]);
    let labels = g.input("labels", DType::I32, ["batch"]);
    let key = g.state("key", DType::I32, [2]);
    let parameter = |name: &str, shape: &[usize]| g.parameter(name, DType::F32, shape);
    let project = g.parameter("project/kernel", DType::F32, [foldgrad::ir::Dim::from("features"), 5.into()]);
    let hidden = g.scoped("project", || x.dense(project, Some(parameter("project/bias", &[5]))).relu());
    let (gamma, beta) = (parameter("norm/gamma", &[5]), parameter("norm/beta", &[5]));
    let normed = g.scoped("norm", || hidden.batch_norm_train(gamma, beta, 1, 1e-3));
    let kernel = parameter("logits/kernel", &[5, 3]);
    let logits = g.scoped("logits", || normed.y.dropout(key, 0.25).dense(kernel, Some(parameter("logits/bias", &[3]))));
    let loss = logits.softmax_cross_entropy(labels).mean_all();
    g.output("loss", loss);
    let wrt = [project, gamma, beta, kernel];
    let gradients = autodiff::gradients(&[loss], &wrt).expect("a training step is differentiable");
    for (parameter, gradient) in wrt.into_iter().zip(gradients) {
        g.update(parameter, parameter - gradient * 0.1);
    }
    for (name, batch) in [("norm/moving_mean", normed.mean), ("norm/moving_variance", normed.var)] {
        let running = g.state(name, DType::F32, [5]);
        g.update(running, running * 0.99 + batch * (1.0 - 0.99));
    }
    g.update(key, key.plus(g.constant(Tensor::vector(vec![0i32, 1]))));
    let graph = g.finish().expect("a training step is well typed");

    let mut random = Random(3);
    let mut feeds = OrderedMap::new();
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let bound = ty.shape.iter().map(|dim| match dim.known() {
            Some(size) => size,
            None if dim.to_string() == "batch" => 6,
            None => 4,
        });
        let shape: Vec<usize> = bound.collect();
        let domain = if ty.dtype == DType::I32 { Domain::Integers(0, 3) } else { Domain::Range(-1.0, 1.0) };
        feeds.insert(name.to_owned(), random.array(&shape, domain));
    }
    Sample { name: "a training step".to_owned(), graph, feeds }
}

/// Constants of every element type, at their edges.
pub fn constants() -> Sample {
    let g = Builder::new();
    let tensors = [
        Tensor::vector(vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 0.0, f32::MIN_POSITIVE, 1e-45, 0.1]),
        Tensor::vector(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, 5e-324, f64::MAX, 0.1, 1.0 / 3.0]),
        Tensor::vector(vec![i32::MIN, -1, 0, 1, i32::MAX]),
        Tensor::new([2, 1], vec![true, false]).expect("two elements"),
        Tensor::scalar(f32::MAX),
        Tensor::scalar(0.1f32),
        Tensor::scalar(false),
        Tensor::vector(Vec::<f32>::new()),
        Tensor::new([3, 0, 2], Vec::<i32>::new()).expect("no elements"),
    ];
    for (index, tensor) in tensors.into_iter().enumerate() {
        g.output(&format!("c{index}"), g.constant(tensor));
    }
    Sample { name: "constants".to_owned(), graph: g.finish().expect("well typed"), feeds: OrderedMap::new() }
}

/// Names that break a careless writer or reader.
pub const NAMES: &[&str] = &[
    "",
    " ",
    "plain",
    "a/b:c",
    "\"quoted\"",
    "back\\slash",
    "trailing\\",
    "\\\"",
    "new\nline",
    "carriage\r\nreturn",
    "tab\tnul\0bell\u{7}",
    "// no comment",
    "} output \"x\" = %0",
    "a = b, c # d % e",
    "{[(<",
    ">)]}",
    "<b>bold</b>",
    "{a|b}",
    "&amp;&lt;",
    "\\N\\G\\l",
    "Ωμέγα 漢字 🦀 e\u{301}",
    "\u{202e}right to left",
    "\u{2028}line separator\u{85}next line",
    "\u{feff}mark",
];

/// Inputs, parameters, states, outputs and layers of every odd name.
pub fn odd_names() -> Sample {
    let g = Builder::new();
    let mut feeds = OrderedMap::new();
    for (index, name) in NAMES.iter().enumerate() {
        let x = match index % 3 {
            0 => g.input(name, DType::F64, [2]),
            1 => g.parameter(name, DType::F64, [2]),
            _ => g.state(name, DType::F64, [2]),
        };
        g.output(name, g.scoped(name, || x.exp()));
        if index % 3 > 0 {
            g.update(x, x * 2.0);
        }
        feeds.insert((*name).to_owned(), Random(index as u64).array(&[2], Domain::Range(-1.0, 1.0)));
    }
    Sample { name: "odd names".to_owned(), graph: g.finish().expect("well typed"), feeds }
}

/// Everything above.
pub fn all() -> Vec<Sample> {
    let mut samples = cases();
    samples.extend(gradients());
    samples.extend([training_step(), constants(), odd_names()]);
    samples
}

/// The values of a graph as bits, so that NaN equals itself and −0 does not equal 0.
pub fn evaluate(graph: &Graph, feeds: &OrderedMap<String, Array<f64>>) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let Interpreted { outputs, updates } = interpret(graph, feeds).expect("the graph evaluates");
    let bits = |(name, array): (String, Array<f64>)| {
        let bits = match &array {
            Array::Real(array) => array.data.iter().map(|v| v.to_bits()).collect(),
            Array::Int(array) => array.data.iter().map(|&v| v as u64).collect(),
            Array::Bool(array) => array.data.iter().map(|&v| u64::from(v)).collect(),
        };
        (name, array.shape().to_vec(), bits)
    };
    outputs.into_iter().chain(updates).map(bits).collect()
}
