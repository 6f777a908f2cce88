//! A function, its gradient graph, and the oracles that say what the gradient should be.

use super::{Magnitude, Random};
use foldgrad::Graph;
use foldgrad::ir::OrderedMap;
use foldgrad::reference::{Array, ComplexStep, Dual, Fp, Number, interpret};

pub type Feeds = OrderedMap<String, Array<f64>>;

/// Largest error of a gradient against an exact oracle, in units of rounding of the magnitudes summed: 2⁻⁵³ for f64,
/// where 16 units are 1.8e-15, and 2⁻²⁴ for f32. As long as no more than the leading hundredth cancels, an f64 gradient
/// is thereby right to 2e-13 of its own size.
pub const UNITS: f64 = 16.0;
/// The same for whole graphs, whose depth adds roundings.
pub const WHOLE_UNITS: f64 = 64.0;
/// Largest difference from central differences, relative to the largest entry of the gradient; where the gradient
/// cancels, to a hundredth of the magnitudes summed; where it is flat, to 1e-3.
pub const FINITE_DIFFERENCE: f64 = 1e-8;

/// Entries of an input that are checked one by one.
const ENTRIES: usize = 48;
/// Step of the central differences.
const STEP: f64 = 4e-4;
const UNIT_F64: f64 = f64::EPSILON / 2.0;
const UNIT_F32: f64 = f32::EPSILON as f64 / 2.0;

/// A function and what claims to be its gradient. The function is the sum of every entry of every output of `forward`;
/// `gradient` has an output [`gradient_name`]`(x)` for each `x` of `wrt`.
#[derive(Clone, Debug)]
pub struct Problem {
    pub label: String,
    pub forward: Graph,
    pub gradient: Graph,
    pub feeds: Feeds,
    pub wrt: Vec<String>,
    /// How many units of rounding the gradient may be off: [`UNITS`], or [`WHOLE_UNITS`].
    pub units: f64,
}

/// The output of a gradient graph that holds the gradient with respect to that input.
pub fn gradient_name(input: &str) -> String {
    format!("gradient of {input}")
}

/// Says independently of the reverse sweep what a derivative is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    Dual,
    ComplexStep,
    CentralDifferences,
}

/// What was compared, and the largest errors: in units of rounding of the magnitudes summed, and relative to the
/// gradient's largest entry for central differences.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    pub problems: usize,
    pub entries: usize,
    pub dual: f64,
    pub complex: f64,
    pub difference: f64,
    pub single: f64,
}

impl Worst {
    pub fn add(&mut self, other: Worst) {
        self.problems += other.problems;
        self.entries += other.entries;
        self.dual = self.dual.max(other.dual);
        self.complex = self.complex.max(other.complex);
        self.difference = self.difference.max(other.difference);
        self.single = self.single.max(other.single);
    }
}

/// The same values in another number type.
pub fn feeds_as<S: Number>(feeds: &Feeds) -> OrderedMap<String, Array<S>> {
    let convert = |array: &Array<f64>| match array {
        Array::Real(array) => Array::Real(array.map(S::from_f64)),
        Array::Int(array) => Array::Int(array.clone()),
        Array::Bool(array) => Array::Bool(array.clone()),
    };
    feeds.iter().map(|(name, array)| (name.clone(), convert(array))).collect()
}

/// The outputs of a graph.
pub fn evaluate<S: Number>(
    graph: &Graph,
    feeds: &OrderedMap<String, Array<S>>,
) -> Result<OrderedMap<String, Array<S>>, String> {
    Ok(interpret(graph, feeds).map_err(|error| error.to_string())?.outputs)
}

