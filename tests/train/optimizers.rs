//! Optimisers over several steps in f64: against plain loops, and against Keras 3.15.

use foldgrad::autodiff::gradients;
use foldgrad::ir::OrderedMap;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Mode, Model, Sequential, VariableKind, VariableSpec};
use foldgrad::reference::{Array, interpret};
use foldgrad::train::{Adam, AdamW, Clip, Loss, Metric, Optimizer, RmsProp, Sgd};
use foldgrad::{Builder, DType, Graph, Tensor};

const START: [f64; 3] = [1.5, -2.0, 0.3];
const CURVATURE: [f64; 3] = [1.0, 3.0, 0.5];
const CENTRE: [f64; 3] = [0.2, -0.4, 1.0];

fn vector(values: [f64; 3]) -> Tensor {
    Tensor::vector(values.to_vec())
}

/// The step that minimises `Σ c·(w − a)²/2`, its slope `c·(w − a)`, for a parameter of that name.
fn quadratic(optimizer: &Optimizer, name: &str) -> (Graph, OrderedMap<String, Tensor>) {
    let g = Builder::new();
    let w = g.parameter(name, DType::F64, [3]);
    let off = w - g.constant(vector(CENTRE));
    let loss = (off * off * g.constant(vector(CURVATURE)) * 0.5).sum_all();
    let slope = gradients(&[loss], &[w]).unwrap();
    let updates = optimizer.update(&g, &OrderedMap::from([(name.to_owned(), w)]), &slope).unwrap();
    g.output("learning_rate", updates.learning_rate);
    let spec = VariableSpec {
        name: name.to_owned(),
        shape: vec![3],
        kind: VariableKind::Trainable,
        initializer: foldgrad::nn::Initializer::Zeros,
    };
    let mut values = optimizer.initial_state(&[spec], DType::F64);
    values.insert(name.to_owned(), vector(START));
    (g.finish().unwrap(), values)
}

/// Runs the step and puts the updates back; returns the outputs.
fn step(
    graph: &Graph,
    values: &mut OrderedMap<String, Tensor>,
    extra: &OrderedMap<String, Tensor>,
) -> OrderedMap<String, f64> {
    let feeds = values.iter().chain(extra).map(|(name, tensor)| (name.clone(), Array::<f64>::from_tensor(tensor)));
    let result = interpret(graph, &feeds.collect()).unwrap();
    for (name, array) in result.updates {
        let dtype = values[&name].dtype();
        values.insert(name, array.to_tensor(dtype).unwrap());
    }
    let outputs = result.outputs.into_iter();
    outputs.filter_map(|(name, array)| Some((name, array.to_tensor(DType::F64).ok()?.item()?))).collect()
}

fn after_five_steps(optimizer: &Optimizer, name: &str) -> OrderedMap<String, Tensor> {
    let (graph, mut values) = quadratic(optimizer, name);
    for _ in 0..5 {
        step(&graph, &mut values, &OrderedMap::new());
    }
    values
}

#[track_caller]
fn check(optimizer: impl Into<Optimizer>, keras: [f64; 3], plain: fn(&mut [f64; 3], usize, usize, f64)) {
    let optimizer = optimizer.into();
    let found = after_five_steps(&optimizer, "dense/kernel")["dense/kernel"].to_f64();
    // The plain loop moves entry i; its states live in the array behind the entry.
    for (i, found) in found.iter().enumerate() {
        let mut state = [START[i], 0.0, 0.0];
        for t in 0..5 {
            let slope = CURVATURE[i] * (state[0] - CENTRE[i]);
            plain(&mut state, t, i, slope);
        }
        assert!((found - state[0]).abs() <= 1e-14, "{}: {found} is not {} in entry {i}", optimizer.name(), state[0]);
        assert!((found - keras[i]).abs() <= 1e-14, "{}: {found} is not {} in entry {i}", optimizer.name(), keras[i]);
    }
}

