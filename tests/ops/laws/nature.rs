//! Law L10: what an op says of its nature holds. Each claim is evaluated by the reference, on every case of every op; and
//! claims that are wrong fail in the same function.

use crate::common::{Random, cases, evaluate, expands};
use foldgrad::ir::OrderedMap;
use foldgrad::ir::Rebuild;
use foldgrad::op::{Case, Function, Nature, Op, Rearrangement, Sample};
use foldgrad::ops::{ArgMax, Binary, Cast, Compare, Concat, Dense as DenseOp, Dot, Slice, StopGradient, Unary};
use foldgrad::reference::{Array, NdArray};
use foldgrad::rewrite::work;
use foldgrad::{Builder, DType, Expr, Graph};
use std::collections::BTreeSet;

type Values = Vec<Array<f64>>;

fn dtype(array: &Array<f64>) -> DType {
    match array {
        Array::Real(_) => DType::F64,
        Array::Int(_) => DType::I32,
        Array::Bool(_) => DType::Bool,
    }
}

fn graph_of(op: &Op, operands: &[Array<f64>]) -> Result<Graph, String> {
    let b = Builder::new();
    let input =
        |(slot, array): (usize, &Array<f64>)| b.input(&format!("x{slot}"), dtype(array), array.shape().to_vec());
    let inputs: Vec<Expr<'_>> = operands.iter().enumerate().map(input).collect();
    b.push_all(op.clone(), &inputs).into_iter().enumerate().for_each(|(i, y)| b.output(&format!("y{i}"), y));
    b.finish().map_err(|errors| errors.to_string())
}

fn run(op: &Op, operands: &[Array<f64>]) -> Result<Values, String> {
    let feeds: OrderedMap<String, Array<f64>> =
        operands.iter().enumerate().map(|(slot, array)| (format!("x{slot}"), array.clone())).collect();
    let outputs = evaluate(&graph_of(op, operands)?, &feeds).map_err(|error| error.to_string())?;
    Ok(outputs.into_values().collect())
}

fn sampled(case: &Case, seed: u64) -> Values {
    let mut random = Random(seed);
    let array = |sample: &Sample| random.array(sample.ty.dtype, &sample.ty.shape.known().unwrap(), sample.domain);
    case.operands.iter().map(array).collect()
}

/// Values that tell the elements of float and integer operands apart; every other one is below 0.
fn labelled(arrays: &[Array<f64>]) -> Values {
    let mut last = 0;
    let mut label = || {
        last = if last > 0 { -last } else { 1 - last };
        last
    };
    let of = |array: &Array<f64>| match array {
        Array::Real(x) => Array::Real(x.map(|_| f64::from(label()))),
        Array::Int(x) => Array::Int(x.map(|_| label())),
        Array::Bool(x) => Array::Bool(x.clone()),
    };
    arrays.iter().map(of).collect()
}

/// The elements as numbers.
fn numbers(array: &Array<f64>) -> Vec<f64> {
    match array {
        Array::Real(x) => x.data.clone(),
        Array::Int(x) => x.data.iter().copied().map(f64::from).collect(),
        Array::Bool(x) => x.data.iter().map(|&x| f64::from(u8::from(x))).collect(),
    }
}

fn filled(like: &Array<f64>, value: f64) -> Array<f64> {
    Array::Real(like.real().map(|_| value))
}

/// The part of an array that starts at `from` and has this shape; none if it does not lie in it.
fn part(array: &Array<f64>, from: &[usize], shape: &[usize]) -> Option<Array<f64>> {
    fn of<T: Copy>(x: &NdArray<T>, from: &[usize], shape: &[usize]) -> NdArray<T> {
        NdArray::from_fn(shape, |at| x.at(&at.iter().zip(from).map(|(at, from)| at + from).collect::<Vec<_>>()))
    }
    let sizes = array.shape();
    let lies = from.len() == sizes.len() && (0..sizes.len()).all(|axis| from[axis] + shape[axis] <= sizes[axis]);
    lies.then(|| match array {
        Array::Real(x) => Array::Real(of(x, from, shape)),
        Array::Int(x) => Array::Int(of(x, from, shape)),
        Array::Bool(x) => Array::Bool(of(x, from, shape)),
    })
}

