//! The data of one initialiser: inside of the file, as bytes or as numbers, or in a file beside it.

use super::super::OnnxError;
use super::super::proto::{EXTERNAL, TensorProto, element};
use crate::interchange::bytes::elements;
use crate::ir::{DType, Tensor, element_count};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

const EXPORT: &str = "export the model again";
const TOGETHER: &str = "copy the model together with its data, or export it again";

/// Reads the initialisers of one model file.
pub(super) struct Reader<'p> {
    path: &'p Path,
    files: HashMap<String, Opened>,
}

/// A data file, and which of its bytes were read: start to end. No byte belongs to two tensors, so that what is read is
/// never more than what there is.
struct Opened {
    file: File,
    len: u64,
    taken: BTreeMap<u64, u64>,
}

/// Where a tensor's data lies.
struct External {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(path: &'p Path) -> Reader<'p> {
        Reader { path, files: HashMap::new() }
    }

    fn refuse(
        &self,
        tensor: &str,
        field: &'static str,
        expected: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
        help: &'static str,
    ) -> OnnxError {
        let (expected, found) = (expected.into(), found.into());
        OnnxError::Tensor { path: self.path.into(), tensor: tensor.into(), field, expected, found, help }
    }

    /// The shape, of a size that can be addressed.
    pub(super) fn shape(&self, proto: &TensorProto) -> Result<Vec<usize>, OnnxError> {
        let sizes: Option<Vec<usize>> = proto.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let addressable = |shape: &Vec<usize>| element_count(shape).and_then(|count| count.checked_mul(8)).is_some();
        sizes.filter(addressable).ok_or_else(|| {
            let found = format!("{:?}", &proto.dims[..proto.dims.len().min(16)]);
            self.refuse(&proto.name, "dims", "sizes that can be addressed", found, EXPORT)
        })
    }

    /// The tensor; none for an element type that tensors here do not have.
    pub(super) fn tensor(&mut self, proto: TensorProto, shape: &[usize]) -> Result<Option<Tensor>, OnnxError> {
        let dtype = match proto.data_type {
            element::FLOAT => DType::F32,
            element::DOUBLE => DType::F64,
            element::INT32 => DType::I32,
            element::BOOL => DType::Bool,
            _ => return Ok(None),
        };
        let count = element_count(shape).unwrap_or(usize::MAX);
        let wanted = count.saturating_mul(dtype.size());
        if proto.data_location == EXTERNAL {
            let bytes = self.external(&proto, wanted as u64)?;
            return self.read_bytes(&proto.name, dtype, shape, &bytes).map(Some);
        }
        let numbers = match dtype {
            DType::F32 => proto.float_data.len(),
            DType::F64 => proto.double_data.len(),
            DType::I32 | DType::Bool => proto.int32_data.len(),
        };
        if numbers == 0 {
            let found = proto.raw_data.len();
            if found != wanted {
                let expected = format!("{wanted} bytes for {dtype}{shape:?}");
                return Err(self.refuse(&proto.name, "data", expected, format!("{found} bytes"), EXPORT));
            }
            return self.read_bytes(&proto.name, dtype, shape, &proto.raw_data).map(Some);
        }
        if !proto.raw_data.is_empty() || numbers != count {
            let found = format!("{numbers} numbers and {} bytes", proto.raw_data.len());
            let expected = format!("{count} numbers for {dtype}{shape:?}, or their bytes");
            return Err(self.refuse(&proto.name, "data", expected, found, EXPORT));
        }
        let name = proto.name;
        let tensor = match dtype {
            DType::F32 => Tensor::new(shape, proto.float_data),
            DType::F64 => Tensor::new(shape, proto.double_data),
            DType::I32 => Tensor::new(shape, proto.int32_data),
            DType::Bool => {
                if let Some(odd) = proto.int32_data.iter().find(|value| !(0..=1).contains(*value)) {
                    return Err(self.refuse(&name, "data", "0 or 1 for each element", odd.to_string(), EXPORT));
                }
                Tensor::new(shape, proto.int32_data.iter().map(|&value| value == 1).collect())
            }
        };
        tensor.map(Some).map_err(|error| self.refuse(&name, "dims", "the shape of its data", error.to_string(), EXPORT))
    }

    /// The tensor that these bytes are; as many as its shape has.
    fn read_bytes(&self, name: &str, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, OnnxError> {
        let tensor = match dtype {
            DType::F32 => Tensor::new(shape, elements(bytes, f32::from_le_bytes)),
            DType::F64 => Tensor::new(shape, elements(bytes, f64::from_le_bytes)),
            DType::I32 => Tensor::new(shape, elements(bytes, i32::from_le_bytes)),
            DType::Bool => {
                if let Some(odd) = bytes.iter().find(|&&byte| byte > 1) {
                    return Err(self.refuse(
                        name,
                        "data",
                        "0 or 1 for each element",
                        format!("the byte {odd}"),
                        EXPORT,
                    ));
                }
                Tensor::new(shape, bytes.iter().map(|&byte| byte == 1).collect())
            }
        };
        tensor.map_err(|error| self.refuse(name, "dims", "the shape of its data", error.to_string(), EXPORT))
    }

    /// The tensor's bytes in a file beside the model.
    fn external(&mut self, proto: &TensorProto, wanted: u64) -> Result<Vec<u8>, OnnxError> {
        let name = &proto.name;
        let External { location, offset, length } = self.place(proto)?;
        if let Some(length) = length.filter(|&length| length != wanted) {
            let expected = format!("{wanted} bytes for its shape and element type");
            return Err(self.refuse(name, "length", expected, length.to_string(), EXPORT));
        }
        if wanted == 0 {
            return Ok(Vec::new());
        }
        if !self.files.contains_key(&location) {
            let opened = self.open(name, &location)?;
            self.files.insert(location.clone(), opened);
        }
        let Some(opened) = self.files.get_mut(&location) else { unreachable!("it was inserted above") };
        let end = offset.checked_add(wanted).filter(|&end| end <= opened.len);
        let Some(end) = end else {
            let (expected, len) = (format!("{wanted} bytes from {offset} on in `{location}`"), opened.len);
            return Err(self.refuse(name, "offset", expected, format!("a file of {len} bytes"), TOGETHER));
        };
        let before = opened.taken.range(..end).next_back();
        if let Some((&start, &taken)) = before.filter(|&(_, &taken)| taken > offset) {
            let expected = "bytes of its own in the data file";
            let found = format!("{offset} to {end}, beside another initialiser's {start} to {taken}");
            return Err(self.refuse(name, "offset", expected, found, EXPORT));
        }
        opened.taken.insert(offset, end);
        // Not more than the file has.
        let mut bytes = vec![0; wanted as usize];
        let read = opened.file.seek(SeekFrom::Start(offset)).and_then(|_| opened.file.read_exact(&mut bytes));
        let beside = self.path.with_file_name(&location).into();
        read.map_err(|source| OnnxError::Io { path: beside, action: "read", source })?;
        Ok(bytes)
    }

    fn place(&self, proto: &TensorProto) -> Result<External, OnnxError> {
        let (name, entries) = (&proto.name, &proto.external_data);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let number = |key: &'static str| match find(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                let found = format!("`{}`", text.chars().take(40).collect::<String>());
                self.refuse(name, key, "a number of bytes", found, EXPORT)
            }),
        };
        let Some(location) = find("location").filter(|location| !location.is_empty()) else {
            return Err(self.refuse(name, "location", "the name of the data file", "none", EXPORT));
        };
        let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        // A backslash separates folders on some systems, and then hides `..` and drives from the others.
        if location.contains(['\\', '\0', ':']) || !Path::new(location).components().all(plain) {
            let expected = "a file in the model's own folder";
            return Err(self.refuse(name, "location", expected, format!("`{location}`"), EXPORT));
        }
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        Ok(External { location: location.to_owned(), offset, length })
    }

    /// A regular file that is in the model's folder, also after links are followed.
    fn open(&self, name: &str, location: &str) -> Result<Opened, OnnxError> {
        let beside = self.path.with_file_name(location);
        let io = |source| OnnxError::Io { path: beside.as_path().into(), action: "read", source };
        let about = fs::metadata(&beside).map_err(io)?;
        if !about.is_file() {
            return Err(OnnxError::NotAFile { path: beside.as_path().into() });
        }
        let real = fs::canonicalize(&beside).map_err(io)?;
        let inside = |folder: Option<PathBuf>| folder.is_some_and(|folder| real.starts_with(folder));
        let folder = |path: &Path| path.parent().map(Path::to_path_buf);
        let model = fs::canonicalize(self.path).map_err(io)?;
        let named = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => fs::canonicalize(parent),
            _ => fs::canonicalize("."),
        };
        // Caches keep files under other names elsewhere, model and data side by side.
        if !inside(folder(&model)) && !inside(Some(named.map_err(io)?)) {
            let expected = "a file in the model's own folder";
            let found = format!("`{location}`, a link to another folder");
            return Err(self.refuse(name, "location", expected, found, TOGETHER));
        }
        let file = File::open(&real).map_err(io)?;
        Ok(Opened { file, len: about.len(), taken: BTreeMap::new() })
    }
}
