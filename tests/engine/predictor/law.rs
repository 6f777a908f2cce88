//! Law: what an op answers about rows is so. Every instance of every op, with some of its axes as long as a batch, is
//! evaluated over five rows and over two of them: where it keeps rows apart, these two come out the same, and where it
//! couples them, they do not.

use crate::common::Random;
use foldgrad::Graph;
use foldgrad::ir::{Dim, OrderedMap, Shape, Symbol, TensorType, parse};
use foldgrad::op::{Attr, Case, Op, Rows, RowsCx};
use foldgrad::reference::{Array, NdArray, interpret};
use std::collections::BTreeSet;

const WHOLE: usize = 5;
const PART: [usize; 2] = [2, 3];

/// Each way to have one axis of that size, or none, as long as the batch.
fn ways(shape: &Shape, size: usize) -> Vec<Shape> {
    let at = (0..shape.rank()).filter(|&axis| shape[axis] == Dim::Known(size));
    [shape.clone()].into_iter().chain(at.map(|axis| shape.with(axis, "n"))).collect()
}

/// Each way to choose one of each list.
fn choices<T: Clone>(lists: &[Vec<T>]) -> Vec<Vec<T>> {
    lists.iter().fold(vec![vec![]], |chosen, list| {
        chosen
            .iter()
            .flat_map(|so_far| list.iter().map(|next| [&so_far[..], std::slice::from_ref(next)].concat()))
            .collect()
    })
}

/// The instance with axes of that size replaced by the batch, in each way that is well typed.
fn with_batch(case: &Case, size: usize) -> Vec<Graph> {
    let op = &case.op;
    let operands: Vec<Vec<Shape>> = case.operands.iter().map(|sample| ways(&sample.ty.shape, size)).collect();
    let attrs: Vec<Vec<String>> = (op.attrs().into_iter())
        .map(|(name, attr)| match attr {
            Attr::Shape(shape) => ways(&shape, size).iter().map(|shape| format!("{name}={shape}")).collect(),
            other => vec![format!("{name}={other}")],
        })
        .collect();
    let mut graphs = Vec::new();
    for shapes in choices(&operands) {
        for attrs in choices(&attrs) {
            let mut text = "graph {\n  %0 = input() {name=\"rows\", role=data, type=f64[n]}\n".to_owned();
            for (slot, (shape, sample)) in shapes.iter().zip(&case.operands).enumerate() {
                let ty = sample.ty.with_shape(shape.clone());
                text += &format!("  %{} = input() {{name=\"x{slot}\", role=data, type={ty}}}\n", slot + 1);
            }
            let names: Vec<String> = (1..=shapes.len()).map(|id| format!("%{id}")).collect();
            let id = shapes.len() + 1;
            text += &format!("  %{id} = {}({}) {{{}}}\n", op.name(), names.join(", "), attrs.join(", "));
            for result in 0..op.results() {
                let value = if result == 0 { format!("%{id}") } else { format!("%{id}#{result}") };
                text += &format!("  output \"y{result}\" = {value}\n");
            }
            graphs.extend(parse(&(text + "}\n")));
        }
    }
    graphs
}

fn batch_axis(ty: &TensorType) -> Option<usize> {
    ty.shape.iter().position(|dim| dim.known().is_none())
}

/// Two rows of an array that has five along an axis; all of one that has no such axis.
fn part(array: &Array<f64>, axis: Option<usize>) -> Array<f64> {
    fn cut<T: Copy>(x: &NdArray<T>, axis: usize) -> NdArray<T> {
        let mut shape = x.shape.clone();
        shape[axis] = PART.len();
        NdArray::from_fn(&shape, |at| {
            let mut from = at.to_vec();
            from[axis] = PART[at[axis]];
            x.at(&from)
        })
    }
    match (array, axis) {
        (array, None) => array.clone(),
        (Array::Real(x), Some(axis)) => Array::Real(cut(x, axis)),
        (Array::Int(x), Some(axis)) => Array::Int(cut(x, axis)),
        (Array::Bool(x), Some(axis)) => Array::Bool(cut(x, axis)),
    }
}

