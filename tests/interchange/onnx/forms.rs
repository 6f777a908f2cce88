//! Forms that no runtime of these tests would miss: an export chooses them because another runtime lacks an op, or because
//! runtimes differ. They are looked up in the file.

use super::models::read;
use foldgrad::interchange::onnx::{ExportOptions, to_bytes};
use foldgrad::ir::Weights;
use foldgrad::{Builder, DType, Expr, Graph, ir};

/// The ops of an exported graph in alphabetical order, each as often as it occurs; an `Identity` only gives an output its
/// name.
fn ops(graph: &Graph) -> String {
    let bytes = to_bytes(graph, &Weights::new(), &ExportOptions::new()).expect("it has an export");
    let ops = read(&bytes).ops;
    let each = ops.iter().filter(|(op, _)| *op != "Identity").flat_map(|(op, &count)| vec![op.as_str(); count]);
    each.collect::<Vec<_>>().join(" ")
}

type Form = for<'b> fn(&'b Builder) -> Expr<'b>;

#[track_caller]
fn all_become(forms: &[(&str, &str, Form)]) {
    for (what, expected, form) in forms {
        let g = Builder::new();
        g.output("y", form(&g));
        let graph = g.finish().unwrap_or_else(|errors| panic!("{what}: {errors}"));
        assert_eq!(ops(&graph), *expected, "{what}");
    }
}

#[test]
fn masks_are_chosen_compared_and_made_by_logic() {
    all_become(&[
        ("ONNX Runtime has no `Where` over masks", "And And Not Or", |g| {
            let [mask, a, b] = ["mask", "a", "b"].map(|name| g.input(name, DType::Bool, [3]));
            mask.select(a, b)
        }),
        ("numbers are chosen as they are", "Where", |g| {
            let [a, b] = ["a", "b"].map(|name| g.input(name, DType::I32, [3]));
            g.input("mask", DType::Bool, [3]).select(a, b)
        }),
        ("ONNX orders numbers only", "Cast Cast Less", |g| {
            let [a, b] = ["a", "b"].map(|name| g.input(name, DType::Bool, [3]));
            a.less(b)
        }),
        ("but says whether masks are equal", "Equal", |g| {
            let [a, b] = ["a", "b"].map(|name| g.input(name, DType::Bool, [3]));
            a.equal(b)
        }),
        ("readers keep masks as integers, and a cast would keep a 2", "Equal Not", |g| {
            g.input("x", DType::I32, [3]).cast(DType::Bool)
        }),
    ]);
}

#[test]
fn what_is_made_of_nothing_is_written_down() {
    all_become(&[
        ("a sum over nothing", "", |g| g.input("x", DType::F32, [3, 0]).sum(&[1])),
        ("the largest of nothing", "", |g| g.input("x", DType::F32, [3, 0]).reduce_max(&[1])),
        ("a mean of nothing", "", |g| g.input("x", DType::F32, [3, 0]).mean(&[1])),
        ("a product without terms", "", |g| g.input("a", DType::F32, [3, 0]).dot(g.input("b", DType::F32, [0, 2]))),
        ("a layer without features, which is its bias", "Expand", |g| {
            let (x, kernel) = (g.input("x", DType::F32, [3, 0]), g.input("kernel", DType::F32, [0, 2]));
            x.dense(kernel, Some(g.constant(foldgrad::Tensor::vector(vec![1.0f32, 2.0]))))
        }),
        ("nothing to pick from", "", |g| {
            g.input("x", DType::F32, [3, 0]).take_along_axis(g.input("index", DType::I32, [3, 1]), 1)
        }),
        ("nowhere to add to", "", |g| {
            g.input("updates", DType::F32, [3, 1]).scatter_along_axis(g.input("index", DType::I32, [3, 1]), 1, 0)
        }),
        ("nothing but padding", "", |g| g.input("x", DType::F32, [3, 0]).pad(1, 1, 2, 0, g.scalar(DType::F32, 4.0))),
    ]);
}

#[test]
fn no_axes_are_not_every_axis() {
    for op in ["reduce_sum", "reduce_max", "reduce_min", "reduce_product", "mean"] {
        let text = format!(
            "graph {{
              %0 = input() {{name=\"x\", role=data, type=f32[3,2]}} : f32[3,2]
              %1 = {op}(%0) {{axes=[]}} : f32[3,2]
              output \"y\" = %1
            }}"
        );
        assert_eq!(ops(&ir::parse(&text).unwrap_or_else(|error| panic!("{error}"))), "", "{op}");
    }
}

#[test]
fn attributes_in_single_precision_are_for_f32() {
    all_become(&[
        ("a slope in f32", "LeakyRelu", |g| g.input("x", DType::F32, [3]).leaky_relu(0.1)),
        ("a slope in f64", "Greater Mul Where", |g| g.input("x", DType::F64, [3]).leaky_relu(0.1)),
        ("an ε in f32", "BatchNormalization", |g| normed(g, DType::F32)),
        ("an ε in f64", "Add Add Mul Mul Reciprocal Sqrt Sub", |g| normed(g, DType::F64)),
    ]);
}

fn normed(g: &Builder, dtype: DType) -> Expr<'_> {
    let vectors = ["gamma", "beta", "mean", "var"].map(|name| g.input(name, dtype, [2]));
    g.input("x", dtype, [3, 2]).batch_norm_infer(vectors, 1, 1e-3)
}

#[test]
fn formulas_that_overflow_in_some_runtime_are_written_out() {
    for dtype in [DType::F32, DType::F64] {
        let g = Builder::new();
        g.output("y", g.input("x", dtype, [3]).softplus());
        let found = ops(&g.finish().expect("well typed"));
        assert!(!found.contains("Softplus") && found.contains("Relu"), "{found}");
    }
}
