//! Nothing bad is ever committed: a run whose guarded output, gradient, statistic, slot or parameter is NaN or infinite
//! stops before any state changes, and says what made it so.

use foldgrad::exec::{Executable, Options, RunError};
use foldgrad::ir::{Bindings, Shape, Symbol};
use foldgrad::nn::{Activation, BatchNormalization, Dense, Lambda, Layer, Model, Sequential};
use foldgrad::plan::{Costs, Rate};
use foldgrad::train::{
    Adam, AdamW, Clip, Examples, Fit, Loss, Optimizer, Order, RmsProp, Samples, Sgd, StepCx, Stepped, TrainError,
    Trained, Trainer, UpdateRule,
};
use foldgrad::{Builder, DType, Expr, Tensor};

const THREADS: [usize; 4] = [1, 2, 3, 8];

fn options(threads: usize, holds_state: bool) -> Options {
    let costs = Costs::default().with(Rate::Barrier, 0.0).and_then(|costs| costs.with(Rate::Call, 0.0)).unwrap();
    Options::default().threads(threads).holds_state(holds_state).costs(costs)
}

fn bits(states: &[Tensor]) -> Vec<Vec<u64>> {
    states.iter().map(|state| state.to_f64().into_iter().map(f64::to_bits).collect()).collect()
}

/// A way of making a next value of the guarded loss, or of what depends on it.
type Move = for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>;

#[test]
fn what_a_guard_reads_is_computed_before_state_is_overwritten() {
    let losses: [for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>; 4] = [
        |x, _| (x * x).mean_all(),
        |x, _| (x * x).mean_all() * 0.5,
        |x, _| (x * x).mean_all().sqrt() + 1.0,
        // The loss reads a next value.
        |x, next| (x * next.mean_all()).sum_all(),
    ];
    let moves: [Move; 4] = [
        |state, loss| state * 0.9 + loss.broadcast_to(state.shape()) * 0.1,
        |state, loss| loss.broadcast_to(state.shape()) - state,
        |state, loss| (state + loss.broadcast_to(state.shape())).tanh(),
        |state, _| state + 1.0,
    ];
    let mut tried = 0;
    for loss in losses {
        for by in moves {
            for (threads, held) in THREADS.into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
                let g = Builder::new();
                let x = g.input("x", DType::F32, ["n"]);
                let (w, ema) = (g.parameter("w", DType::F32, [200]), g.state("ema", DType::F32, Shape::scalar()));
                let next = w * 0.5 + 1.0;
                let loss = loss(x, next);
                g.output("loss", loss);
                g.update(ema, by(ema, loss));
                g.update(w, by(next, loss));
                let n = Bindings::from([(Symbol::new("n"), 4)]);
                let mut run = Executable::with(g.finish().unwrap(), &n, &options(threads, held)).unwrap();
                run.plan().verify().unwrap();
                run.guard("loss").unwrap();
                let ports = run.plan().states();
                let mut states: Vec<Tensor> =
                    ports.iter().map(|port| Tensor::full(port.dtype, port.shape.clone(), 0.25)).collect();
                let good = Tensor::vector(vec![1.0f32, 2.0, -1.0, 0.5]);
                run.run(&[&good], &mut states).unwrap();
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let before = bits(&states);
                    let stopped = run.run(&[&Tensor::vector(vec![1.0, bad, 1.0, 1.0])], &mut states).unwrap_err();
                    assert!(matches!(&stopped, RunError::NotFinite { output, .. } if output == "loss"), "{stopped}");
                    assert!(stopped.to_string().contains("element 1 of `x`"), "{stopped}");
                    assert_eq!(bits(&states), before);
                    tried += 1;
                }
                run.run(&[&good], &mut states).unwrap();
            }
        }
    }
    assert_eq!(tried, 4 * 4 * 8 * 3);
}

/// `y = 2x` of `n` elements, guarded, beside a counter.
fn doubled(n: usize, dtype: DType) -> Executable {
    let g = Builder::new();
    let x = g.input("x", dtype, ["n"]);
    let count = g.state("count", DType::F32, [1]);
    g.update(count, count + 1.0);
    g.output("y", x + x);
    g.output("whole", x.cast(DType::I32));
    Executable::new(g.finish().unwrap(), &Bindings::from([(Symbol::new("n"), n)])).unwrap()
}

