//! Layers and models: names, values (compared with Keras 3.15 in f64), state.

use foldgrad::autodiff;
use foldgrad::ir::{Dim, OrderedMap};
use foldgrad::nn::{
    Activation, BatchNormalization, Concatenate, Dense, Dropout, Flatten, Input, Lambda, Merge, Mode, Model,
    ModelBuilder, Reshape, Sequential, VariableKind,
};
use foldgrad::reference::{Array, Interpreted, interpret};
use foldgrad::{Builder, DType, Graph, Tensor};

/// Runs a graph in f64 over these values; those that it does not have are left out.
fn run(graph: &Graph, values: &[&OrderedMap<String, Tensor>]) -> Interpreted<f64> {
    let feeds = values.iter().flat_map(|values| values.iter()).filter(|(name, _)| graph.input(name).is_some());
    interpret(graph, &feeds.map(|(name, tensor)| (name.clone(), Array::from_tensor(tensor))).collect()).unwrap()
}

fn named<'a>(values: impl IntoIterator<Item = (&'a str, Tensor)>) -> OrderedMap<String, Tensor> {
    values.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
}

/// `sin(1.7·i + phase)/2`, as in the Keras script that gave the expected numbers.
fn wave(shape: &[usize], phase: f64) -> Tensor {
    let len: usize = shape.iter().product();
    Tensor::from_f64(DType::F64, shape, (0..len).map(|i| 0.5 * (1.7 * i as f64 + phase).sin())).unwrap()
}

#[track_caller]
fn assert_close(found: &Array<f64>, expected: &[f64], tolerance: f64) {
    let found = &found.real().data;
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{found:?}\nis not\n{expected:?}");
    }
}

fn names(model: &Model) -> Vec<&str> {
    model.variables().iter().map(|variable| variable.name.as_str()).collect()
}

fn small_net() -> Sequential {
    Sequential::new([4])
        .add(Dense::new(3).without_bias())
        .add(BatchNormalization::new())
        .add(Activation::Relu)
        .add(Dense::new(2).activation(Activation::Softmax))
}

fn small_net_values() -> OrderedMap<String, Tensor> {
    let one_plus = |t: Tensor| Tensor::from_f64(DType::F64, [3], t.to_f64().iter().map(|v| 1.0 + v)).unwrap();
    named([
        ("dense/kernel", wave(&[4, 3], 1.0)),
        ("batch_normalization/gamma", one_plus(wave(&[3], 2.0))),
        ("batch_normalization/beta", wave(&[3], 3.0)),
        ("batch_normalization/moving_mean", Tensor::zeros(DType::F64, [3])),
        ("batch_normalization/moving_variance", Tensor::full(DType::F64, [3], 1.0)),
        ("dense_1/kernel", wave(&[3, 2], 4.0)),
        ("dense_1/bias", wave(&[2], 5.0)),
    ])
}

fn small_net_input() -> OrderedMap<String, Tensor> {
    let x = wave(&[6, 4], 0.3).to_f64().into_iter().map(|v| 2.0 * v);
    named([("input_layer", Tensor::from_f64(DType::F64, [6, 4], x).unwrap())])
}

#[test]
fn variables_are_named_and_counted_as_in_keras() {
    let model = small_net().add(Dropout::new(0.5)).add(BatchNormalization::new().without_scale()).build().unwrap();
    assert_eq!(
        names(&model),
        [
            "dense/kernel",
            "batch_normalization/gamma",
            "batch_normalization/beta",
            "batch_normalization/moving_mean",
            "batch_normalization/moving_variance",
            "dense_1/kernel",
            "dense_1/bias",
            "seed_generator/state",
            "batch_normalization_1/beta",
            "batch_normalization_1/moving_mean",
            "batch_normalization_1/moving_variance",
        ]
    );
    let kinds: Vec<VariableKind> = model.variables().iter().map(|variable| variable.kind).collect();
    assert_eq!(kinds[2..4], [VariableKind::Trainable, VariableKind::NonTrainable]);
    assert_eq!(kinds[7], VariableKind::Seed);
    assert_eq!(model.variables()[0].ty(DType::F64).to_string(), "f64[4,3]");
}

#[test]
fn a_chosen_name_is_kept_and_not_counted() {
    let net = Sequential::new([4]).add(Dense::new(3).named("dense_1")).add(Dense::new(3)).add(Dense::new(3));
    let model = net.add(Dense::new(3).named("head")).build().unwrap();
    let kernels: Vec<&str> = names(&model).into_iter().filter(|name| name.ends_with("kernel")).collect();
    assert_eq!(kernels, ["dense_1/kernel", "dense/kernel", "dense_2/kernel", "head/kernel"]);
    assert_eq!(model.output_types(DType::F32).keys().collect::<Vec<_>>(), ["head"]);
}

