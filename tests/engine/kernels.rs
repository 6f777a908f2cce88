//! Law L2: what an executable computes is what the reference interpreter computes, for every op over every layout, for
//! gradient graphs, and for state updated in place.

use foldgrad::exec::{Executable, InstructionSet, Options};
use foldgrad::ir::{Bindings, Dim, Graph, OrderedMap, Symbol};
use foldgrad::op::{Case, Domain, Op, Sample};
use foldgrad::plan::{Costs, Rate};
use foldgrad::reference::{Array, interpret};
use foldgrad::{Builder, DType, Expr, Tensor, autodiff};

/// A small deterministic generator.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn tensor(&mut self, sample: &Sample, dtype: DType) -> Tensor {
        let shape = sample.ty.shape.known().unwrap();
        let len: usize = shape.iter().product();
        let values: Vec<f64> = match sample.domain {
            Domain::Range(low, high) => (0..len).map(|_| low + (high - low) * self.unit()).collect(),
            Domain::AwayFromZero(low, high) => (0..len)
                .map(|_| (low + (high - low) * self.unit()) * if self.unit() < 0.5 { -1.0 } else { 1.0 })
                .collect(),
            Domain::Distinct(step) => {
                let mut values: Vec<f64> = (0..len).map(|i| step * i as f64).collect();
                for i in (1..len).rev() {
                    values.swap(i, (self.unit() * (i + 1) as f64) as usize);
                }
                values
            }
            Domain::Integers(low, high) => {
                (0..len).map(|_| f64::from(low) + (f64::from(high - low) * self.unit()).floor()).collect()
            }
            Domain::Mask => (0..len).map(|_| f64::from(u8::from(self.unit() < 0.5))).collect(),
        };
        Tensor::from_f64(dtype, shape, values).unwrap()
    }
}

/// Runs a graph both ways, with every instruction set and one thread or several, and compares every output and update.
#[track_caller]
fn check(what: &str, graph: Graph, bindings: &Bindings, feeds: &OrderedMap<String, Tensor>, tolerance: f64) {
    let single = graph.nodes().any(|(_, node)| node.types().iter().any(|ty| ty.dtype == DType::F32));
    let expected = if single { reference::<f32>(&graph, feeds) } else { reference::<f64>(&graph, feeds) };
    for instructions in [InstructionSet::Widest, InstructionSet::Avx2, InstructionSet::Baseline] {
        for threads in [1, 3] {
            // Waiting for free, so that small work is shared out too.
            let costs =
                Costs::default().with(Rate::Barrier, 0.0).and_then(|costs| costs.with(Rate::Call, 0.0)).unwrap();
            let options =
                Options::default().threads(threads).instructions(instructions).holds_state(threads > 1).costs(costs);
            let run = Executable::with(graph.clone(), bindings, &options).unwrap();
            let what = format!("{what}, {instructions:?}, {threads} threads");
            check_run(&what, run, feeds, &expected, tolerance);
        }
    }
}

#[track_caller]
fn check_run(
    what: &str,
    mut run: Executable,
    feeds: &OrderedMap<String, Tensor>,
    expected: &(Values, Values),
    tolerance: f64,
) {
    let by_name = |ports: &[foldgrad::plan::Port]| -> Vec<Tensor> {
        ports
            .iter()
            .map(|port| feeds.get(&port.name).unwrap_or_else(|| panic!("{what}: {}", port.name)).clone())
            .collect()
    };
    let data = by_name(run.plan().feeds());
    let mut states = by_name(run.plan().states());
    // Twice, so that a run that leaves something behind in the arena is seen.
    for _ in 0..2 {
        let before = states.clone();
        run.run(&data.iter().collect::<Vec<_>>(), &mut states).unwrap();
        for (index, (port, (_, expected))) in run.plan().outputs().zip(&expected.0).enumerate() {
            compare(&format!("{what}: output {}", port.name), &run.output_tensor(index).unwrap(), expected, tolerance);
        }
        for (port, state) in run.plan().states().iter().zip(&states) {
            if let Some(expected) = expected.1.get(&port.name) {
                compare(&format!("{what}: state {}", port.name), state, expected, tolerance);
            }
        }
        states = before;
    }
}

type Values = OrderedMap<String, Vec<f64>>;

fn reference<S: foldgrad::reference::Number>(graph: &Graph, feeds: &OrderedMap<String, Tensor>) -> (Values, Values) {
    let arrays: OrderedMap<String, Array<S>> =
        feeds.iter().map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect();
    let evaluated = interpret(graph, &arrays).unwrap();
    let flat = |arrays: OrderedMap<String, Array<S>>| -> Values {
        arrays.into_iter().map(|(name, array)| (name, array.to_tensor(DType::F64).unwrap().to_f64())).collect()
    };
    (flat(evaluated.outputs), flat(evaluated.updates))
}

