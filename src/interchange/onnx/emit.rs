//! The graph in the making: nodes, constants and names.
//!
//! **Invariants.** A name stands for one value. Equal constants are one initialiser. Names follow from the order of the
//! calls alone, so that equal graphs are equal bytes.

use super::expand::expand;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute, element};
use crate::interchange::bytes;
use crate::ir::{Bindings, DType, Dim, Shape, Symbol, Tensor};
use crate::op::onnx::{Attribute, Definition, Exported, Held, Onnx, Refusal};
use indexmap::{IndexMap, IndexSet};
use prost::bytes::Bytes;
use std::collections::HashMap;

/// Constants up to this many elements are written out instead of stretched by a node.
const SMALL: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Emitter {
    pub(super) graph: GraphProto,
    /// Sizes of the symbols that parameters and states fix.
    bindings: Bindings,
    /// The data input and the axis that tell a symbol's size.
    pub(super) symbols: IndexMap<Symbol, (String, usize)>,
    names: IndexSet<String>,
    // The next number to try for each base of a name.
    numbers: HashMap<String, usize>,
    constants: HashMap<(i32, Vec<i64>, Bytes), String>,
    // Symbols whose size is a value of the graph already.
    sizes: HashMap<Symbol, String>,
    // Scalar constants, by name.
    splats: HashMap<String, Tensor>,
    // Values that were stretched to a shape already.
    stretched: HashMap<(String, Shape), String>,
    /// The layer that nodes are named after.
    pub(super) scope: String,
}

impl Emitter {
    /// An empty graph in which these symbols have sizes.
    pub(super) fn new(bindings: Bindings) -> Emitter {
        Emitter { bindings, ..Emitter::default() }
    }

    /// Takes a name; `false` if it is taken.
    pub(super) fn reserve(&mut self, name: &str) -> bool {
        self.names.insert(name.to_owned())
    }

