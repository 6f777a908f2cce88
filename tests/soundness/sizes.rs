//! Sizes at the ends of what a number holds: an error, or memory that suffices.

use super::{compiled, sized};
use foldgrad::exec::{Executable, Predictor};
use foldgrad::ir::{Bindings, Dim, Shape, TensorError};
use foldgrad::train::Samples;
use foldgrad::{Builder, DType, Tensor};

/// What becomes of `x + x`: the bytes of the arena, or an error.
fn added(sizes: &[usize], dtype: DType) -> Result<usize, String> {
    let g = Builder::new();
    let x = g.input("x", dtype, Shape::new(sizes.to_vec()));
    g.output("y", x + x);
    let graph = g.finish().map_err(|errors| errors.to_string())?;
    let run = Executable::new(graph, &Bindings::new()).map_err(|error| error.to_string())?;
    Ok(run.plan().arena_bytes())
}

#[test]
fn a_shape_that_cannot_be_addressed_is_an_error() {
    for sizes in [
        vec![1 << 33, 1 << 33],
        vec![(1 << 32) + 1, (1 << 32) - 1],
        vec![3, 6148914691236517206],
        vec![1 << 62],
        vec![(1 << 62) + 1],
        vec![1 << 61, 2],
        vec![usize::MAX],
        vec![isize::MAX as usize],
        vec![2; 64],
        vec![2; 63],
    ] {
        for dtype in [DType::F32, DType::F64, DType::I32] {
            assert!(added(&sizes, dtype).is_err(), "{sizes:?}");
        }
    }
}

#[test]
fn a_shape_without_elements_needs_no_memory_or_is_an_error() {
    for sizes in [vec![0], vec![usize::MAX, 0], vec![0, usize::MAX, usize::MAX], vec![1 << 60, 1 << 4, 0]] {
        if let Ok(bytes) = added(&sizes, DType::F64) {
            assert!(bytes < 1 << 12, "{sizes:?}: {bytes}");
        }
    }
}

#[test]
fn a_batch_that_cannot_be_addressed_is_an_error() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["n".into(), Dim::Known(784)]);
    g.output("loss", x.dense(g.parameter("w", DType::F32, [784usize, 10]), None).softmax(1).mean_all());
    let graph = g.finish().unwrap();
    for n in [1 << 62, usize::MAX, usize::MAX / 2, usize::MAX / 4 + 1, usize::MAX / 1024 + 1] {
        assert!(Executable::new(graph.clone(), &sized(n)).is_err(), "{n}");
    }
    for n in [0, 1, 2] {
        let mut run = compiled(graph.clone(), n);
        run.run(&[&Tensor::zeros(DType::F32, [n, 784])], &mut [Tensor::zeros(DType::F32, [784, 10])]).unwrap();
        let loss = run.scalar_output(0).unwrap();
        assert!(if n == 0 { loss.is_nan() } else { (loss - 0.1).abs() < 1e-6 }, "{n}: {loss}");
    }
}

#[test]
fn a_scalar_that_is_repeated_without_end_is_an_error() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, Shape::scalar());
    let y = x.broadcast_to(Shape::new([Dim::symbol("n"), Dim::Known(784)]));
    g.output("y", y.sum(&[0, 1]));
    let graph = g.finish().unwrap();
    for n in [1 << 62, usize::MAX, usize::MAX / 784 + 1, usize::MAX / 2] {
        assert!(Executable::new(graph.clone(), &sized(n)).is_err(), "{n}");
    }
}

#[test]
fn a_prediction_wants_rows_that_are_there() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["n".into(), Dim::Known(0)]);
    let b = g.input("b", DType::F32, ["n"]);
    g.output("y", x.sum(&[1]) + b);
    let p = Predictor::new(g.finish().unwrap(), [], &super::with_threads(2)).unwrap();
    // Rows that hold nothing may be any number; what is computed from them may not.
    let endless = Tensor::zeros(DType::F32, [usize::MAX, 0]);
    assert!(p.predict(&[&endless, &Tensor::vector(vec![1.0f32])]).is_err());
    let y = p.predict(&[&Tensor::zeros(DType::F32, [3, 0]), &Tensor::vector(vec![1.0f32; 3])]).unwrap();
    assert_eq!(y[0].to_f64(), [1.0; 3]);
}

#[test]
fn a_prediction_that_no_memory_can_hold_is_an_error() {
    // Rows of nothing cost nothing, but the result has an element for each.
    let g = Builder::new();
    g.output("y", g.input("x", DType::F32, ["n".into(), Dim::Known(0)]).sum(&[1]));
    let p = Predictor::new(g.finish().unwrap(), [], &super::with_threads(2)).unwrap();
    for rows in [1 << 50, 1 << 61, 1 << 62, usize::MAX] {
        let error = p.predict(&[&Tensor::zeros(DType::F32, [rows, 0])]).unwrap_err().to_string();
        assert!(error.contains("the output `y` has shape"), "{error}");
    }
    assert_eq!(p.predict(&[&Tensor::zeros(DType::F32, [3, 0])]).unwrap()[0].to_f64(), [0.0; 3]);
}

#[test]
fn examples_are_no_more_than_batches_can_name() {
    for (rows, fits) in [(1 << 20, true), (u32::MAX as usize, true), (1 << 32, false), (usize::MAX, false)] {
        assert_eq!(Samples::new(Tensor::zeros(DType::F32, [rows, 0])).is_ok(), fits, "{rows}");
    }
}

#[test]
fn a_tensor_larger_than_its_buffer_is_an_error() {
    for shape in [vec![1 << 40], vec![1 << 62], vec![1 << 20, 1 << 20]] {
        let expected = shape.iter().product();
        let wrong = Err(TensorError::Length { shape: shape.clone(), expected, found: 1 });
        assert_eq!(Tensor::new(shape.clone(), vec![0f32; 1]), wrong);
        assert_eq!(Tensor::from_f64(DType::F32, shape, [0.0]), wrong);
    }
}
