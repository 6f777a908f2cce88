//! Optimisers and clips under gradients far out: a step past a gradient whose square no number holds is the step that
//! arithmetic without bounds would take, states stay finite, and what is not a number stays visible.

use crate::common::running::{options, run};
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::nn::{Initializer, VariableKind, VariableSpec};
use foldgrad::train::{Adam, AdamW, Clip, Optimizer, RmsProp, Sgd};
use foldgrad::{Builder, DType, Graph, Tensor};

const RATE: f64 = 0.1;
const START: [f64; 6] = [1.5, -2.0, 0.3, 0.0, 0.7, -0.1];

/// Where one entry goes in the first step, by rule; squares are never formed.
type Model = fn(w: f64, g: f64) -> f64;

fn adam(g: f64, [beta1, beta2, epsilon]: [f64; 3]) -> f64 {
    let alpha = RATE * (1.0 - beta2).sqrt() / (1.0 - beta1);
    alpha * ((1.0 - beta1) * g) / ((1.0 - beta2).sqrt() * g.abs() + epsilon)
}

fn rms_prop(g: f64, share: f64) -> f64 {
    RATE * g / (share.sqrt() * g).hypot(1e-7f64.sqrt())
}

fn rules() -> Vec<(&'static str, Optimizer, Model)> {
    vec![
        ("sgd", Sgd::new(RATE).into(), |w, g| w - RATE * g),
        ("momentum", Sgd::new(RATE).momentum(0.9).into(), |w, g| w - RATE * g),
        ("nesterov", Sgd::new(RATE).momentum(0.9).nesterov().into(), |w, g| w - 1.9 * RATE * g),
        ("adam", Adam::new(RATE).into(), |w, g| w - adam(g, [0.9, 0.999, 1e-7])),
        ("adam, other betas", Adam::new(RATE).beta1(0.5).beta2(0.6).into(), |w, g| w - adam(g, [0.5, 0.6, 1e-7])),
        ("adamw", AdamW::new(RATE).weight_decay(0.1).into(), |w, g| w - RATE * 0.1 * w - adam(g, [0.9, 0.999, 1e-7])),
        ("rmsprop", RmsProp::new(RATE).into(), |w, g| w - rms_prop(g, 0.1)),
        ("rmsprop with momentum", RmsProp::new(RATE).momentum(0.5).into(), |w, g| w - rms_prop(g, 0.1)),
        ("rmsprop, centred", RmsProp::new(RATE).centered().into(), |w, g| w - rms_prop(g, 0.1 * 0.9)),
    ]
}

fn clips() -> [Option<Clip>; 4] {
    [None, Some(Clip::Value(0.25)), Some(Clip::Norm(1.0)), Some(Clip::GlobalNorm(1.0))]
}

/// The gradients after clipping; those of `b` are those of `a`, so that the global norm is √2 times as long.
fn clipped(gradient: &[f64; 6], clip: Option<Clip>) -> [f64; 6] {
    let largest = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    let unit: f64 = gradient.iter().map(|g| (g / largest).powi(2)).sum();
    let shortened = |limit: f64, parameters: f64| {
        let share = (limit / (unit * parameters).sqrt() / largest).min(1.0);
        gradient.map(|g| if largest > 0.0 { g * share } else { g })
    };
    match clip {
        None => *gradient,
        Some(Clip::Value(limit)) => gradient.map(|g| g.clamp(-limit, limit)),
        Some(Clip::Norm(limit)) => shortened(limit, 1.0),
        Some(Clip::GlobalNorm(limit)) => shortened(limit, 2.0),
        Some(other) => panic!("{other:?} has no case here"),
    }
}

/// A step over two parameters whose gradients are fed, and the values before the first.
fn step(optimizer: &Optimizer, dtype: DType) -> (Graph, OrderedMap<String, Tensor>) {
    let g = Builder::new();
    let parameters: OrderedMap<String, _> =
        ["a", "b"].map(|name| (name.to_owned(), g.parameter(name, dtype, [6]))).into();
    let gradients = ["da", "db"].map(|name| g.input(name, dtype, [6]));
    optimizer.update(&g, &parameters, &gradients).unwrap();
    let specs = ["a", "b"].map(|name| VariableSpec {
        name: name.to_owned(),
        shape: vec![6],
        kind: VariableKind::Trainable,
        initializer: Initializer::Zeros,
    });
    let mut values = optimizer.initial_state(&specs, dtype);
    ["a", "b"].iter().for_each(|name| drop(values.insert((*name).to_owned(), vector(dtype, &START))));
    (g.finish().unwrap(), values)
}

