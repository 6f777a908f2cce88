//! Complex step: `f'(x) = Im f(x + ih)/h` with no cancellation, so `h` may be far below rounding.
//!
//! W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).

use super::Number;

/// `re + i·im`, with a tiny imaginary part that carries the derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComplexStep {
    /// The value.
    pub re: f64,
    /// The step times the derivative.
    pub im: f64,
}

impl ComplexStep {
    /// The step: its square vanishes against 1 in f64.
    pub const STEP: f64 = 1e-100;

    /// A variable with that tangent.
    pub fn new(re: f64, tangent: f64) -> ComplexStep {
        ComplexStep { re, im: tangent * Self::STEP }
    }

    /// The derivative along the seeded direction.
    pub fn tangent(self) -> f64 {
        self.im / Self::STEP
    }

    fn c(re: f64, im: f64) -> ComplexStep {
        ComplexStep { re, im }
    }

    fn one() -> ComplexStep {
        Self::c(1.0, 0.0)
    }
}

// Where the tiny imaginary part underflows the textbook formula (|z|², atan2 of nearly real numbers), the first-order
// form is used: the neglected terms are of relative size STEP² = 1e-200.
impl Number for ComplexStep {
    fn from_f64(value: f64) -> Self {
        Self::c(value, 0.0)
    }
    fn to_f64(self) -> f64 {
        self.re
    }
    fn add(self, other: Self) -> Self {
        Self::c(self.re + other.re, self.im + other.im)
    }
    fn sub(self, other: Self) -> Self {
        Self::c(self.re - other.re, self.im - other.im)
    }
    fn mul(self, other: Self) -> Self {
        Self::c(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)
    }
    fn div(self, other: Self) -> Self {
        let re = self.re / other.re;
        Self::c(re, (self.im - re * other.im) / other.re)
    }
    fn neg(self) -> Self {
        Self::c(-self.re, -self.im)
    }
    fn exp(self) -> Self {
        let e = self.re.exp();
        Self::c(e * self.im.cos(), e * self.im.sin())
    }
    fn expm1(self) -> Self {
        Self::c(self.re.exp_m1(), self.re.exp() * self.im.sin())
    }
    fn log(self) -> Self {
        Self::c(self.re.ln(), self.im / self.re)
    }
    fn log1p(self) -> Self {
        Self::c(self.re.ln_1p(), self.im / (1.0 + self.re))
    }
    fn sqrt(self) -> Self {
        let re = self.re.sqrt();
        Self::c(re, self.im / (2.0 * re))
    }
    fn rsqrt(self) -> Self {
        Self::one().div(self.sqrt())
    }
    fn tanh(self) -> Self {
        // sinh/cosh of a + ib, divided by cosh² a so that nothing overflows.
        let t = self.re.tanh();
        let (sin, cos) = self.im.sin_cos();
        Self::c(t * cos, sin).div(Self::c(cos, t * sin))
    }
    fn sigmoid(self) -> Self {
        let y = Number::sigmoid(self.re);
        Self::c(y, y * (1.0 - y) * self.im)
    }
    fn erf(self) -> Self {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-self.re * self.re).exp();
        Self::c(libm::erf(self.re), slope * self.im)
    }
    fn sin(self) -> Self {
        Self::c(self.re.sin() * self.im.cosh(), self.re.cos() * self.im.sinh())
    }
    fn cos(self) -> Self {
        Self::c(self.re.cos() * self.im.cosh(), -self.re.sin() * self.im.sinh())
    }
    fn abs(self) -> Self {
        if self.re < 0.0 { self.neg() } else { self }
    }
    fn sign(self) -> Self {
        Self::from_f64(Number::sign(self.re))
    }
    fn relu(self) -> Self {
        if self.re > 0.0 || self.re.is_nan() { self } else { Self::from_f64(0.0) }
    }
    fn max(self, other: Self) -> Self {
        Self::c(Number::max(self.re, other.re), if self.re < other.re { other.im } else { self.im })
    }
    fn min(self, other: Self) -> Self {
        Self::c(Number::min(self.re, other.re), if other.re < self.re { other.im } else { self.im })
    }
    fn pow(self, other: Self) -> Self {
        let y = self.re.powf(other.re);
        // a⁰ is 1 all around a = 0.
        let base_slope = if self.re == 0.0 && other.re == 0.0 { 0.0 } else { other.re * self.re.powf(other.re - 1.0) };
        let mut im = base_slope * self.im;
        if self.re > 0.0 {
            im += y * self.re.ln() * other.im;
        }
        Self::c(y, im)
    }
}
