//! Batch statistics wherever the values lie: against means and variances of the same values without rounding.

use super::{Exact, unit};
use crate::common::running::{SETS, options, run, same};
use foldgrad::autodiff::gradients;
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::{Builder, DType, Graph, Tensor};

const EPS: f64 = 1e-3;

/// `[outer, channels, inner]` with the channels in the middle; `inner` is 1 where they come last.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: [usize; 3],
    mean: f64,
    deviation: f64,
    dtype: DType,
}

fn wave(at: usize) -> f64 {
    // Of mean 0 and deviation near 1.
    (at as f64 * 0.618_033_988_75).fract() * 3.4 - 1.7
}

fn rounded(dtype: DType, value: f64) -> f64 {
    if dtype == DType::F32 { f64::from(value as f32) } else { value }
}

/// What comes of a channel, without rounding: mean, variance, result; and by a cotangent of the result, `dγ` and `dx`.
struct Channel {
    mean: f64,
    var: f64,
    y: Vec<f64>,
    dgamma: f64,
    dx: Vec<f64>,
}

impl Channel {
    fn of(x: &[f64], dy: &[f64], gamma: f64, beta: f64) -> Channel {
        let n = x.len() as f64;
        // Differences from one of the values are exact where values lie close together.
        let first = x[0];
        let off = Exact::of(x.iter().map(|x| x - first)) / n;
        let centred: Vec<f64> = x.iter().map(|x| (x - first) - off).collect();
        let var = Exact::of(centred.iter().map(|c| c * c)) / n;
        let r = 1.0 / (var + EPS).sqrt();
        let dbeta = Exact::of(dy.iter().copied());
        let dgamma = Exact::of(dy.iter().zip(&centred).map(|(dy, c)| dy * c * r));
        let y = centred.iter().map(|c| gamma * c * r + beta).collect();
        let dx = dy.iter().zip(&centred).map(|(dy, c)| gamma * r * (dy - dbeta / n - c * r * dgamma / n)).collect();
        Channel { mean: first + off, var, y, dgamma, dx }
    }
}