fn vector(dtype: DType, values: &[f64; 6]) -> Tensor {
    Tensor::from_f64(dtype, [6], *values).unwrap()
}

/// Takes a step with these gradients for both parameters.
fn take(graph: &Graph, values: &mut OrderedMap<String, Tensor>, gradient: &Tensor) {
    values.extend(["da", "db"].map(|name| (name.to_owned(), gradient.clone())));
    for (name, value) in run(graph, values, &options(InstructionSet::Widest, 1, false)) {
        if let Some(name) = name.strip_prefix("state ") {
            values.insert(name.to_owned(), value);
        }
    }
}

fn for_all(law: impl Fn(&str, DType, &Optimizer, Option<Clip>, Model)) {
    for dtype in [DType::F32, DType::F64] {
        for (name, optimizer, model) in rules() {
            for clip in clips() {
                let clipping = clip.map_or(optimizer.clone(), |clip| optimizer.clone().clip(clip));
                law(&format!("{name}, {clip:?}, {dtype}"), dtype, &clipping, clip, model);
            }
        }
    }
}

#[test]
fn steps_past_large_and_small_gradients_are_those_without_bounds() {
    for_all(|what, dtype, optimizer, clip, model| {
        let far = if dtype == DType::F32 { 1e20 } else { 1e200 };
        let gradients = [
            [far, -far, 1e-30, 0.0, 0.5, -0.25],
            [far, far / 3.0, -far / 7.0, far, far, far],
            [1e-30, -1e-30, 1e-30, 0.0, 2e-30, 1e-30],
            [0.3, -0.2, 0.1, 0.0, 0.5, -0.25],
            [0.0; 6],
        ];
        for gradient in gradients {
            let (graph, mut values) = step(optimizer, dtype);
            let fed = vector(dtype, &gradient);
            take(&graph, &mut values, &fed);
            let held: [f64; 6] = fed.to_f64().try_into().unwrap();
            let tolerance = if dtype == DType::F32 { [1e-5, 1e-6] } else { [1e-12, 1e-14] };
            for parameter in ["a", "b"] {
                for (i, found) in values[parameter].to_f64().into_iter().enumerate() {
                    let expected = model(START[i], clipped(&held, clip)[i]);
                    let most = tolerance[0] * (expected - START[i]).abs() + tolerance[1];
                    assert!((found - expected).abs() <= most, "{what}, {gradient:?}[{i}]: {found}, not {expected}");
                }
            }
            // What is kept is finite, and so is what comes of it.
            take(&graph, &mut values, &vector(dtype, &[0.1; 6]));
            take(&graph, &mut values, &fed);
            for (name, value) in &values {
                assert!(value.to_f64().iter().all(|v| v.is_finite()), "{what}, {gradient:?}: {name} is {value:?}");
            }
        }
    });
}

#[test]
fn gradients_that_are_no_numbers_are_seen_in_the_parameter() {
    for_all(|what, dtype, optimizer, clip, _| {
        for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let (graph, mut values) = step(optimizer, dtype);
            take(&graph, &mut values, &vector(dtype, &[0.1, bad, 0.2, 0.0, 0.5, -0.25]));
            let found = values["a"].to_f64();
            let finite: Vec<bool> = found.iter().map(|v| v.is_finite()).collect();
            let expected = match clip {
                // An infinite entry is clipped like a large one; NaN is not.
                Some(Clip::Value(_)) => [true, !bad.is_nan(), true, true, true, true],
                // Nothing has a direction any more.
                Some(Clip::Norm(_) | Clip::GlobalNorm(_)) => [false; 6],
                Some(other) => panic!("{other:?} has no case here"),
                None => [true, false, true, true, true, true],
            };
            assert_eq!(finite, expected, "{what}, {bad}: {found:?}");
        }
    });
}

/// A mean of squares that no number holds stays at the largest, and comes down again.
#[test]
fn a_mean_of_squares_comes_down_from_the_largest_number() {
    let optimizer = Optimizer::from(RmsProp::new(RATE).rho(0.5));
    for (dtype, far, most) in [(DType::F32, 1e20, f64::from(f32::MAX)), (DType::F64, 1e200, f64::MAX)] {
        let (graph, mut values) = step(&optimizer, dtype);
        take(&graph, &mut values, &vector(dtype, &[far; 6]));
        assert_eq!(values["rmsprop/a/velocity"].to_f64(), [most; 6]);
        for _ in 0..2 {
            take(&graph, &mut values, &vector(dtype, &[1.0; 6]));
        }
        let found = values["rmsprop/a/velocity"].to_f64()[0];
        assert!((found - most / 4.0).abs() <= 1e-6 * most, "{found}");
    }
}
