//! What users are told: each mistake names the layer and points at the line that declared it.

use foldgrad::ir::{Code, Dim, Shape};
use foldgrad::nn::{
    Activation, BatchNormalization, Concatenate, Declared, Dense, Dropout, Flatten, Initializer, Input, Lambda, Layer,
    LayerCx, Merge, Mode, Model, ModelBuilder, Reshape, Sequential,
};
use foldgrad::reference::{Array, interpret};
use foldgrad::{Builder, DType, Diagnostic, Diagnostics, Expr, Tensor};
use proptest::prelude::*;

/// Checks the first mistake: its title, the text of the user's line it points at, and its help.
#[track_caller]
fn check(result: Result<Model, Diagnostics>, line: &str, title: &str, help: &str) {
    let errors = result.err().unwrap_or_else(|| panic!("no mistake was found in: {line}"));
    let first = errors.first();
    let place = first.location().unwrap_or_else(|| panic!("{first}\nhas no place"));
    assert_eq!(place.file(), file!(), "{first}");
    let source = std::fs::read_to_string(file!()).unwrap();
    let text = source.lines().nth(place.line() as usize - 1).unwrap();
    assert!(text.contains(line), "{first}\ndoes not point at: {line}");
    let report = first.to_string();
    assert!(report.contains(title) && report.contains(help), "{report}\nlacks: {title}\nor: {help}");
}

fn chain(layer: impl Into<Declared>) -> Result<Model, Diagnostics> {
    Sequential::new([4]).add(Dense::new(3)).add(layer).build()
}

#[test]
fn options_out_of_range_name_the_layer() {
    let check = |layer: Declared, title: &str, help: &str| {
        check(chain(layer), ".add(layer)", title, help);
    };
    check(Dense::new(0).into(), "layer `dense_1` (Dense): it has no units", "at least one unit");
    check(Dense::new(usize::MAX).into(), "`kernel` has the shape [3,18446744073709551615]", "a smaller size");
    check(Dropout::new(1.0).into(), "layer `dropout` (Dropout): the rate is 1", "not including, 1");
    check(Dropout::new(f64::NAN).named("wet"), "layer `wet` (Dropout): the rate is NaN", "not including, 1");
    let norm = BatchNormalization::new;
    check(norm().momentum(1.0).into(), "layer `batch_normalization` (BatchNormalization): the momentum is 1", "share");
    check(norm().epsilon(0.0).into(), "epsilon is 0", "positive number such as 1e-3");
    check(norm().axis(2).into(), "axis 2 is out of range for its input f32[batch,3]", "axis 0 is the batch");
    check(norm().axis(0).into(), "axis 0 is out of range", "give 1 to 1, or −1 to −1 from the end");
    check(Activation::LeakyRelu(f64::INFINITY).into(), "its slope is inf", "finite");
    check(Reshape::new([2, -1]).into(), "an example of 3 elements", "whose product is that number");
    check(Reshape::new([-1, -1]).into(), "cannot take the shape [-1, -1]", "worked out with −1");
    let given = Dense::new(2).kernel_initializer(Initializer::Given(Tensor::zeros(DType::F32, [2, 2])));
    check(given.into(), "`kernel`: the given initial value has shape [2, 2], but the variable has [3, 2]", "shape");
    let orthogonal = Dense::new(2).bias_initializer(Initializer::Orthogonal { gain: 1.0 });
    check(orthogonal.into(), "an orthogonal matrix cannot fill the shape [2]", "kernels");
    let normal = Initializer::RandomNormal { mean: 0.0, stddev: -1.0 };
    check(Dense::new(2).kernel_initializer(normal).into(), "standard deviation -1", "not negative");
    check(Merge::Add.into(), "it takes at least two inputs, found 1", "m.add(layer, [a, b])");
    check(Dense::new(2).named("a/b"), "`a/b` cannot be the name of a layer", "has no `/`");
    check(Dense::new(2).named("seed_generator"), "`seed_generator` cannot be the name", "is not `seed_generator`");
}

