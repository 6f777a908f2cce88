//! A kernel that panics in a prediction costs that one call: the executable goes, and later calls are answered.

use super::*;
use crate::exec::team::without_hanging;
use crate::ir::{Builder, DType};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn predictor(threads: usize) -> Predictor {
    let g = Builder::new();
    let (x, w) = (g.input("x", DType::F32, ["n".into(), Dim::Known(8)]), g.parameter("w", DType::F32, [8, 8]));
    g.output("y", x.dot(w).relu().dot(w));
    let w = Tensor::from_f64(DType::F32, [8, 8], (0..64).map(f64::from)).unwrap();
    let options = Options::default().threads(threads);
    Predictor::new(g.finish().unwrap(), [("w".to_owned(), w)], &options).unwrap()
}

/// Makes the next run of as many idle executables panic.
fn rig(predictor: &Predictor, key: [usize; 2], count: usize) {
    if count > 0 {
        let rig_one = |run: &mut Executable| {
            run.trip = Some(|_, _, _| resume_unwind(Box::new("a kernel")));
            rig(predictor, key, count - 1);
        };
        predictor.with(key[0], key[1], rig_one).unwrap();
    }
}

#[test]
fn a_prediction_that_panics_costs_that_call_only() {
    without_hanging(|| {
        for threads in [1, 2, 4] {
            let predictor = predictor(threads);
            let large = BLOCK * threads + 1;
            for (rows, key) in [(1, [1, threads]), (37, [37, threads]), (large, [BLOCK, 1]), (large, [1, 1])] {
                let x = Tensor::full(DType::F32, [rows, 8], 0.25);
                let right = predictor.predict(&[&x]).unwrap();
                for _ in 0..20 {
                    // As many as a call takes at once: it cannot go by them.
                    rig(&predictor, key, if key == [BLOCK, 1] { threads + 1 } else { 1 });
                    let mut into = [Tensor::zeros(DType::F32, [rows, 8])];
                    let outcome = catch_unwind(AssertUnwindSafe(|| predictor.predict_into(&[&x], &mut into)));
                    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"a kernel"), "{rows} rows");
                    // Those that were rigged and not asked are not to be met later.
                    while predictor.idle.with(key, || Err(()), |run| run.trip.is_some()) == Ok(true) {
                        let spent = catch_unwind(AssertUnwindSafe(|| {
                            predictor.idle.with(key, || Err(()), |_| -> () { resume_unwind(Box::new(0)) })
                        }));
                        assert!(spent.is_err());
                    }
                    assert_eq!(predictor.predict(&[&x]).unwrap(), right);
                }
            }
        }
    });
}