#[test]
fn values_and_running_statistics_are_those_of_keras() {
    let model = small_net().build().unwrap();
    let (values, input) = (small_net_values(), small_net_input());
    let inference = run(&model.graph(Mode::Inference, DType::F64).unwrap(), &[&values, &input]);
    #[rustfmt::skip]
    let expected = [
        0.31907509520688776, 0.6809249047931122, 0.30860619290509705, 0.691393807094903,
        0.3066042822118541, 0.6933957177881459, 0.311675126336347, 0.688324873663653,
        0.3226510211965807, 0.6773489788034194, 0.31225025972945425, 0.6877497402705458,
    ];
    assert_close(&inference.outputs["dense_1"], &expected, 1e-14);
    assert!(inference.updates.is_empty());

    let training = run(&model.graph(Mode::Training, DType::F64).unwrap(), &[&values, &input]);
    #[rustfmt::skip]
    let expected = [
        0.37298484610039123, 0.6270151538996087, 0.3201355213000919, 0.6798644786999082,
        0.3004260593606367, 0.6995739406393633, 0.31645680269174975, 0.6835431973082502,
        0.28548355463397296, 0.7145164453660271, 0.22683728457636407, 0.7731627154236359,
    ];
    assert_close(&training.outputs["dense_1"], &expected, 1e-14);

    // 0.99·old + 0.01·batch, the variance biased.
    let (x, w) = (input["input_layer"].to_f64(), values["dense/kernel"].to_f64());
    let product = |row: usize, unit: usize| (0..4).map(|k| x[row * 4 + k] * w[k * 3 + unit]).sum::<f64>();
    let mean: Vec<f64> = (0..3).map(|unit| (0..6).map(|row| product(row, unit)).sum::<f64>() / 6.0).collect();
    let deviation = |row, unit: usize| (product(row, unit) - mean[unit]).powi(2);
    let var = (0..3).map(|unit| (0..6).map(|row| deviation(row, unit)).sum::<f64>() / 6.0);
    let (mean_name, var_name) = ("batch_normalization/moving_mean", "batch_normalization/moving_variance");
    assert_eq!(training.updates.keys().collect::<Vec<_>>(), [mean_name, var_name]);
    assert_close(&training.updates[var_name], &var.map(|v| 0.99 + 0.01 * v).collect::<Vec<_>>(), 1e-15);
    assert_close(&training.updates[mean_name], &mean.iter().map(|m| 0.01 * m).collect::<Vec<_>>(), 1e-15);
}

#[test]
fn activations_are_those_of_keras() {
    let x = [-2.0, -0.5, 0.0, 0.7, 3.0, 7.5];
    // Keras computes a few of them in f32.
    #[rustfmt::skip]
    let expected: [(&str, [f64; 6]); 16] = [
        ("linear", x),
        ("relu", [0.0, 0.0, 0.0, 0.7, 3.0, 7.5]),
        ("relu6", [0.0, 0.0, 0.0, 0.7, 3.0, 6.0]),
        ("leaky_relu", [-0.4, -0.1, 0.0, 0.7, 3.0, 7.5]),
        ("elu", [-0.8646647167633873, -0.3934693402873665, 0.0, 0.7, 3.0, 7.5]),
        ("selu", [-1.520166468595695, -0.6917581878028712, 0.0, 0.7354906911488363, 3.1521029620664414, 7.880257405166104]),
        ("gelu", [-0.04550026389635841, -0.15426876936299344, 0.0, 0.5306254434438489, 2.99595030590511, 7.499999999999761]),
        ("gelu_tanh", [-0.04540230591222494, -0.15428599017485609, 0.0, 0.5305701347051167, 2.996362607918227, 7.5]),
        ("swish", [-0.2384058440442351, -0.1887703343990727, 0.0, 0.46773144051771626, 2.8577223804673, 7.495854160223073]),
        ("softplus", [0.1269280110429725, 0.4740769841801067, std::f64::consts::LN_2, 1.103186048885458, 3.048587351573742, 7.500552931475361]),
        ("softsign", [-0.6666666666666666, -0.3333333333333333, 0.0, 0.4117647058823529, 0.75, 0.8823529411764706]),
        ("tanh", [-0.9640275835990906, -0.46211716532707214, 0.0, 0.6043677926063538, 0.9950547218322754, 0.9999994039535522]),
        ("sigmoid", [0.11920292202211755, 0.3775406687981454, 0.5, 0.6681877721681662, 0.9525741268224334, 0.9994472213630764]),
        ("hard_sigmoid", [0.16666666666666666, 0.41666666666666663, 0.5, 0.6166666666666667, 1.0, 1.0]),
        ("softmax", [7.387766638161436e-05, 0.00033109672996456293, 0.0005458862213518315, 0.0010992798562180785, 0.010964417854821608, 0.9869854416712622]),
        ("log_softmax", [-9.513099989737213, -8.013099989737213, -7.5130999897372135, -6.813099989737213, -4.5130999897372135, -0.013099989737213838]),
    ];
    for (name, expected) in expected {
        let activation = Activation::from_name(name).unwrap();
        let graph = Sequential::new([6]).add(activation).build().unwrap().graph(Mode::Inference, DType::F64).unwrap();
        let input = named([("input_layer", Tensor::new([1, 6], x.to_vec()).unwrap())]);
        assert_close(&run(&graph, &[&input]).outputs["activation"], &expected, 1e-6);
    }
    let unknown = Activation::from_name("rectifier").unwrap_err();
    assert!(
        unknown.to_string().contains("tests/nn/layers.rs") && unknown.to_string().contains("use one of linear, relu")
    );
}

