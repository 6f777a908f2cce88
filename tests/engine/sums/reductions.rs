//! Reductions over `(outer, reduced, inner)`, against sums without rounding: at most four units in the last place of the
//! magnitudes that are summed.

use super::{Exact, unit};
use crate::common::running::{SETS, options, run, same};
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::{Builder, DType, Graph, Tensor};

#[derive(Clone, Copy, Debug)]
enum Data {
    Ones,
    Tenths,
    /// A large one after a small one.
    Alternating,
    Geometric,
    /// From small to large.
    Sorted,
    /// Each term with its opposite, and a little more.
    Cancelling,
    Random,
}

use Data::{Alternating, Cancelling, Geometric, Ones, Random, Sorted, Tenths};

const ALL: [Data; 7] = [Ones, Tenths, Alternating, Geometric, Sorted, Cancelling, Random];

fn noise(at: usize) -> f64 {
    let bits = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64
}

impl Data {
    /// Term `r` of `n`.
    fn term(self, r: usize, n: usize) -> f64 {
        let share = r as f64 / n as f64;
        match self {
            Ones => 1.0,
            Tenths => 0.1,
            Alternating => [1e-3, 1e3][r % 2] * (1.0 + share),
            Geometric => 0.99f64.powi((r % 4000) as i32),
            Sorted => 1e-3 + share * share,
            Cancelling => [1.0, -1.0][r % 2] * (1.0 + ((r / 2) as f64 * 0.37).sin()) + 1e-5 * share,
            Random => noise(r) * 2.0 - 0.5,
        }
    }
}

/// The values as the type holds them.
fn rounded(dtype: DType, value: f64) -> f64 {
    if dtype == DType::F32 { f64::from(value as f32) } else { value }
}

fn tensor(dtype: DType, shape: [usize; 3], values: &[f64]) -> Tensor {
    Tensor::from_f64(dtype, shape, values.iter().copied()).unwrap()
}

fn graph(dtype: DType, shape: [usize; 3], reduce: impl for<'b> Fn(foldgrad::Expr<'b>) -> foldgrad::Expr<'b>) -> Graph {
    let g = Builder::new();
    g.output("y", reduce(g.input("x", dtype, shape)));
    g.finish().unwrap()
}

struct Case {
    data: Data,
    dtype: DType,
    shape: [usize; 3],
}

impl Case {
    /// Values of which no two columns are alike.
    fn values(&self) -> Vec<f64> {
        let [outer, reduced, inner] = self.shape;
        let at = |o: usize, r: usize, i: usize| {
            let scale = [1.0, 3.0, 0.7, 1e4][(o + i) % 4];
            rounded(self.dtype, self.data.term(r, reduced) * scale)
        };
        let places = (0..outer).flat_map(|o| (0..reduced).flat_map(move |r| (0..inner).map(move |i| (o, r, i))));
        places.map(|(o, r, i)| at(o, r, i)).collect()
    }

    /// The largest error of a column, in units of the magnitudes summed.
    fn worst(&self, found: &Tensor, values: &[f64]) -> f64 {
        let [outer, reduced, inner] = self.shape;
        let found = found.to_f64();
        let column = |o: usize, i: usize| (0..reduced).map(move |r| values[(o * reduced + r) * inner + i]);
        let error = |(o, i): (usize, usize)| {
            let (sum, size) = (Exact::of(column(o, i)), Exact::of(column(o, i).map(f64::abs)));
            (found[o * inner + i] - sum).abs() / (size * unit(self.dtype))
        };
        (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))).map(error).fold(0.0, f64::max)
    }

    fn check(&self, sets: &[InstructionSet], threads: &[usize]) -> f64 {
        let values = self.values();
        let graph = graph(self.dtype, self.shape, |x| x.sum(&[1]));
        let feeds = OrderedMap::from([("x".to_owned(), tensor(self.dtype, self.shape, &values))]);
        let mut most = 0.0f64;
        let alone = run(&graph, &feeds, &options(sets[0], 1, false));
        for &set in sets {
            let what = format!("{:?} {} {:?}, {set:?}", self.data, self.dtype, self.shape);
            for &threads in threads {
                // Additions are rounded one by one: no instruction set makes another sum.
                same(&what, &alone, &run(&graph, &feeds, &options(set, threads, true))).unwrap();
            }
        }
        let units = self.worst(&alone["y"], &values);
        assert!(units <= 4.0, "{:?} {} {:?}: off by {units:.2} units", self.data, self.dtype, self.shape);
        most = most.max(units);
        most
    }
}

fn for_all(shapes: &[[usize; 3]], sets: &[InstructionSet], threads: &[usize]) {
    let mut most = [0.0f64; 2];
    for &shape in shapes {
        for data in ALL {
            for (most, dtype) in most.iter_mut().zip([DType::F32, DType::F64]) {
                *most = most.max(Case { data, dtype, shape }.check(sets, threads));
            }
        }
    }
    println!("at most {:.2} units in f32 and {:.2} in f64", most[0], most[1]);
}

#[test]
fn short_sums_in_every_layout() {
    let mut shapes = Vec::new();
    for n in [1, 2, 7, 15, 16, 63, 64, 65, 127, 129, 1000] {
        shapes.extend([[1, n, 1], [3, n, 1], [1, n, 3], [2, n, 5], [1, n, 21]]);
    }
    for_all(&shapes, &SETS, &[1, 3]);
}

