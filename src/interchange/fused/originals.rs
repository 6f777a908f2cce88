//! The trained weights, as what the folded ones do not determine.
//!
//! A weight is *kept* (an initialiser has its bits), *stored*, or *predicted*: from the folded `W' = M ⊙ W` with the
//! corrections, in units of the last place, of `W'/M`. `M` is the recipe evaluated at `W = 1`; it may need weights that were
//! given back before. All is one text: a line of JSON, then bytes, deflated and in base64.

use super::FusedError;
use crate::interchange::bytes::{self, elements};
use crate::ir::{DType, Graph, Tensor, TensorData, Weights};
use crate::pass::evaluate_recipe;
use crate::reference::EvalError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};
use std::io::{Read, Write};

/// Smaller weights are stored: predicting them saves nothing.
const SMALL: usize = 4096;

/// The most that is inflated for each byte of text, and at least: corrections of a network compress about 30 times.
const INFLATION: u64 = 1 << 10;

pub(super) enum DecodeError {
    Damaged(String),
    Evaluation(EvalError),
}

impl From<EvalError> for DecodeError {
    fn from(error: EvalError) -> DecodeError {
        DecodeError::Evaluation(error)
    }
}

fn damaged<T>(what: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError::Damaged(what.into()))
}

/// Whether two tensors are the same to the bit.
pub(super) fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.ty() == b.ty() && bytes::of(a) == bytes::of(b)
}

/// What `decode` needs besides the folded weights.
pub(super) fn encode(recipe: &Graph, folded: &Weights, trained: &Weights) -> Result<String, FusedError> {
    if let Some((name, _)) = recipe.inputs().find(|(name, _)| !trained.contains_key(*name)) {
        return Err(FusedError::NoValue { name: name.to_owned() });
    }
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    let mut known = Weights::new();
    let mut left = Vec::new();
    for (name, tensor) in trained {
        if folded.get(name).is_some_and(|kept| same_bits(kept, tensor)) {
            entries.push(entry(name, tensor, "kept", json!(name), 0));
        } else if tensor.len() >= SMALL && tensor.dtype().is_float() {
            left.push((name, tensor));
            continue;
        } else {
            let own = bytes::of(tensor);
            entries.push(entry(name, tensor, "stored", Value::Null, own.len()));
            bytes.extend(own);
        }
        known.insert(name.clone(), tensor.clone());
    }
    for (name, tensor) in left {
        let own = bytes::of(tensor);
        let predicted =
            best_prediction(recipe, folded, &known, name, tensor)?.filter(|(_, code)| code.len() < own.len());
        let (how, from, code) = match predicted {
            Some((from, code)) => ("predicted", json!(from), code),
            None => ("stored", Value::Null, own),
        };
        entries.push(entry(name, tensor, how, from, code.len()));
        bytes.extend(code);
        known.insert(name.clone(), tensor.clone());
    }
    let mut text = Value::Array(entries).to_string().into_bytes();
    text.push(b'\n');
    text.extend(bytes);
    Ok(STANDARD.encode(deflated(&text)))
}

