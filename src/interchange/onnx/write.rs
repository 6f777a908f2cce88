//! Puts an exported graph and its weights into a file, or a file and its data.

use super::emit::{dims, element_of, raw};
use super::error::LIMIT;
use super::export::{Export, export};
use super::proto::{EXTERNAL, EntryProto, ModelProto, OperatorSet, TensorProto};
use super::{IR_VERSION, OPSET, OnnxError};
use crate::interchange::replace;
use crate::ir::{Graph, Tensor, Weights};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How a graph is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    metadata: BTreeMap<String, String>,
    external_above: u64,
    graph_name: String,
    doc: String,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        const ONE_AND_A_HALF_GIB: u64 = 3 << 29;
        ExportOptions {
            metadata: BTreeMap::new(),
            external_above: ONE_AND_A_HALF_GIB,
            graph_name: "graph".to_owned(),
            doc: String::new(),
        }
    }
}

impl ExportOptions {
    /// No metadata, no description, and data in a file of its own above 1.5 GiB.
    pub fn new() -> ExportOptions {
        ExportOptions::default()
    }

    /// Remarks that travel with the model, in place of any given before.
    pub fn metadata<K: Into<String>, V: Into<String>>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self {
        self.metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }

    /// Weights and constants of more than this many bytes in total go into a file beside the model's, but for those
    /// under a kilobyte.
    pub fn external_data_above(mut self, bytes: u64) -> Self {
        self.external_above = bytes;
        self
    }

    /// What viewers call the graph; `graph` otherwise.
    pub fn graph_name(mut self, name: impl Into<String>) -> Self {
        self.graph_name = name.into();
        self
    }

    /// A description for people.
    pub fn doc(mut self, doc: impl Into<String>) -> Self {
        self.doc = doc.into();
        self
    }
}

/// What [`save`] has written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// Size of the model file.
    pub bytes: u64,
    /// The data file, if there is one.
    pub external: Option<PathBuf>,
    /// Size of the data file.
    pub external_bytes: u64,
    /// Nodes of the ONNX graph.
    pub nodes: usize,
    /// Initialisers of the ONNX graph: parameters, states and constants.
    pub initializers: usize,
}

/// A tensor of less than this many bytes stays in the model's file; shapes must, so that checkers can read them.
const ALONG: usize = 1024;

/// Runtimes map the data file into memory: each tensor starts at a multiple of a cache line.
const ALIGNMENT: u64 = 64;

/// Writes `graph` to `path` as an ONNX model whose initialisers are `weights`: one value for each parameter and state
/// that the outputs need, by name. Others are left out.
///
/// Data inputs keep their names and their symbolic dimensions, outputs their names. Files that are there are replaced in
/// one step each; a data file, whose name is `path` with `.data` after it, is replaced before the model.
///
/// # Errors
/// [`OnnxError::Unsupported`] with every node that ONNX has no equal for, [`OnnxError::Weights`] with every value that is
/// missing or of another type, [`OnnxError::Name`] for names that ONNX would misread, and what the system reports.
pub fn save(
    path: impl AsRef<Path>,
    graph: &Graph,
    weights: &Weights,
    options: &ExportOptions,
) -> Result<Saved, OnnxError> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(OnnxError::NotAFile { path: path.into() });
    }
    let io = |path: &Path| {
        let path: Box<Path> = path.into();
        move |source| OnnxError::Io { path, action: "write", source }
    };
    let parts = Parts::new(graph, weights)?;
    let (nodes, initializers) = (parts.export.graph.node.len(), parts.stored.len());
    let mut saved = Saved { bytes: 0, external: None, external_bytes: 0, nodes, initializers };
    let bytes = if parts.data_bytes() > options.external_above {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let reason = "the data file's name is written in the model, and must be valid Unicode";
            return Err(io(path)(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        };
        let location = format!("{name}.data");
        let beside = path.with_file_name(&location);
        let (places, end) = parts.places();
        replace::write_with(&beside, |file| parts.write_data(&places, file)).map_err(io(&beside))?;
        (saved.external, saved.external_bytes) = (Some(beside), end);
        parts.encode(options, Some((&location, &places)))
    } else {
        parts.encode(options, None)
    };
    let bytes = bytes.map_err(|bytes| OnnxError::TooLarge { bytes, limit: LIMIT })?;
    saved.bytes = bytes.len() as u64;
    replace::write(path, &bytes).map_err(io(path))?;
    Ok(saved)
}

