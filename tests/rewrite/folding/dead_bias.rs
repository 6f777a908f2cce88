//! Training without the biases that batch norm makes pointless is the same training; and what keeps such a bias.

use foldgrad::data::silhouettes;
use foldgrad::ir::Expr;
use foldgrad::nn::{Activation, BatchNormalization, Dense, Flatten, Initializer, Model, Sequential};
use foldgrad::op::Op;
use foldgrad::pass::Pipeline;
use foldgrad::train::{Adam, AdamW, Event, Examples, Fit, Loss, Metric, Optimizer, Sgd, Trainer};
use foldgrad::{DType, Tensor};
use std::ops::ControlFlow;

/// Three blocks of Dense, batch norm and ReLU, with biases that start far from 0.
fn model() -> Model {
    let bias = Initializer::RandomUniform { low: -2.0, high: 3.0 };
    let mut net = Sequential::new([28, 28]).add(Flatten::new());
    for units in [60, 40, 20] {
        net = net
            .add(Dense::new(units).bias_initializer(bias.clone()))
            .add(BatchNormalization::new())
            .add(Activation::Relu);
    }
    net.add(Dense::new(10).activation(Activation::Softmax)).build().unwrap()
}

fn trainer(optimizer: impl Into<Optimizer>, pipeline: Pipeline) -> Trainer {
    Trainer::new(model(), optimizer, Loss::SparseCategoricalCrossentropy)
        .metric(Metric::Accuracy)
        .float(DType::F64)
        .seed(5)
        .pipeline(pipeline)
        .compile()
        .unwrap()
}

fn without() -> Pipeline {
    Pipeline::training().without("dead_bias")
}

const DEAD: [&str; 3] = ["dense/bias", "dense_1/bias", "dense_2/bias"];

#[track_caller]
fn near(a: &[f64], b: &[f64], what: &str) -> f64 {
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = b.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    let far = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale;
    assert!(far <= 1e-10, "{what}: {far:e}");
    far
}

/// 200 steps of 32 images from one seed.
#[test]
fn two_hundred_steps_are_the_same() {
    let (train, test) = silhouettes::generate(silhouettes::SEED, 3200, 500);
    let [train, test] = [&train, &test].map(|set| Examples::try_from(set).unwrap());
    let sgd = || Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-6);
    let mut furthest: f64 = 0.0;
    for optimizer in [Optimizer::from(sgd()), Adam::new(1e-3).into()] {
        let mut runs =
            [Pipeline::training().proved(true), without()].map(|pipeline| trainer(optimizer.clone(), pipeline));
        assert_eq!(runs[0].untrained(), DEAD);
        assert!(runs[1].untrained().is_empty());
        let mut losses = [Vec::new(), Vec::new()];
        for (run, losses) in runs.iter_mut().zip(&mut losses) {
            let fit = Fit::new().epochs(2).silent();
            let step = |event: Event<'_>| {
                if let Event::Step { loss, .. } = event {
                    losses.push(loss);
                }
                ControlFlow::Continue(())
            };
            run.fit_with(&train, &fit, step).unwrap();
        }
        assert_eq!(losses[0].len(), 200);
        furthest = furthest.max(near(&losses[0], &losses[1], "losses"));
        for (name, with) in runs[0].values() {
            let other = runs[1].value(name).unwrap();
            furthest = furthest.max(near(&with.to_f64(), &other.to_f64(), name));
        }
        let [a, b] = runs.each_mut().map(|run| run.evaluate(&test).unwrap());
        furthest = furthest.max(near(&[a.loss], &[b.loss], "evaluation"));
        assert_eq!(a.metrics, b.metrics);
    }
    println!("furthest: {furthest:e}");
}

/// What is dropped is dropped everywhere: no addition, no gradient, no update, no slot. The running mean keeps the bias.
#[test]
fn nothing_of_a_dead_bias_is_left_in_the_step() {
    let trainer = trainer(Sgd::new(0.01).momentum(0.9), Pipeline::training());
    let graph = trainer.training_graph();
    for name in DEAD {
        let bias = graph.input(name).unwrap();
        assert!(graph.updates().all(|(state, _)| state != bias), "{name}");
        assert!(graph.input(&format!("sgd/{name}/velocity")).is_none());
        assert!(trainer.value(&format!("sgd/{name}/velocity")).is_none());
        // It is read once, where it joins the batch mean.
        let users: Vec<_> = graph.users(bias).map(|(user, _)| graph.node(user)).collect();
        assert_eq!(users.len(), 1, "{name}");
        assert_eq!((users[0].op().name(), users[0].types()[0].rank()), ("add", 1), "{name}");
        assert!(trainer.value(name).is_some(), "it stays in checkpoints");
    }
    let products_with_bias = graph.nodes().filter(|(_, node)| matches!(node.op(), Op::Dense(_))).count();
    assert_eq!(products_with_bias, 1, "that of the last layer");
    let other = trainer_without();
    assert!(graph.len() < other.training_graph().len());
    assert_eq!(other.training_graph().updates().len(), graph.updates().len() + 6);
}