#[track_caller]
fn compare(what: &str, found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = found.to_f64();
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1.0f64, |scale, v| scale.max(v.abs()));
    for (index, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale;
        assert!(same, "{what}[{index}]: {a:e}, reference {b:e}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Packed,
    Transposed,
    Sliced,
    Strided,
}

/// An operand that reaches the op through a view of that layout.
fn operand<'b>(g: &'b Builder, name: &str, sample: &Sample, dtype: DType, layout: Layout) -> (Expr<'b>, Sample) {
    let shape = sample.ty.shape.known().unwrap();
    let mut stored = shape.clone();
    let is_float = dtype.is_float();
    match layout {
        Layout::Transposed if shape.len() >= 2 => stored.reverse(),
        Layout::Sliced if !shape.is_empty() => stored[0] += 3,
        Layout::Strided if !shape.is_empty() && is_float => {
            *stored.last_mut().unwrap() = stored.last().unwrap() * 2 + 1
        }
        _ => {}
    }
    let input = g.input(name, dtype, stored.clone());
    let last = shape.len().saturating_sub(1);
    let expr = match layout {
        Layout::Transposed if shape.len() >= 2 => input.transpose(&(0..shape.len()).rev().collect::<Vec<_>>()),
        Layout::Sliced if !shape.is_empty() => input.slice(0, 1..1 + shape[0]),
        Layout::Strided if !shape.is_empty() && is_float => input.slice_by(last, 1..1 + shape[last] * 2, 2),
        _ => input,
    };
    (expr, Sample { ty: foldgrad::ir::TensorType::new(dtype, stored), domain: sample.domain })
}

fn with_dtype(case: &Case, dtype: DType) -> Vec<DType> {
    case.operands.iter().map(|s| if s.ty.dtype.is_float() { dtype } else { s.ty.dtype }).collect()
}

#[test]
fn every_op_over_every_layout_equals_its_reference() {
    let mut random = Random(1);
    let mut seen = 0;
    for case in Op::cases() {
        for dtype in [DType::F64, DType::F32] {
            for layout in [Layout::Packed, Layout::Transposed, Layout::Sliced, Layout::Strided] {
                let g = Builder::new();
                let mut feeds = OrderedMap::new();
                let mut operands = Vec::new();
                for (slot, dtype) in with_dtype(&case, dtype).into_iter().enumerate() {
                    let name = format!("x{slot}");
                    let (expr, stored) = operand(&g, &name, &case.operands[slot], dtype, layout);
                    feeds.insert(name, random.tensor(&stored, dtype));
                    operands.push(expr);
                }
                for (index, result) in g.push_all(case.op.clone(), &operands).into_iter().enumerate() {
                    g.output(&format!("y{index}"), result);
                }
                let Ok(graph) = g.finish() else { continue };
                let tolerance = if dtype == DType::F64 { 1e-12 } else { 1e-5 };
                check(&format!("{:?} {dtype} {layout:?}", case.op), graph, &Bindings::new(), &feeds, tolerance);
                seen += 1;
            }
        }
    }
    assert!(seen > 1500, "only {seen} instances ran");
}

#[test]
fn gradient_graphs_equal_their_reference() {
    let mut random = Random(2);
    for case in Op::cases() {
        let g = Builder::new();
        let mut feeds = OrderedMap::new();
        let operands: Vec<Expr<'_>> = (case.operands.iter().enumerate())
            .map(|(slot, sample)| {
                let name = format!("x{slot}");
                feeds.insert(name.clone(), random.tensor(sample, sample.ty.dtype));
                g.input(&name, sample.ty.dtype, sample.ty.shape.clone())
            })
            .collect();
        let losses: Vec<Expr<'_>> = g
            .push_all(case.op.clone(), &operands)
            .into_iter()
            .filter(|result| result.dtype().is_float())
            .map(|result| (result * result.sin()).sum_all())
            .collect();
        let wrt: Vec<Expr<'_>> = operands.iter().copied().filter(|x| x.dtype().is_float()).collect();
        let Ok(gradients) = autodiff::gradients(&losses, &wrt) else { continue };
        for (index, gradient) in gradients.into_iter().enumerate() {
            g.output(&format!("d{index}"), gradient);
        }
        check(&format!("gradient of {:?}", case.op), g.finish().unwrap(), &Bindings::new(), &feeds, 1e-11);
    }
}

/// Two states that swap, one that is read after it was written, one fed back from an output, momentum with Nesterov.
#[test]
fn state_is_updated_as_if_all_at_once() {
    let g = Builder::new();
    let batch = Dim::symbol("batch");
    let x = g.input("x", DType::F64, [batch, 700usize.into()]);
    let state = |name: &str| g.state(name, DType::F64, [700usize]);
    let (a, b, c, d, w, v) = (state("a"), state("b"), state("c"), state("d"), state("w"), state("v"));
    // One map writes p over itself and still reads the old p for q.
    let (p, q) = (state("p"), state("q"));
    g.update(p, p * 0.5);
    g.update(q, p * 0.5 + p);
    g.update(a, b);
    g.update(b, a);
    g.update(c, c + a * 2.0);
    g.update(d, (d * 0.5).broadcast_to([batch, 700usize.into()]).sum(&[0]));
    let gradient = (x * w.broadcast_to(x.shape())).sum(&[0]) + c;
    let next = v * 0.9 - gradient * 0.1;
    g.update(v, next);
    g.update(w, w + next * 0.9 - gradient * 0.1);
    g.output("old w", w);
    g.output("new v", next);
    g.output("mixed", (c * d).sum_all());
    let count = g.state("count", DType::I32, [0usize; 0]);
    g.update(count, count + g.scalar(DType::I32, 1.0));
    let graph = g.finish().unwrap();
    let mut random = Random(3);
    let mut feeds: OrderedMap<String, Tensor> = ["a", "b", "c", "d", "w", "v", "p", "q"]
        .into_iter()
        .map(|name| (name.to_owned(), random.tensor(&Sample::any(&[700]), DType::F64)))
        .collect();
    feeds.insert("x".to_owned(), random.tensor(&Sample::any(&[5, 700]), DType::F64));
    feeds.insert("count".to_owned(), Tensor::scalar(41i32));
    check("states", graph, &Bindings::from([(Symbol::new("batch"), 5)]), &feeds, 1e-12);
}