#[test]
fn shapes_that_do_not_fit_point_at_the_users_line() {
    let unknown = Sequential::new(["time"]).add(Flatten::new()).build();
    check(unknown, "Flatten::new()", "one example of its input f32[batch,time] has no known size", "give every axis");
    let unknown = Sequential::new(["time"]).add(Dense::new(2)).build();
    check(unknown, "Dense::new(2)", "layer `dense` (Dense): axis -1 of its input f32[batch,time] has no known", "size");
    let scalars = Sequential::new(Shape::scalar()).add(Dense::new(2)).build();
    check(scalars, "Shape::scalar()", "its input f32[batch] has a batch axis only", "at least one axis");
    let labels = Sequential::new(Input::new([3]).dtype(DType::I32)).add(Dense::new(2)).build();
    check(labels, "DType::I32", "its input is i32[batch,3], but the graph computes in f32", "convert it");

    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [3]), m.input("b", [4]));
    let merged = m.add(Merge::Add, [a, b]);
    check(m.build([a, b], merged), "Merge::Add", "its inputs are f32[batch,3] and f32[batch,4]", "equal");
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [3, 2]), m.input("b", [4, 3]));
    let joined = m.add(Concatenate::new(), [a, b]);
    check(m.build([a, b], joined), "Concatenate::new()", "concat: part 0 is f32[batch,3,2]", "layer `concatenate`");
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [3]), m.input("b", [4]));
    let shared = m.layer(Dense::new(2).named("shared"));
    let twice = m.add(Merge::Add, [m.call(shared, a), m.call(shared, b)]);
    check(
        m.build([a, b], twice),
        "m.call(shared, b)",
        "`kernel` is [3, 2] from its first use",
        "the layer was declared at",
    );
    let wrong = Sequential::new([3]).add(Lambda::new(|x| x.reshape([7]))).build();
    check(wrong, "x.reshape([7])", "reshape:", "this is in layer `lambda` (Lambda)");
    let wrong = Sequential::new([3]).add(Lambda::new(|x| x + x.sum(&[0]).reshape([3, 1, 1]).reshape([9]))).build();
    check(wrong, "reshape([9])", "reshape:", "this is in layer `lambda` (Lambda)");
}

#[test]
fn models_that_do_not_hang_together_are_refused() {
    check(Sequential::new([3]).build(), "Sequential::new([3]).build()", "the model `sequential` has no layers", ".add");
    let twice = Sequential::new([3]).add(Dense::new(2).named("a")).add(Flatten.named("a")).build();
    check(
        twice,
        "Flatten.named",
        "the name `a` is taken",
        "the first of that name was declared at tests/nn/mistakes.rs",
    );

    let m = ModelBuilder::new();
    let (x, unused) = (m.input("x", [3]), m.input("unused", [3])); // the inputs
    let y = m.add(Dense::new(2), x);
    check(m.build([x, unused], y), "// the inputs", "the input `unused` is not used by any output", "leave it out");
    check(m.build(x, []), "m.build(x, [])", "a model without outputs", "wires");
    check(m.build([], y), "m.build([], y)", "the outputs depend on `x`, which is not among", "add it to the inputs");
    check(m.build([x, x], y), "m.build([x, x], y)", "the input `x` is given twice", "once");
    check(m.build(y, y), "m.build(y, y)", "the result of a layer is listed as an input", "made with `input`");
    let other = ModelBuilder::new();
    let z = other.input("z", [3]);
    check(
        m.build(x, z),
        "m.build(x, z)",
        "this wire belongs to another model builder",
        "add the whole model as a layer",
    );
    assert!(m.build(x, y).is_ok(), "a failed build leaves the declaration as it was");
    let foreign = m.call(other.layer(Flatten), x);
    check(m.build(x, foreign), "m.call(other.layer(Flatten), x)", "this layer belongs to another", "model");

    let m = ModelBuilder::new();
    let (a, b) = (m.input("same", [3]), m.input("same", [3])); // two of one name
    check(m.build([a, b], m.add(Merge::Add, [a, b])), "// two of one name", "the name `same` is taken", "its own name");
}

#[test]
fn applying_a_model_checks_what_it_is_applied_to() {
    let net = Sequential::new([4]).add(Dense::new(3)).add(BatchNormalization::new());
    let model = net.add(Dense::new(2).without_bias()).build().unwrap();
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["batch".into(), Dim::Known(4)]);
    let apply = |float, inputs: &[Expr<'_>]| model.apply(&g, Mode::Training, float, inputs).unwrap_err().to_string();
    assert!(apply(DType::F32, &[x]).contains("its input `input_layer` is f32[batch,4], found f64[batch,4]"));
    assert!(apply(DType::F64, &[x, x]).contains("it takes 1 inputs (`input_layer`), found 2"));
    assert!(apply(DType::I32, &[x]).contains("a model cannot compute in i32"));
    let applied = model.apply(&g, Mode::Training, DType::F64, &[x]).unwrap();
    assert_eq!(applied.parameters.len(), 5);
    let states: Vec<(&str, bool)> = applied.states.iter().map(|(name, s)| (name.as_str(), s.next.is_some())).collect();
    assert_eq!(states, [("batch_normalization/moving_mean", true), ("batch_normalization/moving_variance", true)]);
    assert!(apply(DType::F64, &[x]).contains("the graph already has an input `dense/kernel`"));
    // Any batch will do, a fixed one too.
    let g = Builder::new();
    let x = g.input("x", DType::F64, [16, 4]);
    assert!(model.apply(&g, Mode::Inference, DType::F64, &[x]).is_ok());
}

