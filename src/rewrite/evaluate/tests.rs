//! The law of the evaluator: it is the reference interpreter, bit for bit, over every number type.

#[path = "../../../tests/common/mod.rs"]
mod common;

use super::*;
use crate::ir::OrderedMap;
use crate::op::{Case, Domain};
use crate::reference::{Dual, Fp, NdArray, Number, interpret_all};
use common::{Layout, Random, config, feeds_as, wholes};
use proptest::test_runner::{TestCaseError, TestRunner};

type Feeds<S> = OrderedMap<String, Array<S>>;

impl Exact for Dual {
    type Sum = Dual;
    fn bits(self) -> u64 {
        self.re.bits() ^ self.du.bits().rotate_left(32)
    }
    fn same(self, other: Dual) -> bool {
        self.re.same(other.re) && self.du.same(other.du)
    }
    fn nothing() -> Dual {
        Dual::from_f64(0.0)
    }
    fn add_term(sum: Dual, x: Dual) -> Dual {
        sum.add(x)
    }
    fn add_product(sum: Dual, a: Dual, b: Dual) -> Dual {
        sum.add(a.mul(b))
    }
    fn total(sum: Dual) -> Dual {
        sum
    }
}

fn fed<S: Exact>(feeds: &Feeds<S>) -> Evaluator<S> {
    let mut evaluator = Evaluator::new(Bindings::new());
    for (name, array) in feeds {
        evaluator.feed(name, Arc::new(array.clone()));
    }
    evaluator
}

fn same<S: Exact>(a: &Array<S>, b: &Array<S>) -> bool {
    match (a, b) {
        (Array::Real(a), Array::Real(b)) => {
            a.shape == b.shape && a.data.len() == b.data.len() && a.data.iter().zip(&b.data).all(|(a, b)| a.same(*b))
        }
        _ => a == b,
    }
}

