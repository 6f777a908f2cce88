//! A kernel that panics: the caller hears of it, whoever ran it, and the executable says from then on that it is spoilt.

use super::*;
use crate::exec::team::without_hanging;
use crate::ir::{Builder, Symbol};
use crate::plan::Costs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Who panics: 1 for the caller, 2 for helpers; at which step; and whether it has.
static WHO: AtomicUsize = AtomicUsize::new(0);
static STEP: AtomicUsize = AtomicUsize::new(0);
static TRIPPED: AtomicUsize = AtomicUsize::new(0);
/// The tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn trip(step: usize, _share: usize, worker: usize) {
    let (who, me) = (WHO.load(Ordering::SeqCst), if worker == 0 { 1 } else { 2 });
    if step != STEP.load(Ordering::SeqCst) {
        return;
    }
    if who & me > 0 {
        TRIPPED.fetch_or(me, Ordering::SeqCst);
        resume_unwind(Box::new(me));
    }
    // Lets the others come.
    let since = Instant::now();
    while who > 0 && TRIPPED.load(Ordering::SeqCst) & who == 0 && since.elapsed() < Duration::from_millis(2) {
        std::thread::yield_now();
    }
}

/// Several phases of several shares, which read and move a state.
fn executable(threads: usize, holds_state: bool) -> Executable {
    let g = Builder::new();
    let (x, w) =
        (g.input("x", DType::F32, ["n".into(), crate::ir::Dim::Known(64)]), [g.parameter("w", DType::F32, [64, 64])]);
    let (mut y, seen) = (x, g.state("seen", DType::F32, [1]));
    for _ in 0..3 {
        y = y.dot(w[0]).softmax(1);
    }
    g.output("y", y);
    g.update(seen, seen + 1.0);
    let costs = Costs { barrier: 0.0, ..Costs::default() };
    let options = Options::default().threads(threads).costs(costs).holds_state(holds_state);
    let run = Executable::with(g.finish().unwrap(), &Bindings::from([(Symbol::new("n"), 64)]), &options).unwrap();
    assert!(threads == 1 || run.plan.phases.iter().filter(|phase| phase.shares > 1).count() > 1, "{}", run.plan);
    run
}

fn tensors(seen: f32) -> (Tensor, [Tensor; 2]) {
    let w = (0..64 * 64).map(|i| (i % 17) as f64 * 0.01);
    let w = Tensor::from_f64(DType::F32, [64, 64], w).unwrap();
    (Tensor::full(DType::F32, [64, 64], 0.5), [w, Tensor::vector(vec![seen])])
}

#[test]
fn a_panic_in_any_share_reaches_the_caller_and_spoils_the_executable() {
    let _turn = TURN.lock().unwrap_or_else(|turn| turn.into_inner());
    without_hanging(|| {
        let mut tripped = [0; 4];
        for threads in [1, 2, 3, 8] {
            let mut run = executable(threads, false);
            let (x, mut states) = tensors(0.0);
            run.run(&[&x], &mut states).unwrap();
            let right = run.output::<f32>(0).unwrap().to_vec();
            let steps = run.plan.steps.len();
            for round in 0..200 {
                let who = round % 3 + 1;
                WHO.store(who, Ordering::SeqCst);
                STEP.store(round / 3 % steps, Ordering::SeqCst);
                TRIPPED.store(0, Ordering::SeqCst);
                run.trip = Some(trip);
                let (_, mut states) = tensors(0.0);
                let outcome = catch_unwind(AssertUnwindSafe(|| run.run(&[&x], &mut states)));
                let by = TRIPPED.load(Ordering::SeqCst);
                tripped[by] += 1;
                run.trip = None;
                if by == 0 {
                    // No helper came, or the caller found nothing left to do.
                    outcome.unwrap().unwrap();
                } else {
                    let payload = *outcome.unwrap_err().downcast::<usize>().unwrap();
                    assert!(payload & by > 0, "{payload} of {by}");
                    assert_eq!(run.run(&[&x], &mut states), Err(RunError::Spoilt));
                    assert_eq!(run.run_shared(&[&x], &[&states[0], &states[1]]), Err(RunError::Spoilt));
                    assert!(run.output::<f32>(0).is_none() && run.output_tensor(0).is_none());
                    // Nobody is still at work in it: made whole by hand, it gives what it gave before.
                    run.left = Left::Nothing;
                }
                if round % 20 == 0 {
                    let (_, mut states) = tensors(0.0);
                    run.run(&[&x], &mut states).unwrap();
                    assert_eq!(run.output::<f32>(0).unwrap(), right);
                    assert_eq!(states[1].to_f64(), [1.0]);
                }
            }
        }
        assert!(tripped[1] > 0 && tripped[2] > 0, "caller and helpers {tripped:?}");
    });
}

#[test]
fn a_spoilt_executable_that_holds_state_gives_none_of_it_out() {
    let _turn = TURN.lock().unwrap_or_else(|turn| turn.into_inner());
    without_hanging(|| {
        for threads in [1, 3] {
            let mut run = executable(threads, true);
            let (x, mut states) = tensors(7.0);
            run.hold(&states).unwrap();
            run.run_held(&[&x]).unwrap();
            WHO.store(3, Ordering::SeqCst);
            STEP.store(run.plan.steps.len() - 1, Ordering::SeqCst);
            run.trip = Some(trip);
            assert!(catch_unwind(AssertUnwindSafe(|| run.run_held(&[&x]))).is_err());
            run.trip = None;
            let before = states.clone();
            assert_eq!(run.release(&mut states), Err(RunError::Spoilt));
            assert_eq!(run.hold(&states), Err(RunError::Spoilt));
            assert_eq!(run.run_held(&[&x]), Err(RunError::Spoilt));
            assert_eq!(run.run(&[&x], &mut states), Err(RunError::Spoilt));
            assert_eq!(states, before);
            assert!(run.scalar_output(0).is_none());
        }
    });
}

#[test]
fn a_panic_in_one_executable_leaves_others_alone() {
    let _turn = TURN.lock().unwrap_or_else(|turn| turn.into_inner());
    without_hanging(|| {
        WHO.store(3, Ordering::SeqCst);
        STEP.store(0, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for at in 0..8 {
                scope.spawn(move || {
                    let mut run = executable(2, false);
                    let (x, mut states) = tensors(0.0);
                    if at % 2 == 0 {
                        run.trip = Some(trip);
                        assert!(catch_unwind(AssertUnwindSafe(|| run.run(&[&x], &mut states))).is_err());
                        return;
                    }
                    for _ in 0..20 {
                        run.run(&[&x], &mut states).unwrap();
                    }
                    assert_eq!(states[1].to_f64(), [20.0]);
                });
            }
        });
    });
}