#[test]
fn gradient_descent() {
    check(Sgd::new(0.1), [0.9676370000000001, -0.668912, 0.45835334375], |w, _, _, g| w[0] -= 0.1 * g);
    check(Sgd::new(0.1).decay(0.25), [1.0998704000000001, -0.8795904, 0.41549919999999996], |w, t, _, g| {
        w[0] -= 0.1 / (1.0 + 0.25 * t as f64) * g;
    });
    check(Sgd::new(0.1).momentum(0.9), [0.162092, 0.8452480000000004, 0.70799084375], |w, _, _, g| {
        w[1] = 0.9 * w[1] - 0.1 * g;
        w[0] += w[1];
    });
    let keras = [0.06404381092999994, 0.15656358352000005, 0.7788403864540625];
    check(Sgd::new(0.1).momentum(0.9).nesterov(), keras, |w, _, _, g| {
        w[1] = 0.9 * w[1] - 0.1 * g;
        w[0] += 0.9 * w[1] - 0.1 * g;
    });
    let keras = [0.2575698663131428, 0.46832337638400007, 0.687134389768];
    check(Sgd::new(0.1).momentum(0.9).nesterov().decay(0.25), keras, |w, t, _, g| {
        let rate = 0.1 / (1.0 + 0.25 * t as f64);
        w[1] = 0.9 * w[1] - rate * g;
        w[0] += 0.9 * w[1] - rate * g;
    });
}

fn adam(w: &mut [f64; 3], t: usize, g: f64, [rate, beta1, beta2, epsilon]: [f64; 4]) {
    let t = t as i32 + 1;
    w[1] = beta1 * w[1] + (1.0 - beta1) * g;
    w[2] = beta2 * w[2] + (1.0 - beta2) * g * g;
    w[0] -= rate * (1.0 - beta2.powi(t)).sqrt() / (1.0 - beta1.powi(t)) * w[1] / (w[2].sqrt() + epsilon);
}

#[test]
fn adam_and_its_weight_decay() {
    let keras = [1.0053471878975635, -1.503985012810569, 0.7854453355126956];
    check(Adam::new(0.1), keras, |w, t, _, g| adam(w, t, g, [0.1, 0.9, 0.999, 1e-7]));
    let keras = [1.011463981480604, -1.506194609789006, 0.7634912487553387];
    let rule = Adam::new(0.1).beta1(0.5).beta2(0.6).epsilon(1e-2);
    check(rule, keras, |w, t, _, g| adam(w, t, g, [0.1, 0.5, 0.6, 1e-2]));
    let keras = [0.942818232404817, -1.416919023831007, 0.7619880083170142];
    check(AdamW::new(0.1).weight_decay(0.1), keras, |w, t, _, g| {
        w[0] -= 0.1 * 0.1 * w[0];
        adam(w, t, g, [0.1, 0.9, 0.999, 1e-7]);
    });
    // What is excluded does not decay: by a part of the name, or by all of it, but not by a few letters.
    let adam = after_five_steps(&Adam::new(0.1).into(), "dense/bias")["dense/bias"].clone();
    let adamw = |excluded: &str| {
        let rule = AdamW::new(0.1).weight_decay(0.1).exclude([excluded]);
        after_five_steps(&rule.into(), "dense/bias")["dense/bias"].clone()
    };
    assert_eq!([adamw("bias"), adamw("dense/bias")], [adam.clone(), adam.clone()]);
    assert_ne!(adamw("bia"), adam);
}

#[test]
fn rms_prop() {
    check(RmsProp::new(0.1), [0.6262830375996131, -1.0835089657306294, 0.9587600872730108], |w, _, _, g| {
        w[1] = 0.9 * w[1] + (1.0 - 0.9) * g * g;
        w[0] -= 0.1 * g / (w[1] + 1e-7).sqrt();
    });
    let keras = [0.40981937221408055, -0.8559808935561823, 1.0970634733606774];
    check(RmsProp::new(0.1).rho(0.8).momentum(0.5).epsilon(1e-3), keras, |w, _, _, g| {
        w[1] = 0.8 * w[1] + (1.0 - 0.8) * g * g;
        w[2] = 0.5 * w[2] + 0.1 * g / (w[1] + 1e-3).sqrt();
        w[0] -= w[2];
    });
    let found = after_five_steps(&RmsProp::new(0.1).centered().momentum(0.5).into(), "w");
    let keras = [0.11363499188790399, -0.4662086573922559, 1.0999637898919192];
    assert!(found["w"].to_f64().iter().zip(keras).all(|(a, b)| (a - b).abs() <= 1e-14), "{:?}", found["w"]);
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(names[2..5], ["rmsprop/w/velocity", "rmsprop/w/average_gradient", "rmsprop/w/momentum"]);
}