/// Every value of the graph, evaluated and interpreted.
fn check<S: Exact>(what: &str, graph: &Graph, feeds: &Feeds<S>) -> Result<(), String> {
    let expected = interpret_all(graph, feeds).map_err(|error| format!("{what}: {error}"))?;
    let mut evaluator = fed(feeds);
    let results = |(id, node): (_, &Node)| (0..node.types().len() as u32).map(move |output| Value { node: id, output });
    let roots: Vec<Value> = graph.nodes().flat_map(results).collect();
    let numbered = evaluator.run(graph, &roots).map_err(|error| format!("{what}: {error}"))?;
    for root in roots {
        let number = numbered.get(root).ok_or_else(|| format!("{what}: {root} was not evaluated"))?;
        let (found, expected) = (evaluator.array(number), &expected[root.node.index()][root.output as usize]);
        if !same(found, expected) {
            let (name, kind) = (graph.node(root.node).op().name(), std::any::type_name::<S>());
            return Err(format!("{what}, {root} {name} over {kind}: {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// An op over sampled operands in one layout.
fn instance(case: &Case, layout: Layout, dtype: DType, random: &mut Random) -> (Graph, Feeds<f64>) {
    let b = Builder::new();
    let mut feeds = Feeds::new();
    let mut operands = Vec::new();
    for (slot, sample) in case.operands.iter().enumerate() {
        let (name, shape) = (format!("x{slot}"), sample.ty.shape.known().expect("a known shape"));
        let is_float = sample.ty.dtype.is_float();
        let dtype = if is_float { dtype } else { sample.ty.dtype };
        let laid = if is_float { layout.source(&shape) } else { shape.clone() };
        feeds.insert(name.clone(), random.array(dtype, &laid, sample.domain));
        let source = b.input(&name, dtype, laid.as_slice());
        operands.push(if is_float { layout.view(source, &shape) } else { source });
    }
    b.push_all(case.op.clone(), &operands);
    (b.finish().expect("a case is well typed"), feeds)
}

/// Special values in place of some elements.
fn nasty(feeds: &Feeds<f64>, random: &mut Random) -> Feeds<f64> {
    const NASTY: [f64; 6] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1e300];
    let mut feeds = feeds.clone();
    for array in feeds.values_mut() {
        if let Array::Real(array) = array {
            let spoil = |x: &mut f64, random: &mut Random| {
                if random.below(3) == 0 {
                    *x = NASTY[random.below(NASTY.len())];
                }
            };
            array.data.iter_mut().for_each(|x| spoil(x, random));
        }
    }
    feeds
}

/// Any element of the field in place of those that stand for floats.
fn in_field(feeds: &Feeds<f64>, random: &mut Random) -> Feeds<Fp> {
    let mut feeds: Feeds<Fp> = feeds_as(feeds);
    for array in feeds.values_mut() {
        if let Array::Real(array) = array {
            array.data.iter_mut().for_each(|x| *x = Fp::new(random.bits()));
        }
    }
    feeds
}

fn with_tangents(feeds: &Feeds<f64>, random: &mut Random) -> Feeds<Dual> {
    let mut feeds: Feeds<Dual> = feeds_as(feeds);
    for array in feeds.values_mut() {
        if let Array::Real(array) = array {
            array.data.iter_mut().for_each(|x| x.du = random.range(-1.0, 1.0));
        }
    }
    feeds
}

#[test]
fn every_op_in_every_layout_is_that_of_the_reference() {
    let mut random = Random(3);
    for case in common::cases() {
        for layout in Layout::ALL {
            for dtype in [DType::F64, DType::F32] {
                let (graph, feeds) = instance(&case, layout, dtype, &mut random);
                let what = format!("{:?} in {layout:?}", case.op);
                let nasty = nasty(&feeds, &mut random);
                let checks = [
                    check::<f64>(&what, &graph, &feeds),
                    check::<f64>(&what, &graph, &nasty),
                    check::<f32>(&what, &graph, &feeds_as(&feeds)),
                    check::<f32>(&what, &graph, &feeds_as(&nasty)),
                    check::<Fp>(&what, &graph, &in_field(&feeds, &mut random)),
                    check::<Dual>(&what, &graph, &with_tangents(&feeds, &mut random)),
                ];
                checks.into_iter().for_each(|outcome| outcome.unwrap());
            }
        }
    }
}

#[test]
fn random_graphs_and_their_gradients_are_those_of_the_reference() {
    let law = |whole: &common::Whole| -> Result<(), String> {
        let (problem, _) = whole.problem(None)?;
        let mut random = Random(1);
        for graph in [&problem.forward, &problem.gradient] {
            let feeds: Feeds<f64> =
                graph.inputs().map(|(name, _)| (name.to_owned(), problem.feeds[name].clone())).collect();
            check::<f64>(&problem.label, graph, &feeds)?;
            check::<f32>(&problem.label, graph, &feeds_as(&feeds))?;
            check::<Fp>(&problem.label, graph, &in_field(&feeds, &mut random))?;
        }
        Ok(())
    };
    let outcome = TestRunner::new(config(300)).run(&wholes(), |whole| law(&whole).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Long sums: the field's are reduced on the way, and matrices are not multiples of the loops' steps.
#[test]
fn long_products_are_those_of_the_reference() {
    let mut random = Random(9);
    for (m, k, n) in [(3, 259, 5), (1, 64, 3), (2, 61, 1), (5, 120, 4), (4, 121, 2)] {
        let b = Builder::new();
        let (x, w) = (b.input("x", DType::F64, [m, k]), b.input("w", DType::F64, [k, n]));
        let v = b.input("v", DType::F64, [n, k]);
        x.dot(w);
        x.dot(v.transpose(&[1, 0]));
        x.sum(&[1]);
        w.sum(&[0]);
        let graph = b.finish().unwrap();
        let mut feeds = Feeds::new();
        for (name, shape) in [("x", [m, k]), ("w", [k, n]), ("v", [n, k])] {
            feeds.insert(name.to_owned(), random.array(DType::F64, &shape, Domain::Range(-2.0, 2.0)));
        }
        check::<f64>("long", &graph, &feeds).unwrap();
        check::<f32>("long", &graph, &feeds_as(&feeds)).unwrap();
        check::<Fp>("long", &graph, &in_field(&feeds, &mut random)).unwrap();
        // The largest residues make the largest sums.
        let mut largest: Feeds<Fp> = feeds_as(&feeds);
        for array in largest.values_mut() {
            *array = Array::Real(array.real().map(|_| Fp::new(0).sub(Fp::new(1))));
        }
        check::<Fp>("long", &graph, &largest).unwrap();
    }
}

#[test]
fn equal_values_have_one_number_across_graphs() {
    let feeds: Feeds<f64> = Feeds::from_iter([
        ("x".to_owned(), Array::Real(NdArray { shape: vec![3], data: vec![1.0, -2.0, 3.0] })),
        ("y".to_owned(), Array::Real(NdArray { shape: vec![3], data: vec![4.0, 0.5, -1.0] })),
    ]);
    let graph = |swapped: bool| {
        let b = Builder::new();
        let (x, y) = (b.input("x", DType::F64, [3]), b.input("y", DType::F64, [3]));
        let sum = if swapped { y + x } else { x + y };
        let wide = sum.broadcast_to([2, 3]);
        let long = if swapped { b.concat(&[sum, sum], 0).reshape([2, 3]) } else { wide };
        let roots = [sum, sum.tanh(), long, x - y].map(|root| root.value());
        (b.finish().unwrap(), roots)
    };
    let mut evaluator = fed(&feeds);
    let ((first, a), (second, b)) = (graph(false), graph(true));
    let first = evaluator.run(&first, &a).unwrap();
    let before = evaluator.memo.len();
    let second = evaluator.run(&second, &b).unwrap();
    for (a, b) in a.into_iter().zip(b) {
        assert_eq!(first.get(a), second.get(b));
    }
    assert_ne!(first.get(a[0]), first.get(a[1]));
    // The other order of a sum, the broadcast again, a concat and its reshape: tanh and the difference are known.
    assert_eq!(evaluator.memo.len() - before, 3);
}

#[test]
fn only_what_the_roots_need_is_evaluated() {
    let b = Builder::new();
    let x = b.input("x", DType::F64, [2]);
    let unfed = b.input("unfed", DType::F64, [2]);
    let (wanted, other) = ((x * 2.0).value(), (unfed + x).value());
    let graph = b.finish().unwrap();
    let feeds = Feeds::from_iter([("x".to_owned(), Array::Real(NdArray { shape: vec![2], data: vec![1.0f64, 2.0] }))]);
    let mut evaluator = fed(&feeds);
    let numbered = evaluator.run(&graph, &[wanted]).unwrap();
    assert_eq!(numbered.get(other), None);
    let number = numbered.get(wanted).unwrap();
    assert_eq!(evaluator.array(number).real().data, [2.0, 4.0]);
    let missing = evaluator.run(&graph, &[other]).unwrap_err();
    assert!(matches!(&missing, EvalError::MissingInput { name, .. } if name == "unfed"), "{missing}");
}

#[test]
fn shapes_that_no_memory_holds_are_errors() {
    type Make = for<'b> fn(crate::Expr<'b>) -> crate::Expr<'b>;
    let wide: Make = |x| x.broadcast_to([1 << 20, 1 << 20]);
    let makes: [Make; 6] = [
        |x| x.broadcast_to([usize::MAX / 2, 4]),
        |x| x.broadcast_to([1 << 40]).sin(),
        |x| x.broadcast_to([1 << 40]).sum_all(),
        |x| x.broadcast_to([1 << 40]).dot(x.broadcast_to([1 << 40])),
        |x| x.broadcast_to([1 << 40]).slice(0, 0..2),
        |x| x.builder().iota(DType::F64, [1 << 50], 0) + x,
    ];
    let value = |make: Make| {
        let b = Builder::new();
        let root = make(b.input("x", DType::F64, crate::ir::Shape::scalar())).value();
        let feeds = Feeds::from_iter([("x".to_owned(), Array::Real(NdArray { shape: vec![], data: vec![1.0] }))]);
        let mut evaluator = fed(&feeds);
        let graph = b.finish().unwrap();
        evaluator.run(&graph, &[root]).map(drop)
    };
    value(wide).expect("a view needs no memory");
    for (index, make) in makes.into_iter().enumerate() {
        let error = value(make).expect_err("too large");
        assert!(matches!(error, EvalError::TooLarge { .. }), "{index}: {error}");
    }
}
