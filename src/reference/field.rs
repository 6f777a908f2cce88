//! The prime field F_p, p = 2⁶¹ − 1: exact evaluation that decides equality of algebra.
//!
//! Ring operations and division are exact; every other function is a keyed hash, so equal arguments give equal
//! results and nothing else is assumed of it (but that `relu` keeps what is above 0 there). Two graphs that agree on random field elements are equal as rational
//! expressions up to a chance of about degree/p (Schwartz 1980, Zippel 1979). A finite float is a dyadic rational and
//! maps exactly.

use super::Number;
use crate::random::{GAMMA, mix};

/// An element of the field, in `0..p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fp(u64);

const P: u64 = (1 << 61) - 1;

impl Fp {
    /// The residue of `value`.
    pub fn new(value: u64) -> Fp {
        Fp(value % P)
    }

    /// The element as an integer in `0..p`.
    pub fn residue(self) -> u64 {
        self.0
    }

    /// The residue of a sum of products, by `2⁶¹ = 1`.
    pub(crate) fn from_wide(sum: u128) -> Fp {
        // Each part is below 2⁶¹, so their sum is below 2⁶³.
        let folded = (sum as u64 & P) + ((sum >> 61) as u64 & P) + (sum >> 122) as u64;
        let residue = (folded & P) + (folded >> 61);
        Fp(if residue >= P { residue - P } else { residue })
    }

    fn power(self, mut exponent: u64) -> Fp {
        let (mut base, mut result) = (self, Fp(1));
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result.mul(base);
            }
            base = base.mul(base);
            exponent >>= 1;
        }
        result
    }

    /// The inverse by Fermat's little theorem; the inverse of 0 is 0.
    fn inverse(self) -> Fp {
        self.power(P - 2)
    }

    fn hash(self, key: u64) -> Fp {
        Fp::new(mix(self.0 ^ mix(GAMMA.wrapping_mul(key))))
    }
}

impl Number for Fp {
    /// `±m·2ᵉ` maps to `±m·2ᵉ mod p`; infinities and NaN, which are no numbers, to keyed constants.
    fn from_f64(value: f64) -> Self {
        if !value.is_finite() {
            return Fp(value.to_bits() >> 3).hash(0xF1);
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7FF) as i64;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) =
            if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
        // 2 has order 61 in this field, so exponents count modulo 61.
        let scaled = Fp(mantissa).mul(Fp::new(1 << exponent.rem_euclid(61)));
        if value < 0.0 { scaled.neg() } else { scaled }
    }
    fn to_f64(self) -> f64 {
        self.0 as f64
    }
    fn add(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        Fp(if sum >= P { sum - P } else { sum })
    }
    fn sub(self, other: Self) -> Self {
        self.add(other.neg())
    }
    fn mul(self, other: Self) -> Self {
        let product = u128::from(self.0) * u128::from(other.0);
        Fp((product as u64) & P).add(Fp((product >> 61) as u64))
    }
    fn div(self, other: Self) -> Self {
        self.mul(other.inverse())
    }
    fn neg(self) -> Self {
        Fp(if self.0 == 0 { 0 } else { P - self.0 })
    }
    fn exp(self) -> Self {
        self.hash(1)
    }
    fn expm1(self) -> Self {
        self.hash(2)
    }
    fn log(self) -> Self {
        self.hash(3)
    }
    fn log1p(self) -> Self {
        self.hash(4)
    }
    fn sqrt(self) -> Self {
        self.hash(5)
    }
    fn rsqrt(self) -> Self {
        self.hash(6)
    }
    fn tanh(self) -> Self {
        self.hash(7)
    }
    fn sigmoid(self) -> Self {
        self.hash(8)
    }
    fn erf(self) -> Self {
        self.hash(9)
    }
    fn sin(self) -> Self {
        self.hash(10)
    }
    fn cos(self) -> Self {
        self.hash(11)
    }
    fn abs(self) -> Self {
        self.hash(12)
    }
    fn sign(self) -> Self {
        self.hash(13)
    }
    /// Of `relu` it is known besides that it is above 0 where its argument is.
    fn relu(self) -> Self {
        let is_above = |value: Fp| Fp(0).less(value);
        let mut result = self.hash(14);
        while is_above(result) != is_above(self) {
            result = result.hash(14);
        }
        result
    }
    // Symmetric in its operands, as the functions they stand for are.
    fn max(self, other: Self) -> Self {
        self.hash(15).add(other.hash(15)).hash(16)
    }
    fn min(self, other: Self) -> Self {
        self.hash(17).add(other.hash(17)).hash(18)
    }
    fn pow(self, other: Self) -> Self {
        self.hash(19).add(other.hash(20)).hash(21)
    }
    fn equal(self, other: Self) -> bool {
        self == other
    }
    /// A keyed coin, antisymmetric and never true of equal elements.
    fn less(self, other: Self) -> bool {
        let (a, b) = (self.hash(22).0, other.hash(22).0);
        a != b && a.wrapping_sub(b) & (1 << 60) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_map_as_dyadic_rationals() {
        let half = Fp::from_f64(0.5);
        assert_eq!(half.add(half), Fp(1));
        assert_eq!(Fp::from_f64(-3.0).add(Fp(3)), Fp(0));
        assert_eq!(Fp::from_f64(0.1).mul(Fp::from_f64(2.0)), Fp::from_f64(0.2));
        assert_eq!(Fp::from_f64(f64::from_bits(1)).mul(Fp::from_f64(2.0)), Fp::from_f64(f64::from_bits(2)));
    }

    proptest! {
        #[test]
        fn field_axioms(a: u64, b: u64, c: u64) {
            let (a, b, c) = (Fp::new(a), Fp::new(b), Fp::new(c));
            prop_assert_eq!(a.mul(b.add(c)), a.mul(b).add(a.mul(c)));
            prop_assert_eq!(a.sub(b).add(b), a);
            if b != Fp(0) {
                prop_assert_eq!(a.div(b).mul(b), a);
            }
        }
    }
}
