//! Gradients at the edge beyond the rows of the table: through masks, forward mode, to second order, and beside large terms.

use crate::common::points::{Function, derivative};
use crate::common::running::{SETS, options, run};
use foldgrad::autodiff::{OpRules, gradients, jvp};
use foldgrad::ir::OrderedMap;
use foldgrad::{Builder, DType, Expr, Tensor};

/// The functions with an infinite slope at 0, or at the place that they are shifted to.
const POLES: [(&str, Function); 8] = [
    ("sqrt", |_, x| x[0].sqrt()),
    ("rsqrt", |_, x| x[0].rsqrt()),
    ("log", |_, x| x[0].log()),
    ("log1p", |_, x| (x[0] - 1.0).log1p()),
    ("x^0.5", |_, x| x[0].pow(0.5)),
    ("x^−1", |_, x| x[0].pow(-1.0)),
    ("x^−2", |_, x| x[0].pow(-2.0)),
    ("sqrt of sqrt", |_, x| x[0].sqrt().sqrt()),
];

/// Where a mask leaves the pole out, it leaves nothing behind in the gradients of any order, and all else is as it was.
#[test]
fn what_a_mask_leaves_out_leaves_nothing_behind() {
    for (name, f) in POLES {
        for order in 1..=3 {
            let b = Builder::new();
            let (masked, plain) = (b.input("masked", DType::F64, [2]), b.input("plain", DType::F64, [1]));
            let (mut y, mut z) = (f(&b, &[masked]), f(&b, &[plain]));
            y = masked.greater(0.0).select(y, masked.zeros_like());
            for _ in 0..order {
                y = gradients(&[y.sum_all()], &[masked]).unwrap()[0];
                z = gradients(&[z.sum_all()], &[plain]).unwrap()[0];
            }
            b.output("masked", y);
            b.output("plain", z);
            let graph = b.finish().unwrap();
            let feeds = OrderedMap::from([
                ("masked".to_owned(), Tensor::vector(vec![0.0, 0.3])),
                ("plain".to_owned(), Tensor::vector(vec![0.3])),
            ]);
            for set in SETS {
                let found = run(&graph, &feeds, &options(set, 1, false));
                let (masked, plain) = (found["masked"].to_f64(), found["plain"].to_f64());
                assert_eq!(masked, [0.0, plain[0]], "{name}, derivative {order}, {set:?}");
                assert!(plain[0].is_finite() && plain[0] != 0.0, "{name}, derivative {order}");
            }
        }
    }
}

/// Forward mode comes from linearity in the cotangent: a rule that looked whether it is 0 would lose the tangent.
#[test]
fn forward_mode_sees_the_poles() {
    for (name, f) in POLES {
        let tangent = |at: f64, along: f64| {
            let b = Builder::new();
            let (x, v) = (b.input("x", DType::F64, [1]), b.input("v", DType::F64, [1]));
            b.output("t", jvp(f(&b, &[x]), &[x], &[v]).unwrap());
            let feeds = OrderedMap::from([
                ("x".to_owned(), Tensor::vector(vec![at])),
                ("v".to_owned(), Tensor::vector(vec![along])),
            ]);
            run(&b.finish().unwrap(), &feeds, &options(SETS[0], 1, false))["t"].to_f64()[0]
        };
        assert!(tangent(0.0, 1.0).is_infinite(), "{name}");
        assert_eq!(tangent(0.0, 0.0), 0.0, "{name}");
        let slope = derivative(&OpRules, 1, &[&[0.3]], f).unwrap()[0][0];
        assert!((tangent(0.3, 2.0) - 2.0 * slope).abs() <= 1e-14 * slope.abs(), "{name}");
    }
}

/// The gradient of what pads is the sum over the padding, however large what it surrounds: in every place of padding.
#[test]
fn small_cotangents_of_padding_survive_large_ones_beside_them() {
    let large: Vec<f64> = vec![1e8, -3.0, 1e8];
    for (low, high, interior) in [(1, 1, 0), (0, 2, 0), (2, 0, 0), (0, 0, 1), (1, 1, 1), (0, 0, 2), (3, 0, 2)] {
        for dtype in [DType::F32, DType::F64] {
            let b = Builder::new();
            let (x, value) = (b.input("x", dtype, [3]), b.input("value", dtype, foldgrad::ir::Shape::scalar()));
            let len = low + high + 3 + 2 * interior;
            let weights = b.input("weights", dtype, [len]);
            let loss = (x.pad(0, low, high, interior, value) * weights).sum_all();
            b.output("d", gradients(&[loss], &[value]).unwrap()[0]);
            let is_inside = |i: usize| i >= low && i < len - high && (i - low).is_multiple_of(interior + 1);
            let (mut of_x, mut expected) = (large.iter(), 0.0);
            let weights = (0..len).map(|i| match is_inside(i) {
                true => *of_x.next().unwrap(),
                false => {
                    expected += 1.0 + i as f64;
                    1.0 + i as f64
                }
            });
            let weights = Tensor::from_f64(dtype, [len], weights.collect::<Vec<_>>()).unwrap();
            let feeds = OrderedMap::from([
                ("x".to_owned(), Tensor::zeros(dtype, [3])),
                ("value".to_owned(), Tensor::zeros(dtype, [])),
                ("weights".to_owned(), weights),
            ]);
            let graph = b.finish().unwrap();
            for set in SETS {
                let found = run(&graph, &feeds, &options(set, 1, false))["d"].to_f64();
                assert_eq!(found, [expected], "{low}, {high}, {interior}, {dtype}, {set:?}");
            }
        }
    }
}

