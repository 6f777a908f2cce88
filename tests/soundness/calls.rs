//! Calls with the wrong tensors: refused before anything is read or written.

use super::{compiled, scale, sized, with_threads};
use foldgrad::exec::{Executable, Options, PredictError, Predictor, RunError};
use foldgrad::ir::{Bindings, Dim};
use foldgrad::nn::{Dense, Mode, Sequential};
use foldgrad::{Builder, DType, Tensor, pass};

#[test]
fn as_many_tensors_as_there_are_inputs() {
    let g = Builder::new();
    let (x, s) = (g.input("x", DType::F32, ["n"]), g.state("s", DType::F32, ["n"]));
    g.output("y", x * s);
    g.update(s, s + x);
    let mut run = compiled(g.finish().unwrap(), 3);
    let t = Tensor::zeros(DType::F32, [3]);
    for feeds in [vec![], vec![&t, &t], vec![&t; 9]] {
        assert!(matches!(run.run(&feeds, &mut [t.clone()]), Err(RunError::Count { .. })));
    }
    for states in [0, 2, 9] {
        assert!(matches!(run.run(&[&t], &mut vec![t.clone(); states]), Err(RunError::Count { .. })));
    }
    run.run(&[&t], &mut [t.clone()]).unwrap();
}

#[test]
fn one_tensor_may_be_several_inputs() {
    let g = Builder::new();
    let (a, b, w) =
        (g.input("a", DType::F32, ["n"]), g.input("b", DType::F32, ["n"]), g.parameter("w", DType::F32, ["n"]));
    g.output("y", a * 2.0 + b - w);
    let mut run = compiled(g.finish().unwrap(), 700);
    let t = Tensor::full(DType::F32, [700], 3.0);
    run.run_shared(&[&t, &t], &[&t]).unwrap();
    assert_eq!(run.output::<f32>(0).unwrap(), [6.0; 700]);
}

#[test]
fn two_executables_share_weights_and_write_none() {
    let g = Builder::new();
    let (x, w) = (g.input("x", DType::F32, ["n"]), g.parameter("w", DType::F32, ["n"]));
    g.output("y", x * w);
    let graph = g.finish().unwrap();
    let w = Tensor::full(DType::F32, [1000], 3.0);
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (graph, w) = (graph.clone(), &w);
            scope.spawn(move || {
                let mut run = Executable::with(graph, &sized(1000), &with_threads(2)).unwrap();
                let x = Tensor::full(DType::F32, [1000], f64::from(at));
                for _ in 0..50 {
                    run.run_shared(&[&x], &[w]).unwrap();
                }
                assert_eq!(run.output::<f32>(0).unwrap(), [3.0 * at as f32; 1000]);
            });
        }
    });
    assert_eq!(w, Tensor::full(DType::F32, [1000], 3.0));
}

#[test]
fn results_that_are_one_value_are_each_written() {
    // One value under two names, an input, a weight and a constant as results, in blocks of rows and not.
    let g = Builder::new();
    let x = g.input("x", DType::F32, ["n".into(), Dim::Known(3)]);
    let y = x * 2.0;
    for (name, value) in [("y", y), ("again", y), ("x", x), ("more", y + 1.0)] {
        g.output(name, value);
    }
    let p = Predictor::new(g.finish().unwrap(), [], &with_threads(2)).unwrap();
    for rows in [1, 5, 128, 257, 1000] {
        let x = Tensor::from_f64(DType::F32, [rows, 3], (0..3 * rows).map(|i| i as f64)).unwrap();
        let mut out: Vec<Tensor> = (0..4).map(|_| Tensor::full(DType::F32, [rows, 3], -1.0)).collect();
        p.predict_into(&[&x], &mut out).unwrap();
        let of = |f: fn(f64) -> f64| x.to_f64().into_iter().map(f).collect::<Vec<_>>();
        let expected = [of(|v| 2.0 * v), of(|v| 2.0 * v), of(|v| v), of(|v| 2.0 * v + 1.0)];
        assert!(out.iter().zip(expected).all(|(out, expected)| out.to_f64() == expected), "{rows} rows");
        assert!(p.predict_into(&[&x], &mut out[..3]).is_err() && p.predict_into(&[], &mut out).is_err());
    }
}

