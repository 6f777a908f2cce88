//! State that an executable holds: zeros before it is given any, and right in whatever order it is called.

use super::holding;
use foldgrad::exec::{Executable, Options, RunError};
use foldgrad::ir::Bindings;
use foldgrad::{Builder, DType, Graph, Tensor};

fn counter(dtype: DType, shape: &[usize]) -> Graph {
    let g = Builder::new();
    let count = g.state("count", dtype, shape);
    let one = g.constant(Tensor::full(dtype, shape, 1.0));
    g.output("before", count);
    g.update(count, count + one);
    g.finish().unwrap()
}

#[test]
fn before_it_is_given_any_state_is_zero() {
    for threads in [1, 2, 8] {
        for dtype in [DType::F32, DType::F64, DType::I32] {
            for shape in [vec![1], vec![], vec![4096], vec![0], vec![33, 7]] {
                let options = holding(threads);
                let mut run = Executable::with(counter(dtype, &shape), &Bindings::new(), &options).unwrap();
                for round in 0..3 {
                    run.run_held(&[]).unwrap();
                    let before = run.output_tensor(0).unwrap();
                    assert_eq!(before, Tensor::full(dtype, shape.clone(), f64::from(round)));
                }
                let mut states = [Tensor::zeros(dtype, shape.clone())];
                run.release(&mut states).unwrap();
                assert_eq!(states[0], Tensor::full(dtype, shape.clone(), 3.0));
            }
        }
    }
}

#[test]
fn a_mask_is_false_before_it_is_given() {
    let g = Builder::new();
    let seen = g.state("seen", DType::Bool, [300]);
    g.output("was", seen);
    g.update(seen, g.input("x", DType::F32, [300]).greater(0.0));
    let mut run = Executable::with(g.finish().unwrap(), &Bindings::new(), &holding(2)).unwrap();
    let x = Tensor::full(DType::F32, [300], 1.0);
    run.run_held(&[&x]).unwrap();
    assert_eq!(run.output::<bool>(0), Some(&[false; 300][..]));
    run.run_held(&[&x]).unwrap();
    assert_eq!(run.output::<bool>(0), Some(&[true; 300][..]));
}

#[test]
fn a_parameter_in_blocks_is_zero_before_it_is_given() {
    // Wide enough for a layout of its own.
    let g = Builder::new();
    let (x, w) = (g.input("x", DType::F32, [40, 300]), g.parameter("w", DType::F32, [300, 130]));
    let y = x.dot(w);
    g.output("y", y);
    g.update(w, w + x.transpose(&[1, 0]).dot(y + 1.0) * 0.001);
    let graph = g.finish().unwrap();
    let x = Tensor::full(DType::F32, [40, 300], 0.5);
    for threads in [1, 2, 3] {
        let mut plain = Executable::with(graph.clone(), &Bindings::new(), &super::with_threads(threads)).unwrap();
        let mut run = Executable::with(graph.clone(), &Bindings::new(), &holding(threads)).unwrap();
        let mut expected = [Tensor::zeros(DType::F32, [300, 130])];
        for _ in 0..3 {
            run.run_held(&[&x]).unwrap();
            plain.run(&[&x], &mut expected).unwrap();
        }
        let mut states = [Tensor::zeros(DType::F32, [300, 130])];
        run.release(&mut states).unwrap();
        assert_eq!(states, expected);
    }
}

#[test]
fn what_is_released_before_it_was_given_is_zero() {
    let mut run = Executable::with(counter(DType::F32, &[5]), &Bindings::new(), &holding(1)).unwrap();
    let mut states = [Tensor::full(DType::F32, [5], 8.0)];
    run.release(&mut states).unwrap();
    assert_eq!(states[0].to_f64(), [0.0; 5]);
}

#[test]
fn any_order_of_calls_does_what_each_says() {
    let mut seed = 11u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for holds_state in [false, true] {
        let options = Options::default().holds_state(holds_state).threads(2);
        let mut run = Executable::with(counter(DType::F32, &[100]), &Bindings::new(), &options).unwrap();
        // What the executable holds, and what the caller does.
        let (mut inside, mut outside) = (0.0, 3.0);
        let mut states = [Tensor::full(DType::F32, [100], outside)];
        for _ in 0..2000 {
            match random(6) {
                0 => {
                    run.run(&[], &mut states).unwrap();
                    outside += 1.0;
                    inside = if holds_state { outside } else { inside };
                }
                1 => match run.hold(&states) {
                    Ok(()) => inside = outside,
                    Err(error) => assert!(!holds_state && error == RunError::NotHolding),
                },
                2 => match run.run_held(&[]) {
                    Ok(()) => inside += 1.0,
                    Err(error) => assert!(!holds_state && error == RunError::NotHolding),
                },
                3 => match run.release(&mut states) {
                    Ok(()) => outside = inside,
                    Err(error) => assert!(!holds_state && error == RunError::NotHolding),
                },
                4 => {
                    let refused = run.run_shared(&[], &[&states[0]]).unwrap_err();
                    let expected = matches!(refused, RunError::Holding if holds_state)
                        || matches!(refused, RunError::Updates { .. } if !holds_state);
                    assert!(expected, "{refused}");
                }
                _ => run = std::thread::spawn(move || run).join().unwrap(),
            }
            assert_eq!(states[0].to_f64(), [outside; 100]);
        }
    }
}

#[test]
fn an_executable_that_moves_between_threads_takes_its_state_along() {
    let mut run = Executable::with(counter(DType::F64, &[64]), &Bindings::new(), &holding(2)).unwrap();
    for _ in 0..50 {
        run = std::thread::spawn(move || {
            run.run_held(&[]).unwrap();
            run
        })
        .join()
        .unwrap();
    }
    let mut states = [Tensor::zeros(DType::F64, [64])];
    run.release(&mut states).unwrap();
    assert_eq!(states[0].to_f64(), [50.0; 64]);
    // Two that were one graph hold apart.
    let mut other = Executable::with(counter(DType::F64, &[64]), &Bindings::new(), &holding(2)).unwrap();
    std::mem::swap(&mut run, &mut other);
    run.run_held(&[]).unwrap();
    run.release(&mut states).unwrap();
    assert_eq!(states[0].to_f64(), [1.0; 64]);
    other.release(&mut states).unwrap();
    assert_eq!(states[0].to_f64(), [50.0; 64]);
}
