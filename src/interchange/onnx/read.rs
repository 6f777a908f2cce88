//! Reads a file back: metadata, initialisers, and an outline of the graph. Every number in the file is doubted until it
//! was compared with the bytes that are there.

mod tensor;

use super::OnnxError;
use super::error::LIMIT;
use super::proto::{Extent, Model, ValueInfo, element};
use crate::ir::Tensor;
use indexmap::IndexMap;
use prost::Message;
use prost::bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use tensor::Reader;

/// What an ONNX file holds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct OnnxFile {
    /// The version of the file format.
    pub ir_version: i64,
    /// The version of the operator set.
    pub opset: i64,
    /// The tool that wrote the file, and its version.
    pub producer: (String, String),
    /// The name of the graph.
    pub graph_name: String,
    /// The description of the model.
    pub doc: String,
    /// Remarks by name.
    pub metadata: BTreeMap<String, String>,
    /// The initialisers of our element types, by name, in the file's order.
    pub initializers: IndexMap<String, Tensor>,
    /// The initialisers of other element types, such as the 64-bit integers of shapes; their data is not read.
    pub others: IndexMap<String, Other>,
    /// The graph's inputs; in files of old versions, initialisers are among them.
    pub inputs: Vec<Port>,
    /// The graph's outputs.
    pub outputs: Vec<Port>,
    /// How many nodes there are of each op.
    pub ops: BTreeMap<String, usize>,
}

/// An initialiser of an element type that tensors here do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The format's name for the element type: `int64`, `float16`.
    pub element: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// An input or output of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The format's name for the element type, such as `float`; none for what is no tensor.
    pub element: Option<String>,
    /// Its shape, where the file gives one.
    pub shape: Option<Vec<Axis>>,
}

/// One dimension of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// A size.
    Known(usize),
    /// The name of a size that a run gives.
    Symbol(String),
    /// Any size.
    Unknown,
}

/// Reads the model of `path`, with the data of its initialisers, which may lie in files beside it.
///
/// Files of other tools are read as well; of what they hold, only the parts of [`OnnxFile`] are kept.
///
/// # Errors
/// [`OnnxError`]: a file that is missing, cut short, of another format or inconsistent is refused, as is one whose data
/// lies outside of its own folder, with the name of the initialiser and the part of it that is wrong.
pub fn load(path: impl AsRef<Path>) -> Result<OnnxFile, OnnxError> {
    let path = path.as_ref();
    let refuse = |expected, found| OnnxError::NotOnnx { path: path.into(), expected, found };
    let model = Model::decode(read(path)?).map_err(|error| refuse("a message of ONNX", error.to_string()))?;
    let Some(graph) = model.graph else { return Err(refuse("a graph", "none".to_owned())) };
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let Some(opset) = model.opset_import.iter().find(|set| default(&set.domain)) else {
        return Err(refuse("the version of the operator set", "none".to_owned()));
    };
    let mut file = OnnxFile {
        ir_version: model.ir_version,
        opset: opset.version,
        producer: (model.producer_name, model.producer_version),
        graph_name: graph.name,
        doc: model.doc_string,
        ..OnnxFile::default()
    };
    for entry in model.metadata_props {
        if file.metadata.contains_key(&entry.key) {
            return Err(OnnxError::Duplicate { path: path.into(), what: "remarks", name: entry.key.into() });
        }
        file.metadata.insert(entry.key, entry.value);
    }
    for node in graph.node {
        *file.ops.entry(node.op_type).or_insert(0) += 1;
    }
    let port = |info| port(info).map_err(|found| refuse("dimensions that are sizes", found));
    file.inputs = graph.input.into_iter().map(port).collect::<Result<_, _>>()?;
    file.outputs = graph.output.into_iter().map(port).collect::<Result<_, _>>()?;
    let mut reader = Reader::new(path);
    for proto in graph.initializer {
        let name = proto.name.clone();
        if file.initializers.contains_key(&name) || file.others.contains_key(&name) {
            return Err(OnnxError::Duplicate { path: path.into(), what: "initialisers", name: name.into() });
        }
        let (data_type, shape) = (proto.data_type, reader.shape(&proto)?);
        match reader.tensor(proto, &shape)? {
            Some(tensor) => drop(file.initializers.insert(name, tensor)),
            None => drop(file.others.insert(name, Other { element: element::name(data_type), shape })),
        }
    }
    Ok(file)
}

/// The whole file.
fn read(path: &Path) -> Result<Bytes, OnnxError> {
    let io = |source| OnnxError::Io { path: path.into(), action: "read", source };
    // Asked before opening: opening a pipe would wait for its writer.
    let about = fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        return Err(OnnxError::NotAFile { path: path.into() });
    }
    if about.len() > LIMIT {
        return Err(OnnxError::NotOnnx {
            path: path.into(),
            expected: "at most 2 GiB, as in every protocol buffer",
            found: format!("{} bytes", about.len()),
        });
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    // A file that grows meanwhile is read as far as it was measured.
    File::open(path).map_err(io)?.take(about.len()).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes.into())
}

fn port(info: ValueInfo) -> Result<Port, String> {
    let tensor = info.ty.and_then(|ty| ty.tensor);
    let element = tensor.as_ref().map(|tensor| element::name(tensor.elem_type));
    let axis = |extent: Option<Extent>| match extent {
        Some(Extent::Known(size)) => {
            usize::try_from(size).map(Axis::Known).map_err(|_| format!("the size {size} in `{}`", info.name))
        }
        Some(Extent::Symbol(name)) if !name.is_empty() => Ok(Axis::Symbol(name)),
        Some(Extent::Symbol(_)) | None => Ok(Axis::Unknown),
    };
    let shape = tensor.and_then(|tensor| tensor.shape);
    let shape = shape.map(|shape| shape.dim.into_iter().map(|dim| axis(dim.extent)).collect()).transpose()?;
    Ok(Port { name: info.name, element, shape })
}