#[test]
fn a_shared_layer_has_one_set_of_parameters_whose_gradients_add() {
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [2]), m.input("b", [2]));
    let shared = m.layer(Dense::new(3));
    let model = m.build([a, b], m.add(Merge::Multiply, [m.call(shared, a), m.call(shared, b)])).unwrap();
    assert_eq!(names(&model), ["dense/kernel", "dense/bias"]);

    let graph = {
        let g = Builder::new();
        let inputs = ["a", "b"].map(|name| g.input(name, DType::F64, ["batch".into(), Dim::Known(2)]));
        let applied = model.apply(&g, Mode::Training, DType::F64, &inputs).unwrap();
        g.output("loss", applied.outputs[0].sum_all());
        g.finish().unwrap()
    };
    let feeds = [
        ("a", wave(&[3, 2], 1.0)),
        ("b", wave(&[3, 2], 2.0)),
        ("dense/kernel", wave(&[2, 3], 3.0)),
        ("dense/bias", wave(&[3], 4.0)),
    ];
    let report = autodiff::check_gradients(&graph, "loss", feeds, &autodiff::GradientCheck::default()).unwrap();
    assert_eq!(report.entries, 6 + 6 + 6 + 3);
}

#[test]
fn a_shared_batch_normalization_moves_its_statistics_once_a_call() {
    let m = ModelBuilder::new();
    let (a, b) = (m.input("a", [1]), m.input("b", [1]));
    let norm = m.layer(BatchNormalization::new().momentum(0.5));
    let model = m.build([a, b], [m.call(norm, a), m.call(norm, b)]).unwrap();
    let graph = model.graph(Mode::Training, DType::F64).unwrap();
    let column = |values: [f64; 2]| Tensor::new([2, 1], values.to_vec()).unwrap();
    let values = model.initial_values_as(0, DType::F64);
    let result = run(&graph, &[&values, &named([("a", column([2.0, 4.0])), ("b", column([8.0, 8.0]))])]);
    // Mean 3 then 8, variance 1 then 0, each with share 1/2.
    assert_close(&result.updates["batch_normalization/moving_mean"], &[0.5 * (0.5 * 3.0) + 0.5 * 8.0], 1e-15);
    assert_close(&result.updates["batch_normalization/moving_variance"], &[0.5 * (0.5 * 1.0 + 0.5 * 1.0)], 1e-15);
    let outputs: Vec<&String> = result.outputs.keys().collect();
    assert_eq!(outputs, ["batch_normalization", "batch_normalization_1"]);
}