#[test]
fn a_guard_looks_at_every_element() {
    for len in [1usize, 2, 63, 64, 65, 1000] {
        for at in [0, len / 2, len - 1] {
            for dtype in [DType::F32, DType::F64] {
                let mut run = doubled(len, dtype);
                run.guard("y").unwrap();
                run.guard("whole").unwrap();
                let mut states = [Tensor::vector(vec![0.0f32])];
                let with = |bad: f64| {
                    let values = (0..len).map(|i| if i == at { bad } else { 0.5 });
                    Tensor::from_f64(dtype, [len], values).unwrap()
                };
                for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    assert!(run.run(&[&with(bad)], &mut states).is_err(), "{bad} at {at} of {len}");
                    assert_eq!(states[0].to_f64(), [0.0]);
                }
                run.run(&[&with(1.0)], &mut states).unwrap();
                assert_eq!(states[0].to_f64(), [1.0]);
            }
        }
    }
}

#[test]
fn a_guard_over_nothing_is_never_in_the_way() {
    let mut run = doubled(0, DType::F32);
    run.guard("y").unwrap();
    let mut states = [Tensor::vector(vec![0.0f32])];
    run.run(&[&Tensor::zeros(DType::F32, [0])], &mut states).unwrap();
    assert_eq!(states[0].to_f64(), [1.0]);
}

#[test]
fn an_output_that_is_not_there_cannot_be_guarded() {
    let error = doubled(1, DType::F32).guard("yy").unwrap_err();
    assert_eq!(error.to_string(), "the graph has no output `yy` to guard; it has y, whole");
}

/// Every optimiser, plain and clipped.
fn optimizers() -> Vec<(&'static str, Optimizer)> {
    let plain: Vec<(&str, Optimizer)> = vec![
        ("sgd", Sgd::new(0.1).into()),
        ("momentum", Sgd::new(0.1).momentum(0.9).into()),
        ("nesterov", Sgd::new(0.1).momentum(0.9).nesterov().decay(1e-3).into()),
        ("adam", Adam::new(0.01).into()),
        ("adamw", AdamW::new(0.01).into()),
        ("rms_prop", RmsProp::new(0.01).into()),
        ("rms_prop centred", RmsProp::new(0.01).centered().momentum(0.9).into()),
        ("sign", SignSgd.into()),
    ];
    let clips = [None, Some(Clip::Value(0.5)), Some(Clip::Norm(1.0)), Some(Clip::GlobalNorm(1.0))];
    let clipped = |(name, optimizer): (&'static str, Optimizer)| {
        clips.map(|clip| (name, clip.map_or(optimizer.clone(), |clip| optimizer.clone().clip(clip))))
    };
    plain.into_iter().flat_map(clipped).collect()
}

/// A rule that hides the size of a gradient.
#[derive(Debug)]
struct SignSgd;

impl UpdateRule for SignSgd {
    fn name(&self) -> &str {
        "sign_sgd"
    }

    fn learning_rate(&self) -> f64 {
        1e-3
    }

    fn step<'b>(&self, cx: &StepCx<'b>, trained: &Trained<'_, 'b>) -> Stepped<'b> {
        Stepped::without_slots(trained.value - trained.gradient.sign() * cx.learning_rate)
    }
}

/// `n` examples of 70 features; the features of one may be something else.
fn examples(n: usize, float: DType, of_the_sixth: Option<f64>) -> Examples {
    let feature = |i: usize| match of_the_sixth {
        Some(value) if i / 70 == 5 => value,
        _ => ((i * 37 % 101) as f64) / 101.0 - 0.5,
    };
    let x = Tensor::from_f64(float, [n, 70], (0..n * 70).map(feature)).unwrap();
    let labels = Tensor::vector((0..n).map(|i| (i * 7 % 3) as i32).collect::<Vec<_>>());
    Examples::new(Samples::new(x).unwrap(), Samples::new(labels).unwrap()).unwrap()
}