/// Every entry of every float output, with one entry of one input replaced.
pub fn slope<S: Number>(
    graph: &Graph,
    feeds: &mut OrderedMap<String, Array<S>>,
    (input, entry): (&str, usize),
    moved: impl FnOnce(S) -> S,
) -> Result<Vec<S>, String> {
    let cell = |feeds: &mut OrderedMap<String, Array<S>>, change: &mut dyn FnMut(&mut S)| {
        if let Some(Array::Real(array)) = feeds.get_mut(input) {
            change(&mut array.data[entry]);
        }
    };
    let mut before = S::from_f64(0.0);
    let mut moved = Some(moved);
    cell(feeds, &mut |at| {
        before = *at;
        if let Some(moved) = moved.take() {
            *at = moved(before);
        }
    });
    let outputs = evaluate(graph, feeds);
    cell(feeds, &mut |at| *at = before);
    Ok(outputs?.values().flat_map(|output| output.real().data.clone()).collect())
}

impl Problem {
    fn derivative(&self, oracle: Oracle, at: (&str, usize), points: &mut Points) -> Result<f64, String> {
        let seed = |x: f64| Dual::new(x, 1.0);
        match oracle {
            Oracle::Dual => {
                let terms = slope(&self.forward, &mut points.dual, at, |x| seed(x.re))?;
                Ok(terms.iter().map(|term| term.du).sum())
            }
            Oracle::ComplexStep => {
                let terms = slope(&self.forward, &mut points.complex, at, |x| ComplexStep::new(x.re, 1.0))?;
                Ok(terms.iter().map(|term| term.tangent()).sum())
            }
            // (45(f(x+h) − f(x−h)) − 9(f(x+2h) − f(x−2h)) + f(x+3h) − f(x−3h)) / 60h, each term of the sum by itself,
            // so that a large term that does not move adds no rounding.
            Oracle::CentralDifferences => {
                let mut step = 0.0;
                let mut sum = 0.0;
                for (times, weight) in [(1.0, 45.0), (2.0, -9.0), (3.0, 1.0)] {
                    let mut moved = |sign: f64| {
                        slope(&self.forward, &mut points.real, at, |x| {
                            step = STEP * x.abs().max(1.0);
                            x + sign * times * step
                        })
                    };
                    let (after, before) = (moved(1.0)?, moved(-1.0)?);
                    sum += weight * after.iter().zip(&before).map(|(a, b)| a - b).sum::<f64>();
                }
                Ok(sum / (60.0 * step))
            }
        }
    }

    fn gradient_of<'a, S>(&self, outputs: &'a OrderedMap<String, Array<S>>, input: &str) -> Result<&'a [S], String>
    where
        S: Number,
    {
        let missing = || format!("{}: no gradient with respect to {input}", self.label);
        Ok(&outputs.get(&gradient_name(input)).ok_or_else(missing)?.real().data)
    }
}

struct Points {
    real: Feeds,
    dual: OrderedMap<String, Array<Dual>>,
    complex: OrderedMap<String, Array<ComplexStep>>,
}

/// Compares the gradient with every oracle: each entry by itself, up to [`ENTRIES`] of an input, spread over it; by dual
/// numbers also all of them together, along a random direction.
pub fn check_gradients(problem: &Problem, oracles: &[Oracle]) -> Result<Worst, String> {
    let feeds = &problem.feeds;
    let gradient = evaluate(&problem.gradient, feeds)?;
    let sizes = evaluate(&problem.gradient, &feeds_as::<Magnitude>(feeds))?;
    let mut points = Points { real: feeds.clone(), dual: feeds_as(feeds), complex: feeds_as(feeds) };
    let mut worst = Worst { problems: 1, ..Worst::default() };
    if oracles.contains(&Oracle::Dual) {
        worst.dual = check_direction(problem, gradient.len() as u64)?;
    }
    for input in &problem.wrt {
        let (gradient, sizes) = (problem.gradient_of(&gradient, input)?, problem.gradient_of(&sizes, input)?);
        let stride = gradient.len().div_ceil(ENTRIES).max(1);
        let largest = gradient.iter().fold(0.0f64, |largest, entry| largest.max(entry.abs()));
        for (entry, (&found, &Magnitude { size, .. })) in gradient.iter().zip(sizes).enumerate().step_by(stride) {
            for &oracle in oracles {
                let (worst, tolerance, scale) = match oracle {
                    Oracle::Dual => (&mut worst.dual, problem.units, UNIT_F64 * size),
                    Oracle::ComplexStep => (&mut worst.complex, problem.units, UNIT_F64 * size),
                    Oracle::CentralDifferences => {
                        (&mut worst.difference, FINITE_DIFFERENCE, largest.max(size / 100.0).max(1e-3))
                    }
                };
                let expected = problem.derivative(oracle, (input, entry), &mut points)?;
                note(worst, (found, expected), tolerance, scale).map_err(|error| {
                    let label = &problem.label;
                    format!("{label}: entry {entry} of the gradient of {input}, by {oracle:?}: {error}")
                })?;
            }
            worst.entries += 1;
        }
    }
    Ok(worst)
}

