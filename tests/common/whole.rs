//! Random whole graphs: 5 to 40 nodes with fan-out, shared weights and a loss for every value that is left over.
//!
//! A graph is a list of instructions over a pool of values. Any list builds a valid graph, whichever instructions are
//! left out, so proptest can shrink it. Each value carries a bound on its size; a value that could grow too large is
//! squashed, so that no graph overflows.

use super::trial::{name_of, reverse};
use super::{Problem, Random, WHOLE_UNITS, gradient_name, random_feeds};
use foldgrad::autodiff::{ReverseRules, gradients, hvp};
use foldgrad::op::{Domain, Op};
use foldgrad::ops::GeluForm;
use foldgrad::reference::Array;
use foldgrad::{Builder, DType, Expr, Graph, Tensor};
use proptest::prelude::*;

/// One step of building: what to apply, and to which values of the pool.
#[derive(Clone, Debug)]
pub struct Instruction {
    kind: u8,
    first: u8,
    second: u8,
    knob: u8,
}

/// A whole random graph.
#[derive(Clone, Debug)]
pub struct Whole {
    instructions: Vec<Instruction>,
    nodes: usize,
    seed: u64,
}

/// Random graphs, shrinking to fewer instructions.
pub fn wholes() -> impl Strategy<Value = Whole> {
    let instruction = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, first, second, knob)| Instruction { kind, first, second, knob });
    (prop::collection::vec(instruction, 5..50), 5usize..29, any::<u64>())
        .prop_map(|(instructions, nodes, seed)| Whole { instructions, nodes, seed })
}

const KINDS: u8 = 52;
/// Values larger than this are squashed.
const LIMIT: f64 = 6.0;
/// Most elements of one value.
const ELEMENTS: usize = 120;

#[derive(Clone, Copy)]
struct Item<'b> {
    value: Expr<'b>,
    bound: f64,
    used: bool,
}

struct Pool<'b> {
    b: &'b Builder,
    items: Vec<Item<'b>>,
    random: Random,
    smooth: bool,
}

/// What was built.
pub struct Built<'b> {
    pub losses: Vec<Expr<'b>>,
    pub inputs: Vec<Expr<'b>>,
    /// Whether no value depends on a kink, so that differences can be taken.
    pub smooth: bool,
}