/// A NaN among many values reaches the gradient of each value that was compared with it, and of no other.
#[test]
fn over_a_nan_gradients_are_nan_in_its_group_alone() {
    let rows: &[f64] = &[1.0, f64::NAN, 2.0, 4.0, 3.0, 4.0];
    for (name, f, expected) in [
        ("reduce_max", (|_, x| x[0].reshape([2, 3]).reduce_max(&[1])) as Function, [0.5, 0.0, 0.5]),
        ("reduce_min", |_, x| x[0].reshape([2, 3]).reduce_min(&[1]), [0.0, 1.0, 0.0]),
    ] {
        let found = derivative(&OpRules, 1, &[rows], f).unwrap().remove(0);
        assert!(found[..3].iter().all(|d| d.is_nan()) && found[3..] == expected, "{name}: {found:?}");
    }
    for (name, f) in [
        ("max", (|_, x| x[0].max(x[1])) as Function),
        ("min", |_, x| x[0].min(x[1])),
        ("clamp", |_, x| x[0].clamp(x[1], 10.0)),
    ] {
        let found = derivative(&OpRules, 1, &[&[f64::NAN, 5.0, 1.0], &[1.0, f64::NAN, 2.0]], f).unwrap();
        for gradient in &found {
            assert!(gradient[0].is_nan() && gradient[1].is_nan() && gradient[2].is_finite(), "{name}: {found:?}");
        }
    }
}

/// Without ε, the mean and the variance of a constant channel keep their gradients, whatever γ is, channel by channel.
#[test]
fn statistics_of_a_constant_channel_have_gradients() {
    for (dtype, gamma) in [(DType::F64, 1.0), (DType::F64, -1e3), (DType::F32, 1.0), (DType::F32, 1e6)] {
        for (shape, axis) in [(vec![4usize, 9], 1), (vec![9, 4], 0), (vec![2, 9, 2], 1)] {
            let b = Builder::new();
            let x = b.input("x", dtype, shape.clone());
            let vector = |name: &str| b.input(name, dtype, [9]);
            let (gamma_in, beta, weights) = (vector("gamma"), vector("beta"), vector("weights"));
            let normed = x.batch_norm_train(gamma_in, beta, axis, 0.0);
            let (mean, var) = (normed.mean * weights, normed.var * weights);
            let with_y = mean.sum_all() + b.input("zero", dtype, [9]).along(axis, x).times(normed.y).sum_all();
            for (name, loss) in [("mean", mean.sum_all()), ("with y", with_y), ("var", var.sum_all())] {
                b.output(name, gradients(&[loss], &[x]).unwrap()[0]);
            }
            let graph = b.finish().unwrap();
            let len: usize = shape.iter().product();
            let inner: usize = shape[axis + 1..].iter().product();
            let channel = |i: usize| (i / inner % 9) as f64;
            let filled = |f: &dyn Fn(usize) -> f64, shape: Vec<usize>, len: usize| {
                Tensor::from_f64(dtype, shape, (0..len).map(f).collect::<Vec<_>>()).unwrap()
            };
            let feeds = OrderedMap::from([
                ("x".to_owned(), filled(&|i| channel(i) + 1.0, shape.clone(), len)),
                ("gamma".to_owned(), filled(&|_| gamma, vec![9], 9)),
                ("beta".to_owned(), filled(&|_| 0.5, vec![9], 9)),
                ("zero".to_owned(), filled(&|_| 0.0, vec![9], 9)),
                ("weights".to_owned(), filled(&|i| i as f64, vec![9], 9)),
            ]);
            let expected: Vec<f64> = (0..len).map(|i| channel(i) / 4.0).collect();
            for set in SETS {
                let found = run(&graph, &feeds, &options(set, 1, false));
                assert_eq!(found["mean"].to_f64(), expected, "{shape:?}, {dtype}, γ = {gamma}, {set:?}");
                assert_eq!(found["with y"].to_f64(), expected, "{shape:?}, {dtype}, γ = {gamma}, {set:?}");
                assert_eq!(found["var"].to_f64(), vec![0.0; len], "{shape:?}, {dtype}, γ = {gamma}, {set:?}");
            }
        }
    }
}

/// A row without a label of its own counts for nothing where its loss is masked, and shows where it is not.
#[test]
fn labels_out_of_range_show_or_are_masked() {
    let gradient = |masked: bool| {
        let b = Builder::new();
        let (x, labels) = (b.input("x", DType::F64, [3, 2]), b.input("labels", DType::I32, [3]));
        let losses = x.softmax_cross_entropy(labels);
        let counts: Expr<'_> = b.constant(Tensor::vector(vec![true, false, false]));
        let losses = if masked { counts.select(losses, losses.zeros_like()) } else { losses };
        b.output("loss", losses.sum_all());
        b.output("d", gradients(&[losses.sum_all()], &[x]).unwrap()[0]);
        let logits = Tensor::new([3, 2], vec![0.5, -0.5, 1.0, 2.0, 0.0, 3.0]).unwrap();
        let labels = Tensor::vector(vec![1i32, -1, 2]);
        let feeds = OrderedMap::from([("x".to_owned(), logits), ("labels".to_owned(), labels)]);
        let found = run(&b.finish().unwrap(), &feeds, &options(SETS[0], 1, false));
        (found["loss"].to_f64()[0], found["d"].to_f64())
    };
    let (loss, d) = gradient(true);
    assert!(loss.is_finite() && d[..2].iter().all(|d| d.is_finite() && *d != 0.0) && d[2..] == [0.0; 4], "{d:?}");
    let (loss, d) = gradient(false);
    assert!(loss.is_nan() && d[..2].iter().all(|d| d.is_finite()) && d[2..].iter().all(|d| d.is_nan()), "{d:?}");
}