#[test]
fn clipping() {
    let clipped = |clip| Optimizer::from(Sgd::new(0.1)).clip(clip);
    let keras = [1.0099999999999998, -1.4999999999999996, 0.45835334375];
    check(clipped(Clip::Value(1.0)), keras, |w, _, _, g| w[0] -= 0.1 * g.clamp(-1.0, 1.0));
    let keras = [1.358264530664587, -1.5221931157649078, 0.3390384966967836];
    for clip in [Clip::Norm(1.0), Clip::GlobalNorm(1.0)] {
        let found = after_five_steps(&clipped(clip), "w")["w"].to_f64();
        assert!(found.iter().zip(keras).all(|(a, b)| (a - b).abs() <= 1e-14), "{clip:?}: {found:?}");
    }
    // A gradient that is short enough is left as it is.
    let plain = after_five_steps(&Sgd::new(0.1).into(), "w")["w"].clone();
    assert_eq!(after_five_steps(&clipped(Clip::GlobalNorm(1e3)), "w")["w"], plain);
}

#[test]
fn a_norm_over_several_parameters_is_taken_over_all_or_over_each() {
    let after = |clip| {
        let g = Builder::new();
        let parameters: OrderedMap<String, _> =
            ["a", "b"].map(|name| (name.to_owned(), g.parameter(name, DType::F64, [] as [usize; 0]))).into();
        let slopes = [g.scalar(DType::F64, 3.0), g.scalar(DType::F64, 4.0)];
        let optimizer = Optimizer::from(Sgd::new(1.0)).clip(clip);
        let updates = optimizer.update(&g, &parameters, &slopes).unwrap();
        let (a, b) = (updates.gradients["a"], updates.gradients["b"]);
        g.output("a", a);
        g.output("b", b);
        step(
            &g.finish().unwrap(),
            &mut OrderedMap::from([
                ("a".to_owned(), Tensor::scalar(0.0)),
                ("b".to_owned(), Tensor::scalar(0.0)),
                (optimizer.learning_rate_name(), Tensor::scalar(1.0)),
                (optimizer.iterations_name(), Tensor::scalar(0)),
            ]),
            &OrderedMap::new(),
        )
    };
    let all = after(Clip::GlobalNorm(1.0));
    assert!((all["a"] - 0.6).abs() < 1e-15 && (all["b"] - 0.8).abs() < 1e-15, "{all:?}");
    let each = after(Clip::Norm(1.0));
    assert!((each["a"] - 1.0).abs() < 1e-15 && (each["b"] - 1.0).abs() < 1e-15, "{each:?}");
}

#[test]
fn the_learning_rate_is_a_state_and_steps_are_counted() {
    let optimizer = Optimizer::from(Sgd::new(0.1).momentum(0.9).decay(1.0));
    let (graph, mut values) = quadratic(&optimizer, "dense/kernel");
    let names: Vec<&String> = values.keys().collect();
    assert_eq!(names, ["sgd/learning_rate", "sgd/iterations", "sgd/dense/kernel/velocity", "dense/kernel"]);
    let rates: Vec<f64> = (0..3).map(|_| step(&graph, &mut values, &OrderedMap::new())["learning_rate"]).collect();
    assert_eq!(rates, [0.1, 0.1 / 2.0, 0.1 / 3.0]);
    assert_eq!(values["sgd/iterations"], Tensor::scalar(3i32));
    values.insert("sgd/learning_rate".to_owned(), Tensor::scalar(8.0));
    assert_eq!(step(&graph, &mut values, &OrderedMap::new())["learning_rate"], 2.0);
    assert_eq!(values["sgd/learning_rate"], Tensor::scalar(8.0));
}

