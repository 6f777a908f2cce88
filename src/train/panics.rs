//! A kernel that panics while a model trains: the weights are all there, and of one step.

use super::trainer::Stage;
use super::{Examples, Fit, Loss, Samples, Sgd, Trainer};
use crate::ir::OrderedMap;
use crate::nn::{BatchNormalization, Dense, Sequential};
use crate::{DType, Tensor};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn trainer() -> Trainer {
    let model = Sequential::new([3]).add(Dense::new(4)).add(BatchNormalization::new()).add(Dense::new(2));
    let model = model.build().unwrap();
    Trainer::new(model, Sgd::new(0.1).momentum(0.9), Loss::SparseCategoricalCrossentropy).compile().unwrap()
}

fn examples(count: usize) -> Examples {
    let x = (0..3 * count).map(|i| ((i * 7) % 11) as f64 * 0.1);
    let x = Tensor::from_f64(DType::F32, [count, 3], x).unwrap();
    let y = Tensor::vector((0..count as i32).map(|i| i % 2).collect());
    Examples::new(Samples::new(x).unwrap(), Samples::new(y).unwrap()).unwrap()
}

fn values(trainer: &Trainer) -> OrderedMap<String, Tensor> {
    trainer.values().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

fn rig(trainer: &mut Trainer, stage: Stage, batch: usize) {
    trainer.compiled.get_mut(&(stage, batch)).unwrap().run.trip = Some(|_, _, _| resume_unwind(Box::new("a kernel")));
}

#[test]
fn a_kernel_that_panics_leaves_the_weights_of_a_step() {
    // Of 20 examples in batches of 8, the last has 4.
    let fit = Fit::new().batch_size(8).silent();
    for (stage, batch) in [(Stage::Training, 8), (Stage::Training, 4), (Stage::Evaluation, 6)] {
        let mut trainer = trainer();
        let fit = fit.clone().validation(examples(6));
        trainer.fit(&examples(20), &fit).unwrap();
        // Before the fit that panics, and after each of its steps.
        let mut steps = vec![values(&trainer)];
        for stop in 1..=3 {
            let mut each = self::trainer();
            each.fit(&examples(20), &fit).unwrap();
            let mut seen = 0;
            let stopping = |event: super::Event<'_>| {
                seen += usize::from(matches!(event, super::Event::Step { .. }));
                if seen == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            each.fit_with(&examples(20), &fit, stopping).unwrap();
            steps.push(values(&each));
        }
        rig(&mut trainer, stage, batch);
        let outcome = catch_unwind(AssertUnwindSafe(|| trainer.fit(&examples(20), &fit)));
        assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"a kernel"), "{stage:?} {batch}");
        let left = values(&trainer);
        let at = steps.iter().position(|step| *step == left);
        let expected = match (stage, batch) {
            (Stage::Training, 8) => 0,
            (Stage::Training, _) => 2,
            _ => 3,
        };
        assert_eq!(at, Some(expected), "{stage:?} {batch}");
        // It can go on.
        trainer.fit(&examples(20), &fit).unwrap();
        assert!(trainer.values().all(|(_, tensor)| tensor.to_f64().iter().all(|value| value.is_finite())));
    }
}

#[test]
fn an_evaluation_or_prediction_that_panics_leaves_the_weights() {
    let mut trainer = trainer();
    let (examples, before) = (examples(10), values(&trainer));
    let inputs = examples.inputs().to_vec();
    let (evaluated, predicted) = (trainer.evaluate(&examples).unwrap(), trainer.predict(&inputs).unwrap());
    rig(&mut trainer, Stage::Evaluation, 10);
    assert!(catch_unwind(AssertUnwindSafe(|| trainer.evaluate(&examples))).is_err());
    assert_eq!(values(&trainer), before);
    rig(&mut trainer, Stage::Inference, 10);
    assert!(catch_unwind(AssertUnwindSafe(|| trainer.predict(&inputs))).is_err());
    assert_eq!(values(&trainer), before);
    assert_eq!(trainer.evaluate(&examples).unwrap().loss, evaluated.loss);
    assert_eq!(trainer.predict(&inputs).unwrap(), predicted);
}
