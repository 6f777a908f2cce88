//! An output can be read once a run has written it, and only then.

use super::{compiled, scale, sized, with_threads};
use foldgrad::exec::{Executable, RunError};
use foldgrad::ir::Bindings;
use foldgrad::{Builder, DType, Graph, Tensor};

/// A loss, and a mask of what follows from the state's next value: memory that other values had before.
fn guarded() -> Graph {
    let g = Builder::new();
    let x = g.input("x", DType::F32, [4096usize]);
    let s = g.state("s", DType::F32, [4096usize]);
    let t = (x + 1.0).exp();
    let u = t.reshape([64usize, 64]).dot(t.reshape([64usize, 64]));
    g.output("loss", u.mean_all());
    let next = s + x.relu();
    g.update(s, next);
    g.output("next_positive", next.greater(0.5));
    g.finish().unwrap()
}

fn nothing_to_read(run: &Executable) {
    for index in 0..run.plan().outputs().len() {
        assert!(run.output::<f32>(index).is_none() && run.output::<bool>(index).is_none());
        assert!(run.output_tensor(index).is_none() && run.scalar_output(index).is_none());
    }
}

#[test]
fn there_is_nothing_to_read_before_the_first_run() {
    for threads in [1, 2, 8] {
        let options = with_threads(threads);
        nothing_to_read(&Executable::with(guarded(), &Bindings::new(), &options).unwrap());
        nothing_to_read(&Executable::with(scale(), &sized(0), &options).unwrap());
    }
}

#[test]
fn there_is_nothing_to_read_after_a_run_that_stopped() {
    for threads in [1, 2, 8] {
        let mut run = Executable::with(guarded(), &Bindings::new(), &with_threads(threads)).unwrap();
        run.guard("loss").unwrap();
        let mut states = [Tensor::full(DType::F32, [4096], 1.0)];
        let good = Tensor::full(DType::F32, [4096], 0.37);
        let mut bad = good.clone();
        bad.as_mut_slice::<f32>().unwrap()[5] = f32::NAN;
        for _ in 0..3 {
            assert!(matches!(run.run(&[&bad], &mut states), Err(RunError::NotFinite { .. })));
            assert_eq!(states[0], Tensor::full(DType::F32, [4096], 1.0));
            nothing_to_read(&run);
        }
        // A run that ends well has outputs again, and only ones that are written.
        run.run(&[&good], &mut states).unwrap();
        assert_eq!(run.output::<bool>(1).unwrap(), [true; 4096]);
        assert!(run.scalar_output(0).unwrap().is_finite());
        assert!(run.run(&[&bad], &mut states).is_err());
        nothing_to_read(&run);
    }
}

#[test]
fn a_run_that_was_refused_leaves_what_was_there() {
    let mut run = compiled(scale(), 2);
    run.run(&[&Tensor::vector(vec![1.0f32, -1.0])], &mut []).unwrap();
    assert!(run.run(&[], &mut []).is_err());
    assert!(run.run_shared(&[&Tensor::vector(vec![1.0f32])], &[]).is_err());
    assert!(run.run_held(&[&Tensor::vector(vec![1.0f32, -1.0])]).is_err());
    assert_eq!(run.output::<f32>(0), Some(&[2.0f32, 0.0][..]));
}

#[test]
fn an_output_is_read_as_what_it_is() {
    let g = Builder::new();
    let x = g.input("x", DType::F64, ["n"]);
    g.output("f64", x + 0.0);
    g.output("f32", x.cast(DType::F32));
    g.output("i32", x.cast(DType::I32));
    g.output("bool", x.greater(0.5));
    let mut run = compiled(g.finish().unwrap(), 3);
    run.run(&[&Tensor::vector(vec![f64::from_bits(0x4141_4141_4141), 1.0, -7.0])], &mut []).unwrap();
    for index in 0..5 {
        let found = [
            run.output::<f64>(index).is_some(),
            run.output::<f32>(index).is_some(),
            run.output::<i32>(index).is_some(),
            run.output::<bool>(index).is_some(),
        ];
        assert_eq!(found, std::array::from_fn(|at| at == index));
        assert_eq!(run.scalar_output(index), None, "there are three elements");
    }
    assert_eq!(run.output::<bool>(3), Some(&[false, true, false][..]));
    assert!(run.output::<f32>(usize::MAX).is_none() && run.output_tensor(usize::MAX).is_none());
}

#[test]
fn outputs_are_there_when_inputs_are_gone() {
    // What is given out as it came in: an input, a parameter, a constant, a view; and one value under two names.
    let g = Builder::new();
    let (x, w) = (g.input("x", DType::F32, [4]), g.parameter("w", DType::F32, [4]));
    for (name, value) in
        [("x", x), ("again", x), ("w", w), ("part", x.slice(0, 1..3)), ("c", g.constant(Tensor::vector(vec![9i32])))]
    {
        g.output(name, value);
    }
    g.update(w, w + 1.0);
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::new()).unwrap();
    {
        let x = Tensor::vector(vec![1.0f32, 2.0, 3.0, 4.0]);
        let mut states = [Tensor::full(DType::F32, [4], 5.0)];
        run.run(&[&x], &mut states).unwrap();
        assert_eq!(states[0].to_f64(), [6.0; 4]);
    }
    let _over = (vec![-1.0f32; 4], vec![-1.0f32; 4]);
    let all: Vec<Vec<f64>> = (0..5).map(|index| run.output_tensor(index).unwrap().to_f64()).collect();
    let x = vec![1.0, 2.0, 3.0, 4.0];
    assert_eq!(all, [x.clone(), x, vec![5.0; 4], vec![2.0, 3.0], vec![9.0]]);
}
