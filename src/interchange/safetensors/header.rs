//! The header of a file: read, and believed only after every number in it was compared with the file itself.

use super::{HELP_SAVE, METADATA, Metadata, OURS, WeightsError};
use crate::ir::DType;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

/// The longest header that readers of the format accept.
pub(super) const LIMIT: u64 = 100_000_000;

/// Tensors in the order of their data, which they cover without gap or overlap.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) entries: Vec<Entry>,
    pub(super) metadata: Metadata,
}

/// One tensor's description.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    // Byte offsets from the end of the header.
    begin: u64,
    end: u64,
}

impl Header {
    /// Reads the header of a file of `len` bytes; `file` then stands at the first tensor's data.
    pub(super) fn read(path: &Path, file: &mut impl Read, len: u64) -> Result<Header, WeightsError> {
        const PREFIX: u64 = 8;
        let io = |source| WeightsError::Io { path: path.into(), action: "read", source };
        if len < PREFIX {
            return Err(WeightsError::HeaderLength { path: path.into(), expected: PREFIX, found: len });
        }
        let mut prefix = [0; PREFIX as usize];
        file.read_exact(&mut prefix).map_err(io)?;
        let header_len = u64::from_le_bytes(prefix);
        let header_end = header_len.saturating_add(PREFIX);
        if header_end > len {
            return Err(WeightsError::HeaderLength { path: path.into(), expected: header_end, found: len });
        }
        if header_len > LIMIT {
            return Err(WeightsError::HeaderTooLong { path: path.into(), found: header_len, limit: LIMIT });
        }
        // Not longer than the file, and not longer than the limit.
        let mut text = vec![0; header_len as usize];
        file.read_exact(&mut text).map_err(io)?;
        let header = parse(path, &text)?;
        header.check_layout(path, header_end, len)?;
        Ok(header)
    }