/// The bytes that [`save`] writes where everything fits into one file.
///
/// # Errors
/// As [`save`], and [`OnnxError::TooLarge`] where [`save`] would write a data file.
pub fn to_bytes(graph: &Graph, weights: &Weights, options: &ExportOptions) -> Result<Vec<u8>, OnnxError> {
    let parts = Parts::new(graph, weights)?;
    let bytes = parts.data_bytes();
    let limit = options.external_above.min(LIMIT);
    if bytes > limit {
        return Err(OnnxError::TooLarge { bytes, limit });
    }
    parts.encode(options, None).map_err(|bytes| OnnxError::TooLarge { bytes, limit: LIMIT })
}

/// An exported graph and its initialisers, none of them copied yet.
struct Parts<'w> {
    export: Export,
    /// Each initialiser without its data, and its data.
    stored: Vec<(TensorProto, Data<'w>)>,
}

enum Data<'w> {
    Weight(&'w Tensor),
    Constant(Bytes),
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Data::Weight(tensor) => tensor.len() * tensor.dtype().size(),
            Data::Constant(bytes) => bytes.len(),
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Data::Weight(tensor) => raw(tensor),
            Data::Constant(bytes) => bytes.clone(),
        }
    }
}

impl<'w> Parts<'w> {
    fn new(graph: &Graph, weights: &'w Weights) -> Result<Parts<'w>, OnnxError> {
        let mut export = export(graph, weights)?;
        let weight = |name: &String| {
            let tensor = weights.get(name)?;
            let proto = TensorProto {
                dims: dims(tensor.shape()),
                data_type: element_of(tensor.dtype()),
                name: name.clone(),
                ..TensorProto::default()
            };
            Some((proto, Data::Weight(tensor)))
        };
        let mut stored: Vec<(TensorProto, Data<'w>)> = export.weights.iter().filter_map(weight).collect();
        stored.extend(export.graph.initializer.drain(..).map(|mut proto| {
            let data = std::mem::take(&mut proto.raw_data);
            (proto, Data::Constant(data))
        }));
        Ok(Parts { export, stored })
    }

    fn data_bytes(&self) -> u64 {
        self.stored.iter().map(|(_, data)| data.len() as u64).sum()
    }

    /// Where each initialiser lies in the data file, if it does, and the end of the file.
    fn places(&self) -> (Vec<Option<u64>>, u64) {
        let mut end = 0;
        let place = |(_, data): &(TensorProto, Data<'_>)| {
            if data.len() < ALONG {
                return None;
            }
            let start = u64::next_multiple_of(end, ALIGNMENT);
            end = start + data.len() as u64;
            Some(start)
        };
        let places = self.stored.iter().map(place).collect();
        (places, end)
    }

    fn write_data(&self, places: &[Option<u64>], file: &mut dyn Write) -> io::Result<()> {
        const GAP: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];
        let mut file = BufWriter::new(file);
        let mut end = 0;
        for ((_, data), place) in self.stored.iter().zip(places) {
            let Some(start) = *place else { continue };
            file.write_all(&GAP[..(start - end) as usize])?;
            file.write_all(&data.bytes())?;
            end = start + data.len() as u64;
        }
        file.flush()
    }

    /// The model's bytes; their number, if that is too large.
    fn encode(self, options: &ExportOptions, external: Option<(&str, &[Option<u64>])>) -> Result<Vec<u8>, u64> {
        let mut graph = self.export.graph;
        for (index, (mut proto, data)) in self.stored.into_iter().enumerate() {
            match external.and_then(|(location, places)| Some((location, places[index]?))) {
                Some((location, start)) => {
                    let entry = |key: &str, value: String| EntryProto { key: key.to_owned(), value };
                    proto.data_location = EXTERNAL;
                    proto.external_data = vec![
                        entry("location", location.to_owned()),
                        entry("offset", start.to_string()),
                        entry("length", data.len().to_string()),
                    ];
                }
                None => proto.raw_data = data.bytes(),
            }
            graph.initializer.push(proto);
        }
        graph.name = options.graph_name.clone();
        let entry = |(key, value): (&String, &String)| EntryProto { key: key.clone(), value: value.clone() };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: options.doc.clone(),
            graph: Some(graph),
            opset_import: Vec::new(),
            metadata_props: options.metadata.iter().map(entry).collect(),
        };
        // Messages of one type, one after another, are one message. With the operator set last, no part of a file is a
        // whole one: whatever is cut off takes the operator set with it.
        let opset_import = vec![OperatorSet { domain: String::new(), version: OPSET }];
        let last = ModelProto { opset_import, ..ModelProto::default() };
        let bytes = (model.encoded_len() + last.encoded_len()) as u64;
        if bytes > LIMIT {
            return Err(bytes);
        }
        Ok([model.encode_to_vec(), last.encode_to_vec()].concat())
    }
}
