//! Reads a file back: metadata, initialisers, and an outline of the graph. Every number in the file is doubted until it
//! was compared with the bytes that are there.

mod fields;
mod tensor;

use super::OnnxError;
use super::error::LIMIT;
use super::proto::{
    EntryProto, Extent, GraphOutline, ModelOutline, NodeOutline, OperatorSet, TensorProto, ValueInfo, element, tag,
};
use crate::ir::{OrderedMap, Tensor};
use prost::bytes::Bytes;
use prost::{DecodeError, Message};
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
    pub initializers: OrderedMap<String, Tensor>,
    /// The initialisers of other element types, such as the 64-bit integers of shapes; their data is not read.
    pub others: OrderedMap<String, Other>,
    /// The graph's inputs; in files of old versions, initialisers are among them.
    pub inputs: Vec<OnnxPort>,
    /// The graph's outputs.
    pub outputs: Vec<OnnxPort>,
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
pub struct OnnxPort {
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
    let mut loading = Loading { path, file: OnnxFile::default(), opset: None, graph: None };
    match loading.load(read(path)?) {
        Ok(()) => Ok(loading.file),
        Err(Fault::Message(error)) => Err(loading.refuse("a message of ONNX", error.to_string())),
        Err(Fault::File(error)) => Err(error),
    }
}

/// A file, as far as it was read.
struct Loading<'p> {
    path: &'p Path,
    file: OnnxFile,
    opset: Option<i64>,
    graph: Option<Bytes>,
}

enum Fault {
    Message(DecodeError),
    File(OnnxError),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault::Message(error)
    }
}

impl From<OnnxError> for Fault {
    fn from(error: OnnxError) -> Fault {
        Fault::File(error)
    }
}

impl Loading<'_> {
    fn refuse(&self, expected: &'static str, found: impl Into<String>) -> OnnxError {
        OnnxError::NotOnnx { path: self.path.into(), expected, found: found.into() }
    }

    fn duplicate(&self, what: &'static str, name: &str) -> Fault {
        OnnxError::Duplicate { path: self.path.into(), what, name: name.into() }.into()
    }

    fn load(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let ModelOutline { ir_version, producer_name, producer_version, doc_string } =
            ModelOutline::decode(bytes.clone())?;
        (self.file.ir_version, self.file.doc) = (ir_version, doc_string);
        self.file.producer = (producer_name, producer_version);
        fields::each(bytes, |tag, body| self.part_of_model(tag, body))?;
        let Some(opset) = self.opset else {
            return Err(self.refuse("the version of the operator set", "none").into());
        };
        let Some(graph) = self.graph.take() else { return Err(self.refuse("a graph", "none").into()) };
        self.file.opset = opset;
        self.file.graph_name = GraphOutline::decode(graph.clone())?.name;
        let mut reader = Reader::new(self.path);
        fields::each(graph, |tag, body| self.part_of_graph(tag, body, &mut reader))
    }

    fn part_of_model(&mut self, tag: u32, body: Bytes) -> Result<(), Fault> {
        match tag {
            tag::GRAPH if self.graph.is_some() => return Err(self.refuse("one graph", "another").into()),
            tag::GRAPH => self.graph = Some(body),
            tag::OPSET_IMPORT => {
                let OperatorSet { domain, version } = OperatorSet::decode(body)?;
                if domain.is_empty() || domain == "ai.onnx" {
                    self.opset = Some(version);
                }
            }
            tag::METADATA => {
                let EntryProto { key, value } = EntryProto::decode(body)?;
                if self.file.metadata.contains_key(&key) {
                    return Err(self.duplicate("remarks", &key));
                }
                self.file.metadata.insert(key, value);
            }
            _ => {}
        }
        Ok(())
    }

    fn part_of_graph(&mut self, tag: u32, body: Bytes, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match tag {
            tag::NODE => *self.file.ops.entry(NodeOutline::decode(body)?.op_type).or_insert(0) += 1,
            tag::INPUT | tag::OUTPUT => {
                let port =
                    port(ValueInfo::decode(body)?).map_err(|found| self.refuse("dimensions that are sizes", found))?;
                let ports = if tag == tag::INPUT { &mut self.file.inputs } else { &mut self.file.outputs };
                ports.push(port);
            }
            tag::INITIALIZER => {
                let proto = TensorProto::decode(body)?;
                let name = proto.name.clone();
                if self.file.initializers.contains_key(&name) || self.file.others.contains_key(&name) {
                    return Err(self.duplicate("initialisers", &name));
                }
                let (data_type, shape) = (proto.data_type, reader.shape(&proto)?);
                match reader.tensor(proto, &shape)? {
                    Some(tensor) => drop(self.file.initializers.insert(name, tensor)),
                    None => drop(self.file.others.insert(name, Other { element: element::name(data_type), shape })),
                }
            }
            _ => {}
        }
        Ok(())
    }
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

fn port(info: ValueInfo) -> Result<OnnxPort, String> {
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
    Ok(OnnxPort { name: info.name, element, shape })
}
