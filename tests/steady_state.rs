//! A training step allocates nothing: shapes, kernels and memory were fixed when the plan was made.

use foldgrad::autodiff::gradients;
use foldgrad::exec::Executable;
use foldgrad::ir::{Bindings, Symbol};
use foldgrad::nn::Mode;
use foldgrad::zoo::{BatchNorm, tutorial};
use foldgrad::{Builder, DType, Tensor};
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

// One test only: the counter belongs to the whole process.
#[test]
fn a_training_step_allocates_nothing() {
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
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::from([(Symbol::new("batch"), 32)])).unwrap();
    run.guard("loss");
    let (x, y) = (Tensor::full(DType::F32, [32, 28, 28], 0.5), Tensor::zeros(DType::I32, [32]));
    let values = model.initial_values(0);
    let mut states: Vec<Tensor> = run.plan().states().iter().map(|port| values[&port.name].clone()).collect();
    // The first products let faer take its packing buffers.
    run.run(&[&x, &y], &mut states).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..50 {
        run.run(&[&x, &y], &mut states).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