/// The element there, as a scalar.
fn element(array: &Array<f64>, at: &[usize]) -> Option<Array<f64>> {
    Some(match part(array, at, &vec![1; at.len()])? {
        Array::Real(x) => Array::Real(NdArray { shape: Vec::new(), data: x.data }),
        Array::Int(x) => Array::Int(NdArray { shape: Vec::new(), data: x.data }),
        Array::Bool(x) => Array::Bool(NdArray { shape: Vec::new(), data: x.data }),
    })
}

/// Every index of a shape.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    NdArray::from_fn(shape, |at| all.push(at.to_vec()));
    all
}

/// The same kind, shape and bits; every NaN is one.
fn same(a: &Array<f64>, b: &Array<f64>) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

fn claim(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn view(op: &Op, operands: &[Array<f64>], how: Rearrangement<'_>) -> Result<(), String> {
    let operands = labelled(operands);
    let ([x], [y]) = (&operands[..], &run(op, &operands)?[..]) else { return Err("one operand, one result".into()) };
    let in_order = || indices(x.shape()).into_iter().zip(indices(y.shape())).collect::<Vec<_>>();
    let from = |at: &Vec<usize>| -> Vec<usize> {
        match how {
            Rearrangement::Permute(from) => {
                let place = |axis| from.iter().position(|&of| of == axis).unwrap_or(usize::MAX);
                (0..x.shape().len()).map(|axis| at.get(place(axis)).copied().unwrap_or(usize::MAX / 2)).collect()
            }
            Rearrangement::Stretch(to) => {
                let along = |(axis, &size): (usize, &usize)| if size == 1 { 0 } else { at[to[axis]] };
                x.shape().iter().enumerate().map(along).collect()
            }
            Rearrangement::Cut { axis, start, stride } => {
                let mut from = at.clone();
                from[axis] = start + at[axis] * stride;
                from
            }
            _ => at.clone(),
        }
    };
    let pairs = match how {
        Rearrangement::Same => {
            claim(x.shape() == y.shape(), || format!("the shape {:?}", y.shape()))?;
            in_order()
        }
        Rearrangement::Reshape => {
            let [of_x, of_y] = [x, y].map(|array| array.shape().iter().product::<usize>());
            claim(of_x == of_y, || format!("{of_y} elements"))?;
            in_order()
        }
        _ => indices(y.shape()).into_iter().map(|at| (from(&at), at)).collect(),
    };
    for (from, at) in pairs {
        let same = element(x, &from).zip(element(y, &at)).is_some_and(|(x, y)| same(&x, &y));
        claim(same, || format!("{at:?} is not the element from {from:?}"))?;
    }
    Ok(())
}

/// A function of scalars, by itself.
fn value(function: Function, x: &[Array<f64>]) -> Option<Array<f64>> {
    let real = |slot: usize| x[slot].real().data[0];
    let scalar = |value: f64| Array::Real(NdArray { shape: Vec::new(), data: vec![value] });
    let integer = |value: i32| Array::Int(NdArray { shape: Vec::new(), data: vec![value] });
    let mask = |value: bool| Array::Bool(NdArray { shape: Vec::new(), data: vec![value] });
    Some(match (function, x) {
        (Function::Unary(f), [Array::Real(_)]) => scalar(f.apply(real(0))),
        (Function::Binary(f), [Array::Real(_), Array::Real(_)]) => scalar(f.apply(real(0), real(1))),
        (Function::Binary(f), [Array::Int(a), Array::Int(b)]) => integer(f.apply_int(a.data[0], b.data[0])),
        (Function::Compare(f), [Array::Real(_), Array::Real(_)]) => mask(f.apply(real(0), real(1))),
        (Function::Compare(f), [Array::Int(a), Array::Int(b)]) => mask(f.apply_int(a.data[0], b.data[0])),
        (Function::Compare(f), [Array::Bool(a), Array::Bool(b)]) => {
            mask(f.apply_int(a.data[0].into(), b.data[0].into()))
        }
        (Function::Select, [Array::Bool(mask), a, b]) => {
            if mask.data[0] {
                a.clone()
            } else {
                b.clone()
            }
        }
        (Function::Cast(to), [x]) => {
            let number = numbers(x)[0];
            match to {
                DType::I32 => integer(number as i32),
                DType::Bool => mask(number != 0.0),
                _ => scalar(number),
            }
        }
        _ => return None,
    })
}

fn elementwise(op: &Op, operands: &[Array<f64>], function: Option<Function>) -> Result<(), String> {
    let [y] = &run(op, operands)?[..] else { return Err("one result".into()) };
    claim(operands.iter().all(|x| x.shape() == y.shape()), || "operands of the result's shape".into())?;
    claim(function.is_some() != expands(op), || "a function, or a definition".into())?;
    for at in indices(y.shape()) {
        let elements: Option<Values> = operands.iter().map(|x| element(x, &at)).collect();
        let (elements, y) = elements.zip(element(y, &at)).ok_or("an index of the shape")?;
        let alone = run(op, &elements)?.remove(0);
        claim(same(&alone, &y), || format!("{at:?} is {y:?}, but {alone:?} where it is alone"))?;
        if let Some(function) = function {
            let by_function = value(function, &elements);
            claim(by_function.as_ref().is_some_and(|found| same(found, &y)), || format!("{elements:?} give {y:?}"))?;
        }
    }
    Ok(())
}

fn contraction(op: &Op, operands: &[Array<f64>], of: usize, axes: &[usize], biased: bool) -> Result<(), String> {
    claim(operands.len() == 2 + usize::from(biased) && of < 2, || "two operands, and a bias".into())?;
    claim(operands.iter().all(|x| matches!(x, Array::Real(_))), || "floats".into())?;
    // One operand tells the terms of a sum apart, and nothing else: then all sums are the sum of its values.
    let shape = operands[of].shape();
    claim(axes.iter().all(|&axis| axis < shape.len()), || format!("no axes {axes:?}"))?;
    let term = |at: &[usize]| axes.iter().fold(0, |number, &axis| number * shape[axis] + at[axis]) as f64 + 1.0;
    let terms: usize = axes.iter().map(|&axis| shape[axis]).product();
    let mut fed: Values = operands.iter().map(|x| filled(x, 1.0)).collect();
    fed[of] = Array::Real(NdArray::from_fn(shape, term));
    let bias = if biased { 0.25 } else { 0.0 };
    if biased {
        fed[2] = filled(&operands[2], bias);
    }
    let expected = (terms * (terms + 1) / 2) as f64 + bias;
    let sums = run(op, &fed)?.remove(0);
    claim(sums.real().data.iter().all(|&sum| sum == expected), || format!("{sums:?} are not {expected}"))?;
    // Linear in both: a power of two as a factor passes without rounding.
    let mut plain = operands.to_vec();
    if biased {
        plain[2] = filled(&operands[2], 0.0);
    }
    let once = run(op, &plain)?.remove(0);
    for slot in 0..2 {
        let mut fed = plain.clone();
        fed[slot] = Array::Real(plain[slot].real().map(|x| 8.0 * x));
        let scaled = run(op, &fed)?.remove(0);
        let linear = same(&scaled, &Array::Real(once.real().map(|y| 8.0 * y)));
        claim(linear, || format!("not linear in operand {slot}"))?;
    }
    Ok(())
}

fn reduction(op: &Op, operands: &[Array<f64>], axes: &[usize]) -> Result<(), String> {
    let ([x], [y]) = (operands, &run(op, operands)?[..]) else { return Err("one operand, one result".into()) };
    let kept: Vec<usize> = (0..x.shape().len()).filter(|axis| !axes.contains(axis)).collect();
    let expected: Vec<usize> = kept.iter().map(|&axis| x.shape()[axis]).collect();
    claim(y.shape() == expected, || format!("the shape {:?}, not {expected:?}", y.shape()))?;
    for at in indices(y.shape()) {
        let (mut from, mut shape) = (vec![0; x.shape().len()], x.shape().to_vec());
        kept.iter().zip(&at).for_each(|(&axis, &at)| (from[axis], shape[axis]) = (at, 1));
        let slab = part(x, &from, &shape).ok_or("an index of the shape")?;
        let alone = run(op, &[slab])?.remove(0);
        let alone = element(&alone, &vec![0; at.len()]);
        let same = alone.as_ref().zip(element(y, &at)).is_some_and(|(alone, y)| same(alone, &y));
        claim(same, || format!("{at:?} is another where the rest is not there: {alone:?}"))?;
    }
    Ok(())
}

fn indexing(op: &Op, operands: &[Array<f64>]) -> Result<(), String> {
    claim(operands.iter().any(|x| matches!(x, Array::Int(_))), || "integers".into())?;
    // Each float operand's element has a bit of its own, so that a sum of elements says which they are.
    let mut bit = 0;
    let mut own = || {
        bit += 1;
        2f64.powi(bit - 1)
    };
    let fed: Values = operands
        .iter()
        .map(|x| if let Array::Real(x) = x { Array::Real(x.map(|_| own())) } else { x.clone() })
        .collect();
    let most = 2f64.powi(bit.max(1));
    let y = run(op, &fed)?.remove(0);
    let Array::Real(y) = y else { return Err("floats".into()) };
    claim(y.data.iter().all(|&y| y.fract() == 0.0 && (0.0..most).contains(&y)), || format!("{y:?} are no elements"))
}

fn assembly(op: &Op, operands: &[Array<f64>]) -> Result<(), String> {
    let fed = labelled(operands);
    let y = run(op, &fed)?.remove(0);
    let (fills, placed): (Vec<_>, Vec<_>) = fed.iter().partition(|x| x.shape().is_empty() && !y.shape().is_empty());
    let mut left = numbers(&y);
    for label in placed.into_iter().flat_map(numbers) {
        let at = left.iter().position(|&y| y == label).ok_or_else(|| format!("{label} is not in {y:?}"))?;
        left.remove(at);
    }
    let fill: Vec<f64> = fills.into_iter().flat_map(numbers).collect();
    claim(left.iter().all(|y| fill.contains(y)), || format!("{left:?} are of no operand"))
}

fn random(op: &Op, operands: &[Array<f64>]) -> Result<(), String> {
    claim(op.site().is_some(), || "no site".into())?;
    let other: Values = operands
        .iter()
        .map(|x| if let Array::Int(key) = x { Array::Int(key.map(|k| k ^ 1)) } else { x.clone() })
        .collect();
    let (one, two) = (run(op, operands)?.remove(0), run(op, &other)?.remove(0));
    // A few draws may agree by chance, and a dropout at a rate of 0 keeps whatever it draws.
    let few = one.shape().iter().product::<usize>() < 8;
    let keeps_all = operands.iter().any(|x| same(x, &one));
    claim(few || keeps_all || !same(&one, &two), || "another key draws the same".into())
}

fn scan(op: &Op, operands: &[Array<f64>], axis: usize) -> Result<(), String> {
    let ([Array::Real(x)], [y]) = (operands, &run(op, operands)?[..]) else {
        return Err("one operand of floats".into());
    };
    claim(axis < x.shape.len() && y.shape() == x.shape, || format!("the shape {:?}", y.shape()))?;
    let all = indices(&x.shape);
    // Whether an element reaches what is behind it, and what is before it.
    let mut reaches = [false; 2];
    for (number, from) in all.iter().enumerate() {
        let mut other = x.clone();
        other.data[number] += 1.0;
        let other = &run(op, &[Array::Real(other)])?[0];
        for to in all.iter().filter(|to| !element(y, to).zip(element(other, to)).is_some_and(|(a, b)| same(&a, &b))) {
            let is_beside = (0..x.shape.len()).all(|other| other == axis || from[other] == to[other]);
            claim(is_beside, || format!("{to:?} depends on {from:?}"))?;
            reaches[0] |= to[axis] > from[axis];
            reaches[1] |= to[axis] < from[axis];
        }
    }
    claim(reaches != [true; 2], || "elements depend on both sides".into())
}

fn normalisation(op: &Op, operands: &[Array<f64>], operations: usize) -> Result<(), String> {
    claim(expands(op), || "no definition".into())?;
    claim(matches!(operands.first(), Some(Array::Real(_))), || "a first operand of floats".into())?;
    let graph = graph_of(op, operands)?;
    let mut rebuild = Rebuild::new(&graph);
    graph.ids().for_each(|id| {
        if graph.as_input(id).is_some() || !rebuild.expand(id) {
            rebuild.copy(id);
        }
    });
    // A definition goes through more steps than a kernel, which is what the count is of.
    let (said, defined) = (work(&graph).operations, work(&rebuild.finish().unwrap()).operations);
    claim(operations > 0 && said <= defined, || format!("{said} operations, but {defined} by its definition"))
}

/// Whether this is the nature of the op, as far as these operands can tell.
fn check(op: &Op, nature: Nature<'_>, operands: &[Array<f64>]) -> Result<(), String> {
    claim(matches!(nature, Nature::Source) == operands.is_empty(), || "a source has no operands".into())?;
    claim(matches!(nature, Nature::Random) == op.site().is_some(), || "what draws has a site".into())?;
    // Evaluators take these as they are, and ask for no definition.
    let plain = matches!(nature, Nature::Source | Nature::View(_) | Nature::Elementwise(Some(_)));
    claim(!plain || !expands(op), || "it has a definition".into())?;
    match nature {
        Nature::Source => Ok(()),
        Nature::View(how) => view(op, operands, how),
        Nature::Elementwise(function) => elementwise(op, operands, function),
        Nature::Contraction { operand, axes, biased } => contraction(op, operands, operand, axes, biased),
        Nature::Reduction { axes } => reduction(op, operands, axes),
        Nature::Scan { axis } => scan(op, operands, axis),
        Nature::Indexing => indexing(op, operands),
        Nature::Assembly => assembly(op, operands),
        Nature::Random => random(op, operands),
        Nature::Normalisation { operations } => normalisation(op, operands, operations),
        other => Err(format!("no law for {other:?}")),
    }
}

fn kind(nature: Nature<'_>) -> String {
    format!("{nature:?}").chars().take_while(|c| c.is_alphabetic()).collect()
}

#[test]
fn an_op_is_what_it_says() {
    let mut seen = BTreeSet::new();
    for (number, case) in cases().into_iter().enumerate() {
        let nature = case.op.nature();
        for seed in 0..3 {
            if let Err(reason) = check(&case.op, nature, &sampled(&case, seed)) {
                panic!("{} (case {number}) says that it is {nature:?}: {reason}", case.op.name());
            }
        }
        seen.insert(kind(nature));
    }
    assert!(seen.len() >= 9, "a nature that no op has is not evaluated: {seen:?}");
    let b = Builder::new();
    let input = b.input("x", DType::F64, [2]).value().node;
    assert_eq!(b.graph().node(input).op().nature(), Nature::Source, "an input has no cases");
}

/// A wrong answer of the kind that one writes fails, of every kind.
#[test]
fn wrong_natures_are_caught() {
    let op = |build: for<'b> fn(Expr<'b>) -> Expr<'b>| {
        let b = Builder::new();
        let node = build(b.input("x", DType::F64, [3, 3])).value().node;
        b.graph().node(node).op().clone()
    };
    let softmax = op(|x| x.softmax(1));
    let square: Op = Dot { lhs_contract: vec![1], rhs_contract: vec![0], lhs_batch: vec![], rhs_batch: vec![] }.into();
    let (x, ints) = (Sample::any(&[3, 3]), Sample::integers(&[3, 3], 0, 3));
    let float = || vec![x.clone()];
    let floats = || vec![x.clone(), x.clone()];
    let product = |operand, axes, biased| Nature::Contraction { operand, axes, biased };
    let function = |function| Nature::Elementwise(Some(function));
    let wrong = [
        (StopGradient.into(), float(), Nature::Source),
        (op(|x| x.transpose(&[1, 0])), float(), Nature::View(Rearrangement::Same)),
        (op(|x| x.transpose(&[1, 0])), float(), Nature::View(Rearrangement::Reshape)),
        (op(|x| x.transpose(&[1, 0])), float(), Nature::View(Rearrangement::Permute(&[0, 1]))),
        (op(|x| x.reshape([9])), float(), Nature::View(Rearrangement::Same)),
        (op(|x| x.broadcast_in([3, 3, 3], &[0, 2])), float(), Nature::View(Rearrangement::Stretch(&[1, 2]))),
        (
            Slice { axis: 0, start: 0, limit: 3, stride: 2 }.into(),
            float(),
            Nature::View(Rearrangement::Cut { axis: 0, start: 0, stride: 1 }),
        ),
        (
            Slice { axis: 0, start: 1, limit: 3, stride: 1 }.into(),
            float(),
            Nature::View(Rearrangement::Cut { axis: 0, start: 0, stride: 1 }),
        ),
        (Unary::Relu.into(), float(), Nature::View(Rearrangement::Same)),
        (softmax.clone(), float(), Nature::Elementwise(None)),
        (op(|x| x.silu()), float(), function(Function::Unary(Unary::Sigmoid))),
        (Unary::Exp.into(), float(), Nature::Elementwise(None)),
        (Unary::Exp.into(), float(), function(Function::Unary(Unary::Expm1))),
        (Binary::Sub.into(), floats(), function(Function::Binary(Binary::Add))),
        (Binary::Sub.into(), vec![ints.clone(), ints.clone()], function(Function::Binary(Binary::Max))),
        (Compare::Less.into(), floats(), function(Function::Compare(Compare::Greater))),
        (Cast { dtype: DType::I32 }.into(), float(), function(Function::Cast(DType::F64))),
        (square.clone(), floats(), product(0, &[0], false)),
        (square.clone(), floats(), product(1, &[1], false)),
        (square.clone(), floats(), product(0, &[1], true)),
        (DenseOp.into(), vec![x.clone(), x.clone(), Sample::any(&[3])], product(1, &[1], true)),
        (DenseOp.into(), vec![x.clone(), x.clone(), Sample::any(&[3])], product(1, &[0], false)),
        (Binary::Add.into(), floats(), product(0, &[], false)),
        (ArgMax { axis: 0 }.into(), float(), Nature::Reduction { axes: &[1] }),
        (op(|x| x.sum(&[0])), float(), Nature::Reduction { axes: &[0, 1] }),
        (Unary::Exp.into(), float(), Nature::Reduction { axes: &[1] }),
        (softmax.clone(), float(), Nature::Scan { axis: 1 }),
        (op(|x| x.transpose(&[1, 0])), float(), Nature::Scan { axis: 1 }),
        (op(|x| x.sum(&[0])), float(), Nature::Indexing),
        (Binary::Add.into(), vec![ints.clone(), ints.clone()], Nature::Indexing),
        (Concat { axis: 0 }.into(), floats(), Nature::Elementwise(None)),
        (Binary::Add.into(), floats(), Nature::Assembly),
        (Slice { axis: 0, start: 1, limit: 3, stride: 1 }.into(), float(), Nature::Assembly),
        (Unary::Exp.into(), float(), Nature::Random),
        (Unary::Exp.into(), float(), Nature::Normalisation { operations: 4 }),
        (softmax.clone(), float(), Nature::Normalisation { operations: 0 }),
    ];
    for (op, operands, nature) in wrong {
        let operands: Values = {
            let mut random = Random(7);
            let array =
                |sample: &Sample| random.array(sample.ty.dtype, &sample.ty.shape.known().unwrap(), sample.domain);
            operands.iter().map(array).collect()
        };
        assert!(check(&op, op.nature(), &operands).is_ok(), "{}: {:?}", op.name(), check(&op, op.nature(), &operands));
        assert!(check(&op, nature, &operands).is_err(), "{} passes as {nature:?}", op.name());
    }
}