/// Requires that two values differ by at most `tolerance·scale`, and keeps the largest difference seen.
fn note(worst: &mut f64, (found, expected): (f64, f64), tolerance: f64, scale: f64) -> Result<(), String> {
    let error = (found - expected).abs();
    // False of a NaN on either side.
    let within = error <= tolerance * scale;
    if !within {
        let times = error / (tolerance * scale);
        return Err(format!("{found:e}, expected {expected:e}: {times:.1e} times the tolerance"));
    }
    if error > 0.0 {
        *worst = worst.max(error / scale);
    }
    Ok(())
}

/// Compares gradient and dual numbers along one random direction through every input at once, which sees a mistake in
/// any entry. Returns the error in units of rounding of the magnitudes summed.
pub fn check_direction(problem: &Problem, seed: u64) -> Result<f64, String> {
    let mut random = Random(seed);
    let gradient = evaluate(&problem.gradient, &problem.feeds)?;
    let sizes = evaluate(&problem.gradient, &feeds_as::<Magnitude>(&problem.feeds))?;
    let mut point = feeds_as::<Dual>(&problem.feeds);
    let (mut found, mut size) = (0.0, 0.0);
    for input in &problem.wrt {
        let Some(Array::Real(array)) = point.get_mut(input) else { continue };
        let (gradient, sizes) = (problem.gradient_of(&gradient, input)?, problem.gradient_of(&sizes, input)?);
        for ((at, entry), scale) in array.data.iter_mut().zip(gradient).zip(sizes) {
            at.du = random.range(-1.0, 1.0);
            found += entry * at.du;
            size += scale.size * at.du.abs();
        }
    }
    let terms = evaluate(&problem.forward, &point)?;
    let expected: f64 = terms.values().flat_map(|output| &output.real().data).map(|term| term.du).sum();
    let mut worst = 0.0;
    note(&mut worst, (found, expected), problem.units, UNIT_F64 * size)
        .map_err(|error| format!("{}: the gradient along a random direction: {error}", problem.label))?;
    Ok(worst)
}

/// Compares the gradient as an f32 graph computes it in f32 with what the f64 graph gives in f64 at the same point, of
/// which every value is an f32 value. The constants of the f32 graph are rounded, as the rest is.
pub fn check_single(problem: &Problem, in_f64: &Problem) -> Result<Worst, String> {
    let truth = evaluate(&in_f64.gradient, &problem.feeds)?;
    let sizes = evaluate(&in_f64.gradient, &feeds_as::<Magnitude>(&problem.feeds))?;
    let single = evaluate(&problem.gradient, &feeds_as::<f32>(&problem.feeds))?;
    let mut worst = Worst { problems: 1, ..Worst::default() };
    for input in &problem.wrt {
        let truth = problem.gradient_of(&truth, input)?;
        let sizes = problem.gradient_of(&sizes, input)?;
        let single = problem.gradient_of(&single, input)?;
        for (entry, ((&found, &expected), size)) in single.iter().zip(truth).zip(sizes).enumerate() {
            note(&mut worst.single, (f64::from(found), expected), problem.units, UNIT_F32 * size.size)
                .map_err(|error| format!("{}: entry {entry} of the gradient of {input}: {error}", problem.label))?;
            worst.entries += 1;
        }
    }
    Ok(worst)
}

