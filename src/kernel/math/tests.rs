//! Each function at every instruction set: within 2 ulp of the exact value, exact at its special points, and the same
//! for an element wherever it stands.

mod double_double;

use super::{Cos, Erf, Exp, Expm1, Function, Lane, Log, Log1p, Loop, Sigmoid, Sin, Tanh};
use crate::ops::Unary;
use double_double::exact;
use proptest::prelude::*;
use pulp::{Scalar, Simd};
use std::f32::consts;

/// Units in the last place of the exact result.
const LAW: f64 = 2.0;

fn run<F: Function, T: Lane, S: Simd>(level: S, x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    // SAFETY: both slices have as many elements, and they are apart.
    level.vectorize(unsafe { Loop::<F, T>::new(x.as_ptr(), y.as_mut_ptr(), x.len()) });
    y
}

/// Results by instruction set, of those that this machine has; the first is the baseline.
fn levels<F: Function, T: Lane>(x: &[T]) -> Vec<(&'static str, Vec<T>)> {
    let mut found = vec![("baseline", run::<F, T, _>(Scalar, x))];
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        found.extend(pulp::x86::V3::try_new().map(|level| ("AVX2", run::<F, T, _>(level, x))));
        found.extend(pulp::x86::V4::try_new().map(|level| ("AVX-512", run::<F, T, _>(level, x))));
    }
    found
}

/// Names the function of an op.
macro_rules! with_function {
    ($op:expr, $name:ident, $body:expr) => {
        with_function!($op, $name, $body; Exp, Expm1, Log, Log1p, Tanh, Sigmoid, Erf, Sin, Cos)
    };
    ($op:expr, $name:ident, $body:expr; $($function:ident),*) => {
        match $op {
            $(Unary::$function => { type $name = $function; $body })*
            op => unreachable!("{op:?} is not elementary"),
        }
    };
}

const ALL: [Unary; 9] = [
    Unary::Exp,
    Unary::Expm1,
    Unary::Log,
    Unary::Log1p,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Erf,
    Unary::Sin,
    Unary::Cos,
];

/// The value of the last bit of a number as large as `value`, of `fraction` bits and exponents from `least`.
fn ulp(value: f64, fraction: i32, least: i32) -> f64 {
    let exponent = (value.abs().to_bits() >> 52) as i32 - 1023;
    f64::from((exponent - fraction).max(least)).exp2()
}

fn nan<T: Lane>(v: T) -> bool {
    v.partial_cmp(&v).is_none()
}

/// Equal bits, but for those of NaN.
fn same<T: Lane>(a: T, b: T) -> bool {
    (a == b && T::ONE / a == T::ONE / b) || (nan(a) && nan(b))
}