#[test]
fn inputs_of_different_numbers_of_rows_are_refused() {
    let g = Builder::new();
    let (a, b) = (g.input("a", DType::F32, ["n".into(), Dim::Known(2)]), g.input("b", DType::F32, ["n"]));
    g.output("y", a.sum(&[1]) + b);
    let p = Predictor::new(g.finish().unwrap(), [], &with_threads(2)).unwrap();
    for (a, b) in [(1000, 999), (999, 1000), (1, 1000), (1000, 1), (0, 0), (0, 5), (5, 0)] {
        let (a, b) = (Tensor::zeros(DType::F32, [a, 2]), Tensor::zeros(DType::F32, [b]));
        let error = p.predict(&[&a, &b]).unwrap_err();
        assert!(matches!(error, PredictError::Rows { .. } | PredictError::Empty { .. }), "{error}");
    }
}

#[test]
fn folded_weights_that_were_changed_are_looked_at_again() {
    let model = Sequential::new([4]).add(Dense::new(3)).build().unwrap();
    let graph = model.graph(Mode::Inference, DType::F32).unwrap();
    let folded = pass::fold(&graph, &model.initial_values(0)).unwrap();
    for wrong in [Tensor::zeros(DType::F32, [12]), Tensor::zeros(DType::F64, [4, 3]), Tensor::vector(vec![0.0f32])] {
        let mut folded = folded.clone();
        *folded.weights.get_mut("dense/kernel").unwrap() = wrong;
        let error = folded.predictor(&Options::default()).unwrap_err();
        assert!(matches!(error, PredictError::Weight { ref name, .. } if name == "dense/kernel"), "{error}");
    }
    let mut folded = folded;
    folded.weights.remove("dense/bias");
    assert!(matches!(folded.predictor(&Options::default()), Err(PredictError::Weight { .. })));
}

#[test]
fn a_symbol_without_a_size_is_an_error_and_others_are_left_aside() {
    assert!(Executable::new(scale(), &Bindings::new()).is_err());
    let mut bindings = sized(2);
    bindings.extend(Bindings::from([(foldgrad::ir::Symbol::new("m"), usize::MAX)]));
    let mut run = Executable::new(scale(), &bindings).unwrap();
    run.run(&[&Tensor::vector(vec![1.0f32, 2.0])], &mut []).unwrap();
    assert_eq!(run.output::<f32>(0), Some(&[2.0f32, 4.0][..]));
}

#[test]
fn an_index_from_data_reaches_no_memory_of_others() {
    let g = Builder::new();
    let (x, at) = (g.input("x", DType::F32, [4, 5]), g.input("at", DType::I32, [4, 3]));
    g.output("taken", x.take_along_axis(at, 1));
    g.output("hot", g.input("class", DType::I32, [6]).one_hot(3, DType::F32));
    let mut run = Executable::new(g.finish().unwrap(), &Bindings::new()).unwrap();
    let x = Tensor::full(DType::F32, [4, 5], 7.0);
    let order: Vec<String> = run.plan().feeds().iter().map(|port| port.name.clone()).collect();
    for wild in [-1, 5, i32::MIN, i32::MAX, 1 << 30, -(1 << 30)] {
        let at = Tensor::new([4, 3], [vec![wild; 6], vec![0; 6]].concat()).unwrap();
        let class = Tensor::vector(vec![wild, 0, 1, 2, wild, 3]);
        let feeds: Vec<&Tensor> = order
            .iter()
            .map(|name| match name.as_str() {
                "x" => &x,
                "at" => &at,
                _ => &class,
            })
            .collect();
        run.run(&feeds, &mut []).unwrap();
        let taken = run.output::<f32>(0).unwrap();
        assert_eq!(taken[6..], [7.0; 6]);
        // Out of range, the law says 0 or NaN, and nothing else.
        assert!(taken[..6].iter().all(|value| *value == 0.0 || value.is_nan()), "{wild}: {taken:?}");
        let hot = run.output::<f32>(1).unwrap();
        assert_eq!(hot[3..12], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert!(hot[..3].iter().chain(&hot[15..]).all(|&value| value == 0.0), "{wild}: {hot:?}");
    }
}
