//! Numbers of some 105 bits, as unevaluated sums `hi + lo`, and the functions over them by their series: slow, simple,
//! and nothing in common with the kernels.

use crate::ops::Unary;
use std::f64::consts;

#[derive(Clone, Copy, Debug)]
pub(super) struct Double {
    pub hi: f64,
    pub lo: f64,
}

fn two_sum(a: f64, b: f64) -> Double {
    let hi = a + b;
    let from_b = hi - a;
    Double { hi, lo: (a - (hi - from_b)) + (b - from_b) }
}

/// The exact product, by halves of 26 bits: `mul_add` is slow where it is no instruction.
fn two_product(a: f64, b: f64) -> Double {
    let split = |v: f64| {
        let scaled = v * 134217729.0;
        let high = scaled - (scaled - v);
        (high, v - high)
    };
    let ((a1, a2), (b1, b2), hi) = (split(a), split(b), a * b);
    Double { hi, lo: ((a1 * b1 - hi) + a1 * b2 + a2 * b1) + a2 * b2 }
}

impl Double {
    pub fn of(hi: f64) -> Double {
        Double { hi, lo: 0.0 }
    }

    fn add(self, other: Double) -> Double {
        let (sum, low) = (two_sum(self.hi, other.hi), two_sum(self.lo, other.lo));
        let part = two_sum(sum.hi, sum.lo + low.hi);
        two_sum(part.hi, part.lo + low.lo)
    }

    fn neg(self) -> Double {
        Double { hi: -self.hi, lo: -self.lo }
    }

    fn sub(self, other: Double) -> Double {
        self.add(other.neg())
    }

    fn mul(self, other: Double) -> Double {
        let product = two_product(self.hi, other.hi);
        two_sum(product.hi, product.lo + (self.hi * other.lo + self.lo * other.hi))
    }

    fn times(self, by: f64) -> Double {
        self.mul(Double::of(by))
    }

    fn div(self, other: Double) -> Double {
        let first = self.hi / other.hi;
        let rest = self.sub(other.times(first));
        let second = rest.hi / other.hi;
        let third = rest.sub(other.times(second)).hi / other.hi;
        two_sum(first, second).add(Double::of(third))
    }

    /// Times a power of two.
    fn scaled(self, by: f64) -> Double {
        Double { hi: self.hi * by, lo: self.lo * by }
    }
}

const ONE: Double = Double { hi: 1.0, lo: 0.0 };
const LN_2: Double = Double { hi: consts::LN_2, lo: 2.3190468138462996e-17 };
const TWO_OVER_ROOT_PI: Double = Double { hi: consts::FRAC_2_SQRT_PI, lo: 1.533545961316588e-17 };
const HALF_PI: [f64; 3] = [consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

/// `Σ terms`, of which each is the last one times `next(i)`, until they are nothing to the sum.
fn series(first: Double, next: impl Fn(f64) -> Double) -> Double {
    let (mut sum, mut term, mut i) = (first, first, 1.0);
    while term.hi.abs() > 1e-34 * sum.hi.abs() {
        term = term.mul(next(i));
        sum = sum.add(term);
        i += 1.0;
    }
    sum
}

fn exp(x: Double) -> Double {
    // Farther down it is nothing even to the least subnormal.
    let x = if x.hi < -750.0 { Double::of(-750.0) } else { x };
    let k = (x.hi / LN_2.hi).round();
    let r = x.sub(LN_2.times(k));
    let half = (k / 2.0).trunc();
    series(ONE, |i| r.div(Double::of(i))).scaled(half.exp2()).scaled((k - half).exp2())
}

fn expm1(x: Double) -> Double {
    if x.hi.abs() > 0.5 { exp(x).sub(ONE) } else { series(x, |i| x.div(Double::of(i + 1.0))) }
}

/// `ln(1 + f)`, by `2 artanh(f/(2 + f))`.
fn log1p(f: Double) -> Double {
    if f.hi.abs() > 0.5 {
        return log(f.add(ONE));
    }
    let s = f.div(f.add(Double::of(2.0)));
    let z = s.mul(s);
    let (mut sum, mut power, mut i) = (s, s, 3.0);
    while power.hi.abs() > 1e-34 * sum.hi.abs() {
        power = power.mul(z);
        sum = sum.add(power.div(Double::of(i)));
        i += 2.0;
    }
    sum.scaled(2.0)
}

fn log(x: Double) -> Double {
    // x = 2^e · m, with a subnormal made normal first.
    let (x, shift) = if x.hi < f64::MIN_POSITIVE { (x.scaled(60f64.exp2()), 60.0) } else { (x, 0.0) };
    let e = (x.hi.to_bits() >> 52) as f64 - 1023.0;
    let m = x.scaled((-e / 2.0).trunc().exp2()).scaled((-e - (-e / 2.0).trunc()).exp2());
    let (e, m) = if m.hi > 1.4 { (e + 1.0, m.scaled(0.5)) } else { (e, m) };
    log1p(m.sub(ONE)).add(LN_2.times(e - shift))
}

fn tanh(x: f64) -> Double {
    let e = expm1(Double::of(2.0 * x.abs().min(30.0)));
    let y = e.div(e.add(Double::of(2.0)));
    if x < 0.0 { y.neg() } else { y }
}

fn sigmoid(x: f64) -> Double {
    let e = exp(Double::of(-x.abs()));
    if x < 0.0 { e.div(e.add(ONE)) } else { ONE.div(e.add(ONE)) }
}

/// `2/√π · e^(−x²) Σ 2ⁱ x^(2i+1)/(2i+1)!!`, whose terms have one sign.
fn erf(x: f64) -> Double {
    if x.abs() > 7.0 {
        return Double::of(x.signum());
    }
    let square = two_product(x, x);
    let sum = series(Double::of(x), |i| square.scaled(2.0).div(Double::of(2.0 * i + 1.0)));
    sum.mul(exp(square.neg())).mul(TWO_OVER_ROOT_PI)
}

fn sine(x: f64, more: f64) -> Double {
    let q = (x / HALF_PI[0]).round();
    let r = HALF_PI.iter().fold(Double::of(x), |r, &part| r.sub(two_product(q, part)));
    let square = r.mul(r).neg();
    let turns = (q + more).rem_euclid(4.0);
    let first = if turns % 2.0 == 0.0 { (r, 0.0) } else { (ONE, -1.0) };
    let value = series(first.0, |i| {
        let last = 2.0 * i + 1.0 + first.1;
        square.div(Double::of(last * (last - 1.0)))
    });
    if turns >= 2.0 { value.neg() } else { value }
}

/// The function of a finite operand in its domain.
pub(super) fn exact(op: Unary, x: f64) -> Double {
    match op {
        Unary::Exp => exp(Double::of(x)),
        Unary::Expm1 => expm1(Double::of(x)),
        Unary::Log => log(Double::of(x)),
        Unary::Log1p => log1p(Double::of(x)),
        Unary::Tanh => tanh(x),
        Unary::Sigmoid => sigmoid(x),
        Unary::Erf => erf(x),
        Unary::Sin => sine(x, 0.0),
        Unary::Cos => sine(x, 1.0),
        _ => unreachable!("{op:?} is not elementary"),
    }
}
