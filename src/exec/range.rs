//! Intervals that hold whatever a kernel may compute from values in given intervals: a proof that a next value will be
//! finite, before it is computed.
//!
//! Rounding is monotone, so an interval of exact results holds the rounded ones once it is widened by a little more than
//! one rounding. `None` stands for what is not proved: a value that may be NaN or too large for its type.

use crate::ir::DType;
use crate::ops::{Binary, Unary};
use crate::plan::{Gemm, MapCode, MapInstruction, MapOp, Slot, Then};

/// All numbers from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub low: f64,
    pub high: f64,
}

/// More than one rounding of f32.
const SLACK: f64 = 1e-6;

impl Range {
    pub const ZERO: Range = Range { low: 0.0, high: 0.0 };
    const UNIT: Range = Range { low: 0.0, high: 1.0 };
    const INTEGERS: Range = Range { low: i32::MIN as f64, high: i32::MAX as f64 };

    pub fn around_zero(magnitude: f64) -> Range {
        Range { low: -magnitude, high: magnitude }
    }

    /// The smallest range that holds the values; NaN makes it unbounded.
    pub fn of(values: impl Iterator<Item = f64>) -> Range {
        let unbounded = Range::around_zero(f64::INFINITY);
        values
            .map(|value| if value.is_nan() { unbounded } else { Range { low: value, high: value } })
            .reduce(Range::hull)
            .unwrap_or(Range::ZERO)
    }

    fn hull(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// What every value of a type is in, but for floats.
    pub fn of_type(dtype: DType) -> Option<Range> {
        match dtype {
            DType::I32 => Some(Range::INTEGERS),
            DType::Bool => Some(Range::UNIT),
            DType::F32 | DType::F64 => None,
        }
    }

    /// The range, if it is bounded: not that of an infinite state, nor of NaN.
    pub fn if_finite(self) -> Option<Range> {
        (self.low.is_finite() && self.high.is_finite()).then_some(self)
    }

    fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// The range with room for one rounding, if nothing in it overflows.
    fn rounded(self, dtype: DType) -> Option<Range> {
        let (largest, normal) = match dtype {
            DType::F32 => (f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)),
            _ => (f64::MAX, f64::MIN_POSITIVE),
        };
        // Among subnormal numbers rounding is not relative: it may reach 0, or the smallest normal number.
        let outward = |x: f64| if x > 0.0 && x < normal { normal } else { x + SLACK * x.abs() };
        let inward = |x: f64| if x > 0.0 && x < normal { 0.0 } else { x - SLACK * x.abs() };
        let low = if self.low < 0.0 { -outward(-self.low) } else { inward(self.low) };
        let high = if self.high < 0.0 { -inward(-self.high) } else { outward(self.high) };
        // Neither comparison holds for NaN.
        (low >= -largest && high <= largest).then_some(Range { low, high })
    }

    /// The hull of a function at the corners of two ranges, for one that is monotone in each operand there.
    fn corners(self, other: Range, f: impl Fn(f64, f64) -> f64) -> Range {
        let corner = |a, b| {
            let value = f(a, b);
            Range { low: value, high: value }
        };
        let (a, b) = (self, other);
        corner(a.low, b.low).hull(corner(a.low, b.high)).hull(corner(a.high, b.low)).hull(corner(a.high, b.high))
    }

    fn times(self, other: Range) -> Range {
        self.corners(other, |a, b| a * b)
    }

    fn squared(self) -> Range {
        let square = self.times(self);
        Range { low: square.low.max(0.0), high: square.high }
    }
}

/// The product of matrices whose elements are in these ranges.
pub(super) fn of_product(gemm: &Gemm, a: Range, b: Range) -> Option<Range> {
    // A chain of so many roundings still loses less than half of a sum of magnitudes.
    const LONGEST: usize = 1 << 22;
    let magnitude = 2.0 * gemm.k as f64 * a.magnitude() * b.magnitude();
    if gemm.k <= LONGEST { Range::around_zero(magnitude).rounded(gemm.dtype) } else { None }
}

