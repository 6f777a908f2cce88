//! A small network trained for a few steps with each update rule, in each of its forms.

use super::{Draws, Outcome};
use foldgrad::ir::Weights;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Flatten, Model, Sequential};
use foldgrad::train::{
    Adam, AdamW, Clip, Event, Examples, Fit, Loss, Optimizer, Order, RmsProp, Samples, Sgd, Trainer,
};
use foldgrad::{DType, Tensor};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// A model, an update rule, and how the script is to build the same.
pub struct Run {
    name: &'static str,
    model: &'static str,
    optimizer: Optimizer,
    settings: Value,
}

pub fn all() -> Vec<Run> {
    let rate = 0.02;
    let run = |name, model, optimizer, settings| Run { name, model, optimizer, settings };
    vec![
        run("sgd", "dense", Sgd::new(rate).into(), json!({ "rule": "sgd" })),
        run("sgd_momentum", "dense", Sgd::new(rate).momentum(0.8).into(), json!({ "rule": "sgd", "momentum": 0.8 })),
        run(
            "sgd_nesterov_decay",
            "dense",
            Sgd::new(rate).momentum(0.9).nesterov().decay(0.05).into(),
            json!({ "rule": "sgd", "momentum": 0.9, "nesterov": true, "decay": 0.05 }),
        ),
        run("adam", "dense", Adam::new(rate).into(), json!({ "rule": "adam" })),
        run(
            "adam_betas_decay",
            "dense",
            Adam::new(rate).beta1(0.8).beta2(0.95).epsilon(1e-4).decay(0.05).into(),
            json!({ "rule": "adam", "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4, "decay": 0.05 }),
        ),
        run("adamw", "dense", AdamW::new(rate).into(), json!({ "rule": "adamw", "weight_decay": 0.004 })),
        run(
            "adamw_excluding",
            "dense",
            AdamW::new(rate).weight_decay(0.1).exclude(["bias", "gamma", "beta"]).into(),
            json!({ "rule": "adamw", "weight_decay": 0.1, "exclude": ["bias", "gamma", "beta"] }),
        ),
        run("rmsprop", "dense", RmsProp::new(rate).into(), json!({ "rule": "rmsprop" })),
        run(
            "rmsprop_centered_momentum",
            "dense",
            RmsProp::new(rate).rho(0.8).momentum(0.7).centered().epsilon(1e-5).decay(0.05).into(),
            json!({
                "rule": "rmsprop", "rho": 0.8, "momentum": 0.7, "centered": true, "epsilon": 1e-5, "decay": 0.05
            }),
        ),
        run("clip_value", "dense", clipped(Clip::Value(0.01)), json!({ "rule": "sgd", "clipvalue": 0.01 })),
        run("clip_norm", "dense", clipped(Clip::Norm(0.05)), json!({ "rule": "sgd", "clipnorm": 0.05 })),
        run(
            "clip_global_norm",
            "dense",
            clipped(Clip::GlobalNorm(0.1)),
            json!({ "rule": "sgd", "global_clipnorm": 0.1 }),
        ),
        run("channels_first", "channels_first", Sgd::new(rate).into(), json!({ "rule": "sgd" })),
    ]
    .into_iter()
    .map(|mut run| {
        run.settings["learning_rate"] = json!(rate);
        run
    })
    .collect()
}

fn clipped(clip: Clip) -> Optimizer {
    Optimizer::from(Sgd::new(0.02)).clip(clip)
}

const STEPS: usize = 20;
const BATCH: usize = 16;
const CLASSES: usize = 5;

/// The shape of an example, and the model.
fn model(name: &str) -> Outcome<(Vec<usize>, Model)> {
    let classes = Dense::new(CLASSES).activation(Activation::Softmax);
    Ok(match name {
        "channels_first" => {
            let norm = BatchNormalization::new().axis(1).momentum(0.9).epsilon(1e-5).without_scale();
            (vec![3, 4], Sequential::new([3, 4]).add(norm).add(Flatten::new()).add(classes).build()?)
        }
        _ => {
            let net = Sequential::new([7]).add(Dense::new(6).without_bias()).add(BatchNormalization::new());
            (vec![7], net.add(Activation::Tanh).add(classes).build()?)
        }
    })
}

pub fn train(run: Run, into: &mut Weights) -> Outcome<Value> {
    let (shape, model) = model(run.model)?;
    let draws = &mut Draws(60);
    let x = draws.any(&[&[STEPS * BATCH][..], &shape].concat());
    let labels = draws.below(&[STEPS * BATCH], CLASSES);
    let mut trainer =
        Trainer::new(model, run.optimizer, Loss::SparseCategoricalCrossentropy).float(DType::F64).seed(3).compile()?;
    let variables: Vec<String> = trainer.model().variables().iter().map(|variable| variable.name.clone()).collect();
    let mut keep = |trainer: &Trainer, when: &str| {
        for name in &variables {
            into.extend(trainer.value(name).map(|value| (format!("{}/{when}/{name}", run.name), value.clone())));
        }
    };
    keep(&trainer, "before");
    let mut losses = Vec::new();
    let examples = Examples::new(Samples::new(x.clone())?, Samples::new(labels.clone())?)?;
    let fit = Fit::new().batch_size(BATCH).order(Order::AsGiven).silent();
    trainer.fit_with(&examples, &fit, |event| {
        if let Event::Step { loss, .. } = event {
            losses.push(loss);
        }
        ControlFlow::Continue(())
    })?;
    keep(&trainer, "after");
    let predictions = trainer.predict(&[Samples::new(x.clone())?])?.swap_remove(0);
    into.insert(format!("{}/predictions", run.name), predictions);
    into.insert(format!("{}/losses", run.name), Tensor::vector(losses));
    into.insert(format!("data/{}/x", run.model), x);
    into.insert(format!("data/{}/labels", run.model), labels);
    Ok(json!({
        "name": run.name, "model": run.model, "steps": STEPS, "batch": BATCH, "classes": CLASSES,
        "variables": variables, "settings": run.settings
    }))
}