#[test]
fn columns_of_every_width_are_shared_out_alike() {
    // Wider than a tile of columns, and cut where no vector ends.
    let shapes = [[1, 70, 301], [1, 150, 37], [2, 130, 67]];
    for_all(&shapes, &SETS, &[1, 2, 3, 8]);
}

#[test]
fn sums_of_a_hundred_thousand() {
    for_all(&[[1, 100_000, 1], [1, 100_000, 2]], &[InstructionSet::Widest], &[1, 2]);
}

#[test]
fn sums_of_a_million() {
    for data in [Tenths, Cancelling] {
        for shape in [[1, 1_000_000, 1], [1, 1_000_000, 3]] {
            Case { data, dtype: DType::F32, shape }.check(&[InstructionSet::Widest], &[1]);
        }
    }
}

/// More ones than f32 can count, in a line and in columns.
#[test]
fn ones_are_counted_beyond_what_adding_one_can_reach() {
    let n = (1 << 24) + 3_000_000;
    for shape in [[1, n, 1], [1, n / 2, 2]] {
        let x = Tensor::full(DType::F32, shape, 1.0);
        let feeds = OrderedMap::from([("x".to_owned(), x)]);
        let y = run(&graph(DType::F32, shape, |x| x.sum(&[1])), &feeds, &options(InstructionSet::Widest, 2, true));
        assert_eq!(y["y"].to_f64(), vec![shape[1] as f64; shape[2]]);
    }
}

#[test]
fn means_and_products_keep_their_digits() {
    for dtype in [DType::F32, DType::F64] {
        for shape in [[1, 5000, 1], [1, 5000, 3], [2, 1000, 1], [2, 1000, 18]] {
            let [outer, n, inner] = shape;
            let values: Vec<f64> =
                (0..outer * n * inner).map(|i| rounded(dtype, 1.0 + (noise(i) - 0.5) / 8.0)).collect();
            let feeds = OrderedMap::from([("x".to_owned(), tensor(dtype, shape, &values))]);
            for set in SETS {
                let product = run(&graph(dtype, shape, |x| x.product(&[1])), &feeds, &options(set, 2, true));
                let mean = run(&graph(dtype, shape, |x| x.mean(&[1])), &feeds, &options(set, 2, true));
                for (at, (product, mean)) in product["y"].to_f64().into_iter().zip(mean["y"].to_f64()).enumerate() {
                    let (o, i) = (at / inner, at % inner);
                    let column = || (0..n).map(|r| values[(o * n + r) * inner + i]);
                    // The logarithm of a product near 1, term by term, is exact enough to judge f32; f64 is judged by pairs.
                    let (exact, rest) = column().fold((1.0f64, 0.0f64), |(value, rest), factor| {
                        let next = value * factor;
                        (next, rest * factor + value.mul_add(factor, -next))
                    });
                    let units = ((product - exact) - rest).abs() / (exact.abs() * unit(dtype));
                    assert!(units <= 4.0, "product, {dtype} {shape:?} {set:?}: {units:.2} units");
                    let exact = Exact::of(column()) / n as f64;
                    let units = (mean - exact).abs() / (exact * unit(dtype));
                    assert!(units <= 4.0, "mean, {dtype} {shape:?} {set:?}: {units:.2} units");
                }
            }
        }
    }
}

/// What is not finite is not hidden by what makes up for rounding.
#[test]
fn infinities_and_nan_come_through() {
    let at = |special: &[(usize, f64)], n: usize, inner: usize| -> Vec<f64> {
        let mut values = vec![0.5; n * inner];
        special.iter().for_each(|&(r, value)| values[r * inner] = value);
        values
    };
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    // Values by row, and the sum, the largest, the least and the product.
    type Special<'a> = (&'a [(usize, f64)], [f64; 4]);
    let cases: [Special<'_>; 5] = [
        (&[(3, inf)], [inf, inf, 0.5, inf]),
        (&[(3, -inf)], [-inf, 0.5, -inf, -inf]),
        (&[(3, inf), (70, -inf)], [nan, inf, -inf, -inf]),
        (&[(70, nan)], [nan; 4]),
        (&[(3, 0.0), (70, inf)], [inf, inf, 0.0, nan]),
    ];
    for dtype in [DType::F32, DType::F64] {
        for inner in [1, 2, 20] {
            for n in [71, 200, 2500] {
                for (special, expected) in cases {
                    let shape = [1, n, inner];
                    let feeds = OrderedMap::from([("x".to_owned(), tensor(dtype, shape, &at(special, n, inner)))]);
                    let g = Builder::new();
                    let x = g.input("x", dtype, shape);
                    let results = [x.sum(&[1]), x.reduce_max(&[1]), x.reduce_min(&[1]), x.product(&[1])];
                    results.into_iter().enumerate().for_each(|(i, y)| g.output(&format!("y{i}"), y));
                    let found = run(&g.finish().unwrap(), &feeds, &options(InstructionSet::Widest, 1, false));
                    for (i, expected) in expected.into_iter().enumerate() {
                        let found = found[&format!("y{i}")].to_f64()[0];
                        // 0.5ⁿ is 0 in the end, and infinity times 0 depends on which comes first.
                        let is_open = i == 3 && n > 71;
                        let fits = found == expected || (found.is_nan() && expected.is_nan());
                        assert!(fits || is_open, "{dtype} {shape:?} {special:?}, result {i}: {found}, not {expected}");
                    }
                }
            }
        }
    }
}