/// `sin(1.7·i + phase)/2`, as in the Keras script that gave the expected numbers.
fn wave(shape: &[usize], phase: f64) -> Tensor {
    let len: usize = shape.iter().product();
    Tensor::from_f64(DType::F64, shape, (0..len).map(|i| 0.5 * (1.7 * i as f64 + phase).sin())).unwrap()
}

fn classifier() -> Model {
    Sequential::new([4])
        .add(Dense::new(3).without_bias())
        .add(BatchNormalization::new())
        .add(Activation::Relu)
        .add(Dense::new(2).activation(Activation::Softmax))
        .build()
        .unwrap()
}

/// Three whole steps in one graph: forward, loss, backward, running statistics, optimiser, metric.
fn train(optimizer: &Optimizer) -> (Vec<f64>, OrderedMap<String, Tensor>) {
    let model = classifier();
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["batch".into(), foldgrad::ir::Dim::Known(4)]);
    let labels = g.input("labels", DType::I32, ["batch"]);
    let applied = model.apply(&g, Mode::Training, DType::F64, &[x]).unwrap();
    let loss = Loss::SparseCategoricalCrossentropy.build(applied.outputs[0], labels).unwrap().mean_all();
    g.output("loss", loss);
    g.output("correct", Metric::Accuracy.build(applied.outputs[0], labels).unwrap());
    let parameters: Vec<_> = applied.parameters.values().copied().collect();
    let slopes = gradients(&[loss], &parameters).unwrap();
    optimizer.update(&g, &applied.parameters, &slopes).unwrap();
    applied.carry_states();
    let graph = g.finish().unwrap();

    let mut values = optimizer.initial_state(model.variables(), DType::F64);
    values.extend(model.initial_values_as(0, DType::F64));
    let plus_one = |t: Tensor| Tensor::vector(t.to_f64().iter().map(|v| 1.0 + v).collect::<Vec<f64>>());
    for (name, value) in [
        ("dense/kernel", wave(&[4, 3], 1.0)),
        ("batch_normalization/gamma", plus_one(wave(&[3], 2.0))),
        ("batch_normalization/beta", wave(&[3], 3.0)),
        ("dense_1/kernel", wave(&[3, 2], 4.0)),
        ("dense_1/bias", wave(&[2], 5.0)),
    ] {
        values.insert(name.to_owned(), value);
    }
    let x = Tensor::from_f64(DType::F64, [6, 4], wave(&[24], 0.3).to_f64().iter().map(|v| 2.0 * v)).unwrap();
    let batch = OrderedMap::from([("x".to_owned(), x), ("labels".to_owned(), Tensor::vector(vec![0, 1, 1, 0, 1, 0]))]);
    let outputs: Vec<_> = (0..3).map(|_| step(&graph, &mut values, &batch)).collect();
    assert!(outputs.iter().all(|outputs| outputs["correct"] == 3.0));
    (outputs.iter().map(|outputs| outputs["loss"]).collect(), values)
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-14),
        "{found:?}\nis not\n{expected:?}"
    );
}