fn trainer_without() -> Trainer {
    trainer(Sgd::new(0.01).momentum(0.9), without())
}

/// Weight decay moves a bias even where its gradient is 0, and the running mean would have to follow.
#[test]
fn weight_decay_keeps_a_bias() {
    let trainer = trainer(AdamW::new(1e-3).weight_decay(0.1), Pipeline::training());
    assert!(trainer.untrained().is_empty());
    let (fired, refused) = trainer.rewrites();
    assert!(fired.iter().all(|fired| fired.rule.name != "bias_before_batch_norm"));
    let reasons: Vec<&str> = refused
        .iter()
        .filter(|refused| refused.rule.name == "bias_before_batch_norm")
        .map(|refused| refused.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0], "optimiser `adamw` moves `dense/bias` even where its gradient is 0, as weight decay does");
}

/// A rule of a user's own is asked, not recognised.
#[test]
fn any_rule_is_asked_whether_it_rests() {
    #[derive(Debug)]
    struct Drift;
    impl foldgrad::train::UpdateRule for Drift {
        fn name(&self) -> &str {
            "drift"
        }
        fn learning_rate(&self) -> f64 {
            0.1
        }
        fn step<'b>(
            &self,
            cx: &foldgrad::train::StepCx<'b>,
            trained: &foldgrad::train::Trained<'_, 'b>,
        ) -> foldgrad::train::Stepped<'b> {
            let step: Expr<'b> = trained.gradient.sign() * cx.learning_rate;
            let towards = if trained.name.ends_with("_1/bias") { trained.value * 0.999 } else { trained.value };
            foldgrad::train::Stepped::without_slots(towards - step)
        }
    }
    let optimizer = Optimizer::from(Drift);
    assert!(optimizer.rests_at_zero("dense/bias"));
    assert!(!optimizer.rests_at_zero("dense_1/bias"));
    assert_eq!(trainer(Drift, Pipeline::training()).untrained(), ["dense/bias", "dense_2/bias"]);
}

/// A penalty on a bias gives it a gradient of its own.
#[test]
fn a_penalty_keeps_a_bias() {
    use foldgrad::{Builder, autodiff};
    let graph = |penalty: bool| {
        let g = Builder::new();
        let x = g.input("x", DType::F32, ["batch", "4"]);
        let (w, b) = (g.parameter("w", DType::F32, [4, 3]), g.parameter("b", DType::F32, [3]));
        let (gamma, beta) = (g.parameter("gamma", DType::F32, [3]), g.parameter("beta", DType::F32, [3]));
        let y = x.dense(w, Some(b)).batch_norm_train(gamma, beta, 1, 1e-3).y;
        let mut loss = (y * y * y).mean_all();
        if penalty {
            loss = loss + (b * b).sum_all() * 0.1;
        }
        let gradients = autodiff::gradients(&[loss], &[w, b]).unwrap();
        g.output("loss", loss);
        g.output("dw", gradients[0]);
        g.output("db", gradients[1]);
        g.finish().unwrap()
    };
    let free = Pipeline::training().proved(true).run(&graph(false)).unwrap();
    assert!(free.fired.iter().any(|fired| fired.rule.name == "bias_before_batch_norm"));
    let kept = Pipeline::training().proved(true).run(&graph(true)).unwrap();
    assert!(kept.fired.iter().all(|fired| fired.rule.name != "bias_before_batch_norm"));
    let reason = &kept.refused.iter().find(|refused| refused.rule.name == "bias_before_batch_norm").unwrap().reason;
    assert!(reason.contains("a penalty or constraint, or another layer"), "{reason}");
}

/// The bias of a checkpoint counts: inference after training without it is inference with it.
#[test]
fn inference_sees_the_bias() {
    let mut trainer = trainer(Sgd::new(0.01), Pipeline::training());
    let (train, test) = silhouettes::generate(silhouettes::SEED, 320, 100);
    trainer.fit(&Examples::try_from(&train).unwrap(), &Fit::new().silent()).unwrap();
    let test = Examples::try_from(&test).unwrap();
    let before = trainer.evaluate(&test).unwrap();
    let moved: Vec<f64> = trainer.value("dense/bias").unwrap().to_f64().iter().map(|b| b + 0.5).collect();
    trainer.set_value("dense/bias", Tensor::vector(moved)).unwrap();
    assert_ne!(trainer.evaluate(&test).unwrap().loss, before.loss);
}
