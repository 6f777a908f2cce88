//! Numbers for proofs: the field F_p, with every decision a coin that its operands toss.
//!
//! In the field itself two random elements are never equal, so `x = y` and `x = z` would both be false everywhere, and a
//! wrong operand of a comparison would go unseen. Here `a = b` is true of equal elements, and of others by a keyed hash
//! of the pair; so is the integer that a number is cut to. Order is a coin in the field already.

use crate::random::{GAMMA, mix};
use crate::reference::{Fp, Number};
use crate::rewrite::evaluate::Exact;

/// An element of the field whose comparisons tell their operands apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Formal(pub(super) Fp);

macro_rules! as_in_the_field {
    ($($unary:ident)*; $($binary:ident)*) => {
        $(fn $unary(self) -> Formal { Formal(self.0.$unary()) })*
        $(fn $binary(self, other: Formal) -> Formal { Formal(self.0.$binary(other.0)) })*
    };
}

impl Number for Formal {
    as_in_the_field! {
        neg exp expm1 log log1p sqrt rsqrt tanh sigmoid erf sin cos abs sign relu;
        add sub mul div max min pow
    }
    fn from_f64(value: f64) -> Formal {
        Formal(Fp::from_f64(value))
    }
    /// Any of 2²⁰ integers; small ones, of either sign, are themselves, so that what was an integer stays one.
    fn to_f64(self) -> f64 {
        const INTEGERS: u64 = 1 << 20;
        let (residue, negated) = (self.0.residue(), self.0.neg().residue());
        match (residue < INTEGERS, negated < INTEGERS) {
            (true, _) => residue as f64,
            (_, true) => -(negated as f64),
            _ => (mix(residue) % INTEGERS) as f64,
        }
    }
    fn equal(self, other: Formal) -> bool {
        let toss = |x: Formal| mix(x.0.residue().wrapping_add(GAMMA));
        self == other || mix(toss(self).wrapping_add(toss(other))) >> 63 == 1
    }
    fn less(self, other: Formal) -> bool {
        self.0.less(other.0)
    }
}

impl Exact for Formal {
    type Sum = <Fp as Exact>::Sum;
    const SETTLE: usize = <Fp as Exact>::SETTLE;
    fn bits(self) -> u64 {
        self.0.bits()
    }
    fn nothing() -> Self::Sum {
        Fp::nothing()
    }
    fn add_term(sum: Self::Sum, x: Formal) -> Self::Sum {
        Fp::add_term(sum, x.0)
    }
    fn add_product(sum: Self::Sum, a: Formal, b: Formal) -> Self::Sum {
        Fp::add_product(sum, a.0, b.0)
    }
    fn settle(sum: Self::Sum) -> Self::Sum {
        Fp::settle(sum)
    }
    fn total(sum: Self::Sum) -> Formal {
        Formal(Fp::total(sum))
    }
}