#[test]
#[rustfmt::skip]
fn three_steps_of_a_classifier_end_where_keras_ends() {
    let (losses, values) = train(&Sgd::new(0.1).momentum(0.9).nesterov().decay(0.25).into());
    let value = |name: &str| values[name].to_f64();
    assert_close(&losses, &[0.7832671987252142, 0.7590573678278677, 0.7338875507234617]);
    assert_close(&value("dense/kernel"), &[
        0.4228355847422934, 0.20286961340555013, -0.4667629986973382, -0.09666171725888019, 0.4986414615072035,
        -0.051819648997140325, -0.4902509325006336, 0.17471994476180974, 0.4420280926504047, -0.2732750629065906,
        -0.37769353955268725, 0.3914139403929393,
    ]);
    assert_close(&value("batch_normalization/gamma"), &[1.4577641663833842, 0.7552523703811926, 0.5571325619042773]);
    assert_close(&value("batch_normalization/beta"), &[0.06378380849325152, -0.4902269945893069, 0.03621281946868555]);
    assert_close(&value("batch_normalization/moving_mean"), &[0.0154548828694653, -0.003376748521321064, -0.014400477945795019]);
    assert_close(&value("batch_normalization/moving_variance"), &[0.9731833381766372, 0.979676423912277, 0.9756636344825284]);
    assert_close(&value("dense_1/kernel"), &[
        -0.41291397998156254, -0.24083003897122035, 0.48256286817925725, 0.12634036090123224, -0.407573960112282,
        -0.11605510359656412,
    ]);
    assert_close(&value("dense_1/bias"), &[-0.3533339123708117, 0.07629673534754156]);

    let (losses, values) = train(&Adam::new(0.05).into());
    assert_close(&losses, &[0.7832671987252142, 0.7374922960306596, 0.6898545573269651]);
    assert_close(&values["dense_1/bias"].to_f64(), &[-0.33057994761160764, 0.053542770588337556]);
    assert_close(&values["batch_normalization/gamma"].to_f64(), &[1.5932188102776572, 0.8852107129015566, 0.46994905270641324]);
    assert_close(&values["dense/kernel"].to_f64()[..3], &[0.41191320026867384, 0.06376246785976639, -0.3275501063556256]);
}

#[test]
fn options_out_of_range_point_at_the_rule() {
    let check = |optimizer: Optimizer, texts: [&str; 2]| {
        let error = optimizer.check().unwrap_err();
        assert_eq!(error.location().map(|place| place.file()), Some(file!()), "{error}");
        assert!(texts.iter().all(|text| error.to_string().contains(text)), "{error}\nlacks one of {texts:?}");
    };
    check(Sgd::new(-0.1).into(), ["optimiser `sgd`: the learning rate is -0.1", "not negative"]);
    check(Sgd::new(f64::NAN).into(), ["the learning rate is NaN", "Sgd::new(f64::NAN)"]);
    check(Sgd::new(0.1).momentum(1.0).into(), ["the momentum is 1", "not including, 1"]);
    check(Sgd::new(0.1).nesterov().into(), ["Nesterov's form without momentum", "`.momentum(0.9)`"]);
    check(Sgd::new(0.1).decay(-1.0).into(), ["the decay is -1", "not negative"]);
    check(Adam::new(0.1).beta2(1.0).into(), ["optimiser `adam`: the beta2 is 1", "share"]);
    check(Adam::new(0.1).epsilon(0.0).into(), ["the epsilon is 0", "positive"]);
    check(AdamW::new(0.1).weight_decay(-0.5).into(), ["optimiser `adamw`: the weight decay is -0.5", "not negative"]);
    check(AdamW::new(0.1).beta1(2.0).into(), ["optimiser `adamw`: the beta1 is 2", "share"]);
    check(RmsProp::new(0.1).rho(-0.1).into(), ["optimiser `rmsprop`: the rho is -0.1", "share"]);
    let clip = Optimizer::from(Sgd::new(0.1)).clip(Clip::Norm(0.0)).check().unwrap_err();
    assert!(clip.to_string().contains("gradients cannot be clipped at 0"), "{clip}");
}

#[test]
fn gradients_must_go_with_their_parameters() {
    let g = Builder::new();
    let w = g.parameter("w", DType::F32, [3]);
    let parameters = OrderedMap::from([("w".to_owned(), w)]);
    let optimizer = Optimizer::from(Sgd::new(0.1));
    let error = optimizer.update(&g, &parameters, &[]).unwrap_err().to_string();
    assert!(error.contains("1 parameters, but 0 gradients") && error.contains(file!()), "{error}");
    let error = optimizer.update(&g, &parameters, &[w.sum_all()]).unwrap_err().to_string();
    assert!(error.contains("`w` is f32[3], but its gradient is f32[]"), "{error}");
}
