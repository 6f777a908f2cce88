//! Intervals that hold whatever a kernel may compute from values in given intervals: a proof that a next value will be
//! finite, before it is computed.
//!
//! Rounding is monotone, so an interval of exact results holds the rounded ones once it is widened by a little more than
//! one rounding. `None` stands for what is not proved: a value that may be NaN or too large for its type.

use crate::ir::DType;
use crate::kernel::{Extent, GemmCall, Level, MapCall, MapInstruction, MapOp, Real, Slot, Then, reduce};
use crate::ops::{Binary, Reduction, Unary};

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

/// Between which numbers the elements of an array are.
///
/// # Safety
/// `start` is readable for so many elements of the type, and no one writes them meanwhile.
pub(super) unsafe fn range_of(level: Level, dtype: DType, len: usize, start: *const u8) -> Range {
    unsafe fn of<T: Real>(level: Level, start: *const T, len: usize) -> Range {
        let bound = |reduction| {
            let (mut bound, whole) = ([T::ZERO], Extent { outer: 1, reduced: len, inner: 1, stride: 1 });
            // SAFETY: the caller's.
            unsafe { reduce(level, reduction, start, &mut bound, whole) };
            bound[0].to_f64()
        };
        Range { low: bound(Reduction::Min), high: bound(Reduction::Max) }
    }
    // SAFETY: the caller's.
    unsafe {
        match (dtype, len) {
            (DType::I32 | DType::Bool, _) | (_, 0) => Range::ZERO,
            (DType::F32, len) => of::<f32>(level, start.cast(), len),
            (DType::F64, len) => of::<f64>(level, start.cast(), len),
        }
    }
}

/// The product of matrices whose elements are in these ranges.
pub(super) fn of_product(gemm: &GemmCall, a: Range, b: Range) -> Option<Range> {
    // A chain of so many roundings still loses less than half of a sum of magnitudes.
    const LONGEST: usize = 1 << 22;
    let magnitude = 2.0 * gemm.k as f64 * a.magnitude() * b.magnitude();
    if gemm.k <= LONGEST { Range::around_zero(magnitude).rounded(gemm.dtype) } else { None }
}