fn trainer(model: Model, optimizer: Optimizer, float: DType, threads: usize) -> Trainer {
    Trainer::new(model, optimizer, Loss::SparseCategoricalCrossentropy).float(float).threads(threads).compile().unwrap()
}

fn all_bits(trainer: &Trainer) -> Vec<(String, Vec<u64>)> {
    let bits = |tensor: &Tensor| tensor.to_f64().into_iter().map(f64::to_bits).collect();
    trainer.values().map(|(name, tensor)| (name.to_owned(), bits(tensor))).collect()
}

/// Each row with its length added, whose slope is infinite at a row of zeros although its value is not.
fn lengthened() -> impl Layer + 'static {
    Lambda::new(|x| x + (x * x).sum(&[1]).sqrt().unreduce(&[1], x))
}

fn stopped_with_the_weights_as_before(what: &str, trainer: &mut Trainer, bad: &Examples) {
    let fit = Fit::new().batch_size(16).order(Order::AsGiven).silent();
    let before = all_bits(trainer);
    let error = trainer.fit(bad, &fit).expect_err(what);
    let expected = matches!(error, TrainError::NotFinite { .. } | TrainError::NotFiniteExample { .. });
    assert!(expected, "{what}: {error}");
    assert_eq!(all_bits(trainer), before, "{what}: {error}");
}

#[test]
fn a_gradient_that_is_not_finite_is_never_committed() {
    for (name, optimizer) in optimizers() {
        for (float, threads) in [(DType::F32, 1), (DType::F32, 3), (DType::F64, 2)] {
            let net = Sequential::new([70])
                .add(Dense::new(70).without_bias())
                .add(lengthened())
                .add(Dense::new(3).activation(Activation::Softmax));
            let mut trainer = trainer(net.build().unwrap(), optimizer.clone(), float, threads);
            let fit = Fit::new().batch_size(16).order(Order::AsGiven).silent();
            trainer.fit(&examples(32, float, None), &fit).unwrap();
            let what = format!("{name} {:?} {float}", optimizer);
            stopped_with_the_weights_as_before(&what, &mut trainer, &examples(32, float, Some(0.0)));
        }
    }
}

#[test]
fn a_statistic_that_overflows_is_never_committed() {
    for (float, huge) in [(DType::F32, 1e20), (DType::F32, 1e30), (DType::F64, 1e200)] {
        let net = Sequential::new([70])
            .add(BatchNormalization::new())
            .add(Dense::new(64).without_bias())
            .add(BatchNormalization::new())
            .add(Activation::Relu)
            .add(Dense::new(3).activation(Activation::Softmax));
        let mut trainer = trainer(net.build().unwrap(), Sgd::new(0.1).into(), float, 2);
        let fit = Fit::new().batch_size(16).order(Order::AsGiven).silent();
        trainer.fit(&examples(32, float, None), &fit).unwrap();
        stopped_with_the_weights_as_before("statistics", &mut trainer, &examples(32, float, Some(huge)));
        trainer.fit(&examples(32, float, None), &fit).unwrap();
    }
}

/// Gradients of which no cheap bound says that they are harmless, but that are.
#[test]
fn large_but_finite_steps_are_taken() {
    for (scale, optimizer) in [
        (1e17, Optimizer::from(Sgd::new(1e-20))),
        (1e17, Sgd::new(1e-20).momentum(0.9).nesterov().into()),
        (1e17, Adam::new(1e-3).into()),
        (1e17, RmsProp::new(1e-3).centered().into()),
    ] {
        let net = Sequential::new([70]).add(Lambda::new(|x| x * 1e17)).add(Dense::new(70)).add(Activation::Tanh);
        let net = net.add(Dense::new(3).activation(Activation::Softmax));
        let mut trainer = trainer(net.build().unwrap(), optimizer.clone(), DType::F32, 2);
        let before = all_bits(&trainer);
        let fit = Fit::new().batch_size(16).order(Order::AsGiven).silent();
        trainer
            .fit(&examples(32, DType::F32, None), &fit)
            .unwrap_or_else(|error| panic!("{scale} {optimizer:?}: {error}"));
        assert_ne!(all_bits(&trainer), before);
        assert!(trainer.values().all(|(_, tensor)| tensor.to_f64().iter().all(|value| value.is_finite())));
    }
}