impl Case {
    fn at(&self, c: usize) -> impl Iterator<Item = usize> + use<> {
        let [outer, channels, inner] = self.shape;
        (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * channels + c) * inner + i))
    }

    fn graph(&self) -> Graph {
        let g = Builder::new();
        let [outer, channels, inner] = self.shape;
        let (shape, axis) = if inner == 1 { (vec![outer, channels], 1) } else { (self.shape.to_vec(), 1) };
        let (x, dy) = (g.input("x", self.dtype, shape.clone()), g.input("dy", self.dtype, shape));
        let [gamma, beta] = ["gamma", "beta"].map(|name| g.input(name, self.dtype, [channels]));
        let normed = x.batch_norm_train(gamma, beta, axis, EPS);
        let slopes = gradients(&[(normed.y * dy).sum_all()], &[x, gamma, beta]).unwrap();
        let named = [("y", normed.y), ("mean", normed.mean), ("var", normed.var)];
        named.into_iter().for_each(|(name, value)| g.output(name, value));
        ["dx", "dgamma", "dbeta"].iter().zip(slopes).for_each(|(name, slope)| g.output(name, slope));
        g.finish().unwrap()
    }

    /// The largest errors, in units of what the values are made of.
    fn check(&self, sets: &[InstructionSet], threads: &[usize]) -> OrderedMap<&'static str, f64> {
        let [outer, channels, inner] = self.shape;
        let shape = if inner == 1 { vec![outer, channels] } else { self.shape.to_vec() };
        let len = outer * channels * inner;
        let fill =
            |f: &dyn Fn(usize) -> f64, len: usize| (0..len).map(|i| rounded(self.dtype, f(i))).collect::<Vec<_>>();
        let x = fill(&|i| self.mean * (1.0 + (i / inner % channels) as f64) + self.deviation * wave(i), len);
        let dy = fill(&|i| wave(i * 7 + 3) + 0.2, len);
        let gamma = fill(&|c| 1.5 - 0.25 * (c % 4) as f64, channels);
        let beta = fill(&|c| 0.1 * (c % 7) as f64, channels);
        let tensor =
            |values: &[f64], shape: &[usize]| Tensor::from_f64(self.dtype, shape, values.iter().copied()).unwrap();
        let feeds = OrderedMap::from([
            ("x".to_owned(), tensor(&x, &shape)),
            ("dy".to_owned(), tensor(&dy, &shape)),
            ("gamma".to_owned(), tensor(&gamma, &[channels])),
            ("beta".to_owned(), tensor(&beta, &[channels])),
        ]);
        let graph = self.graph();
        let mut most: OrderedMap<&'static str, f64> = OrderedMap::new();
        for &set in sets {
            let alone = run(&graph, &feeds, &options(set, 1, false));
            for &threads in threads {
                same(&format!("{self:?} {set:?}"), &alone, &run(&graph, &feeds, &options(set, threads, true))).unwrap();
            }
            let found: OrderedMap<&str, Vec<f64>> = alone.iter().map(|(name, t)| (name.as_str(), t.to_f64())).collect();
            for c in 0..channels {
                let [x, dy, y, dx] = [&x, &dy, &found["y"], &found["dx"]]
                    .map(|values| self.at(c).map(|at| values[at]).collect::<Vec<f64>>());
                let right = Channel::of(&x, &dy, gamma[c], beta[c]);
                let u = unit(self.dtype);
                let mut note = |name: &'static str, error: f64, scale: f64| {
                    let units = error / (scale * u);
                    let most = most.or_insert(name, 0.0);
                    *most = if units.is_nan() { f64::INFINITY } else { most.max(units) };
                };
                let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
                note("mean", (found["mean"][c] - right.mean).abs(), right.mean.abs().max(right.var.sqrt()));
                note("var", (found["var"][c] - right.var).abs(), right.var.max(EPS * 1e-3));
                let errors = |found: &[f64], right: &[f64]| {
                    found
                        .iter()
                        .zip(right)
                        .fold(0.0f64, |most, (a, b)| if (a - b).is_nan() { f64::NAN } else { most.max((a - b).abs()) })
                };
                note("y", errors(&y, &right.y), largest(&right.y).max(gamma[c]));
                let r = 1.0 / (right.var + EPS).sqrt();
                note("dx", errors(&dx, &right.dx), gamma[c] * r * largest(&dy));
                let sizes = dy.iter().zip(&x).map(|(dy, x)| (dy * (x - right.mean) * r).abs());
                note(
                    "dgamma",
                    (found["dgamma"][c] - right.dgamma).abs(),
                    Exact::of(sizes).max(1e-3 * Exact::of(dy.iter().map(|v| v.abs()))),
                );
                note(
                    "dbeta",
                    (found["dbeta"][c] - Exact::of(dy.iter().copied())).abs(),
                    Exact::of(dy.iter().map(|v| v.abs())),
                );
            }
        }
        for (name, &units) in &most {
            assert!(units <= 12.0, "{self:?}: `{name}` is off by {units:.1} units");
        }
        most
    }
}

fn for_all(shapes: &[[usize; 3]], places: &[(f64, f64)], sets: &[InstructionSet], threads: &[usize]) {
    let mut worst: OrderedMap<&'static str, f64> = OrderedMap::new();
    for &shape in shapes {
        for &(mean, deviation) in places {
            for dtype in [DType::F32, DType::F64] {
                for (name, units) in (Case { shape, mean, deviation, dtype }).check(sets, threads) {
                    let worst = worst.or_insert(name, 0.0);
                    *worst = worst.max(units);
                }
            }
        }
    }
    println!("{worst:.1?}");
}

/// Near 0; far from it; so far that only a few numbers lie within a deviation; and as far as 1e6 deviations.
const PLACES: [(f64, f64); 5] = [(0.0, 1.0), (3.0, 1.0), (1e5, 1.0), (1e5, 0.1), (-2e3, 2e-3)];

#[test]
fn statistics_do_not_depend_on_where_values_lie() {
    // Wide and narrow, channels last and not.
    let shapes = [[1000, 37, 1], [65, 40, 1], [130, 3, 1], [7, 3, 50], [100, 2, 3], [2, 5, 1]];
    for_all(&shapes, &PLACES, &SETS, &[1, 3]);
}