/// What a map computes: takes the ranges of its inputs, leaves those of its outputs. `scratch` is memory to work in.
pub(super) fn of_map(
    map: &MapCall,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Executable, Options};
    use crate::ir::{Bindings, Builder, Expr, Tensor};
    use crate::kernel::Kernel;
    use crate::plan::Plan;
    use crate::random::Stream;

    /// A random element-wise expression over three inputs.
    fn expression<'b>(random: &mut Stream, inputs: [Expr<'b>; 3]) -> Expr<'b> {
        let mut values = inputs.to_vec();
        for _ in 0..2 + random.below(8) as usize {
            let pick = |random: &mut Stream| values[random.below(values.len() as u64) as usize];
            let (a, b, c) = (pick(random), pick(random), pick(random));
            let value = match random.below(24) {
                0 => a + b,
                1 => a - b,
                2 => a * b,
                3 => a * a,
                4 => a / b,
                5 => a.max(b),
                6 => a.min(b),
                7 => a * b + c,
                8 => a * b - c,
                9 => c - a * b,
                10 => a.greater(b).select(a, c),
                11 => a.abs().sqrt(),
                12 => a.exp(),
                13 => a.expm1(),
                14 => (a.abs() + 0.5).log(),
                15 => (a * a).log1p(),
                16 => a.tanh(),
                17 => a.sigmoid(),
                18 => a.sin() * 3.0,
                19 => a.erf(),
                20 => (a.abs() + 0.25).pow(b),
                21 => (a * a + 0.1).rsqrt(),
                22 => -a.sign(),
                _ => a.relu() * 0.5,
            };
            values.push(value);
        }
        values.pop().unwrap_or(inputs[0])
    }

    #[test]
    fn results_of_random_maps_lie_in_their_ranges() {
        let mut random = Stream::new(5, "ranges");
        let (mut proved, mut finite) = (0, 0);
        for case in 0..3000 {
            let dtype = if case % 2 == 0 { DType::F32 } else { DType::F64 };
            let g = Builder::new();
            let inputs = ["x", "y", "z"].map(|name| g.input(name, dtype, [64]));
            let value = expression(&mut random, inputs);
            g.output("value", value);
            let graph = g.finish().unwrap();
            let plan = Plan::new(&graph, &Bindings::new()).unwrap();
            let [step] = plan.steps.as_slice() else { continue };
            let Kernel::Map(map) = &step.call else { continue };
            // Magnitudes of many sizes, some of one sign; the ends of a range are among its elements.
            let ranges: Vec<Range> = (0..3)
                .map(|_| {
                    let size = 10f64.powf(random.uniform() * 24.0 - 12.0);
                    let (low, high) = (-size * random.uniform(), size * random.uniform());
                    let low = if random.below(2) == 0 { size * 0.1 } else { low };
                    Range { low: low.min(high), high: high.max(low) }
                })
                .collect();
            let data = ranges.iter().map(|range| {
                let values = (0..64).map(|i| match i {
                    0 => range.low,
                    1 => range.high,
                    _ => range.low + (range.high - range.low) * random.uniform(),
                });
                Tensor::from_f64(dtype, [64], values.collect::<Vec<_>>()).unwrap()
            });
            let data: Vec<Tensor> = data.collect();
            let of_buffer = |index: usize| {
                let input = &map.inputs[index];
                match plan.buffers[input.buffer].storage {
                    crate::plan::Storage::Feed(feed) => Some(Range::of(data[feed].to_f64().into_iter())),
                    crate::plan::Storage::Constant(at) => Some(Range::of(plan.constants[at].to_f64().into_iter())),
                    _ => None,
                }
            };
            let mut found = None;
            let is_proved = of_map(map, of_buffer, &mut Vec::new(), |_, range| found = Some(range)).is_some();
            let mut run = Executable::with(graph, &Bindings::new(), &Options::default()).unwrap();
            run.run(&data.iter().collect::<Vec<_>>(), &mut []).unwrap();
            let results = run.output_tensor(0).unwrap().to_f64();
            finite += usize::from(results.iter().all(|value| value.is_finite()));
            if is_proved {
                proved += 1;
                let range = found.unwrap();
                for value in results {
                    let lies_in = range.low <= value && value <= range.high;
                    assert!(lies_in, "case {case}: {value:e} is not in {range:?}");
                }
            }
        }
        assert!(proved > 1000 && proved * 10 > finite * 6, "{proved} proved of {finite} that are finite");
    }

    #[test]
    fn ends_of_ranges_are_where_they_should_be() {
        let range = |low: f64, high: f64| Range { low, high };
        assert_eq!(of_binary(Binary::Div, range(1.0, 2.0), range(-1.0, 1.0)), None);
        assert_eq!(of_binary(Binary::Div, range(1.0, 2.0), range(0.5, 4.0)), Some(range(0.25, 4.0)));
        assert_eq!(of_unary(Unary::Sqrt, range(-1e-30, 1.0)), None);
        assert_eq!(of_unary(Unary::Log, range(0.0, 1.0)), None);
        assert_eq!(range(-3.0, 2.0).squared(), range(0.0, 9.0));
        assert_eq!(range(1.0, 1e39).rounded(DType::F32), None);
        assert!(range(1.0, 1e39).rounded(DType::F64).is_some());
        // A subnormal number may be rounded to 0, by which nothing is divided.
        assert_eq!(range(1e-40, 1.0).rounded(DType::F32).unwrap().low, 0.0);
        assert!(Range::of([1.0, f64::NAN].into_iter()).if_finite().is_none());
        assert!(Range::of([1.0, f64::INFINITY].into_iter()).if_finite().is_none());
    }
}