impl Whole {
    /// Builds the graph; the same each time.
    pub fn build<'b>(&self, b: &'b Builder) -> Built<'b> {
        let mut pool = Pool { b, items: Vec::new(), random: Random(self.seed), smooth: true };
        for (name, shape) in [("a", &[4, 3][..]), ("b", &[3]), ("c", &[2, 3, 2]), ("d", &[])] {
            let value = b.input(name, DType::F64, shape);
            pool.items.push(Item { value, bound: 1.5, used: false });
        }
        for instruction in &self.instructions {
            if pool.nodes() >= self.nodes {
                break;
            }
            pool.step(instruction);
        }
        while nodes(&b.graph()) < 5 {
            let (x, _) = pool.pick(0);
            pool.push(x.sin(), 1.0);
        }
        let losses: Vec<Expr<'b>> = pool.sinks().map(|item| item.value.mean_all()).collect();
        let inputs = b.graph().inputs().map(|(_, id)| id).collect::<Vec<_>>();
        let value = |id| foldgrad::ir::Value { node: id, output: 0 };
        let inputs = inputs.into_iter().map(|id| b.expr(value(id))).collect();
        Built { losses, inputs, smooth: pool.smooth }
    }

    /// Number of nodes that compute something, and of losses.
    pub fn size(&self) -> (usize, usize) {
        let b = Builder::new();
        let losses = self.build(&b).losses.len();
        (nodes(&b.graph()), losses)
    }

    /// The graph beside the gradient of its losses, by `autodiff::gradients`, or by other rules. And whether the function
    /// is smooth, so that differences can be taken.
    pub fn problem(&self, rules: Option<&dyn ReverseRules>) -> Result<(Problem, bool), String> {
        let forward = Builder::new();
        let Built { losses, smooth, .. } = self.build(&forward);
        for (index, loss) in losses.iter().enumerate() {
            forward.output(&format!("loss{index}"), *loss);
        }
        let backward = Builder::new();
        let Built { losses, inputs, .. } = self.build(&backward);
        let found = match rules {
            None => gradients(&losses, &inputs),
            Some(rules) => {
                let seeded: Vec<(Expr<'_>, Expr<'_>)> = losses.iter().map(|l| (*l, l.scalar_like(1.0))).collect();
                reverse(rules, &seeded, &inputs)
            }
        };
        let mut wrt = Vec::new();
        for (&input, gradient) in inputs.iter().zip(found.map_err(|error| error.to_string())?) {
            let name = name_of(input);
            backward.output(&gradient_name(&name), gradient);
            wrt.push(name);
        }
        Ok((self.between(forward, backward, wrt)?, smooth))
    }

    /// The slope of the sum of the losses along a random direction, term by term, beside its gradient by `autodiff::hvp`.
    pub fn second_problem(&self) -> Result<Problem, String> {
        let (forward, backward) = (Builder::new(), Builder::new());
        let Built { losses, inputs, .. } = self.build(&forward);
        let slopes = gradients(&losses, &inputs).map_err(|error| error.to_string())?;
        for (&input, slope) in inputs.iter().zip(slopes) {
            let along = forward.input(&format!("along {}", name_of(input)), DType::F64, input.shape());
            forward.output(&format!("slope along {}", name_of(input)), slope * along);
        }
        let Built { losses, inputs, .. } = self.build(&backward);
        let along = |x: &Expr<'_>| format!("along {}", name_of(*x));
        let directions: Vec<Expr<'_>> =
            inputs.iter().map(|x| backward.input(&along(x), DType::F64, x.shape())).collect();
        let total = losses.into_iter().reduce(|a, b| a + b).ok_or("no loss")?;
        let products = hvp(total, &inputs, &directions).map_err(|error| error.to_string())?;
        let wrt: Vec<String> = inputs.iter().map(|&input| name_of(input)).collect();
        for (name, product) in wrt.iter().zip(products) {
            backward.output(&gradient_name(name), product);
        }
        self.between(forward, backward, wrt)
    }

    fn between(&self, forward: Builder, gradient: Builder, wrt: Vec<String>) -> Result<Problem, String> {
        let forward = forward.finish().map_err(|errors| errors.to_string())?;
        let gradient = gradient.finish().map_err(|errors| errors.to_string())?;
        let feeds = random_feeds(&gradient, !self.seed);
        Ok(Problem { label: format!("{self:?}"), forward, gradient, feeds, wrt, units: WHOLE_UNITS })
    }
}

/// Nodes that are neither inputs nor constants.
fn nodes(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, node)| !matches!(node.op(), Op::Input(_) | Op::Constant(_))).count()
}

impl<'b> Pool<'b> {
    fn nodes(&self) -> usize {
        nodes(&self.b.graph()) + self.sinks().count()
    }