/// What a map computes: takes the ranges of its inputs, leaves those of its outputs. `scratch` is memory to work in.
pub(super) fn of_map(
    map: &MapCode,
    input: impl Fn(usize) -> Option<Range>,
    scratch: &mut Vec<Range>,
    mut output: impl FnMut(usize, Range),
) -> Option<()> {
    // Scratch slots first, then outputs.
    scratch.clear();
    scratch.resize(map.scratch + map.outputs.len(), Range::ZERO);
    let place = |slot: Slot| match slot {
        Slot::Output(index) => Some(map.scratch + index),
        Slot::Scratch(index) => Some(index),
        Slot::Input(_) | Slot::Unused => None,
    };
    for instruction in &map.code {
        let mut operands = [Range::ZERO; 4];
        for (range, slot) in operands.iter_mut().zip(instruction.operands) {
            match slot {
                Slot::Input(index) => *range = input(index)?,
                slot => *range = place(slot).map_or(Range::ZERO, |at| scratch[at]),
            }
        }
        let result = of_instruction(instruction, operands)?;
        scratch[place(instruction.result)?] = result;
    }
    for (index, from) in map.outputs.iter().map(|output| output.from).enumerate() {
        output(index, scratch[place(from)?]);
    }
    Some(())
}

fn of_instruction(instruction: &MapInstruction, [a, b, c, d]: [Range; 4]) -> Option<Range> {
    let MapInstruction { op, dtype, operands, .. } = *instruction;
    let product = || if operands[0] == operands[1] { a.squared() } else { a.times(b) };
    match op {
        MapOp::Compare(_) => Range::of_type(DType::Bool),
        MapOp::Select => Some(b.hull(c)),
        MapOp::SelectBy(_) => Some(c.hull(d)),
        MapOp::Cast(to) => Range::of_type(to).or_else(|| a.rounded(to)),
        _ if !dtype.is_float() => Range::of_type(dtype),
        MapOp::Multiply(then) => {
            let product = product().rounded(dtype)?;
            match then {
                Then::Add => sum(product, c),
                Then::Subtract => sum(product, negative(c)),
                Then::SubtractFrom => sum(c, negative(product)),
            }
            .rounded(dtype)
        }
        MapOp::Binary(Binary::Mul) => product().rounded(dtype),
        MapOp::Binary(op) => of_binary(op, a, b)?.rounded(dtype),
        MapOp::Unary(op) => of_unary(op, a)?.rounded(dtype),
    }
}

fn sum(a: Range, b: Range) -> Range {
    Range { low: a.low + b.low, high: a.high + b.high }
}

fn negative(a: Range) -> Range {
    Range { low: -a.high, high: -a.low }
}

fn of_binary(op: Binary, a: Range, b: Range) -> Option<Range> {
    Some(match op {
        Binary::Add => sum(a, b),
        Binary::Sub => sum(a, negative(b)),
        Binary::Mul => a.times(b),
        Binary::Div if b.low > 0.0 || b.high < 0.0 => a.corners(b, |a, b| a / b),
        Binary::Max => Range { low: a.low.max(b.low), high: a.high.max(b.high) },
        Binary::Min => Range { low: a.low.min(b.low), high: a.high.min(b.high) },
        // An exponential in b·ln a, with a slack for each of its roundings.
        Binary::Pow if a.low > 0.0 => a.corners(b, f64::powf).widened(),
        Binary::Div | Binary::Pow => return None,
    })
}

impl Range {
    /// Room for the error of an elementary function, a few units in the last place.
    fn widened(self) -> Range {
        Range { low: self.low - 4.0 * SLACK * self.low.abs(), high: self.high + 4.0 * SLACK * self.high.abs() }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Range {
        Range { low: f(self.low), high: f(self.high) }
    }
}

fn of_unary(op: Unary, a: Range) -> Option<Range> {
    let symmetric = Range::around_zero(1.0);
    Some(match op {
        Unary::Neg => negative(a),
        Unary::Abs if a.low >= 0.0 => a,
        Unary::Abs => Range { low: 0.0, high: a.magnitude() },
        Unary::Relu => a.map(|x| x.max(0.0)),
        Unary::Sign | Unary::Tanh | Unary::Erf | Unary::Sin | Unary::Cos => symmetric.widened(),
        Unary::Sigmoid => Range::UNIT.widened(),
        Unary::Sqrt if a.low >= 0.0 => a.map(f64::sqrt).widened(),
        Unary::Rsqrt if a.low > 0.0 => Range { low: 0.0, high: 1.0 / a.low.sqrt() }.widened(),
        Unary::Exp => Range { low: 0.0, high: a.high.exp() }.widened(),
        Unary::Expm1 => Range { low: -1.0, high: a.high.exp_m1() }.widened(),
        Unary::Log if a.low > 0.0 => a.map(f64::ln).widened(),
        Unary::Log1p if a.low > -1.0 => a.map(f64::ln_1p).widened(),
        Unary::Sqrt | Unary::Rsqrt | Unary::Log | Unary::Log1p => return None,
    })
}