/// Whether the results stay in the function's range, which a rounding could leave.
fn in_range<T: Lane>(op: Unary, y: T) -> bool {
    let (low, high) = match op {
        Unary::Tanh | Unary::Erf | Unary::Sin | Unary::Cos => (-1.0, 1.0),
        Unary::Sigmoid => (0.0, 1.0),
        Unary::Exp => (0.0, f64::INFINITY),
        Unary::Expm1 => (-1.0, f64::INFINITY),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    nan(y) || (T::of(low)..=T::of(high)).contains(&y)
}

/// Both NaN, both the same infinity, or both the same zero.
fn agree_on_class<T: Lane>(y: T, expected: T) -> bool {
    let finite = |v: T| v.magnitude() < T::of(f64::INFINITY);
    if finite(y) || finite(expected) { finite(y) && finite(expected) } else { same(y, expected) }
}

fn fused_levels_agree<T: Lane>(op: Unary, x: &[T], found: &[(&str, Vec<T>)]) {
    let Some((first, rest)) = found.get(1..).and_then(|fused| fused.split_first()) else { return };
    for (name, y) in rest {
        for ((&x, &a), &b) in x.iter().zip(&first.1).zip(y) {
            assert!(same(a, b), "{op:?}({x:?}) is {a:?} with {} and {b:?} with {name}", first.0);
        }
    }
}

fn check_singles<F: Function>(x: &[f32]) {
    let found = levels::<F, f32>(x);
    fused_levels_agree(F::OP, x, &found);
    for (name, y) in &found {
        for (&x, &y) in x.iter().zip(y) {
            // The f64 function rounded twice is wrong by 2^−28 ulp of an f32 at most.
            let expected = F::OP.apply(f64::from(x));
            let rounded = expected as f32;
            let error = (f64::from(y) - expected).abs() / ulp(expected, 23, -149);
            let close = if rounded.is_finite() && y.is_finite() { error <= LAW } else { agree_on_class(y, rounded) };
            assert!(close, "{:?}({x:?}) is {y:?} with {name}, not {rounded:?}: {error:.3} ulp", F::OP);
            assert!(in_range(F::OP, y), "{:?}({x:?}) is {y:?} with {name}", F::OP);
        }
    }
}

/// Where a formula, a sign or a class of numbers changes.
const CORNERS: &[f32] = &[
    0.0,
    1e-38,
    1e-4,
    2.9e-8,
    0.25,
    consts::LN_2 / 2.0,
    consts::SQRT_2 - 1.0,
    0.5,
    0.6,
    consts::FRAC_1_SQRT_2,
    1.0,
    consts::SQRT_2,
    consts::FRAC_PI_2,
    2.0,
    3.0,
    consts::PI,
    4.0,
    8.0,
    9.01,
    10.0,
    16.635532,
    17.328679,
    20.0,
    87.33654,
    88.02969,
    88.72284,
    89.0,
    103.97208,
    104.0,
    1048576.0,
    f32::MAX / 2.0,
    f32::MAX,
    f32::INFINITY,
    f32::NAN,
];

#[test]
fn singles_keep_the_law_over_all_bit_patterns() {
    fn check<F: Function>() {
        let all: Vec<f32> = (0..=u32::MAX).step_by(1009).map(f32::from_bits).collect();
        check_singles::<F>(&all);
        let near = |&corner: &f32| (-1000..=1000i32).map(move |off| corner.to_bits().wrapping_add_signed(off));
        let corners: Vec<f32> =
            CORNERS.iter().flat_map(near).flat_map(|bits| [bits, bits ^ 1 << 31]).map(f32::from_bits).collect();
        check_singles::<F>(&corners);
    }
    for op in ALL {
        with_function!(op, F, check::<F>());
    }
}

fn check_doubles<F: Function>(x: &[f64]) -> f64 {
    let found = levels::<F, f64>(x);
    fused_levels_agree(F::OP, x, &found);
    let mut worst = 0.0f64;
    for (i, &x) in x.iter().enumerate() {
        let library = F::OP.apply(x);
        // Next to the subnormals, the parts of the more exact sum are lost.
        let expected = (library.is_finite() && library.abs() > 1e-290).then(|| exact(F::OP, x));
        for (name, y) in &found {
            let y = y[i];
            let error = match expected {
                // Of two words that differ by little, the difference is exact.
                Some(expected) => ((y - expected.hi) - expected.lo).abs() / ulp(expected.hi, 52, -1074),
                None if library.is_finite() && y.is_finite() => (y - library).abs() / ulp(library, 52, -1074),
                None => {
                    if agree_on_class(y, library) {
                        0.0
                    } else {
                        f64::INFINITY
                    }
                }
            };
            assert!(error <= LAW, "{:?}({x:?}) is {y:?} with {name}, not {library:?}: {error:.3} ulp", F::OP);
            assert!(in_range(F::OP, y), "{:?}({x:?}) is {y:?} with {name}", F::OP);
            worst = worst.max(error);
        }
    }
    worst
}

/// A small deterministic generator, in [0, 1).
fn units(seed: u64) -> impl Iterator<Item = f64> {
    let step = |state: &u64| Some(state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    std::iter::successors(Some(seed), step).skip(1).map(|state| (state >> 11) as f64 / (1u64 << 53) as f64)
}

/// Operands whose results are neither 0, infinite nor saturated, bounds included.
fn useful(op: Unary) -> (f64, f64) {
    match op {
        Unary::Exp => (-746.0, 710.0),
        Unary::Expm1 => (-40.0, 710.0),
        Unary::Log => (0.0, 4.0),
        Unary::Log1p => (-1.0, 3.0),
        Unary::Tanh => (-20.0, 20.0),
        Unary::Sigmoid => (-746.0, 40.0),
        Unary::Erf => (-6.1, 6.1),
        _ => (-1048576.0, 1048576.0),
    }
}

#[test]
fn doubles_keep_the_law() {
    fn check<F: Function>() {
        let (low, high) = useful(F::OP);
        let wide = units(1).take(20_000).map(|unit| low + (high - low) * unit);
        let central = units(2).take(20_000).map(|unit| (unit * 6.0 - 3.0).clamp(low, high));
        let magnitudes = units(3).zip(units(4)).take(20_000).map(|(unit, sign)| {
            let magnitude = (unit * 84.0 - 64.0).exp2();
            if sign < 0.5 { magnitude.min(high) } else { (-magnitude).max(low) }
        });
        let corners = CORNERS.iter().flat_map(|&corner| (-40..=40i64).map(move |off| (f64::from(corner), off)));
        let corners = corners.map(|(corner, off)| f64::from_bits(corner.to_bits().wrapping_add_signed(off)));
        // Near multiples of π/2 the sine or the cosine is small, and near those of ½ ln 2 the exponent changes.
        let multiples = (0..2000).flat_map(|i| {
            let i = f64::from(i);
            [i * std::f64::consts::FRAC_PI_2, i * 331.0 * std::f64::consts::FRAC_PI_2, i * std::f64::consts::LN_2 / 2.0]
        });
        let structured: Vec<f64> = corners.chain(multiples).flat_map(|x| [x, -x]).collect();
        let inside = structured.into_iter().filter(|x| x.is_nan() || x.abs() <= F::REACH);
        let x: Vec<f64> = wide.chain(central).chain(magnitudes).chain(inside).collect();
        println!("{:?}: {:.3} ulp", F::OP, check_doubles::<F>(&x));
    }
    for op in ALL {
        with_function!(op, F, check::<F>());
    }
}

#[test]
fn special_points_are_exact() {
    fn check<T: Lane>() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        let points: &[(Unary, &[(f64, f64)])] = &[
            (
                Unary::Exp,
                &[(0.0, 1.0), (-0.0, 1.0), (infinity, infinity), (-infinity, 0.0), (-1e9, 0.0), (1e9, infinity)],
            ),
            (Unary::Expm1, &[(0.0, 0.0), (-0.0, -0.0), (infinity, infinity), (-infinity, -1.0), (-50.0, -1.0)]),
            (Unary::Log, &[(1.0, 0.0), (0.0, -infinity), (-0.0, -infinity), (infinity, infinity), (-1.0, nan)]),
            (Unary::Log1p, &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -infinity), (infinity, infinity), (-1.5, nan)]),
            (Unary::Tanh, &[(0.0, 0.0), (-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0), (20.0, 1.0), (-20.0, -1.0)]),
            (Unary::Sigmoid, &[(0.0, 0.5), (-0.0, 0.5), (infinity, 1.0), (-infinity, 0.0), (40.0, 1.0), (-1e9, 0.0)]),
            (Unary::Erf, &[(0.0, 0.0), (-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0), (6.0, 1.0), (-6.0, -1.0)]),
            (Unary::Sin, &[(0.0, 0.0), (-0.0, -0.0), (infinity, nan), (-infinity, nan)]),
            (Unary::Cos, &[(0.0, 1.0), (-0.0, 1.0), (infinity, nan), (-infinity, nan)]),
        ];
        for (op, points) in points {
            for &(x, expected) in points.iter().chain(&[(nan, nan)]) {
                for (name, y) in of::<T>(*op, &[T::of(x)]) {
                    assert!(same(y[0], T::of(expected)), "{op:?}({x:?}) is {:?} with {name}, not {expected:?}", y[0]);
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// [`levels`] of the function of an op.
fn of<T: Lane>(op: Unary, x: &[T]) -> Vec<(&'static str, Vec<T>)> {
    with_function!(op, F, levels::<F, T>(x))
}

#[test]
fn tails_rise_up_to_their_limits() {
    let tails: [(Unary, f32, f32, f32); 5] = [
        (Unary::Tanh, 8.0, 10.0, 1.0),
        (Unary::Erf, 3.75, 4.1, 1.0),
        (Unary::Sigmoid, 15.0, 18.0, 1.0),
        (Unary::Sigmoid, -105.0, -101.0, 0.0),
        (Unary::Exp, -105.0, -101.0, 0.0),
    ];
    for (op, from, to, limit) in tails {
        let (low, high) = (from.abs().min(to.abs()).to_bits(), from.abs().max(to.abs()).to_bits());
        let mut x: Vec<f32> = (low..=high).map(|bits| f32::from_bits(bits).copysign(from)).collect();
        x.sort_by(f32::total_cmp);
        for (name, y) in of(op, &x) {
            let falls = y.windows(2).zip(&x).find(|(pair, _)| pair[1] < pair[0]);
            assert!(falls.is_none(), "{op:?} falls after {:?} with {name}", falls.map(|(_, x)| x));
            let end = if limit == 0.0 { y[0] } else { y[y.len() - 1] };
            assert_eq!(end, limit, "{op:?} with {name}");
        }
    }
}

#[test]
fn beyond_the_reduction_the_library_stands_in() {
    fn check<T: Lane>() {
        let x: Vec<T> = (0..200).map(|i| T::of(if i % 3 == 0 { 0.5 } else { 1.1e6 * f64::from(i) })).collect();
        for op in [Unary::Sin, Unary::Cos] {
            for (name, y) in of(op, &x) {
                let far = x.iter().zip(y).filter(|(x, _)| x.magnitude() > T::of(1048576.0));
                far.for_each(|(&x, y)| assert!(same(y, op.apply(x)), "{op:?}({x:?}) with {name}"));
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

proptest! {
    #[test]
    fn any_single_keeps_the_law(bits in prop::collection::vec(any::<u32>(), 1..80)) {
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        for op in ALL {
            with_function!(op, F, check_singles::<F>(&x));
        }
    }

    #[test]
    fn any_double_keeps_the_law(bits in prop::collection::vec(any::<u64>(), 1..80)) {
        let x: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
        for op in ALL {
            let inside = |x: &&f64| !matches!(op, Unary::Sin | Unary::Cos) || x.is_nan() || x.abs() <= 1048576.0;
            let x: Vec<f64> = x.iter().filter(inside).copied().collect();
            with_function!(op, F, check_doubles::<F>(&x));
        }
    }

    /// An element's result depends on nothing around it, in place or not, and nothing beyond the last is written.
    #[test]
    fn elements_are_independent(
        values in prop::collection::vec(prop_oneof![-20.0..20.0f64, any::<f64>()], 0..200),
        op in prop::sample::select(&ALL[..]),
    ) {
        for level in 0..of::<f64>(op, &[]).len() {
            let alone = values.iter().map(|&x| of(op, &[x])[level].1[0]);
            let together = of(op, &values)[level].1.clone();
            prop_assert!(alone.zip(together).all(|(a, b)| same(a, b)));
        }
        let mut place = values.clone();
        place.push(7.5);
        // SAFETY: the operand and the result are one vector, of more elements than are taken.
        with_function!(op, F, unsafe { super::each::<F, f64>(crate::kernel::Level::widest(), place.as_ptr(), place.as_mut_ptr(), values.len()) });
        let apart = of(op, &values).pop().map_or(Vec::new(), |(_, y)| y);
        prop_assert!(place.iter().zip(&apart).all(|(&a, &b)| same(a, b)));
        prop_assert_eq!(place[values.len()], 7.5);
    }
}