    fn sinks(&self) -> impl Iterator<Item = &Item<'b>> {
        self.items.iter().skip(4).filter(|item| !item.used)
    }

    /// A value that nobody uses yet, one of the latest, or any.
    fn pick(&mut self, pick: u8) -> (Expr<'b>, f64) {
        let (len, pick) = (self.items.len(), usize::from(pick));
        let unused = self.items.iter().rposition(|item| !item.used);
        let index = match pick {
            0..100 => unused.unwrap_or(pick % len),
            100..200 => len - 1 - pick % len.min(5),
            _ => pick % len,
        };
        self.items[index].used = true;
        (self.items[index].value, self.items[index].bound)
    }

    fn push(&mut self, value: Expr<'b>, bound: f64) {
        let (value, bound) = if bound > LIMIT { (value.tanh(), 1.0) } else { (value, bound) };
        // The same value again is the old one, which is left over once more: so something always is.
        match self.items.iter_mut().find(|item| item.value.value() == value.value()) {
            Some(item) => item.used = false,
            None => self.items.push(Item { value, bound, used: false }),
        }
    }

    /// A weight of that shape: the one and only, so that layers share it.
    fn weight(&mut self, shape: &[usize]) -> Expr<'b> {
        let name = format!("w{shape:?}");
        let known = self.b.graph().input(&name);
        match known {
            Some(node) => self.b.expr(foldgrad::ir::Value { node, output: 0 }),
            None => self.b.parameter(&name, DType::F64, shape),
        }
    }

    fn index(&mut self, shape: &[usize], limit: usize) -> Expr<'b> {
        let Array::Int(index) = self.random.array(DType::I32, shape, Domain::Integers(0, limit as i32)) else {
            unreachable!("integers were asked for")
        };
        match Tensor::new(shape, index.data) {
            Ok(index) => self.b.constant(index),
            Err(_) => self.b.poisoned(),
        }
    }

    fn step(&mut self, &Instruction { kind, first, second, knob }: &Instruction) {
        let (x, bound) = self.pick(first);
        let shape = x.shape().known().unwrap_or_default();
        let knob = usize::from(knob);
        let even = knob.is_multiple_of(2);
        // Instructions for axes turn into element-wise ones where there is no axis.
        let kind = if shape.is_empty() { kind % 24 } else { kind % KINDS };
        let axis = knob % shape.len().max(1);
        let size = shape.get(axis).copied().unwrap_or(1);
        let square = x * x;
        match kind {
            0 => self.push(x.tanh(), 1.0),
            1 => self.push(x.sigmoid(), 1.0),
            2 => self.push(x.sin(), 1.0),
            3 => self.push(x.cos(), 1.0),
            4 if bound <= 2.0 => self.push(x.exp(), bound.exp()),
            4 => self.push(x.tanh().expm1(), 2.0),
            5 => self.push(x.softplus(), bound + 0.7),
            6 => self.push(x.silu(), bound),
            7 => self.push(x.gelu([GeluForm::Exact, GeluForm::Tanh][knob % 2]), bound),
            8 => self.push(x.erf(), 1.0),
            9 => self.push(square.log1p(), 2.0 * bound.ln_1p()),
            10 => self.push((square + 1.0).sqrt(), bound + 1.0),
            11 => self.push((square + 0.5).rsqrt(), 1.5),
            12 => self.push((square + 0.5).log(), 4.0),
            13 => self.kinked(knob, x, bound),
            14..24 => self.binary(kind, second, even, x, bound),
            24..28 | 45..52 => {
                let units = [3, 3, 2, 5][knob % 4];
                let features = shape[shape.len() - 1];
                let (kernel, bias) = (self.weight(&[features, units]), self.weight(&[units]));
                let bias = if even { Some(bias) } else { None };
                self.push(x.dense(kernel, bias), 1.5 * (features as f64 * bound + 1.0));
            }
            28 => self.push(x.sum(&[axis]), size as f64 * bound),
            29 => self.push(x.mean(&[axis]), bound),
            44 => self.push(x.tanh().product(&[axis]), 1.0),
            30 => {
                self.smooth = false;
                self.push(if even { x.reduce_max(&[axis]) } else { x.reduce_min(&[axis]) }, bound);
            }
            31 => self.push(x.reshape(vec![shape.iter().product::<usize>()]), bound),
            32 => self.push(x.transpose(&(0..shape.len()).rev().collect::<Vec<_>>()), bound),
            33 => self.push(x.slice_by(axis, 0..size, 1 + knob % 2), bound),
            34 if shape.iter().product::<usize>() < ELEMENTS / 2 => {
                self.push(self.b.concat(&[x, x.sin()], axis), bound)
            }
            35 if shape.iter().product::<usize>() < ELEMENTS / 2 => {
                let value = x.mean_all();
                self.push(x.pad(axis, knob % 2, 1, 0, value), bound);
            }
            36 => self.push(x.softmax(axis), 1.0),
            37 => self.push(x.log_softmax(axis), 2.0 * bound + 5.0),
            38..41 if shape.len() > 1 => {
                let (gamma, beta) = (self.weight(&[size]), self.weight(&[size, 1]).reshape([size]));
                let normed = x.batch_norm_train(gamma, beta, axis, 0.1);
                self.push(normed.y, 1.5 * ((shape.iter().product::<usize>() / size) as f64).sqrt() + 1.5);
                self.push(normed.mean, bound);
                self.push(normed.var, bound * bound);
            }
            38..41 => {
                let (gamma, var) = (self.weight(&[size]), self.weight(&[size, 1]).reshape([size]));
                let moments = [gamma, x.mean_all().broadcast_to([size]), gamma * 0.5, var * var + 0.5];
                self.push(x.batch_norm_infer(moments, axis, 1e-3), 2.0 * bound + 3.0);
            }
            41 => {
                let index = self.index(&shape, size);
                self.push(x.take_along_axis(index, axis), bound);
            }
            42 => {
                let index = self.index(&shape, size + 1);
                self.push(x.scatter_along_axis(index, axis, size), size as f64 * bound);
            }
            43 => {
                let labels = self.index(&shape[..shape.len() - 1], shape[shape.len() - 1]);
                self.push(x.softmax_cross_entropy(labels), 2.0 * bound + 5.0);
            }
            _ => self.push(x * 0.5, bound),
        }
    }

    /// A function with a kink; at the kink itself both sides follow one convention.
    fn kinked(&mut self, knob: usize, x: Expr<'b>, bound: f64) {
        self.smooth = false;
        let value = match knob % 8 {
            0 => x.relu(),
            1 => x.abs(),
            2 => x.leaky_relu(0.2),
            3 => x.elu(0.7),
            4 => x.selu(),
            5 => x.clamp(-0.5, 0.5),
            6 => x.greater(x.full_like(0.1)).select(x.sin(), x * 0.5),
            _ => x.max(x.zeros_like()).min(x.full_like(1.0)),
        };
        self.push(value, 2.0 * bound);
    }

    fn binary(&mut self, kind: u8, second: u8, even: bool, x: Expr<'b>, bound: f64) {
        let (y, other) = self.pick(second);
        let (a, b) = (x.shape().known().unwrap_or_default(), y.shape().known().unwrap_or_default());
        // Shapes that do not broadcast together, or to something large, meet through a scalar.
        let fits = a.iter().rev().zip(b.iter().rev()).all(|(m, n)| m == n || *m == 1 || *n == 1);
        let elements = |a: &[usize], b: &[usize]| a.iter().product::<usize>() * b.iter().product::<usize>();
        let small = a == b || elements(&a, &b) <= ELEMENTS;
        let (y, b) = if fits && small { (y, b) } else { (y.mean_all(), Vec::new()) };
        match kind {
            14 | 15 => self.push(x + y, bound + other),
            16 => self.push(x - y, bound + other),
            17..20 => self.push(x * y, bound * other),
            20 => self.push(x / (y * y + 1.0), bound),
            21 => self.push((x * x + 0.5).pow(y.tanh()), bound * bound + 2.0),
            22 => {
                self.smooth = false;
                let value = if even { x.max(y) } else { x.min(y) };
                self.push(value, bound.max(other));
            }
            _ => {
                let pair = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j))).find(|&(i, j)| a[i] == b[j]);
                match pair {
                    Some((i, j)) if elements(&a, &b) / (a[i] * b[j]) <= ELEMENTS => {
                        let none: (&[usize], &[usize]) = (&[], &[]);
                        self.push(x.dot_general(y, (&[i], &[j]), none), a[i] as f64 * bound * other);
                    }
                    _ => self.push(x * y, bound * other),
                }
            }
        }
    }
}