fn entry(name: &str, tensor: &Tensor, how: &str, from: Value, bytes: usize) -> Value {
    json!({ "name": name, "type": tensor.dtype().name(), "shape": tensor.shape(), "how": how, "from": from, "bytes": bytes })
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The folded weight from which this one is predicted with the fewest bytes, and the corrections.
fn best_prediction(
    recipe: &Graph,
    folded: &Weights,
    known: &Weights,
    name: &str,
    tensor: &Tensor,
) -> Result<Option<(String, Vec<u8>)>, FusedError> {
    let mut best: Option<(String, Vec<u8>)> = None;
    let same_type = folded.iter().filter(|(_, candidate)| candidate.ty() == tensor.ty());
    for (from, candidate) in same_type {
        let Some(predicted) = predict(recipe, known, name, from, candidate)? else { continue };
        let code = corrections(&predicted, tensor);
        if best.as_ref().is_none_or(|(_, least)| code.len() < least.len()) {
            best = Some((from.clone(), code));
        }
    }
    Ok(best)
}

/// `W'/M`, where the recipe's output `from` needs nothing but `name` and what is known.
fn predict(
    recipe: &Graph,
    known: &Weights,
    name: &str,
    from: &str,
    folded: &Tensor,
) -> Result<Option<Tensor>, EvalError> {
    let Some(output) = recipe.output(from) else { return Ok(None) };
    let cone = recipe.reaching([output.node]);
    let needed: Vec<&str> = recipe.inputs().filter(|(_, id)| cone[id.index()]).map(|(input, _)| input).collect();
    if !needed.contains(&name) || !needed.iter().all(|&input| input == name || known.contains_key(input)) {
        return Ok(None);
    }
    let mut ones = known.clone();
    ones.insert(name.to_owned(), Tensor::full(folded.dtype(), folded.shape(), 1.0));
    let factors = evaluate_recipe(recipe, from, &ones)?;
    let quotients = folded.to_f64().into_iter().zip(factors).map(|(folded, factor)| folded / factor);
    Ok(Tensor::from_f64(folded.dtype(), folded.shape(), quotients).ok())
}

/// How many floats lie between each prediction and the element itself, as variable-length integers.
fn corrections(predicted: &Tensor, tensor: &Tensor) -> Vec<u8> {
    let mut code = Vec::with_capacity(tensor.len());
    for (predicted, own) in ordered(predicted).into_iter().zip(ordered(tensor)) {
        let difference = own.wrapping_sub(predicted);
        // Small differences of either sign become small numbers, seven bits to a byte.
        let mut rest = ((difference << 1) ^ (difference >> 63)) as u64;
        while rest >= 0x80 {
            code.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        code.push(rest as u8);
    }
    code
}

/// The trained weights from the folded ones and what `encode` gave.
pub(super) fn decode(recipe: &Graph, folded: &Weights, text: &str) -> Result<Weights, DecodeError> {
    let Ok(packed) = STANDARD.decode(text) else { return damaged("it is not base64") };
    let held: u64 = folded.values().map(|tensor| (tensor.len() * tensor.dtype().size()) as u64).sum();
    let limit = (packed.len() as u64).saturating_mul(INFLATION).min(held.saturating_mul(64).saturating_add(1 << 24));
    let mut bytes = Vec::new();
    match DeflateDecoder::new(&packed[..]).take(limit).read_to_end(&mut bytes) {
        Ok(read) if (read as u64) < limit => {}
        _ => return damaged("it does not inflate"),
    }
    let Some(split) = bytes.iter().position(|&byte| byte == b'\n') else { return damaged("it has no index") };
    let (index, mut data) = (&bytes[..split], &bytes[split + 1..]);
    let Ok(Value::Array(entries)) = serde_json::from_slice(index) else { return damaged("its index is no list") };
    let mut weights = Weights::new();
    for entry in &entries {
        let Some(name) = entry.get("name").and_then(Value::as_str) else {
            return damaged("an entry of its index has no `name`");
        };
        let wrong = |(field, what): Wrong| DecodeError::Damaged(format!("the weight `{name}`, `{field}`: {what}"));
        let written = Written::read(entry).map_err(wrong)?;
        let tensor = written.tensor(recipe, folded, &weights, name, &mut data)?.map_err(wrong)?;
        weights.insert(name.to_owned(), tensor);
    }
    Ok(weights)
}

/// A field of an entry, and what is wrong with it.
type Wrong = (&'static str, String);

/// What `encode` has written of one weight.
struct Written<'e> {
    how: &'e str,
    dtype: DType,
    shape: Vec<usize>,
    from: Option<&'e str>,
    bytes: usize,
}

impl<'e> Written<'e> {
    fn read(entry: &'e Value) -> Result<Written<'e>, Wrong> {
        let text = |key| entry.get(key).and_then(Value::as_str);
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        let found = |key| entry.get(key).map_or("nothing".to_owned(), Value::to_string);
        let wrong = |key, expected| (key, format!("expected {expected}, found {}", found(key)));
        let sizes = |list: &Vec<Value>| list.iter().map(size).collect::<Option<Vec<usize>>>();
        Ok(Written {
            how: text("how").ok_or_else(|| wrong("how", "`kept`, `stored` or `predicted`"))?,
            dtype: text("type").and_then(DType::from_name).ok_or_else(|| wrong("type", "an element type"))?,
            shape: entry
                .get("shape")
                .and_then(Value::as_array)
                .and_then(sizes)
                .ok_or_else(|| wrong("shape", "sizes"))?,
            from: text("from"),
            bytes: entry.get("bytes").and_then(size).ok_or_else(|| wrong("bytes", "a number of bytes"))?,
        })
    }

    /// The weight, whose bytes are taken off the front of `data`.
    fn tensor(
        self,
        recipe: &Graph,
        folded: &Weights,
        known: &Weights,
        name: &str,
        data: &mut &[u8],
    ) -> Result<Result<Tensor, Wrong>, EvalError> {
        let Written { how, dtype, shape, from, bytes } = self;
        let Some((own, rest)) = data.split_at_checked(bytes) else {
            return Ok(Err(("bytes", format!("{bytes} are wanted, but only {} are left", data.len()))));
        };
        *data = rest;
        let origin = || match from.and_then(|from| Some((from, folded.get(from)?))) {
            Some(origin) => Ok(origin),
            None => Err(("from", format!("expected a weight of the file, found {from:?}"))),
        };
        let found = match how {
            "kept" => origin().map(|(_, kept)| kept.clone()),
            "stored" => from_bytes(dtype, &shape, own)
                .ok_or_else(|| ("bytes", format!("{bytes} are not the elements of {dtype}{shape:?}"))),
            "predicted" => match origin() {
                Err(wrong) => Err(wrong),
                Ok((from, tensor)) => predict(recipe, known, name, from, tensor)?
                    .ok_or_else(|| ("from", format!("the recipe does not lead from `{name}` to `{from}`")))
                    .and_then(|predicted| {
                        corrected(&predicted, own).ok_or_else(|| {
                            ("bytes", format!("they are not the corrections of {}, a float for each", predicted.ty()))
                        })
                    }),
            },
            other => Err(("how", format!("expected `kept`, `stored` or `predicted`, found `{other}`"))),
        };
        Ok(found.and_then(|tensor| match tensor.dtype() == dtype && tensor.shape() == shape {
            true => Ok(tensor),
            false => Err(("type", format!("it is {dtype}{shape:?}, but what the file holds gives {}", tensor.ty()))),
        }))
    }
}

/// The floats that lie so far from these; `None` for a tensor of no floats, or another number of corrections.
fn corrected(predicted: &Tensor, code: &[u8]) -> Option<Tensor> {
    let mut code = code.iter();
    let mut elements = Vec::with_capacity(predicted.len());
    for base in ordered(predicted) {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let &byte = code.next()?;
            number |= u64::from(byte & 0x7F).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let difference = (number >> 1) as i64 ^ -((number & 1) as i64);
        elements.push(base.wrapping_add(difference));
    }
    let data = match predicted.dtype() {
        DType::F32 => TensorData::F32(elements.into_iter().map(|e| f32::from_bits(flipped(e as i32) as u32)).collect()),
        DType::F64 => TensorData::F64(elements.into_iter().map(|e| f64::from_bits(flipped_wide(e) as u64)).collect()),
        DType::I32 | DType::Bool => return None,
    };
    if code.next().is_some() {
        return None;
    }
    Tensor::from_data(predicted.shape(), data).ok()
}

/// The bits of floats as integers in the order of the floats; neighbours differ by 1.
fn ordered(tensor: &Tensor) -> Vec<i64> {
    match tensor.data() {
        TensorData::F32(data) => data.iter().map(|x| i64::from(flipped(x.to_bits() as i32))).collect(),
        TensorData::F64(data) => data.iter().map(|x| flipped_wide(x.to_bits() as i64)).collect(),
        TensorData::I32(_) | TensorData::Bool(_) => Vec::new(),
    }
}

/// A float's bits in the order of the floats, or back: negative ones count downwards, −0 just below 0.
fn flipped(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

fn flipped_wide(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
    if !bytes.len().is_multiple_of(dtype.size()) {
        return None;
    }
    match dtype {
        DType::F32 => Tensor::new(shape, elements(bytes, f32::from_le_bytes)).ok(),
        DType::F64 => Tensor::new(shape, elements(bytes, f64::from_le_bytes)).ok(),
        DType::I32 => Tensor::new(shape, elements(bytes, i32::from_le_bytes)).ok(),
        DType::Bool => Tensor::new(shape, bytes.iter().map(|&byte| byte != 0).collect()).ok(),
    }
}
