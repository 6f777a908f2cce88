//! A process of its own, since its allocator counts what any thread allocates: neither a training step nor a prediction does,
//! on any thread, since shapes, kernels and memory were fixed when the plan was made.

use foldgrad::autodiff::gradients;
use foldgrad::exec::{BLOCK, Executable, Options};
use foldgrad::ir::{Bindings, Symbol};
use foldgrad::nn::Mode;
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Tensor, pass};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fewest allocations, by any thread of the process, in 50 rounds out of 8 tries.
///
/// A helper that the system lets run late allocates once, when it first comes (its own data, faer's packing buffer). What
/// a round allocates is in every try.
fn allocations(mut round: impl FnMut()) -> usize {
    (0..50).for_each(|_| round());
    let tries = (0..8).map(|_| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..50).for_each(|_| round());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    tries.min().unwrap()
}

// One test only: the counter belongs to the whole process.
#[test]
fn a_step_and_a_prediction_allocate_nothing() {
    for threads in [1, 2, 4] {
        training(threads);
        prediction(threads);
    }
    // The counter sees what helpers do.
    let counted = allocations(|| drop(std::thread::spawn(|| Box::new(1)).join().unwrap()));
    assert!(counted >= 50, "{counted}");
}

fn training(threads: usize) {
    let model = tutorial(BatchNorm::Before).unwrap();
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["batch".into(), foldgrad::ir::Dim::Known(28), foldgrad::ir::Dim::Known(28)]);
    let y = g.input("y", DType::I32, ["batch"]);
    let applied = model.apply(&g, Mode::Training, DType::F32, &[x]).unwrap();
    let loss = applied.outputs[0].log().mean_all() + y.cast(DType::F32).mean_all();
    let wrt: Vec<_> = applied.parameters.values().copied().collect();
    for (parameter, gradient) in wrt.iter().zip(gradients(&[loss], &wrt).unwrap()) {
        g.update(*parameter, *parameter - gradient * 1e-3);
    }
    applied.carry_states();
    g.output("loss", loss);
    let (bindings, options) = (Bindings::from([(Symbol::new("batch"), 32)]), Options::default().threads(threads));
    let mut run = Executable::with(g.finish().unwrap(), &bindings, &options).unwrap();
    run.guard("loss").unwrap();
    run.guard_updates(true);
    let (x, y) = (Tensor::full(DType::F32, [32, 28, 28], 0.5), Tensor::zeros(DType::I32, [32]));
    let values = model.initial_values(0);
    let mut states: Vec<Tensor> = run.plan().states().iter().map(|port| values[&port.name].clone()).collect();
    let counted = allocations(|| run.run(&[&x, &y], &mut states).unwrap());
    assert_eq!(counted, 0, "training with {threads} threads");
}

fn prediction(threads: usize) {
    let model = tutorial(BatchNorm::Before).unwrap();
    let folded = pass::fold(&model.graph(Mode::Inference, DType::F32).unwrap(), &model.initial_values(0)).unwrap();
    let predictor = folded.predictor(&Options::default().threads(threads)).unwrap();
    for rows in [1, 32, 2 * BLOCK + 3] {
        let x = Tensor::full(DType::F32, [rows, 28, 28], 0.5);
        let mut outputs = [Tensor::zeros(DType::F32, [rows, 10])];
        let counted = allocations(|| predictor.predict_into(&[&x], &mut outputs).unwrap());
        assert_eq!(counted, 0, "{rows} rows with {threads} threads");
    }
}