    /// Tensors lie one after another, and fill the file.
    fn check_layout(&self, path: &Path, header_end: u64, len: u64) -> Result<(), WeightsError> {
        let (mut end, mut before) = (0, None);
        for entry in &self.entries {
            if entry.begin != end {
                let expected = match before {
                    Some(before) => format!("data that starts at {end}, where that of `{before}` ends"),
                    None => "data that starts at 0".to_owned(),
                };
                let found = format!("{} to {}", entry.begin, entry.end);
                return Err(entry.refuse(path, "data_offsets", expected, found, HELP_SAVE));
            }
            (end, before) = (entry.end, Some(&entry.name));
        }
        let expected = header_end.saturating_add(end);
        if expected == len {
            return Ok(());
        }
        Err(WeightsError::DataLength { path: path.into(), expected, found: len })
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Header, WeightsError> {
    let wrong = |expected, found: String| WeightsError::Header { path: path.into(), expected, found };
    let text = std::str::from_utf8(text).map_err(|error| wrong("UTF-8", error.to_string()))?;
    let value: Value = serde_json::from_str(text).map_err(|error| wrong("JSON", error.to_string()))?;
    let Value::Object(mut fields) = value else { return Err(wrong("a JSON object", brief(&value))) };
    match repeated_key(text) {
        Some(Repeated { within: None, key }) => {
            return Err(WeightsError::Duplicate { path: path.into(), tensor: key.into() });
        }
        Some(Repeated { within: Some(tensor), key }) => {
            return Err(WeightsError::Tensor {
                path: path.into(),
                tensor: tensor.into(),
                field: "description",
                expected: "each field once".into(),
                found: format!("`{key}` twice").into(),
                help: HELP_SAVE,
            });
        }
        None => {}
    }
    let metadata = match fields.remove(METADATA) {
        Some(value) => parse_metadata(value).map_err(|found| wrong("metadata that maps names to strings", found))?,
        None => Metadata::new(),
    };
    let mut entries =
        fields.into_iter().map(|(name, value)| Entry::parse(path, name, &value)).collect::<Result<Vec<_>, _>>()?;
    // An empty tensor comes before the one whose data starts where it stands.
    entries.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
    Ok(Header { entries, metadata })
}

/// The format's metadata, with ours unpacked.
fn parse_metadata(value: Value) -> Result<Metadata, String> {
    let strings = |value: Value| -> Result<Metadata, String> {
        let Value::Object(fields) = value else { return Err(brief(&value)) };
        let string = |(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            other => Err(format!("{} for `{name}`", brief(&other))),
        };
        fields.into_iter().map(string).collect()
    };
    let mut metadata = strings(value)?;
    if let Some(ours) = metadata.remove(OURS) {
        metadata.extend(strings(serde_json::from_str(&ours).map_err(|error| error.to_string())?)?);
    }
    Ok(metadata)
}

impl Entry {
    fn parse(path: &Path, name: String, value: &Value) -> Result<Entry, WeightsError> {
        let mut entry = Entry { name, dtype: DType::F32, shape: Vec::new(), begin: 0, end: 0 };
        let Value::Object(fields) = value else {
            return Err(entry.refuse(path, "description", "a JSON object", brief(value), HELP_SAVE));
        };
        entry.dtype = entry.parse_dtype(path, fields)?;
        let numbers = |field: &'static str, expected: &str| -> Result<Vec<u64>, WeightsError> {
            let value = fields.get(field);
            let numbers = value.and_then(Value::as_array).and_then(|list| list.iter().map(Value::as_u64).collect());
            let found = || value.map_or("none".to_owned(), brief);
            numbers.ok_or_else(|| entry.refuse(path, field, expected, found(), HELP_SAVE))
        };
        let (shape, offsets) = (numbers("shape", "a list of sizes")?, numbers("data_offsets", "a begin and an end")?);
        let [begin, end] = offsets[..] else {
            return Err(entry.refuse(path, "data_offsets", "a begin and an end", format!("{offsets:?}"), HELP_SAVE));
        };
        let size = entry.dtype.size() as u64;
        let bytes = shape.iter().try_fold(size, |bytes, &size| bytes.checked_mul(size));
        let fits: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
        let (Some(bytes), Some(fits)) = (bytes.filter(|&bytes| usize::try_from(bytes).is_ok()), fits) else {
            return Err(entry.refuse(path, "shape", "a size that can be addressed", format!("{shape:?}"), HELP_SAVE));
        };
        if begin.checked_add(bytes) != Some(end) {
            let expected = format!("{bytes} bytes for {}{shape:?}", entry.dtype);
            return Err(entry.refuse(path, "data_offsets", expected, format!("{begin} to {end}"), HELP_SAVE));
        }
        Ok(Entry { shape: fits, begin, end, ..entry })
    }

    fn parse_dtype(&self, path: &Path, fields: &Map<String, Value>) -> Result<DType, WeightsError> {
        let help = "convert the tensor to F32 before it is saved";
        match fields.get("dtype") {
            Some(Value::String(name)) => match name.as_str() {
                "F32" => Ok(DType::F32),
                "F64" => Ok(DType::F64),
                "I32" => Ok(DType::I32),
                "BOOL" => Ok(DType::Bool),
                other => Err(self.refuse(path, "dtype", "F32, F64, I32 or BOOL", format!("`{other}`"), help)),
            },
            Some(other) => Err(self.refuse(path, "dtype", "F32, F64, I32 or BOOL", brief(other), HELP_SAVE)),
            None => Err(self.refuse(path, "dtype", "F32, F64, I32 or BOOL", "none", HELP_SAVE)),
        }
    }

    /// Bytes of data; compared with the file when the header was read.
    pub(super) fn byte_len(&self) -> usize {
        (self.end - self.begin) as usize
    }

    pub(super) fn refuse(
        &self,
        path: &Path,
        field: &'static str,
        expected: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
        help: &'static str,
    ) -> WeightsError {
        let (expected, found) = (expected.into(), found.into());
        WeightsError::Tensor { path: path.into(), tensor: self.name.as_str().into(), field, expected, found, help }
    }
}

/// A JSON value for a message: its text, if that is short.
fn brief(value: &Value) -> String {
    const WIDTH: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A key that an object has twice, and the key of the outermost object that holds it.
struct Repeated {
    within: Option<String>,
    key: String,
}

/// The first key that some object of this JSON text repeats; JSON readers keep one of the two in silence.
fn repeated_key(json: &str) -> Option<Repeated> {
    let mut objects: Vec<HashSet<String>> = Vec::new();
    let mut outer = None;
    let mut rest = json;
    while let Some(at) = rest.find(['{', '}', '"']) {
        let from = &rest[at..];
        let len = match from.as_bytes()[0] {
            b'{' => {
                objects.push(HashSet::new());
                1
            }
            b'}' => {
                objects.pop();
                1
            }
            _ => string_len(from),
        };
        let (token, after) = from.split_at(len);
        rest = after;
        if len > 1 && rest.trim_start().starts_with(':') {
            let key: String = serde_json::from_str(token).ok()?;
            let within = if objects.len() > 1 { outer.clone() } else { None };
            if objects.len() == 1 {
                outer = Some(key.clone());
            }
            if !objects.last_mut()?.insert(key.clone()) {
                return Some(Repeated { within, key });
            }
        }
    }
    None
}

/// Bytes of the JSON string that `text` starts with, its quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_found_under_any_spelling() {
        let repeated = |json| repeated_key(json).map(|found| (found.within, found.key));
        assert_eq!(repeated(r#"{"a": {"x": 1, "y": "x"}, "b": {"x": ["x", {"x": 2}]}}"#), None);
        assert_eq!(repeated(r#"{"a": 1, "\u0061": 2}"#), Some((None, "a".to_owned())));
        assert_eq!(repeated(r#"{"a\"": 1, "b": {}, "a\"" : 2}"#), Some((None, "a\"".to_owned())));
        assert_eq!(repeated(r#"{"a": {"x": 1, "x": 2}}"#), Some((Some("a".to_owned()), "x".to_owned())));
        assert_eq!(repeated(r#"{"}": "{", "{": "\\", "c": 0}"#), None);
    }
}