/// By hand, without a trainer: next values that overflow, that are NaN, and that only might be.
#[test]
fn next_values_are_guarded_in_any_graph() {
    type Next = for<'b> fn(Expr<'b>, Expr<'b>) -> Expr<'b>;
    let cases: [(&str, Next, f64, bool); 9] = [
        ("a root of what is negative", |s, x| s + x.sqrt(), -1.0, false),
        ("a root of what is not", |s, x| s + x.sqrt(), 4.0, true),
        ("a division by 0", |s, x| s / x, 0.0, false),
        ("a division by what may be 0, but is not", |s, x| s / x, -0.5, true),
        ("a square that overflows", |s, x| s + x * x, 1e20, false),
        ("a product that overflows and comes back", |s, x| s + (x * x) / (x * x), 1e20, false),
        ("a large value that does not overflow", |s, x| s + x * 1e-20, 1e38, true),
        ("an exponential that overflows", |s, x| s + x.exp(), 100.0, false),
        ("an infinity that is chosen against", |s, x| x.greater(s).select(s, x.exp()), 100.0, false),
    ];
    for (what, next, value, is_fine) in cases {
        for (threads, held) in THREADS.into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
            for len in [3usize, 300] {
                let g = Builder::new();
                let x = g.input("x", DType::F32, [len]);
                let (s, t) = (g.state("s", DType::F32, [len]), g.state("t", DType::F32, [len]));
                g.update(s, next(s, x));
                g.update(t, t * 0.5);
                g.output("y", x * 2.0);
                let mut run = Executable::with(g.finish().unwrap(), &Bindings::new(), &options(threads, held)).unwrap();
                run.guard_updates(true);
                let mut states = [Tensor::full(DType::F32, [len], 0.5), Tensor::full(DType::F32, [len], 1.0)];
                let mut x = Tensor::full(DType::F32, [len], 0.75);
                x.as_mut_slice::<f32>().unwrap()[len / 2] = value as f32;
                let before = bits(&states);
                let outcome = run.run(&[&x], &mut states);
                if what == "an infinity that is chosen against" {
                    // What is committed is finite: an infinity on the way that nothing keeps is no fault.
                    assert!(outcome.is_ok(), "{what}: {outcome:?}");
                    continue;
                }
                assert_eq!(outcome.is_ok(), is_fine, "{what}, {len}: {outcome:?}");
                if !is_fine {
                    assert_eq!(bits(&states), before, "{what}");
                    let Err(RunError::NotFiniteUpdate { state, cause }) = outcome else {
                        panic!("{what}: {outcome:?}")
                    };
                    assert_eq!(state, "s");
                    assert!(cause.is_some(), "{what}");
                }
                x.as_mut_slice::<f32>().unwrap()[len / 2] = 0.75;
                run.run(&[&x], &mut states).unwrap();
                assert_eq!(states[1].to_f64()[0], if is_fine { 0.25 } else { 0.5 });
            }
        }
    }
}

/// A state may hold an infinity, as long as what is written over it is finite.
#[test]
fn a_running_minimum_may_start_from_infinity() {
    let g = Builder::new();
    let (x, least) = (g.input("x", DType::F32, [100]), g.state("least", DType::F32, [100]));
    g.update(least, least.min(x));
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::new()).unwrap();
    run.guard_updates(true);
    let mut states = [Tensor::full(DType::F32, [100], f64::INFINITY)];
    run.run(&[&Tensor::full(DType::F32, [100], 3.0)], &mut states).unwrap();
    assert_eq!(states[0].to_f64(), vec![3.0; 100]);
    let error = run.run(&[&Tensor::full(DType::F32, [100], f64::NAN)], &mut states).unwrap_err();
    assert!(
        error.to_string().starts_with("the next value of `least` is not finite: element 0 of `x` was given as NaN")
    );
    assert_eq!(states[0].to_f64(), vec![3.0; 100]);
}

