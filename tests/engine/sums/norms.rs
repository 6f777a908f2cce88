//! Norms and standard deviations: no overflow, no underflow, and a gradient of 0 at 0.

use super::unit;
use crate::common::running::{SETS, options, run};
use foldgrad::autodiff::gradients;
use foldgrad::exec::InstructionSet;
use foldgrad::ir::OrderedMap;
use foldgrad::{Builder, DType, Expr, Tensor};

type Function = for<'b> fn(Expr<'b>) -> Expr<'b>;

/// The function's value at rows of values, and the gradients of first and second order of its sum.
fn of(dtype: DType, rows: &[&[f64]], set: InstructionSet, f: Function) -> [Vec<f64>; 3] {
    let g = Builder::new();
    let shape = [rows.len(), rows[0].len()];
    let x = g.input("x", dtype, shape);
    let y = f(x);
    let first = gradients(&[y.sum_all()], &[x]).unwrap()[0];
    let second = gradients(&[(first * x.iota_weights()).sum_all()], &[x]).unwrap()[0];
    [("y", y), ("first", first), ("second", second)].into_iter().for_each(|(name, value)| g.output(name, value));
    let x = Tensor::from_f64(dtype, shape, rows.concat()).unwrap();
    let found = run(&g.finish().unwrap(), &OrderedMap::from([("x".to_owned(), x)]), &options(set, 2, true));
    ["y", "first", "second"].map(|name| found[name].to_f64())
}

trait Weights<'b> {
    fn iota_weights(self) -> Expr<'b>;
}

impl<'b> Weights<'b> for Expr<'b> {
    /// 1, 2, 3 … along the last axis: the direction of the second derivative.
    fn iota_weights(self) -> Expr<'b> {
        self.builder().iota(self.dtype(), self.shape(), 1) + 1.0
    }
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64], dtype: DType) {
    let fits = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 8.0 * unit(dtype) * b.abs();
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(fits),
        "{what}: {found:?}, not {expected:?}"
    );
}

#[test]
fn norms_of_the_large_the_small_and_nothing() {
    for (dtype, far) in [(DType::F32, 1e30), (DType::F64, 1e300)] {
        for set in SETS {
            for scale in [1.0, far, 1.0 / far, 1e-8] {
                let [y, first, second] = of(dtype, &[&[3.0 * scale, -4.0 * scale], &[0.0, 0.0]], set, |x| x.norm(&[1]));
                close("norm", &y, &[5.0 * scale, 0.0], dtype);
                close("its slope", &first, &[0.6, -0.8, 0.0, 0.0], dtype);
                // (v − u·(u·v))/‖x‖ for v = (1, 2) and u = (0.6, −0.8).
                close("its curvature", &second, &[1.6 / (5.0 * scale), 1.2 / (5.0 * scale), 0.0, 0.0], dtype);
            }
        }
    }
    let one = |row: &[f64]| of(DType::F64, &[row], InstructionSet::Widest, |x| x.norm(&[1]))[0][0];
    assert_eq!(
        [one(&[f64::INFINITY, 1.0]), one(&[f64::NEG_INFINITY, 0.0]), one(&[-2.0])],
        [f64::INFINITY, f64::INFINITY, 2.0]
    );
    assert!(one(&[f64::NAN, 1.0]).is_nan());
    let whole = of(DType::F64, &[&[3.0, 4.0]], InstructionSet::Widest, |x| x.norm(&[0, 1]));
    close("norm over all", &whole[0], &[5.0], DType::F64);
    close("its slope", &whole[1], &[0.6, 0.8], DType::F64);
    let each = of(DType::F64, &[&[-3.0, 0.0]], InstructionSet::Widest, |x| x.norm(&[]));
    assert_eq!([&each[0], &each[1]], [&vec![3.0, 0.0], &vec![-1.0, 0.0]]);
    assert_eq!(of(DType::F64, &[&[]], InstructionSet::Widest, |x| x.norm(&[1]))[0], [0.0]);
}

#[test]
fn deviations_of_equal_values_are_0_and_rest() {
    for dtype in [DType::F32, DType::F64] {
        for set in SETS {
            for value in [0.1, -7.3, 100_000.1, 0.0] {
                let [y, first, second] = of(dtype, &[&[value; 7]], set, |x| x.std(&[1]));
                assert_eq!([y[0], first[3], second[6]], [0.0; 3], "{dtype} {value}");
            }
            let [y, first, _] = of(dtype, &[&[1.0, 3.0], &[1e5, 1e5 + 2.0]], set, |x| x.std(&[1]));
            close("deviation", &y, &[1.0, 1.0], dtype);
            close("its slope", &first, &[-0.5, 0.5, -0.5, 0.5], dtype);
        }
    }
}
