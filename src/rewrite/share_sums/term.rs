//! Terms `± p/q · ∏ sizeᵏ · ∏ a / ∏ b` of a sum, exact as long as they are small.

use crate::ir::{Dim, Symbol, Value};
use smallvec::SmallVec;

/// Where each axis of a value lies in a larger shape; [`GONE`] for an axis of size 1.
pub(super) type Axes = SmallVec<[u8; 4]>;
pub(super) const GONE: u8 = u8::MAX;

/// A set of axes as bits.
pub(super) type AxisSet = u64;

/// What a factor is: a value of the graph, or one of the shared sums by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Base {
    Value(Value),
    Sum(usize),
}

/// A factor, repeated along the axes that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Atom {
    pub base: Base,
    pub at: Axes,
}

impl Atom {
    /// The axes along which it varies.
    pub fn axes(&self) -> AxisSet {
        self.at.iter().filter(|&&axis| axis != GONE).fold(0, |set, &axis| set | 1 << axis)
    }

    /// The same factor with its axes moved.
    pub fn moved(&self, to: impl Fn(u8) -> u8) -> Atom {
        let at = self.at.iter().map(|&axis| if axis == GONE { GONE } else { to(axis) }).collect();
        Atom { base: self.base, at }
    }
}

/// A fraction in lowest terms whose two sides are exact in every float type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    pub over: i64,
    pub under: i64,
}

impl Ratio {
    pub const ONE: Ratio = Ratio { over: 1, under: 1 };

    fn new(over: i128, under: i128) -> Option<Ratio> {
        // 24 significant bits are exact in f32, and 2⁶⁰ is far from its largest number.
        let fits = |side: i128| {
            let size = side.unsigned_abs();
            size < 1 << 60 && (size == 0 || size >> size.trailing_zeros() < 1 << 24)
        };
        let (mut a, mut b) = (over.unsigned_abs(), under.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a as i128 * under.signum();
        if divisor == 0 {
            return None;
        }
        let (over, under) = (over / divisor, under / divisor);
        (fits(over) && fits(under)).then_some(Ratio { over: over as i64, under: under as i64 })
    }

    /// A number that is not zero.
    pub fn of(value: f64) -> Option<Ratio> {
        let (mut value, mut under) = (value, 1i128);
        while value.fract() != 0.0 && under < 1 << 60 {
            (value, under) = (value * 2.0, under * 2);
        }
        let fits = value.fract() == 0.0 && value.abs() < (1u64 << 60) as f64 && value != 0.0;
        if fits { Ratio::new(value as i128, under) } else { None }
    }

    pub fn times(self, other: Ratio) -> Option<Ratio> {
        Ratio::new(i128::from(self.over) * i128::from(other.over), i128::from(self.under) * i128::from(other.under))
    }

    pub fn plus(self, other: Ratio) -> Option<Ratio> {
        let [a, b, c, d] = [self.over, self.under, other.over, other.under].map(i128::from);
        Ratio::new(a * d + c * b, b * d)
    }

    pub fn inverse(self) -> Option<Ratio> {
        Ratio::new(i128::from(self.under), i128::from(self.over))
    }

    pub fn negated(self) -> Ratio {
        Ratio { over: -self.over, under: self.under }
    }
}

/// A number and a product of sizes that are known only when they are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub ratio: Ratio,
    /// Ascending by name, exponents not zero.
    pub sizes: SmallVec<[(Symbol, i32); 2]>,
}

impl Scale {
    pub fn one() -> Scale {
        Scale { ratio: Ratio::ONE, sizes: SmallVec::new() }
    }

    /// Multiplies by a number; `None` where it does not stay exact.
    #[must_use]
    pub fn number(&mut self, ratio: Ratio) -> Option<()> {
        self.ratio = self.ratio.times(ratio)?;
        Some(())
    }

    /// Multiplies by a size, or divides.
    #[must_use]
    pub fn size(&mut self, dim: Dim, below: bool) -> Option<()> {
        match dim {
            Dim::Known(size) => {
                let ratio = Ratio::new(size as i128, 1)?;
                self.number(if below { ratio.inverse()? } else { ratio })
            }
            Dim::Symbol(symbol) => {
                self.power(symbol, if below { -1 } else { 1 });
                Some(())
            }
        }
    }

    fn power(&mut self, symbol: Symbol, exponent: i32) {
        match self.sizes.binary_search_by(|(other, _)| other.name().cmp(symbol.name())) {
            Err(place) => self.sizes.insert(place, (symbol, exponent)),
            Ok(place) => {
                self.sizes[place].1 += exponent;
                if self.sizes[place].1 == 0 {
                    self.sizes.remove(place);
                }
            }
        }
    }

    /// Multiplies by another scale, or divides by it.
    #[must_use]
    pub fn scale(&mut self, other: &Scale, below: bool) -> Option<()> {
        self.number(if below { other.ratio.inverse()? } else { other.ratio })?;
        other.sizes.iter().for_each(|&(symbol, exponent)| self.power(symbol, if below { -exponent } else { exponent }));
        Some(())
    }
}

/// A product. Both lists are sorted, and nothing but sizes and numbers is ever cancelled: `a/a` is no 1 where `a` is 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub scale: Scale,
    pub over: SmallVec<[Atom; 2]>,
    pub under: SmallVec<[Atom; 2]>,
}

impl Term {
    /// Whether the two differ by their numbers alone.
    fn is_like(&self, other: &Term) -> bool {
        self.scale.sizes == other.scale.sizes && self.over == other.over && self.under == other.under
    }

    /// Every factor.
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        self.over.iter().chain(&self.under)
    }

    /// The shared sums that it needs.
    pub fn sums(&self) -> impl Iterator<Item = usize> {
        self.atoms().filter_map(|atom| match atom.base {
            Base::Sum(sum) => Some(sum),
            Base::Value(_) => None,
        })
    }
}

/// A sum of terms, no two alike; none at all is zero.
pub(super) type Form = Vec<Term>;

/// Adds a term; `None` where the numbers do not stay exact.
#[must_use]
pub(super) fn add(form: &mut Form, term: Term) -> Option<()> {
    match form.iter().position(|other| other.is_like(&term)) {
        None => form.push(term),
        Some(place) => {
            let ratio = form[place].scale.ratio.plus(term.scale.ratio)?;
            form[place].scale.ratio = ratio;
            if ratio.over == 0 {
                form.remove(place);
            }
        }
    }
    Some(())
}