#[test]
fn frozen_layers_train_nothing_and_normalise_with_running_statistics() {
    let net = Sequential::new([4]).add(Dense::new(3).frozen()).add(BatchNormalization::new().frozen());
    let model = net.add(Dense::new(1)).build().unwrap();
    let trained: Vec<&str> = model.variables().iter().filter(|v| v.is_trainable()).map(|v| v.name.as_str()).collect();
    assert_eq!(trained, ["dense_1/kernel", "dense_1/bias"]);
    let (training, inference) =
        (model.graph(Mode::Training, DType::F64).unwrap(), model.graph(Mode::Inference, DType::F64).unwrap());
    assert_eq!(training.updates().len(), 0);
    let (values, input) = (model.initial_values_as(3, DType::F64), small_net_input());
    let outputs = [training, inference].map(|graph| run(&graph, &[&values, &input]).outputs["dense_1"].clone());
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn a_model_is_a_layer_with_its_variables_under_its_name() {
    let base = small_net().named("base").build().unwrap();
    let net = Sequential::new([4]).add(base.clone()).add(base.clone().frozen()).add(Dense::new(1));
    let error = net.build().unwrap_err();
    assert!(error.first().title().contains("its input `input_layer` is f32[batch,4], found f32[batch,2]"), "{error}");

    let model = Sequential::new([4]).add(base.clone().frozen()).add(Dense::new(1)).build().unwrap();
    assert_eq!(names(&model)[..2], ["base/dense/kernel", "base/batch_normalization/gamma"]);
    assert_eq!(model.variables().iter().filter(|variable| variable.is_trainable()).count(), 2);
    assert_eq!(model.graph(Mode::Training, DType::F32).unwrap().updates().len(), 0);
    // Scopes carry the path, for dumps and reports.
    let graph = model.graph(Mode::Inference, DType::F32).unwrap();
    assert!(graph.ids().any(|id| graph.scope(id) == Some("base/batch_normalization")));
}

#[test]
fn dropout_draws_anew_each_step_and_each_layer() {
    let model = Sequential::new([500]).add(Dropout::new(0.25)).add(Dropout::new(0.5)).build().unwrap();
    let (training, inference) =
        (model.graph(Mode::Training, DType::F64).unwrap(), model.graph(Mode::Inference, DType::F64).unwrap());
    let input = named([("input_layer", Tensor::full(DType::F64, [4, 500], 1.0))]);
    let first = model.initial_values(7);
    let key = first["seed_generator/state"].as_slice::<i32>().unwrap().to_vec();
    assert_eq!((key.len(), key[1]), (2, 0));

    let step = |values: &OrderedMap<String, Tensor>| {
        let result = run(&training, &[values, &input]);
        let next = result.updates["seed_generator/state"].int().data.clone();
        (result.outputs["dropout_1"].real().data.clone(), next)
    };
    let (once, next) = step(&first);
    assert_eq!(next, [key[0], 1]);
    let kept = once.iter().filter(|&&v| v != 0.0).count() as f64 / once.len() as f64;
    assert!((kept - 0.375).abs() < 0.04, "{kept}");
    assert!(once.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.375).abs() < 1e-12));
    assert_eq!(step(&first).0, once);
    assert_ne!(step(&named([("seed_generator/state", Tensor::vector(next))])).0, once);
    assert_ne!(step(&model.initial_values(8)).0, once);
    assert_close(&run(&inference, &[&input]).outputs["dropout_1"], &[1.0; 2000], 0.0);
    assert!(inference.input("seed_generator/state").is_none());
}

#[test]
fn several_inputs_and_outputs_integers_and_other_axes() {
    let m = ModelBuilder::new();
    let tokens = m.input("tokens", Input::new([3]).dtype(DType::I32));
    let image = m.input("image", [2, 3]);
    let one_hot = m.add(Lambda::new(|index| index.one_hot(5, DType::F32)).named("one_hot"), tokens);
    let rows = m.add(Dense::new(4), one_hot);
    let first = m.add(BatchNormalization::new().axis(1), image);
    let tall = m.add(Reshape::new([-1, 2]), first);
    let flat = m.add(Flatten::new(), rows);
    let all = m.add(Concatenate::new(), [flat, m.add(Flatten::new(), tall)]);
    let model = m.build([tokens, image], [all, tall]).unwrap();
    assert_eq!(
        model.output_types(DType::F32).iter().map(|(name, ty)| format!("{name}: {ty}")).collect::<Vec<_>>(),
        ["concatenate: f32[batch,18]", "reshape: f32[batch,3,2]"]
    );
    assert_eq!(model.input_types(DType::F32)["tokens"].to_string(), "i32[batch,3]");
    let shape = |name: &str| model.variables().iter().find(|v| v.name == name).map(|v| v.shape.clone()).unwrap();
    assert_eq!((shape("dense/kernel"), shape("batch_normalization/gamma")), (vec![5, 4], vec![2]));
}

#[test]
fn merges_combine_element_by_element() {
    let expected = [
        (Merge::Add, [4.0, -5.0]),
        (Merge::Subtract, [-2.0, -1.0]),
        (Merge::Multiply, [3.0, 6.0]),
        (Merge::Average, [2.0, -2.5]),
        (Merge::Maximum, [3.0, -2.0]),
        (Merge::Minimum, [1.0, -3.0]),
    ];
    for (merge, expected) in expected {
        let m = ModelBuilder::new();
        let (a, b) = (m.input("a", [2]), m.input("b", [2]));
        let model = m.build([a, b], m.add(merge.named("merged"), [a, b])).unwrap();
        let row = |values: [f64; 2]| Tensor::new([1, 2], values.to_vec()).unwrap();
        let graph = model.graph(Mode::Inference, DType::F64).unwrap();
        let result = run(&graph, &[&named([("a", row([1.0, -3.0])), ("b", row([3.0, -2.0]))])]);
        assert_close(&result.outputs["merged"], &expected, 0.0);
    }
}
