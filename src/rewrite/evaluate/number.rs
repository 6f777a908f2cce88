//! What the evaluator needs of a number besides arithmetic: bits that tell values apart, and sums that round as the
//! reference's do.

use crate::reference::{Fp, Number};

/// A number that can be compared bit by bit and summed in place.
pub(crate) trait Exact: Number {
    /// A sum that is not rounded to the type yet.
    type Sum: Copy;
    /// So many products may be added before the sum must be [settled](Exact::settle).
    const SETTLE: usize = usize::MAX;

    /// Different for different numbers; one value for every NaN.
    fn bits(self) -> u64;
    /// Whether two numbers cannot be told apart.
    fn same(self, other: Self) -> bool {
        self.bits() == other.bits()
    }

    /// The sum of nothing.
    fn nothing() -> Self::Sum;
    /// `sum + x`.
    fn add_term(sum: Self::Sum, x: Self) -> Self::Sum;
    /// `sum + a·b`.
    fn add_product(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;
    /// The same sum, with room for more products.
    fn settle(sum: Self::Sum) -> Self::Sum {
        sum
    }
    /// The sum as a number.
    fn total(sum: Self::Sum) -> Self;
}

impl Exact for f64 {
    type Sum = f64;
    fn bits(self) -> u64 {
        if self.is_nan() { f64::NAN.to_bits() } else { self.to_bits() }
    }
    fn nothing() -> f64 {
        0.0
    }
    fn add_term(sum: f64, x: f64) -> f64 {
        sum + x
    }
    fn add_product(sum: f64, a: f64, b: f64) -> f64 {
        sum + a * b
    }
    fn total(sum: f64) -> f64 {
        sum
    }
}

// Sums of f32 are rounded once, as in the reference.
impl Exact for f32 {
    type Sum = f64;
    fn bits(self) -> u64 {
        if self.is_nan() { u64::from(f32::NAN.to_bits()) } else { u64::from(self.to_bits()) }
    }
    fn nothing() -> f64 {
        // The library's choice of zero.
        std::iter::empty::<f64>().sum()
    }
    fn add_term(sum: f64, x: f32) -> f64 {
        sum + f64::from(x)
    }
    fn add_product(sum: f64, a: f32, b: f32) -> f64 {
        sum + f64::from(a) * f64::from(b)
    }
    fn total(sum: f64) -> f32 {
        sum as f32
    }
}

// A product is below 2¹²², so 60 of them and a residue fit in 128 bits.
impl Exact for Fp {
    type Sum = u128;
    const SETTLE: usize = 60;
    fn bits(self) -> u64 {
        self.residue()
    }
    fn nothing() -> u128 {
        0
    }
    fn add_term(sum: u128, x: Fp) -> u128 {
        sum + u128::from(x.residue())
    }
    fn add_product(sum: u128, a: Fp, b: Fp) -> u128 {
        sum + u128::from(a.residue()) * u128::from(b.residue())
    }
    fn settle(sum: u128) -> u128 {
        u128::from(Fp::from_wide(sum).residue())
    }
    fn total(sum: u128) -> Fp {
        Fp::from_wide(sum)
    }
}
