//! No number of threads that is asked for is more than are started, or memory for more.

use super::skip::skip_on_this_machine;
use super::{compiled, sized, with_threads};
use foldgrad::exec::{Executable, MOST_THREADS, Predictor};
use foldgrad::ir::Dim;
use foldgrad::nn::{Dense, Sequential};
use foldgrad::plan::{Costs, Rate};
use foldgrad::train::{Examples, Fit, Loss, Samples, Sgd, Trainer};
use foldgrad::{Builder, DType, Graph, Tensor};

const ASKED: [usize; 7] = [0, 1, 63, 65, 16_360, 100_000, usize::MAX];

fn layer() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["n".into(), Dim::Known(64)]);
    g.output("y", x.dot(g.parameter("w", DType::F32, [64usize, 64])).relu());
    g.finish().unwrap()
}

fn weight() -> Tensor {
    Tensor::from_f64(DType::F32, [64, 64], (0..4096).map(|i| f64::from(i % 13) - 6.0)).unwrap()
}

/// Threads of this process; other tests run beside this one.
fn running() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        skip_on_this_machine("threads are counted in /proc, which this system does not have");
        return 0;
    };
    tasks.count()
}

#[test]
fn an_executable_takes_any_number_of_threads() {
    let x = Tensor::full(DType::F32, [600, 64], 0.25);
    let mut results = Vec::new();
    for threads in ASKED {
        let mut run = Executable::with(layer(), &sized(600), &with_threads(threads)).unwrap();
        assert_eq!(run.plan().threads(), threads.clamp(1, MOST_THREADS));
        for _ in 0..3 {
            run.run(&[&x], &mut [weight()]).unwrap();
        }
        results.push(run.output_tensor(0).unwrap());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "bits do not depend on threads");
    assert!(running() < 2 * MOST_THREADS + 64, "{} threads", running());
}

#[test]
fn a_predictor_takes_any_number_of_threads() {
    let sizes = [1, 129, 600];
    let mut results = Vec::new();
    for threads in ASKED {
        let p = Predictor::new(layer(), [("w".to_owned(), weight())], &with_threads(threads)).unwrap();
        let of = |rows: usize| p.predict(&[&Tensor::full(DType::F32, [rows, 64], 0.25)]).unwrap();
        results.push(sizes.map(of));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(running() < 2 * MOST_THREADS + 64, "{} threads", running());
}

#[test]
fn a_trainer_takes_any_number_of_threads() {
    let x = Samples::new(Tensor::full(DType::F32, [40, 8], 0.5)).unwrap();
    let examples = Examples::new(x, Samples::new(Tensor::vector(vec![1i32; 40])).unwrap()).unwrap();
    let mut results = Vec::new();
    for threads in ASKED {
        let model = Sequential::new([8]).add(Dense::new(3)).build().unwrap();
        let builder = Trainer::new(model, Sgd::new(0.1), Loss::SparseCategoricalCrossentropy);
        let mut trainer = match threads {
            0 => builder.options(with_threads(0)),
            _ => builder.threads(threads),
        }
        .compile()
        .unwrap();
        trainer.fit(&examples, &Fit::new().batch_size(16).silent()).unwrap();
        let folded = trainer.fold().unwrap();
        assert!(trainer.compare(&folded, examples.inputs()).unwrap().difference < 1e-5);
        results.push(trainer.value("dense/kernel").unwrap().clone());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn costs_that_are_no_costs_are_refused_and_odd_ones_change_no_result() {
    let x = Tensor::full(DType::F32, [300, 64], 0.25);
    let mut right = compiled(layer(), 300);
    right.run(&[&x], &mut [weight()]).unwrap();
    for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        // A wait may take no time at all; nothing has a speed of 0.
        for (rates, takes_nothing) in [
            (&[Rate::Barrier][..], true),
            (&[Rate::Call, Rate::Elementary], true),
            (&[Rate::MultiplyAdds], false),
            (&[Rate::MapBytes, Rate::OperandBytes], false),
        ] {
            let costs = rates.iter().try_fold(Costs::default(), |costs, &rate| costs.with(rate, odd));
            assert_eq!(costs.is_ok(), odd.is_finite() && (odd > 0.0 || takes_nothing && odd == 0.0), "{rates:?} {odd}");
            let Ok(costs) = costs else { continue };
            let options = with_threads(3).costs(costs);
            let mut run = Executable::with(layer(), &sized(300), &options).unwrap();
            run.run(&[&x], &mut [weight()]).unwrap();
            assert_eq!(run.output::<f32>(0), right.output::<f32>(0), "{costs:?}");
        }
    }
}

#[test]
fn ceilings_are_measured_by_no_more_threads_than_run() {
    let (operations, _) = foldgrad::exec::ceiling::multiply_add(&with_threads(100_000), 1);
    let (of_one, _) = foldgrad::exec::ceiling::multiply_add(&with_threads(0), 1);
    assert!(operations <= MOST_THREADS as f64 * of_one);
}

#[test]
fn threads_that_panic_beside_others_leave_a_predictor_right() {
    let p = Predictor::new(layer(), [("w".to_owned(), weight())], &with_threads(4)).unwrap();
    let sizes = [1usize, 3, 32, 129, 600];
    let of = |rows: usize| p.predict(&[&Tensor::full(DType::F32, [rows, 64], 0.5)]).unwrap().remove(0);
    let right = sizes.map(of);
    std::thread::scope(|scope| {
        let ask = |thread: usize| {
            for call in 0..60 {
                let at = (call + thread) % sizes.len();
                assert_eq!(of(sizes[at]), right[at]);
                if thread.is_multiple_of(4) && call == 20 + thread {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
            }
        };
        let threads: Vec<_> = (0..16).map(|thread| scope.spawn(move || ask(thread))).collect();
        let fallen = threads.into_iter().map(|thread| usize::from(thread.join().is_err())).sum::<usize>();
        assert_eq!(fallen, 4);
    });
    assert_eq!(sizes.map(of), right);
}
