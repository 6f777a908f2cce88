//! Totals of the blocks of a sum or product, in about twice the digits of what they are made of: f64 for f32, and for f64 a
//! pair of which the second part holds what rounding took from the first (Knuth, TAOCP 2, 4.2.2; Ogita, Rump, Oishi,
//! "Accurate sum and dot product", 2005).

/// A running total of `T`s.
pub(crate) trait Total<T>: Copy {
    /// The total that is the number.
    fn of(value: T) -> Self;

    /// The total with a term more.
    fn plus(self, term: T) -> Self;

    /// The total with a factor more.
    fn times(self, factor: T) -> Self;

    /// The sum of both.
    fn and(self, other: Self) -> Self;

    /// The product of both.
    fn by(self, other: Self) -> Self;

    /// The total, rounded once.
    fn rounded(self) -> T;
}

impl Total<f32> for f64 {
    #[inline(always)]
    fn of(value: f32) -> f64 {
        f64::from(value)
    }

    #[inline(always)]
    fn plus(self, term: f32) -> f64 {
        self + f64::from(term)
    }

    #[inline(always)]
    fn times(self, factor: f32) -> f64 {
        self * f64::from(factor)
    }

    #[inline(always)]
    fn and(self, other: f64) -> f64 {
        self + other
    }

    #[inline(always)]
    fn by(self, other: f64) -> f64 {
        self * other
    }

    #[inline(always)]
    fn rounded(self) -> f32 {
        self as f32
    }
}

/// `value + rest`, where the rest is what rounding took. It means nothing where the value is not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compensated {
    value: f64,
    rest: f64,
}

impl Total<f64> for Compensated {
    #[inline(always)]
    fn of(value: f64) -> Compensated {
        Compensated { value, rest: 0.0 }
    }

    #[inline(always)]
    fn plus(self, term: f64) -> Compensated {
        let value = self.value + term;
        let of_term = value - self.value;
        let lost = (self.value - (value - of_term)) + (term - of_term);
        Compensated { value, rest: self.rest + lost }
    }

    #[inline(always)]
    fn times(self, factor: f64) -> Compensated {
        let value = self.value * factor;
        let lost = self.value.mul_add(factor, -value);
        Compensated { value, rest: self.rest.mul_add(factor, lost) }
    }

    #[inline(always)]
    fn and(self, other: Compensated) -> Compensated {
        let Compensated { value, rest } = self.plus(other.value);
        Compensated { value, rest: rest + other.rest }
    }

    #[inline(always)]
    fn by(self, other: Compensated) -> Compensated {
        let Compensated { value, rest } = self.times(other.value);
        Compensated { value, rest: self.value.mul_add(other.rest, rest) }
    }

    #[inline(always)]
    fn rounded(self) -> f64 {
        // Infinity has no digits to be lost, but its rest is NaN.
        if self.value.is_finite() { self.value + self.rest } else { self.value }
    }
}
