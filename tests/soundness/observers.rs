//! An observer that panics: the weights are those of the last finished step, all of them, and training can go on.

use foldgrad::ir::OrderedMap;
use foldgrad::nn::{BatchNormalization, Dense, Sequential};
use foldgrad::train::{Event, Examples, Fit, Loss, Order, Samples, Sgd, Trainer};
use foldgrad::{DType, Tensor};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn trainer() -> Trainer {
    let model = Sequential::new([3]).add(Dense::new(4)).add(BatchNormalization::new()).add(Dense::new(2));
    Trainer::new(model.build().unwrap(), Sgd::new(0.1).momentum(0.9), Loss::SparseCategoricalCrossentropy)
        .compile()
        .unwrap()
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

/// At which event something happens: the how many-th of its kind, from 1.
#[derive(Clone, Copy, Debug)]
enum At {
    Started(usize),
    Step(usize),
    Ended(usize),
}

/// Counts events, and says when it is time.
fn is_time(at: At, seen: &mut [usize; 3], event: &Event<'_>) -> bool {
    let (kind, wanted) = match at {
        At::Started(wanted) => (0, wanted),
        At::Step(wanted) => (1, wanted),
        At::Ended(wanted) => (2, wanted),
    };
    let happened = match event {
        Event::EpochStarted { .. } => 0,
        Event::Step { .. } => 1,
        Event::EpochEnded(_) => 2,
        _ => return false,
    };
    seen[happened] += 1;
    happened == kind && seen[kind] == wanted
}

fn panics(trainer: &mut Trainer, fit: &Fit, at: At) {
    let mut seen = [0; 3];
    let observe = |event: Event<'_>| match is_time(at, &mut seen, &event) {
        true => resume_unwind(Box::new("observer")),
        false => ControlFlow::Continue(()),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| trainer.fit_with(&examples(20), fit, observe)));
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"observer"), "{at:?}");
}

fn breaks(trainer: &mut Trainer, fit: &Fit, at: At) {
    let mut seen = [0; 3];
    let observe = |event: Event<'_>| match is_time(at, &mut seen, &event) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    trainer.fit_with(&examples(20), fit, observe).unwrap();
}

/// Every way to fit: with and without a short last batch, with and without validation.
fn fits() -> Vec<Fit> {
    let fit = || Fit::new().epochs(2).order(Order::AsGiven).silent();
    let mut fits = Vec::new();
    for batch in [8, 10, 20, 100] {
        fits.push(fit().batch_size(batch));
        fits.push(fit().batch_size(batch).validation(examples(6)));
    }
    fits
}

#[test]
fn the_weights_are_those_of_the_last_finished_step() {
    for fit in fits() {
        // Training that ends with a step has done as much as one that ends in the next event.
        for (at, same) in [
            (At::Step(1), At::Step(1)),
            (At::Step(2), At::Step(2)),
            (At::Ended(1), At::Ended(1)),
            (At::Started(2), At::Ended(1)),
            (At::Ended(2), At::Ended(2)),
        ] {
            let (mut panicked, mut broken) = (trainer(), trainer());
            panics(&mut panicked, &fit, at);
            breaks(&mut broken, &fit, same);
            assert_eq!(values(&panicked), values(&broken), "{at:?} {fit:?}");
            // It goes on as the other does.
            let (left, right) = (panicked.fit(&examples(20), &fit), broken.fit(&examples(20), &fit));
            assert_eq!(left.unwrap().epochs[0].loss, right.unwrap().epochs[0].loss);
            assert_eq!(values(&panicked), values(&broken));
        }
    }
}

#[test]
fn before_the_first_step_nothing_has_changed() {
    for fit in fits() {
        let mut trainer = trainer();
        let before = values(&trainer);
        for _ in 0..5 {
            panics(&mut trainer, &fit, At::Started(1));
            assert_eq!(values(&trainer), before);
        }
        assert!(trainer.evaluate(&examples(20)).unwrap().loss.is_finite());
    }
}

#[test]
fn what_is_saved_after_a_panic_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut trainer = trainer();
    panics(&mut trainer, &fits()[0], At::Step(2));
    trainer.save(&path, &BTreeMap::new()).unwrap();
    let mut other = self::trainer();
    other.load(&path).unwrap();
    assert_eq!(values(&other), values(&trainer));
    assert!(values(&other).values().all(|tensor| !tensor.is_empty()));
    assert!(trainer.fold().is_ok() && trainer.predictor().is_ok());
}

#[test]
fn a_panic_that_is_not_caught_in_its_thread_costs_that_thread_only() {
    let trainer = std::sync::Mutex::new(trainer());
    let before = values(&trainer.lock().unwrap());
    std::thread::scope(|scope| {
        let body = || panics_uncaught(&mut trainer.lock().unwrap());
        assert!(scope.spawn(body).join().is_err());
    });
    let trainer = trainer.into_inner().unwrap_err().into_inner();
    assert_eq!(values(&trainer).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(values(&trainer).values().zip(before.values()).all(|(now, before)| now.ty() == before.ty()));
}

fn panics_uncaught(trainer: &mut Trainer) {
    let observe = |event: Event<'_>| match event {
        Event::Step { .. } => resume_unwind(Box::new("observer")),
        _ => ControlFlow::Continue(()),
    };
    let _ = trainer.fit_with(&examples(20), &Fit::new().silent(), observe);
}
