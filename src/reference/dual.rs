//! Dual numbers `a + b·ε`, `ε² = 0`: exact forward-mode derivatives, an oracle for gradients at rounding level.

use super::Number;

/// `re + ε·du`. `Dual<Dual<f64>>` gives second derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual<T = f64> {
    /// The value.
    pub re: T,
    /// The derivative along the seeded direction.
    pub du: T,
}

impl<T: Number> Dual<T> {
    /// A variable with that tangent.
    pub fn new(re: T, du: T) -> Dual<T> {
        Dual { re, du }
    }

    fn constant(re: T) -> Dual<T> {
        Dual { re, du: T::from_f64(0.0) }
    }

    /// `f(re) + ε·f'(re)·du`.
    fn chain(self, value: T, slope: T) -> Dual<T> {
        Dual { re: value, du: slope.mul(self.du) }
    }

    fn number(value: f64) -> T {
        T::from_f64(value)
    }
}

impl<T: Number> Number for Dual<T> {
    fn from_f64(value: f64) -> Self {
        Dual::constant(T::from_f64(value))
    }
    fn to_f64(self) -> f64 {
        self.re.to_f64()
    }
    fn add(self, other: Self) -> Self {
        Dual::new(self.re.add(other.re), self.du.add(other.du))
    }
    fn sub(self, other: Self) -> Self {
        Dual::new(self.re.sub(other.re), self.du.sub(other.du))
    }
    fn mul(self, other: Self) -> Self {
        Dual::new(self.re.mul(other.re), self.du.mul(other.re).add(self.re.mul(other.du)))
    }
    fn div(self, other: Self) -> Self {
        let quotient = self.re.div(other.re);
        Dual::new(quotient, self.du.sub(quotient.mul(other.du)).div(other.re))
    }
    fn neg(self) -> Self {
        Dual::new(self.re.neg(), self.du.neg())
    }
    fn exp(self) -> Self {
        let y = self.re.exp();
        self.chain(y, y)
    }
    fn expm1(self) -> Self {
        self.chain(self.re.expm1(), self.re.exp())
    }
    fn log(self) -> Self {
        self.chain(self.re.log(), Self::number(1.0).div(self.re))
    }
    fn log1p(self) -> Self {
        self.chain(self.re.log1p(), Self::number(1.0).div(Self::number(1.0).add(self.re)))
    }
    fn sqrt(self) -> Self {
        let y = self.re.sqrt();
        self.chain(y, Self::number(0.5).div(y))
    }
    fn rsqrt(self) -> Self {
        // A polynomial of y, as in the reverse rule: so the two also agree in a field, where y·y is not 1/x.
        let y = self.re.rsqrt();
        self.chain(y, Self::number(-0.5).mul(y).mul(y).mul(y))
    }
    fn tanh(self) -> Self {
        let y = self.re.tanh();
        self.chain(y, Self::number(1.0).sub(y.mul(y)))
    }
    fn sigmoid(self) -> Self {
        let y = self.re.sigmoid();
        self.chain(y, y.mul(Self::number(1.0).sub(y)))
    }
    fn erf(self) -> Self {
        let slope = Self::number(std::f64::consts::FRAC_2_SQRT_PI).mul(self.re.mul(self.re).neg().exp());
        self.chain(self.re.erf(), slope)
    }
    fn sin(self) -> Self {
        self.chain(self.re.sin(), self.re.cos())
    }
    fn cos(self) -> Self {
        self.chain(self.re.cos(), self.re.sin().neg())
    }
    fn abs(self) -> Self {
        self.chain(self.re.abs(), self.re.sign())
    }
    fn sign(self) -> Self {
        Dual::constant(self.re.sign())
    }
    fn relu(self) -> Self {
        let slope = if Self::number(0.0).less(self.re) { 1.0 } else { 0.0 };
        self.chain(self.re.relu(), Self::number(slope))
    }
    fn max(self, other: Self) -> Self {
        Dual::new(self.re.max(other.re), if self.re.less(other.re) { other.du } else { self.du })
    }
    fn min(self, other: Self) -> Self {
        Dual::new(self.re.min(other.re), if other.re.less(self.re) { other.du } else { self.du })
    }
    fn pow(self, other: Self) -> Self {
        let y = self.re.pow(other.re);
        let zero = Self::number(0.0);
        // a⁰ is 1 all around a = 0.
        let base_slope = match self.re.equal(zero) && other.re.equal(zero) {
            true => zero,
            false => other.re.mul(self.re.pow(other.re.sub(Self::number(1.0)))),
        };
        let mut du = base_slope.mul(self.du);
        // ln x exists only for a positive base; elsewhere the exponent must be constant.
        if zero.less(self.re) {
            du = du.add(y.mul(self.re.log()).mul(other.du));
        }
        Dual::new(y, du)
    }
    fn equal(self, other: Self) -> bool {
        self.re.equal(other.re)
    }
    fn less(self, other: Self) -> bool {
        self.re.less(other.re)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_derivatives_nest() {
        // d²/dx² sin(x)·eˣ = 2·cos(x)·eˣ
        let x = Dual::new(Dual::new(0.7, 1.0), Dual::new(1.0, 0.0));
        let y = x.sin().mul(x.exp());
        assert!((y.du.du - 2.0 * 0.7f64.cos() * 0.7f64.exp()).abs() < 1e-14);
    }
}
