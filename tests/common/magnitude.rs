//! The magnitudes that are summed into a value: the scale of its rounding error.

use foldgrad::reference::Number;

/// A number with the sum of the absolute values of the terms that it is made of.
///
/// To first order, an operand that is off by `u` times its `size` moves the result by at most `u` times the result's
/// `size`: sizes add where terms add (even where the terms themselves cancel), and pass through a function with the
/// absolute value of its slope. So a gradient that is computed with a handful of roundings differs from the exact one
/// by a handful of units times `size`, whatever cancelled on the way, and a wrong term shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Magnitude {
    pub value: f64,
    pub size: f64,
}

impl Magnitude {
    fn new(value: f64, size: f64) -> Magnitude {
        Magnitude { value, size }
    }

    /// `f(x)`, given the value and the slope there.
    fn through(self, value: f64, slope: f64) -> Magnitude {
        // An exact zero has no error to pass on, not even through an infinite slope.
        let passed = if self.size == 0.0 { 0.0 } else { slope.abs() * self.size };
        Magnitude::new(value, value.abs() + passed)
    }
}

impl Number for Magnitude {
    fn from_f64(value: f64) -> Self {
        Magnitude::new(value, value.abs())
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    fn add(self, other: Self) -> Self {
        Magnitude::new(self.value + other.value, self.size + other.size)
    }
    fn sub(self, other: Self) -> Self {
        Magnitude::new(self.value - other.value, self.size + other.size)
    }
    // |ab| counts once, not once for each factor: a product of exact factors is rounded once. The errors of both factors
    // meet too: that is all there is of the square of what cancelled to 0.
    fn mul(self, other: Self) -> Self {
        let value = self.value * other.value;
        let first_order = self.size * other.value.abs() + self.value.abs() * other.size - value.abs();
        Magnitude::new(value, first_order + self.size * other.size * f64::EPSILON)
    }
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let size = (self.size + value.abs() * other.size) / other.value.abs() - value.abs();
        Magnitude::new(value, size)
    }
    fn neg(self) -> Self {
        Magnitude::new(-self.value, self.size)
    }
    fn exp(self) -> Self {
        let y = self.value.exp();
        self.through(y, y)
    }
    fn expm1(self) -> Self {
        self.through(self.value.exp_m1(), self.value.exp())
    }
    fn log(self) -> Self {
        self.through(self.value.ln(), 1.0 / self.value)
    }
    fn log1p(self) -> Self {
        self.through(self.value.ln_1p(), 1.0 / (1.0 + self.value))
    }
    fn sqrt(self) -> Self {
        let y = self.value.sqrt();
        self.through(y, 0.5 / y)
    }
    fn rsqrt(self) -> Self {
        let y = 1.0 / self.value.sqrt();
        self.through(y, 0.5 * y / self.value)
    }
    fn tanh(self) -> Self {
        let y = self.value.tanh();
        self.through(y, 1.0 - y * y)
    }
    fn sigmoid(self) -> Self {
        let y = Number::sigmoid(self.value);
        self.through(y, y * (1.0 - y))
    }
    fn erf(self) -> Self {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-self.value * self.value).exp();
        self.through(Number::erf(self.value), slope)
    }
    fn sin(self) -> Self {
        self.through(self.value.sin(), self.value.cos())
    }
    fn cos(self) -> Self {
        self.through(self.value.cos(), self.value.sin())
    }
    fn abs(self) -> Self {
        Magnitude::new(self.value.abs(), self.size)
    }
    fn sign(self) -> Self {
        Self::from_f64(Number::sign(self.value))
    }
    fn relu(self) -> Self {
        if self.value > 0.0 { self } else { Self::from_f64(Number::relu(self.value)) }
    }
    fn max(self, other: Self) -> Self {
        let size = if self.value < other.value { other.size } else { self.size };
        Magnitude::new(Number::max(self.value, other.value), size)
    }
    fn min(self, other: Self) -> Self {
        let size = if other.value < self.value { other.size } else { self.size };
        Magnitude::new(Number::min(self.value, other.value), size)
    }
    fn pow(self, other: Self) -> Self {
        let y = self.value.powf(other.value);
        let by_base = self.through(y, other.value * self.value.powf(other.value - 1.0));
        let by_exponent = if self.value > 0.0 { (y * self.value.ln()).abs() * other.size } else { 0.0 };
        Magnitude::new(y, by_base.size + by_exponent)
    }
}