    fn fresh(&mut self, base: &str) -> String {
        loop {
            let number = self.numbers.entry(base.to_owned()).or_insert(0);
            let name = if *number == 0 { base.to_owned() } else { format!("{base}_{number}") };
            *number += 1;
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }

    /// The initialiser of that value.
    fn initializer(&mut self, data_type: i32, dims: Vec<i64>, raw_data: Bytes) -> String {
        let key = (data_type, dims, raw_data);
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.fresh("constant");
        let (data_type, dims, raw_data) = key.clone();
        self.constants.insert(key, name.clone());
        self.graph.initializer.push(TensorProto {
            dims,
            data_type,
            name: name.clone(),
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    /// A symbol's size as an i64 vector of one entry.
    fn size(&mut self, symbol: Symbol) -> Exported<String> {
        if let Some(name) = self.sizes.get(&symbol) {
            return Ok(name.clone());
        }
        let Some((input, axis)) = self.symbols.get(&symbol).cloned() else {
            return Err(Refusal {
                why: format!("no data input has the dimension `{}`, so its size is not known in a run", symbol.name()),
                help: "give it a number, or add it to an input's shape",
            });
        };
        let range = [("start", Attribute::Int(axis as i64)), ("end", Attribute::Int(axis as i64 + 1))];
        // Shared by all layers, so it belongs to none.
        let scope = std::mem::take(&mut self.scope);
        let name = self.node("Shape", &[&input], &range);
        self.scope = scope;
        self.sizes.insert(symbol, name.clone());
        Ok(name)
    }

    /// An i64 vector whose entries are these products of dimensions.
    fn shape_vector(&mut self, entries: &[Vec<Dim>]) -> Exported<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut run: Vec<i64> = Vec::new();
        for entry in entries {
            match extent(entry) {
                Some(size) => run.push(size),
                None => {
                    if !run.is_empty() {
                        parts.push(self.integers(&std::mem::take(&mut run)));
                    }
                    parts.push(self.count(entry)?);
                }
            }
        }
        if !run.is_empty() || parts.is_empty() {
            parts.push(self.integers(&run));
        }
        match &parts[..] {
            [only] => Ok(only.clone()),
            _ => {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                Ok(self.node("Concat", &parts, &[("axis", Attribute::Int(0))]))
            }
        }
    }
}

impl Onnx for Emitter {
    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let base = if self.scope.is_empty() { op.to_owned() } else { format!("{}/{op}", self.scope) };
        let name = self.fresh(&base);
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute_proto(name, value)).collect(),
            domain: String::new(),
        });
        name
    }

    fn constant(&mut self, tensor: &Tensor) -> String {
        let name = self.initializer(element_of(tensor.dtype()), dims(tensor.shape()), raw(tensor));
        if tensor.shape().is_empty() {
            self.splats.entry(name.clone()).or_insert_with(|| tensor.clone());
        }
        name
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(element::INT64, vec![values.len() as i64], raw.into())
    }

    fn integer(&mut self, value: i64) -> String {
        self.initializer(element::INT64, Vec::new(), value.to_le_bytes().to_vec().into())
    }

    fn resolve(&self, shape: &Shape) -> Shape {
        let size = |&dim: &Dim| dim.resolve(&self.bindings).map_or(dim, Dim::Known);
        shape.iter().map(size).collect()
    }

    fn count(&mut self, factors: &[Dim]) -> Exported<String> {
        let known = factors.iter().filter_map(|dim| dim.known()).map(|size| size as i64).fold(1, i64::wrapping_mul);
        let mut product = if known == 1 { None } else { Some(self.integers(&[known])) };
        for &factor in factors {
            let Dim::Symbol(symbol) = factor else { continue };
            let size = self.size(symbol)?;
            product = Some(match product {
                Some(product) => self.node("Mul", &[&product, &size], &[]),
                None => size,
            });
        }
        Ok(product.unwrap_or_else(|| self.integers(&[1])))
    }

    fn whole(&mut self, value: &Held) -> Exported<String> {
        if value.is_whole() {
            return Ok(value.name.clone());
        }
        let count = value.shape.known().and_then(|sizes| crate::ir::element_count(&sizes)).filter(|&len| len <= SMALL);
        if let (Some(splat), Some(_), Some(sizes)) = (self.splats.get(&value.name), count, value.shape.known()) {
            let filled = Tensor::full(splat.dtype(), sizes, splat.item().unwrap_or(0.0));
            return Ok(self.constant(&filled));
        }
        let key = (value.name.clone(), value.shape.clone());
        if let Some(name) = self.stretched.get(&key) {
            return Ok(name.clone());
        }
        // Where an axis has its size already, 1 keeps it, and no size need be computed.
        let missing = value.shape.rank() - value.held.rank();
        let entry = |(axis, &dim): (usize, &Dim)| match axis.checked_sub(missing).map(|axis| value.held[axis]) {
            Some(held) if held == dim => vec![Dim::Known(1)],
            _ => vec![dim],
        };
        let target: Vec<Vec<Dim>> = value.shape.iter().enumerate().map(entry).collect();
        let target = self.shape_vector(&target)?;
        let name = self.node("Expand", &[&value.name, &target], &[]);
        self.stretched.insert(key, name.clone());
        Ok(name)
    }

    fn reshape(&mut self, name: &str, from: &[Vec<Dim>], to: &[Vec<Dim>]) -> Exported<String> {
        if from == to {
            return Ok(name.to_owned());
        }
        let sizes: Vec<Option<i64>> = to.iter().map(|entry| extent(entry)).collect();
        let kept = |axis: usize| from.get(axis) == Some(&to[axis]);
        let unknown = (0..to.len()).filter(|&axis| sizes[axis].is_none() && !kept(axis)).count();
        // A written 0 means "as before", and -1 "what is left", which has no answer beside a size of 0.
        if unknown <= 1 && !sizes.contains(&Some(0)) {
            let written = |(axis, size): (usize, &Option<i64>)| size.unwrap_or(if kept(axis) { 0 } else { -1 });
            let target: Vec<i64> = sizes.iter().enumerate().map(written).collect();
            let target = self.integers(&target);
            return Ok(self.node("Reshape", &[name, &target], &[]));
        }
        let target = self.shape_vector(to)?;
        Ok(self.node("Reshape", &[name, &target], &[("allowzero", Attribute::Int(1))]))
    }

    fn cast(&mut self, name: &str, dtype: DType) -> String {
        self.node("Cast", &[name], &[("to", Attribute::Int(i64::from(element_of(dtype))))])
    }

    fn expand(&mut self, definition: &Definition<'_>, operands: &[Held]) -> Exported<Held> {
        expand(self, definition, operands)
    }
}

/// A product of dimensions, when all of them are known.
fn extent(factors: &[Dim]) -> Option<i64> {
    factors.iter().try_fold(1i64, |product, dim| product.checked_mul(i64::try_from(dim.known()?).ok()?))
}

fn attribute_proto(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Int(value) => (proto.kind, proto.i) = (attribute::INT, *value),
        Attribute::Ints(values) => (proto.kind, proto.ints) = (attribute::INTS, values.clone()),
        Attribute::Float(value) => (proto.kind, proto.f) = (attribute::FLOAT, *value),
        Attribute::Text(text) => (proto.kind, proto.s) = (attribute::STRING, text.as_bytes().to_vec()),
    }
    proto
}

/// ONNX's number for an element type.
pub(super) fn element_of(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => element::FLOAT,
        DType::F64 => element::DOUBLE,
        DType::I32 => element::INT32,
        DType::Bool => element::BOOL,
    }
}

pub(super) fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

/// A tensor as the format's little-endian bytes.
pub(super) fn raw(tensor: &Tensor) -> Bytes {
    bytes::of(tensor).into()
}
