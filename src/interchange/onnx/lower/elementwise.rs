//! Element by element: operands stay as small as they are held, because ONNX broadcasts them as numpy does.

use super::super::emit::{Attribute, Emitter, Held, Lowered, Refusal};
use crate::ir::{DType, Shape, common_shape};
use crate::ops::{Binary, Compare, Unary};

/// The result of an element-wise op that was written as `name`.
fn result(name: String, operands: &[&Held], dtype: DType) -> Held {
    let shape = operands.first().map(|operand| operand.shape.clone()).unwrap_or_default();
    let held = operands.iter().fold(Shape::scalar(), |held, operand| match common_shape(&held, &operand.held) {
        Some(held) => held,
        None => unreachable!("both stretch to one shape, so they stretch to each other"),
    });
    Held { name, dtype, shape, held }
}

/// One node of ONNX over these operands.
pub(super) fn map(e: &mut Emitter, onnx: &str, operands: &[&Held], dtype: DType) -> Held {
    let names: Vec<&str> = operands.iter().map(|operand| operand.name.as_str()).collect();
    let name = e.node(onnx, &names, &[]);
    result(name, operands, dtype)
}

/// An activation with a slope, as an attribute.
pub(super) fn sloped(e: &mut Emitter, onnx: &str, alpha: f64, x: &Held) -> Held {
    let name = e.node(onnx, &[&x.name], &[("alpha", Attribute::Float(alpha as f32))]);
    result(name, &[x], x.dtype)
}

pub(super) fn unary(e: &mut Emitter, unary: Unary, x: &Held) -> Held {
    let onnx = match unary {
        Unary::Neg => "Neg",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt => "Sqrt",
        Unary::Tanh => "Tanh",
        Unary::Sigmoid => "Sigmoid",
        Unary::Erf => "Erf",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Abs => "Abs",
        Unary::Sign => "Sign",
        Unary::Relu => "Relu",
        Unary::Expm1 => return result(expm1(e, x), &[x], x.dtype),
        Unary::Log1p => return result(log1p(e, x), &[x], x.dtype),
        Unary::Rsqrt => {
            let root = e.node("Sqrt", &[&x.name], &[]);
            return result(e.node("Reciprocal", &[&root], &[]), &[x], x.dtype);
        }
    };
    map(e, onnx, &[x], x.dtype)
}

/// `eˣ − 1 = tanh(x/2)·(eˣ + 1)`, which keeps its digits near 0 and its limits at ±∞.
fn expm1(e: &mut Emitter, x: &Held) -> String {
    let (half, one) = (e.scalar(x.dtype, 0.5), e.scalar(x.dtype, 1.0));
    let halved = e.node("Mul", &[&x.name, &half], &[]);
    let tanh = e.node("Tanh", &[&halved], &[]);
    let exp = e.node("Exp", &[&x.name], &[]);
    let sum = e.node("Add", &[&exp, &one], &[]);
    e.node("Mul", &[&tanh, &sum], &[])
}

/// `ln(1 + x) = ln u·(x/(u − 1))` for the rounded `u = 1 + x`: the second factor takes back what the rounding did. It is
/// left out where nothing was rounded, which ±∞ counts as, and the whole is `x` where `u` is 1.
fn log1p(e: &mut Emitter, x: &Held) -> String {
    let (zero, one) = (e.scalar(x.dtype, 0.0), e.scalar(x.dtype, 1.0));
    let u = e.node("Add", &[&x.name, &one], &[]);
    let log = e.node("Log", &[&u], &[]);
    let added = e.node("Sub", &[&u, &one], &[]);
    let ratio = e.node("Div", &[&x.name, &added], &[]);
    let corrected = e.node("Mul", &[&log, &ratio], &[]);
    let exact = e.node("Equal", &[&added, &x.name], &[]);
    let either = e.node("Where", &[&exact, &log, &corrected], &[]);
    let tiny = e.node("Equal", &[&added, &zero], &[]);
    e.node("Where", &[&tiny, &x.name, &either], &[])
}

