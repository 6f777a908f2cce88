//! A tensor has as many elements as its shape says, of the type that it says, whatever is done with it.

use super::{compiled, scale, sized};
use foldgrad::exec::{Executable, Options, Predictor, RunError};
use foldgrad::ir::{Bindings, Dim, TensorData, TensorDataMut, TensorError};
use foldgrad::nn::{Dense, Sequential};
use foldgrad::train::{Loss, Samples, Sgd, Trainer};
use foldgrad::{Builder, DType, Tensor};

const DTYPES: [DType; 4] = [DType::F32, DType::F64, DType::I32, DType::Bool];

fn data(dtype: DType, len: usize) -> TensorData {
    Tensor::full(dtype, [len], 1.0).into_data()
}

#[test]
fn a_buffer_of_another_length_makes_no_tensor() {
    for dtype in DTYPES {
        for (shape, expected) in [(vec![], 1), (vec![0], 0), (vec![5], 5), (vec![2, 3], 6), (vec![4, 0, 9], 0)] {
            for found in 0..8 {
                let made = Tensor::from_data(shape.clone(), data(dtype, found));
                match made {
                    Ok(tensor) => {
                        assert_eq!((tensor.len(), tensor.dtype(), found), (expected, dtype, expected));
                        assert_eq!(tensor.shape(), shape);
                    }
                    Err(error) => {
                        assert_ne!(found, expected);
                        assert_eq!(error, TensorError::Length { shape: shape.clone(), expected, found });
                    }
                }
            }
        }
    }
}

#[test]
fn a_shape_whose_product_wraps_makes_no_tensor() {
    for shape in [
        vec![usize::MAX, 2],
        vec![1 << 32, 1 << 32],
        vec![1 << 63, 2],
        vec![3, 6148914691236517206],
        vec![2; 64],
        vec![0, usize::MAX, 2],
        vec![1 << 62, 4, 0],
    ] {
        // Each wraps to a small number.
        let wrapped = shape.iter().fold(1usize, |product, &size| product.wrapping_mul(size)) % 16;
        let wrong = Err(TensorError::TooLarge { shape: shape.clone() });
        assert_eq!(Tensor::new(shape.clone(), vec![0f32; wrapped]), wrong);
        assert_eq!(Tensor::from_data(shape.clone(), data(DType::Bool, wrapped)), wrong);
        assert_eq!(Tensor::from_f64(DType::I32, shape.clone(), vec![0.0; wrapped]), wrong);
        assert_eq!(Tensor::vector(vec![0f32; wrapped]).reshape(shape.clone()), wrong);
    }
}

#[test]
fn elements_are_written_where_they_are() {
    for dtype in DTYPES {
        let mut t = Tensor::zeros(dtype, [2, 3]);
        match t.data_mut() {
            TensorDataMut::F32(data) => data.fill(1.0),
            TensorDataMut::F64(data) => data.fill(1.0),
            TensorDataMut::I32(data) => data.fill(1),
            TensorDataMut::Bool(data) => data.fill(true),
        }
        assert_eq!((t.shape(), t.dtype(), t.len()), (&[2, 3][..], dtype, 6));
        assert_eq!(t.to_f64(), [1.0; 6]);
        let slices = [t.as_mut_slice::<f32>().is_some(), t.as_mut_slice::<f64>().is_some()];
        assert_eq!(slices, [dtype == DType::F32, dtype == DType::F64]);
        let slices = [t.as_mut_slice::<i32>().is_some(), t.as_mut_slice::<bool>().is_some()];
        assert_eq!(slices, [dtype == DType::I32, dtype == DType::Bool]);
        assert_eq!(t.into_data().len(), 6);
    }
}

#[test]
fn slices_of_two_tensors_swap_elements_and_not_lengths() {
    let (mut long, mut short) = (Tensor::zeros(DType::F32, [1024]), Tensor::full(DType::F32, [4], 3.0));
    if let (TensorDataMut::F32(mut a), TensorDataMut::F32(mut b)) = (long.data_mut(), short.data_mut()) {
        // The borrows change places, the tensors do not.
        std::mem::swap(&mut a, &mut b);
        a[0] = 5.0;
    }
    assert_eq!((long.len(), short.len()), (1024, 4));
    assert_eq!(short.to_f64(), [5.0, 3.0, 3.0, 3.0]);
}

#[test]
fn a_feed_that_has_become_another_tensor_is_refused() {
    let mut run = compiled(scale(), 1 << 20);
    let mut x = Tensor::zeros(DType::F32, [1 << 20]);
    run.run(&[&x], &mut []).unwrap();
    for other in [Tensor::vector::<f32>(vec![]), Tensor::vector(vec![1.0f32]), Tensor::zeros(DType::F64, [1 << 20])] {
        x = other;
        assert!(matches!(run.run(&[&x], &mut []), Err(RunError::Type { .. })));
    }
    // Same length, another shape.
    let square = Tensor::zeros(DType::F32, [1 << 10, 1 << 10]);
    assert!(matches!(run.run(&[&square], &mut []), Err(RunError::Type { .. })));
}