/// Compares gradient and dual numbers over the prime field at a random point: equality of algebra, with no tolerance.
/// Returns the number of entries.
pub fn check_in_field(problem: &Problem, seed: u64) -> Result<usize, String> {
    let mut random = Random(seed);
    let mut point: OrderedMap<String, Array<Fp>> = feeds_as(&problem.feeds);
    for array in point.values_mut() {
        if let Array::Real(array) = array {
            array.data.iter_mut().for_each(|entry| *entry = Fp::new(random.bits()));
        }
    }
    let gradient = evaluate(&problem.gradient, &point)?;
    let lift = |array: &Array<Fp>| match array {
        Array::Real(array) => Array::Real(array.map(|x| Dual::new(x, Fp::new(0)))),
        Array::Int(array) => Array::Int(array.clone()),
        Array::Bool(array) => Array::Bool(array.clone()),
    };
    let mut lifted: OrderedMap<String, Array<Dual<Fp>>> =
        point.iter().map(|(name, array)| (name.clone(), lift(array))).collect();
    let mut entries = 0;
    for input in &problem.wrt {
        for (entry, &found) in problem.gradient_of(&gradient, input)?.iter().enumerate() {
            let terms = slope(&problem.forward, &mut lifted, (input, entry), |x| Dual::new(x.re, Fp::new(1)))?;
            let expected = terms.iter().fold(Fp::new(0), |sum, term| sum.add(term.du));
            if found != expected {
                return Err(format!(
                    "{}: entry {entry} of the gradient of {input} is {found:?} in the field, dual numbers say \
                     {expected:?}",
                    problem.label
                ));
            }
            entries += 1;
        }
    }
    Ok(entries)
}

/// Compares two gradients of one function, entry by entry, to rounding.
pub fn check_same(found: &Problem, expected: &Problem) -> Result<Worst, String> {
    let left = evaluate(&found.gradient, &found.feeds)?;
    let right = evaluate(&expected.gradient, &found.feeds)?;
    // What one of them sums and cancels, the other may never have formed.
    let sizes = [found, expected].map(|problem| evaluate(&problem.gradient, &feeds_as::<Magnitude>(&found.feeds)));
    let [found_sizes, expected_sizes] = sizes;
    let (found_sizes, expected_sizes) = (found_sizes?, expected_sizes?);
    let mut worst = Worst { problems: 1, ..Worst::default() };
    for input in &found.wrt {
        let (left, right) = (found.gradient_of(&left, input)?, expected.gradient_of(&right, input)?);
        let sizes = found.gradient_of(&found_sizes, input)?.iter().zip(expected.gradient_of(&expected_sizes, input)?);
        for (entry, ((&a, &b), (m, n))) in left.iter().zip(right).zip(sizes).enumerate() {
            note(&mut worst.dual, (a, b), found.units, UNIT_F64 * m.size.max(n.size))
                .map_err(|error| format!("{}: entry {entry} of the gradient of {input}: {error}", found.label))?;
            worst.entries += 1;
        }
    }
    Ok(worst)
}

/// Both arrays agree within `tolerance` times the larger of 1 and the largest entry.
#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) -> f64 {
    assert_eq!(found.len(), expected.len(), "{what}: lengths differ");
    let scale = expected.iter().fold(1.0f64, |scale, entry| scale.max(entry.abs()));
    let mut worst = 0.0f64;
    for (entry, (a, b)) in found.iter().zip(expected).enumerate() {
        let error = (a - b).abs() / scale;
        assert!(error <= tolerance, "{what}: entry {entry} is {a:e}, expected {b:e} (error {error:.1e})");
        worst = worst.max(error);
    }
    worst
}