/// Whether the rows of a part are those of the whole, whatever is fed.
fn comes_apart(case: &Case, graph: &Graph) -> bool {
    (0..12).all(|seed| comes_apart_of(case, graph, seed))
}

fn comes_apart_of(case: &Case, graph: &Graph, seed: u64) -> bool {
    let mut random = Random(seed);
    let (mut whole, mut some) = (OrderedMap::new(), OrderedMap::new());
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let sample =
            name.strip_prefix('x').and_then(|slot| slot.parse::<usize>().ok()).map(|slot| &case.operands[slot]);
        let domain = sample.map_or(foldgrad::op::Domain::Range(0.0, 1.0), |sample| sample.domain);
        let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.known().unwrap_or(WHOLE)).collect();
        let array = random.array(ty.dtype, &shape, domain);
        some.insert(name.to_owned(), part(&array, batch_axis(ty)));
        whole.insert(name.to_owned(), array);
    }
    let [whole, some] = [whole, some].map(|feeds| interpret::<f64>(graph, &feeds).expect("fed").outputs);
    graph.outputs().all(|(name, value)| {
        let expected = part(&whole[name], batch_axis(graph.ty(value)));
        // NaNs are all alike, and print alike.
        format!("{expected:?}") == format!("{:?}", some[name])
    })
}

#[test]
fn what_an_op_answers_about_rows_is_so() {
    let n = Symbol::new("n");
    let (mut asked, mut apart, mut coupled) = (BTreeSet::new(), 0, BTreeSet::new());
    for case in Op::cases() {
        let known: BTreeSet<usize> = (case.operands.iter().map(|sample| sample.ty.shape.clone()))
            .chain(
                case.op
                    .attrs()
                    .into_iter()
                    .filter_map(|(_, attr)| if let Attr::Shape(s) = attr { Some(s) } else { None }),
            )
            .flat_map(|shape| shape.known().unwrap_or_default())
            .collect();
        // Where there are no elements, nothing couples them; nor does a dropout that drops nothing.
        let is_vacant = known.contains(&0) || matches!(&case.op, Op::Dropout(op) if op.rate.0 == 0.0);
        for graph in known.into_iter().filter(|&size| size > 0).flat_map(|size| with_batch(&case, size)) {
            let Some((_, node)) = graph.nodes().last() else { continue };
            let operands: Vec<&TensorType> = node.operands().iter().map(|&value| graph.ty(value)).collect();
            asked.insert(node.op().name());
            // A value with the batch twice couples rows, whatever computes it.
            let Some(cx) = RowsCx::new(n, &operands, node.types()) else { continue };
            match node.op().rows(&cx) {
                Rows::Apart(axes) => {
                    let types: Vec<Option<usize>> = node.types().iter().map(batch_axis).collect();
                    assert_eq!(axes.to_vec(), types, "the axes of the rows in\n{graph}");
                    assert!(comes_apart(&case, &graph), "rows are not apart in\n{graph}");
                    apart += 1;
                }
                Rows::Coupled => {
                    assert!(is_vacant || !comes_apart(&case, &graph), "no need to couple rows in\n{graph}");
                    coupled.insert(node.op().name());
                }
            }
        }
    }
    let missing: Vec<&str> = Op::names().filter(|name| !asked.contains(name)).collect();
    assert_eq!(missing, ["input", "constant"], "ops without an instance");
    assert!(apart > 1000, "{apart}");
    for name in
        ["size", "iota", "random_uniform", "dropout", "batch_norm_train", "reduce_sum", "mean", "dot", "softmax"]
    {
        assert!(coupled.contains(name), "`{name}` couples nothing: {coupled:?}");
    }
}