#[test]
fn statistics_are_shared_out_alike() {
    for_all(&[[150, 67, 1], [20, 9, 30]], &[(1e5, 0.1)], &SETS, &[1, 2, 3, 8]);
}

#[test]
fn a_hundred_thousand_rows_at_a_million_deviations() {
    for_all(&[[100_000, 2, 1], [50, 1, 2000]], &[(1e5, 0.1)], &[InstructionSet::Widest], &[1]);
}

#[test]
fn equal_values_have_themselves_as_mean_and_no_variance() {
    for dtype in [DType::F32, DType::F64] {
        for value in [100_000.1, 0.1, -7e-3, 3e18, 1e-20] {
            for (outer, channels, inner) in
                [(1, 3, 1), (7, 3, 1), (1000, 3, 1), (999, 40, 1), (33, 2, 31), (5003, 1, 1)]
            {
                let case = Case { shape: [outer, channels, inner], mean: 0.0, deviation: 0.0, dtype };
                let len = outer * channels * inner;
                let shape = if inner == 1 { vec![outer, channels] } else { vec![outer, channels, inner] };
                let full = |value: f64, shape: &[usize]| Tensor::full(dtype, shape.to_vec(), value);
                let feeds = OrderedMap::from([
                    ("x".to_owned(), full(value, &shape)),
                    ("dy".to_owned(), full(0.0, &shape)),
                    ("gamma".to_owned(), full(1.7, &[channels])),
                    ("beta".to_owned(), full(0.3, &[channels])),
                ]);
                for set in SETS {
                    let found = run(&case.graph(), &feeds, &options(set, 2, true));
                    let (value, beta) = (rounded(dtype, value), rounded(dtype, 0.3));
                    let what = format!("{dtype} {value} {:?} {set:?}", case.shape);
                    assert_eq!(found["mean"].to_f64(), vec![value; channels], "mean, {what}");
                    assert_eq!(found["var"].to_f64(), vec![0.0; channels], "variance, {what}");
                    assert_eq!(found["y"].to_f64(), vec![beta; len], "result, {what}");
                }
            }
        }
    }
}

/// With ε = 0 over equal values `1/√(v + ε)` is infinite, but the mean has a derivative and the variance one of 0.
#[test]
fn the_mean_of_equal_values_has_a_derivative_without_epsilon() {
    for dtype in [DType::F32, DType::F64] {
        for (shape, axis) in [(vec![8, 3], 1), (vec![8, 40], 1), (vec![2, 3, 4], 1)] {
            let g = Builder::new();
            let channels = shape[axis];
            let x = g.input("x", dtype, shape.clone());
            let [gamma, beta] = ["gamma", "beta"].map(|name| g.input(name, dtype, [channels]));
            let normed = x.batch_norm_train(gamma, beta, axis, 0.0);
            let slopes = gradients(&[(normed.mean + normed.var).sum_all()], &[x, gamma, beta]).unwrap();
            ["dx", "dgamma", "dbeta"].iter().zip(slopes).for_each(|(name, slope)| g.output(name, slope));
            let graph = g.finish().unwrap();
            // The first channel is constant, the others are not.
            let inner: usize = shape[axis + 1..].iter().product();
            let len: usize = shape.iter().product();
            let is_equal = |at: usize| (at / inner).is_multiple_of(channels);
            let values = (0..len).map(|at| if is_equal(at) { 4.0 } else { wave(at) });
            let feeds = OrderedMap::from([
                ("x".to_owned(), Tensor::from_f64(dtype, shape.clone(), values).unwrap()),
                ("gamma".to_owned(), Tensor::full(dtype, [channels], 1.5)),
                ("beta".to_owned(), Tensor::full(dtype, [channels], 0.5)),
            ]);
            for set in SETS {
                let found = run(&graph, &feeds, &options(set, 2, true));
                let dx = found["dx"].to_f64();
                let one = (0..len).filter(|&at| is_equal(at)).all(|at| dx[at] == 1.0 / 8.0);
                assert!(one && dx.iter().all(|v| v.is_finite()), "{dtype} {shape:?} {set:?}: {dx:?}");
                assert_eq!(
                    [&found["dgamma"], &found["dbeta"]].map(|v| v.to_f64()),
                    [(); 2].map(|()| vec![0.0; channels])
                );
            }
        }
    }
}