/// A layer of a user's that makes every mistake a layer can make.
#[derive(Debug)]
struct Careless(fn(&mut LayerCx<'_, '_>) -> Result<(), Diagnostic>);

impl Layer for Careless {
    fn kind(&self) -> &str {
        "Careless"
    }

    fn call<'b>(&self, cx: &mut LayerCx<'_, 'b>, inputs: &[Expr<'b>]) -> Result<Expr<'b>, Diagnostic> {
        (self.0)(cx)?;
        cx.only(inputs)
    }
}

#[test]
fn a_layer_of_the_users_is_told_what_it_did_wrong() {
    let check = |f, title: &str| check(chain(Careless(f)), ".add(layer)", title, "");
    check(|cx| cx.parameter("w", ["batch"], &Initializer::Zeros).map(drop), "`w` has the shape [batch], which is not");
    check(
        |cx| (0..2).try_for_each(|_| cx.state("w", [1], &Initializer::Zeros).map(drop)),
        "layer `careless` (Careless): it declares `w` twice",
    );
    check(|cx| cx.update("w", cx.builder().scalar(DType::F32, 0.0)), "there is no state `w` to update");
    check(
        |cx| cx.state("w", [1], &Initializer::Zeros).and_then(|w| cx.update("w", w.sum_all())),
        "the next value of `w` is f32[], not f32[1]",
    );
    check(
        |cx| cx.parameter("w", [1], &Initializer::Zeros).and_then(|w| cx.update("w", w)),
        "`w` is trained; only a state can be updated",
    );
    check(|_| Err(Diagnostic::new(Code::Value, "no place given")), "no place given");
}

/// A layer that may or may not fit what comes before it.
fn any_layer() -> impl Strategy<Value = Declared> {
    prop_oneof![
        (0usize..5).prop_map(|units| Dense::new(units).into()),
        (1usize..5).prop_map(|units| Dense::new(units).without_bias().frozen()),
        (-4i64..4).prop_map(|axis| BatchNormalization::new().axis(axis).into()),
        (0.0..1.1).prop_map(|rate| Dropout::new(rate).into()),
        (-2i64..7, -2i64..4).prop_map(|(a, b)| Reshape::new([a, b]).into()),
        prop_oneof![Just(Activation::Relu), Just(Activation::Softmax), Just(Activation::Gelu)].prop_map(Declared::from),
        Just(Flatten.into()),
        Just(Merge::Add.into()),
        Just(Lambda::new(|x| x.sum(&[1])).into()),
        Just(Lambda::new(|x| x.transpose(&[0, 2, 1])).named("swap")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Whatever is declared, the result is a model whose two graphs run and have the types it promises, or a list of
    /// mistakes that point into this file; never a panic.
    #[test]
    fn any_chain_is_a_model_or_a_report(
        input in prop::collection::vec(0usize..4, 0..3),
        layers in prop::collection::vec(any_layer(), 0..5),
    ) {
        let net = layers.into_iter().fold(Sequential::new(input.clone()), |net, layer| net.add(layer));
        let model = match net.build() {
            Ok(model) => model,
            Err(errors) => {
                prop_assert!(errors.iter().all(|error| error.location().is_some_and(|at| at.file() == file!())), "{errors}");
                return Ok(());
            }
        };
        prop_assert!(model.summary().starts_with("Model: \"sequential\""));
        let mut values = model.initial_values_as(1, DType::F64);
        let batch: Vec<usize> = [2].into_iter().chain(input).collect();
        values.insert("input_layer".to_owned(), Tensor::full(DType::F64, batch, 0.5));
        for mode in [Mode::Training, Mode::Inference] {
            let graph = model.graph(mode, DType::F64).unwrap();
            let feeds = values.iter().filter(|(name, _)| graph.input(name).is_some());
            let feeds = feeds.map(|(name, tensor)| (name.clone(), Array::<f64>::from_tensor(tensor))).collect();
            let outputs = interpret(&graph, &feeds).unwrap().outputs;
            for (name, ty) in model.output_types(DType::F64) {
                let shape = outputs[&name].shape();
                prop_assert!(shape.len() == ty.rank() && ty.shape.iter().zip(shape).all(|(dim, &size)| dim.known().unwrap_or(2) == size));
            }
        }
    }
}
