//! The arithmetic that reference semantics are written in.

use std::fmt::Debug;

/// A number that graphs can be evaluated over.
///
/// Non-smooth functions (`max`, `abs`, comparisons) decide by the primal part where a number has several parts.
pub trait Number: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The nearest number to a constant of the graph.
    fn from_f64(value: f64) -> Self;
    /// The primal value, for comparisons and conversions to integers.
    fn to_f64(self) -> f64;

    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    fn sub(self, other: Self) -> Self;
    /// `self · other`.
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    fn div(self, other: Self) -> Self;
    /// `−self`.
    fn neg(self) -> Self;

    /// `eˣ`.
    fn exp(self) -> Self;
    /// `eˣ − 1`, accurate near 0.
    fn expm1(self) -> Self;
    /// `ln x`.
    fn log(self) -> Self;
    /// `ln(1 + x)`, accurate near 0.
    fn log1p(self) -> Self;
    /// `√x`.
    fn sqrt(self) -> Self;
    /// `1/√x`.
    fn rsqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1/(1 + e⁻ˣ)`.
    fn sigmoid(self) -> Self;
    /// `2/√π ∫₀ˣ e^(−t²) dt`.
    fn erf(self) -> Self;
    /// Sine, radians.
    fn sin(self) -> Self;
    /// Cosine, radians.
    fn cos(self) -> Self;
    /// `|x|`.
    fn abs(self) -> Self;
    /// −1, 0 or 1; NaN stays NaN.
    fn sign(self) -> Self;
    /// `max(x, 0)`; NaN stays NaN.
    fn relu(self) -> Self;

    /// The larger; NaN if either is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller; NaN if either is NaN.
    fn min(self, other: Self) -> Self;
    /// `self` to the power `other`.
    fn pow(self, other: Self) -> Self;

    /// `self = other`.
    fn equal(self, other: Self) -> bool {
        self.to_f64() == other.to_f64()
    }
    /// `self < other`.
    fn less(self, other: Self) -> bool {
        self.to_f64() < other.to_f64()
    }

    /// The sum, in index order, in at least the precision of this type.
    fn sum(values: impl Iterator<Item = Self>) -> Self {
        values.fold(Self::from_f64(0.0), Self::add)
    }
    /// `Σ aᵢ·bᵢ`, in index order, in at least the precision of this type.
    fn dot(pairs: impl Iterator<Item = (Self, Self)>) -> Self {
        Self::sum(pairs.map(|(a, b)| a.mul(b)))
    }
}

macro_rules! float_number {
    ($ty:ty, $erf:path, { $($extra:tt)* }) => {
        impl Number for $ty {
            fn from_f64(value: f64) -> Self { value as $ty }
            #[allow(clippy::unnecessary_cast)]
            fn to_f64(self) -> f64 { self as f64 }
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Self { self / other }
            fn neg(self) -> Self { -self }
            fn exp(self) -> Self { <$ty>::exp(self) }
            fn expm1(self) -> Self { <$ty>::exp_m1(self) }
            fn log(self) -> Self { <$ty>::ln(self) }
            fn log1p(self) -> Self { <$ty>::ln_1p(self) }
            fn sqrt(self) -> Self { <$ty>::sqrt(self) }
            fn rsqrt(self) -> Self { 1.0 / <$ty>::sqrt(self) }
            fn tanh(self) -> Self { <$ty>::tanh(self) }
            // exp of a non-positive number only: no overflow on either side.
            fn sigmoid(self) -> Self {
                let e = <$ty>::exp(-<$ty>::abs(self));
                if self >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
            }
            fn erf(self) -> Self { $erf(self) }
            fn sin(self) -> Self { <$ty>::sin(self) }
            fn cos(self) -> Self { <$ty>::cos(self) }
            fn abs(self) -> Self { <$ty>::abs(self) }
            fn sign(self) -> Self { if self > 0.0 { 1.0 } else if self < 0.0 { -1.0 } else { self } }
            fn relu(self) -> Self { if self > 0.0 || self.is_nan() { self } else { 0.0 } }
            fn max(self, other: Self) -> Self { if self > other || self.is_nan() { self } else { other } }
            fn min(self, other: Self) -> Self { if self < other || self.is_nan() { self } else { other } }
            fn pow(self, other: Self) -> Self { <$ty>::powf(self, other) }
            $($extra)*
        }
    };
}

float_number!(f64, libm::erf, {});
// Long f32 sums are accumulated in f64 and rounded once: the reference should not be the less accurate side.
float_number!(f32, libm::erff, {
    fn sum(values: impl Iterator<Item = Self>) -> Self {
        values.map(f64::from).sum::<f64>() as f32
    }
    fn dot(pairs: impl Iterator<Item = (Self, Self)>) -> Self {
        pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
    }
});