pub(super) fn binary(e: &mut Emitter, binary: Binary, a: &Held, b: &Held) -> Lowered<Held> {
    let integers = a.dtype == DType::I32;
    let onnx = match binary {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div if integers => return Ok(result(divide_integers(e, a, b), &[a, b], a.dtype)),
        Binary::Div => "Div",
        Binary::Max => "Max",
        Binary::Min => "Min",
        Binary::Pow if integers => {
            return Err(Refusal {
                why: "runtimes compute powers of integers in floating point".to_owned(),
                help: "multiply instead, or `.cast(DType::F32)` before the power",
            });
        }
        Binary::Pow => "Pow",
    };
    Ok(map(e, onnx, &[a, b], a.dtype))
}

/// Integer division is 0 by zero, and wraps where it overflows, as a division by 1 does; in runtimes either would end the
/// process.
fn divide_integers(e: &mut Emitter, a: &Held, b: &Held) -> String {
    let [zero, one, minus_one, least] = [0.0, 1.0, -1.0, f64::from(i32::MIN)].map(|value| e.scalar(DType::I32, value));
    let by_zero = e.node("Equal", &[&b.name, &zero], &[]);
    let of_least = e.node("Equal", &[&a.name, &least], &[]);
    let by_minus_one = e.node("Equal", &[&b.name, &minus_one], &[]);
    let overflows = e.node("And", &[&of_least, &by_minus_one], &[]);
    let traps = e.node("Or", &[&by_zero, &overflows], &[]);
    let divisor = e.node("Where", &[&traps, &one, &b.name], &[]);
    let quotient = e.node("Div", &[&a.name, &divisor], &[]);
    e.node("Where", &[&by_zero, &zero, &quotient], &[])
}

pub(super) fn compare(e: &mut Emitter, compare: Compare, a: &Held, b: &Held) -> Held {
    let onnx = match compare {
        Compare::Equal => "Equal",
        Compare::NotEqual => {
            let equal = e.node("Equal", &[&a.name, &b.name], &[]);
            return result(e.node("Not", &[&equal], &[]), &[a, b], DType::Bool);
        }
        Compare::Less => "Less",
        Compare::LessEqual => "LessOrEqual",
        Compare::Greater => "Greater",
        Compare::GreaterEqual => "GreaterOrEqual",
    };
    if a.dtype == DType::Bool && compare != Compare::Equal {
        // ONNX orders numbers only.
        let (a, b) = (cast(e, a, DType::I32), cast(e, b, DType::I32));
        return map(e, onnx, &[&a, &b], DType::Bool);
    }
    map(e, onnx, &[a, b], DType::Bool)
}

pub(super) fn select(e: &mut Emitter, mask: &Held, a: &Held, b: &Held) -> Held {
    if a.dtype != DType::Bool {
        return map(e, "Where", &[mask, a, b], a.dtype);
    }
    // ONNX Runtime has no `Where` over masks.
    let not = e.node("Not", &[&mask.name], &[]);
    let (left, right) = (e.node("And", &[&mask.name, &a.name], &[]), e.node("And", &[&not, &b.name], &[]));
    result(e.node("Or", &[&left, &right], &[]), &[mask, a, b], DType::Bool)
}

pub(super) fn clamp(e: &mut Emitter, x: &Held, low: &Held, high: &Held) -> Held {
    if low.held.rank() == 0 && high.held.rank() == 0 {
        return map(e, "Clip", &[x, low, high], x.dtype);
    }
    let raised = map(e, "Max", &[x, low], x.dtype);
    map(e, "Min", &[&raised, high], x.dtype)
}

pub(super) fn cast(e: &mut Emitter, x: &Held, dtype: DType) -> Held {
    if x.dtype == dtype {
        return x.clone();
    }
    if dtype == DType::Bool {
        // Readers that keep masks as integers would not make every number but 0 a 1.
        let zero = e.scalar(x.dtype, 0.0);
        let equal = e.node("Equal", &[&x.name, &zero], &[]);
        return Held { name: e.node("Not", &[&equal], &[]), dtype, ..x.clone() };
    }
    Held { name: e.cast(&x.name, dtype), dtype, ..x.clone() }
}
