//! Matrix products over a long inner axis, against products without rounding of their sum.

use super::{Exact, unit};
use crate::common::running::{SETS, options, run, same};
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::{Builder, DType, Tensor};

/// Rows, inner axis and columns; which of the operands lie transposed.
#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: [usize; 3],
    transposed: [bool; 2],
    dtype: DType,
}

impl Case {
    fn check(&self, sets: &[InstructionSet], threads: &[usize], value: fn(usize, usize) -> f64) -> f64 {
        let [m, k, n] = self.sizes;
        let rounded = |v: f64| if self.dtype == DType::F32 { f64::from(v as f32) } else { v };
        let g = Builder::new();
        let mut feeds = OrderedMap::new();
        let mut operand = |name: &str, [rows, columns]: [usize; 2], along: usize, transposed: bool| {
            let element = |r: usize, c: usize| {
                let (inner, outer) = if along == 1 { (c, r) } else { (r, c) };
                rounded(value(inner, outer))
            };
            let shape = if transposed { [columns, rows] } else { [rows, columns] };
            let at = |i: usize| {
                let (r, c) = (i / shape[1], i % shape[1]);
                if transposed { element(c, r) } else { element(r, c) }
            };
            feeds.insert(name.to_owned(), Tensor::from_f64(self.dtype, shape, (0..rows * columns).map(at)).unwrap());
            let stored = g.input(name, self.dtype, shape);
            if transposed { stored.transpose(&[1, 0]) } else { stored }
        };
        let a = operand("a", [m, k], 1, self.transposed[0]);
        let b = operand("b", [k, n], 0, self.transposed[1]);
        g.output("c", a.dot(b));
        let graph = g.finish().unwrap();
        let mut most = 0.0f64;
        for &set in sets {
            let alone = run(&graph, &feeds, &options(set, 1, false));
            for &threads in threads {
                same(&format!("{self:?} {set:?}"), &alone, &run(&graph, &feeds, &options(set, threads, true))).unwrap();
            }
            for (at, found) in alone["c"].to_f64().into_iter().enumerate() {
                let terms = || (0..k).map(|i| rounded(value(i, at / n)) * rounded(value(i, at % n)));
                let units = (found - Exact::of(terms())).abs() / (Exact::of(terms().map(f64::abs)) * unit(self.dtype));
                most = most.max(units);
            }
        }
        most
    }
}

/// Equal terms are rounded alike in every step of a chain, which is the worst that can come of it.
fn tenths(_: usize, outer: usize) -> f64 {
    0.1 * (1 + outer % 3) as f64
}

fn waves(inner: usize, outer: usize) -> f64 {
    ((inner * 7 + outer * 13) as f64 * 0.618_033_988_75).fract() + 0.1
}

/// Half of the 256 multiply-adds of a chain, in units: what a product may lose however long it is.
const CHAIN: f64 = 128.0;

#[test]
fn products_over_a_long_axis_keep_their_digits() {
    let mut most = [0.0f64; 2];
    for sizes in [[1, 50_000, 3], [3, 50_000, 2], [33, 16_385, 49]] {
        for transposed in [[false, false], [true, false], [false, true]] {
            for dtype in [DType::F32, DType::F64] {
                let (sets, threads) = if sizes[0] == 33 { (&SETS[..1], &[1, 3][..]) } else { (&SETS[..], &[2][..]) };
                let case = Case { sizes, transposed, dtype };
                most[0] = most[0].max(case.check(sets, threads, waves));
                if sizes[0] < 33 {
                    most[1] = most[1].max(case.check(&SETS[..1], threads, tenths));
                }
            }
        }
    }
    println!("off by at most {most:.1?} units");
    assert!(most[0] <= 8.0 && most[1] <= CHAIN, "off by {most:.1?} units");
}

#[test]
fn a_product_over_millions() {
    for transposed in [[false, false], [false, true]] {
        let case = Case { sizes: [1, 1 << 21, 1], transposed, dtype: DType::F32 };
        let units =
            [tenths as fn(usize, usize) -> f64, waves].map(|value| case.check(&[InstructionSet::Widest], &[2], value));
        println!("{case:?}: off by {units:.1?} units");
        assert!(units[0] <= CHAIN && units[1] <= 8.0, "{case:?}: off by {units:.1?} units");
    }
}