#[test]
fn a_state_that_has_become_another_tensor_is_refused_and_not_written() {
    let g = Builder::new();
    let c = g.state("c", DType::F32, ["n"]);
    g.update(c, c + 1.0);
    let graph = g.finish().unwrap();
    for options in [Options::default(), super::holding(2)] {
        let mut run = Executable::with(graph.clone(), &sized(4096), &options).unwrap();
        let mut states = [Tensor::zeros(DType::F32, [4096])];
        run.run(&[], &mut states).unwrap();
        for other in [Tensor::vector(vec![0.0f32]), Tensor::vector::<f32>(vec![]), Tensor::zeros(DType::I32, [4096])] {
            let mut states = [other.clone()];
            assert!(matches!(run.run(&[], &mut states), Err(RunError::Type { .. })));
            assert_eq!(states[0], other);
            if options.is_holding_state() {
                assert!(matches!(run.hold(&states), Err(RunError::Type { .. })));
                assert!(matches!(run.release(&mut states), Err(RunError::Type { .. })));
            }
        }
        run.run(&[], &mut states).unwrap();
        assert_eq!(states[0].to_f64(), vec![2.0; 4096]);
    }
}

#[test]
fn a_result_that_is_too_short_is_refused_and_not_written() {
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["n".into(), Dim::Known(4)]);
    g.output("y", x + 1.0);
    let p = Predictor::new(g.finish().unwrap(), [], &super::with_threads(2)).unwrap();
    let x = Tensor::zeros(DType::F32, [1024, 4]);
    for other in [vec![0], vec![1], vec![1023, 4], vec![1024, 3], vec![1024, 4, 1], vec![4096], vec![]] {
        let mut y = [Tensor::full(DType::F32, other, 9.0)];
        let neighbours: Vec<Vec<u32>> = (0..64).map(|_| vec![7; 1]).collect();
        assert!(p.predict_into(&[&x], &mut y).is_err());
        assert!(y[0].to_f64().iter().all(|&value| value == 9.0));
        assert!(neighbours.iter().all(|value| value[0] == 7));
    }
    let mut y = [Tensor::zeros(DType::F32, [1024, 4])];
    p.predict_into(&[&x], &mut y).unwrap();
    assert_eq!(y[0], Tensor::full(DType::F32, [1024, 4], 1.0));
}

#[test]
fn a_constant_has_the_elements_of_its_tensor() {
    let g = Builder::new();
    let mut t = Tensor::zeros(DType::F32, [1 << 16]);
    if let TensorDataMut::F32(data) = t.data_mut() {
        data[(1 << 16) - 1] = 2.0;
    }
    let c = g.constant(t.clone());
    // The tensor is the caller's again; the constant is what it was.
    t = Tensor::vector(vec![1.0f32]);
    let x = g.input("x", DType::F32, [1usize << 16]);
    g.output("y", x + c);
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::new()).unwrap();
    run.run(&[&Tensor::zeros(DType::F32, [1 << 16])], &mut []).unwrap();
    let y = run.output::<f32>(0).unwrap();
    assert_eq!((y.len(), y[0], y[(1 << 16) - 1], t.len()), (1 << 16, 0.0, 2.0, 1));
}

#[test]
fn a_variable_takes_no_value_of_another_type() {
    let model = Sequential::new([8]).add(Dense::new(3)).build().unwrap();
    let mut trainer = Trainer::new(model, Sgd::new(0.1), Loss::SparseCategoricalCrossentropy).compile().unwrap();
    let before = trainer.value("dense/kernel").unwrap().clone();
    for wrong in [Tensor::zeros(DType::F32, [24]), Tensor::zeros(DType::F64, [8, 3]), Tensor::vector(vec![0.0f32])] {
        assert!(trainer.set_value("dense/kernel", wrong).is_err());
        assert_eq!(trainer.value("dense/kernel").unwrap(), &before);
    }
}

#[test]
fn samples_without_elements_are_no_examples() {
    use foldgrad::train::Examples;
    for shape in [vec![0], vec![0, 4], vec![0, usize::MAX]] {
        let empty = Samples::new(Tensor::zeros(DType::F32, shape.clone())).unwrap();
        assert!(Examples::new(empty, Samples::new(Tensor::vector::<i32>(vec![])).unwrap()).is_err(), "{shape:?}");
    }
    for shape in [vec![0usize], vec![usize::MAX, 2], vec![3, 0]] {
        assert!(Samples::bytes(vec![1, 2, 3], &shape, 255.0).is_err(), "{shape:?}");
    }
}
