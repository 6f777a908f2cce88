//! The rates of [`Costs`] by name, each within its range: a rate that is none never gets in.

use super::Costs;
use std::fmt;

/// One of the rates that [`Costs`] are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rate {
    /// Multiply-adds of f32 a nanosecond in a product that fills its tiles.
    MultiplyAdds,
    /// Bytes a nanosecond that a product reads of an operand which is not in the first-level cache.
    OperandBytes,
    /// Bytes a nanosecond that an element-wise instruction reads and writes.
    MapBytes,
    /// Nanoseconds of an elementary function, for each element.
    Elementary,
    /// Nanoseconds until every worker knows that the others are done.
    Barrier,
    /// Nanoseconds to start a kernel.
    Call,
}

/// A number that a rate cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("`{rate}` takes {}, found {found}", .rate.range())]
pub struct RateError {
    /// The rate.
    pub rate: Rate,
    /// What it was given.
    pub found: f64,
}

impl Rate {
    /// Every rate.
    pub const ALL: [Rate; 6] =
        [Rate::MultiplyAdds, Rate::OperandBytes, Rate::MapBytes, Rate::Elementary, Rate::Barrier, Rate::Call];

    /// The rate of that name.
    pub fn from_name(name: &str) -> Option<Rate> {
        Rate::ALL.into_iter().find(|rate| rate.name() == name)
    }

    /// Its name, as `foldgrad plan` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Rate::MultiplyAdds => "multiply_adds",
            Rate::OperandBytes => "operand_bytes",
            Rate::MapBytes => "map_bytes",
            Rate::Elementary => "elementary",
            Rate::Barrier => "barrier",
            Rate::Call => "call",
        }
    }

    /// What it is counted in.
    pub const fn unit(self) -> &'static str {
        match self {
            Rate::MultiplyAdds => "f32 multiply-adds a ns in a product",
            Rate::OperandBytes => "bytes a ns of an operand not in L1",
            Rate::MapBytes => "bytes a ns in a map (12 an instruction)",
            Rate::Elementary => "ns an element of exp, log, tanh, …",
            Rate::Barrier => "ns until all know that all are done",
            Rate::Call => "ns to start a kernel",
        }
    }

    /// Whether it is a speed; the others are times. A wait may cost nothing, but a speed of 0 would make everything last
    /// for ever.
    const fn is_speed(self) -> bool {
        matches!(self, Rate::MultiplyAdds | Rate::OperandBytes | Rate::MapBytes)
    }

    const fn range(self) -> &'static str {
        if self.is_speed() { "a finite positive number" } else { "a finite number, not negative" }
    }

    fn check(self, value: f64) -> Result<f64, RateError> {
        let is_large_enough = if self.is_speed() { value > 0.0 } else { value >= 0.0 };
        if value.is_finite() && is_large_enough { Ok(value) } else { Err(RateError { rate: self, found: value }) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Costs {
    /// These costs with another rate.
    ///
    /// ```
    /// use foldgrad::plan::{Costs, Rate};
    /// // Sharing pays later where waiting is dear.
    /// let costs = Costs::default().with(Rate::Barrier, 20_000.0)?;
    /// assert!(costs.rate(Rate::Barrier) > Costs::default().rate(Rate::Barrier));
    /// assert!(costs.with(Rate::MultiplyAdds, f64::NAN).is_err());
    /// # Ok::<(), foldgrad::plan::RateError>(())
    /// ```
    ///
    /// # Errors
    /// A speed that is not a finite positive number; a time that is negative, infinite or NaN.
    pub fn with(mut self, rate: Rate, value: f64) -> Result<Costs, RateError> {
        let value = rate.check(value)?;
        match rate {
            Rate::MultiplyAdds => self.multiply_adds = value,
            Rate::OperandBytes => self.operand_bytes = value,
            Rate::MapBytes => self.map_bytes = value,
            Rate::Elementary => self.elementary = value,
            Rate::Barrier => self.barrier = value,
            Rate::Call => self.call = value,
        }
        Ok(self)
    }

    /// A rate.
    pub fn rate(&self, rate: Rate) -> f64 {
        match rate {
            Rate::MultiplyAdds => self.multiply_adds,
            Rate::OperandBytes => self.operand_bytes,
            Rate::MapBytes => self.map_bytes,
            Rate::Elementary => self.elementary,
            Rate::Barrier => self.barrier,
            Rate::Call => self.call,
        }
    }
}