/// A softmax regression whose kernel holds what is given.
fn with_a_weight_of(value: f64) -> Trainer {
    let net = Sequential::new([70]).add(Dense::new(3).activation(Activation::Softmax));
    let mut trainer = trainer(net.build().unwrap(), Sgd::new(0.1).into(), DType::F32, 2);
    let mut kernel = trainer.value("dense/kernel").unwrap().clone();
    kernel.as_mut_slice::<f32>().unwrap()[7] = value as f32;
    trainer.set_value("dense/kernel", kernel).unwrap();
    trainer
}

#[test]
fn weights_that_are_no_numbers_are_not_saved_folded_exported_or_scored() {
    let folder = tempfile::tempdir().unwrap();
    let (saved, exported) = (folder.path().join("weights.safetensors"), folder.path().join("model.onnx"));
    let folded = with_a_weight_of(0.5).fold().unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut trainer = with_a_weight_of(bad);
        let errors = [
            trainer.save(&saved, &Default::default()).unwrap_err(),
            trainer.fold().unwrap_err(),
            trainer.export(&exported, &folded, &Default::default()).unwrap_err(),
        ];
        for error in errors {
            let expected = format!("element 7 of `dense/kernel` is {bad}, and nothing was written");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert!(!saved.exists() && !exported.exists());
        let error = trainer.evaluate(&examples(40, DType::F32, None)).unwrap_err().to_string();
        assert!(error.starts_with("the evaluation has no result: among examples 0 to 39, `loss` is"), "{error}");
        assert!(error.contains("dense/kernel"), "{error}");
    }
}

#[test]
fn an_example_that_is_no_number_has_no_score() {
    let mut trainer = with_a_weight_of(0.5);
    trainer.evaluate(&examples(600, DType::F32, None)).unwrap();
    let bad = examples(600, DType::F32, Some(f64::NAN));
    let error = trainer.evaluate(&bad).unwrap_err().to_string();
    assert_eq!(error, "the evaluation has no result: among examples 0 to 255, `input_layer` of example 5 holds NaN");
    // In training, too, it is the data that is to blame.
    let fit = Fit::new().batch_size(16).order(Order::AsGiven).validation(bad).silent();
    let error = trainer.fit(&examples(32, DType::F32, None), &fit).unwrap_err().to_string();
    assert!(error.contains("the evaluation has no result"), "{error}");
}

#[test]
fn predictions_that_are_no_numbers_are_seen_when_asked_for() {
    let predictor = with_a_weight_of(0.5).predictor().unwrap();
    let bad = |rows: usize| {
        let mut x = Tensor::full(DType::F32, [rows, 70], 0.5);
        x.as_mut_slice::<f32>().unwrap()[(rows - 1) * 70] = f32::NAN;
        x
    };
    for rows in [1, 3, 700] {
        assert!(predictor.predict(&[&bad(rows)]).unwrap()[0].first_not_finite().is_some());
    }
    let predictor = predictor.refuse_not_finite();
    for rows in [1, 3, 700] {
        let error = predictor.predict(&[&bad(rows)]).unwrap_err().to_string();
        assert!(error.contains(&format!("of row {} is NaN", rows - 1)), "{error}");
        let mut outputs = [Tensor::zeros(DType::F32, [rows, 3])];
        assert!(predictor.predict_into(&[&bad(rows)], &mut outputs).is_err());
        predictor.predict_into(&[&Tensor::full(DType::F32, [rows, 70], 0.5)], &mut outputs).unwrap();
    }
}

#[test]
fn comparisons_count_what_is_no_number() {
    let trainer = with_a_weight_of(0.5);
    let folded = trainer.fold().unwrap();
    let fine = trainer.compare(&folded, examples(600, DType::F32, None).inputs()).unwrap();
    assert_eq!((fine.agreeing, fine.not_finite), (600, 0));
    let bad = trainer.compare(&folded, examples(600, DType::F32, Some(f64::NAN)).inputs()).unwrap();
    assert_eq!((bad.agreeing, bad.not_finite, bad.difference), (599, 1, f64::INFINITY));
    assert_eq!(bad.folded_error.largest, f64::INFINITY);
}
