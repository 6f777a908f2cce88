//! Files that are wrong: cut short, damaged, inconsistent, or reaching for other files. Each is a typed error that names
//! the file; none is a panic, or memory for numbers that nothing backs.

use super::files::{folder, small};
use foldgrad::DType;
use foldgrad::interchange::onnx::{self, ExportOptions, OnnxError, OnnxFile};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (graph, weights) = small();
    let options = ExportOptions::new().metadata([("a", "1"), ("b", "2")]).doc("small");
    onnx::to_bytes(&graph, &weights, &options).expect("exported")
});

fn load(bytes: &[u8]) -> Result<OnnxFile, OnnxError> {
    let folder = folder();
    let path = folder.path().join("model.onnx");
    fs::write(&path, bytes).expect("written");
    onnx::load(&path)
}

#[track_caller]
fn refuse(bytes: &[u8]) -> OnnxError {
    let error = load(bytes).expect_err("the file is wrong");
    assert!(error.to_string().contains("model.onnx"), "{error}");
    error
}

#[test]
fn every_truncation_is_refused() {
    for len in 0..SMALL.len() {
        let error = refuse(&SMALL[..len]);
        assert!(matches!(error, OnnxError::NotOnnx { .. }), "{len} bytes: {error}");
    }
    load(&SMALL).expect("all of it is whole");
}

#[test]
fn what_is_no_model_is_refused() {
    for foreign in [&b""[..], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04 zip", b"\xff\xff\xff\xff", &[0; 100]] {
        assert!(matches!(refuse(foreign), OnnxError::NotOnnx { .. }));
    }
    let folder = folder();
    let missing = onnx::load(folder.path().join("missing.onnx")).expect_err("missing");
    assert!(missing.to_string().ends_with("; check the path"), "{missing}");
    assert!(matches!(onnx::load(folder.path()), Err(OnnxError::NotAFile { .. })));
}

#[cfg(unix)]
#[test]
fn devices_are_refused() {
    assert!(matches!(onnx::load("/dev/zero"), Err(OnnxError::NotAFile { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = SMALL.clone();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let _ = load(&bytes);
    }

    #[test]
    fn noise_never_panics(noise: Vec<u8>) {
        load(&noise).expect_err("noise");
        let _ = load(&model(&[message(5, &[noise])]));
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A number field.
fn int(tag: u64, value: i64) -> Vec<u8> {
    [varint(tag << 3), varint(value as u64)].concat()
}

/// A field of bytes: a text, or a message of these fields.
fn message(tag: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    let body = fields.concat();
    [varint(tag << 3 | 2), varint(body.len() as u64), body].concat()
}

fn text(tag: u64, text: &str) -> Vec<u8> {
    message(tag, &[text.as_bytes().to_vec()])
}

/// A model whose graph has these fields.
fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [int(1, 8), message(7, graph), message(8, &[int(2, 18)])].concat()
}

const FLOAT: i64 = 1;
const INT32: i64 = 6;
const BOOL: i64 = 9;
const DOUBLE: i64 = 11;

/// A model with one initialiser `w` of that element type and shape.
fn tensor(data_type: i64, dims: &[i64], data: Vec<u8>) -> Vec<u8> {
    model(&[initializer("w", data_type, dims, data)])
}

fn initializer(name: &str, data_type: i64, dims: &[i64], data: Vec<u8>) -> Vec<u8> {
    let dims = dims.iter().map(|&size| int(1, size)).collect::<Vec<_>>().concat();
    message(5, &[dims, int(2, data_type), text(8, name), data])
}

fn external(location: &str, offset: &str, length: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| message(13, &[text(1, key), text(2, value)]);
    [entry("location", location), entry("offset", offset), entry("length", length), int(14, 1)].concat()
}

/// A tensor error about that field.
#[track_caller]
fn refuse_tensor(bytes: &[u8], wrong: &str) {
    let error = refuse(bytes);
    assert!(matches!(&error, OnnxError::Tensor { field, .. } if *field == wrong), "{error}");
}

#[test]
fn numbers_are_read_from_every_place() {
    let read = |bytes: &[u8]| load(bytes).expect("a model").initializers["w"].clone();
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    for tag in [9, 4] {
        let data = message(tag, std::slice::from_ref(&floats));
        assert_eq!(read(&tensor(FLOAT, &[2], data)).to_f64(), [1.5, -2.0]);
    }
    let double = message(10, &[0.1f64.to_le_bytes().to_vec()]);
    assert_eq!(read(&tensor(DOUBLE, &[], double)).as_slice::<f64>(), Some(&[0.1][..]));
    let packed = message(5, &[[varint(-3i64 as u64), varint(1)].concat()]);
    assert_eq!(read(&tensor(INT32, &[2, 1], packed)).as_slice::<i32>(), Some(&[-3, 1][..]));
    // Number by number, as older writers do.
    let single = [int(5, 1), int(5, 0)].concat();
    assert_eq!(read(&tensor(BOOL, &[2], single)).as_slice::<bool>(), Some(&[true, false][..]));
    assert_eq!(read(&tensor(FLOAT, &[3, 0], Vec::new())).shape(), [3, 0]);
    let file = load(&tensor(7, &[2], message(9, &[vec![0; 16]]))).expect("64-bit integers are listed");
    assert_eq!((file.others["w"].element.as_str(), &file.others["w"].shape), ("int64", &vec![2]));
}

#[test]
fn shapes_and_data_that_disagree_are_refused() {
    let raw = |bytes: usize| message(9, &[vec![0; bytes]]);
    refuse_tensor(&tensor(FLOAT, &[-1], raw(0)), "dims");
    refuse_tensor(&tensor(FLOAT, &[i64::MAX, i64::MAX], raw(4)), "dims");
    refuse_tensor(&tensor(FLOAT, &[1 << 62], raw(4)), "dims");
    // A tebibyte that is not there.
    refuse_tensor(&tensor(FLOAT, &[1 << 38], raw(4)), "data");
    refuse_tensor(&tensor(FLOAT, &[1 << 38], message(4, &[vec![0; 8]])), "data");
    refuse_tensor(&tensor(FLOAT, &[2], raw(7)), "data");
    refuse_tensor(&tensor(FLOAT, &[2], raw(9)), "data");
    refuse_tensor(&tensor(FLOAT, &[], Vec::new()), "data");
    refuse_tensor(&tensor(DOUBLE, &[1], raw(4)), "data");
    refuse_tensor(&tensor(FLOAT, &[1], [raw(4), message(4, &[vec![0; 4]])].concat()), "data");
    refuse_tensor(&tensor(BOOL, &[1], message(9, &[vec![2]])), "data");
    refuse_tensor(&tensor(BOOL, &[1], int(5, 2)), "data");
    // Of the other element types nothing is read, but sizes are.
    refuse_tensor(&tensor(7, &[-5], Vec::new()), "dims");
    // A length that reaches past the end of the message.
    let mut lying = tensor(FLOAT, &[1], raw(4));
    let at = lying.windows(2).position(|window| window == [9 << 3 | 2, 4]).expect("the field");
    lying[at + 1] = 100;
    assert!(matches!(refuse(&lying), OnnxError::NotOnnx { .. }));
}

#[test]
fn one_name_for_two_things_is_refused() {
    let one = || initializer("w", FLOAT, &[0], Vec::new());
    let error = refuse(&model(&[one(), one()]));
    assert!(matches!(&error, OnnxError::Duplicate { what: "initialisers", .. }), "{error}");
    let error = refuse(&model(&[initializer("w", 7, &[0], Vec::new()), one()]));
    assert!(matches!(&error, OnnxError::Duplicate { .. }), "{error}");
    let remark = message(14, &[text(1, "key"), text(2, "value")]);
    let error = refuse(&[model(&[one()]), remark.clone(), remark].concat());
    assert!(matches!(&error, OnnxError::Duplicate { what: "remarks", .. }), "{error}");
    let error = refuse(&[int(1, 8), message(7, &[one()])].concat());
    assert!(matches!(&error, OnnxError::NotOnnx { .. }), "no operator set: {error}");
}

/// Two bytes each in the file, and hundreds each as a message in memory.
#[test]
fn endless_lists_are_cheap() {
    let million = |tag: u64| message(tag, &[]).repeat(1_000_000);
    let started = std::time::Instant::now();
    let file = load(&model(&[million(1)])).expect("nodes without names");
    assert_eq!(file.ops[""], 1_000_000);
    refuse(&model(&[million(5)]));
    refuse(&[model(&[]), million(7)].concat());
    refuse(&[model(&[]), million(14)].concat());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// A folder with a model, its data of 64 bytes, and a secret outside of it.
struct Place {
    _outer: tempfile::TempDir,
    inner: PathBuf,
}

impl Place {
    fn new() -> Place {
        let outer = folder();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).expect("made");
        fs::write(outer.path().join("secret"), [1; 64]).expect("written");
        let numbers: Vec<u8> = (0..16).flat_map(|v| (v as f32).to_le_bytes()).collect();
        fs::write(inner.join("data"), numbers).expect("written");
        Place { _outer: outer, inner }
    }

    fn load(&self, bytes: &[u8]) -> Result<OnnxFile, OnnxError> {
        let path = self.inner.join("model.onnx");
        fs::write(&path, bytes).expect("written");
        onnx::load(path)
    }

    #[track_caller]
    fn refuse(&self, location: &str, offset: &str, length: &str, wrong: &str) {
        let error = self.load(&tensor(FLOAT, &[4], external(location, offset, length))).expect_err("it is wrong");
        let found = match &error {
            OnnxError::Tensor { field, .. } => field,
            OnnxError::Io { .. } => "io",
            OnnxError::NotAFile { .. } => "file",
            _ => "another error",
        };
        assert_eq!(found, wrong, "{location}, {offset}, {length}: {error}");
    }
}

#[test]
fn data_in_other_files_is_read_within_bounds() {
    let place = Place::new();
    let file = place.load(&tensor(FLOAT, &[4], external("data", "48", "16"))).expect("inside");
    assert_eq!(file.initializers["w"].to_f64(), [12.0, 13.0, 14.0, 15.0]);
    assert_eq!(file.initializers["w"].dtype(), DType::F32);
    for (offset, length, wrong) in [
        ("49", "16", "offset"),
        ("64", "16", "offset"),
        ("18446744073709551615", "16", "offset"),
        ("18446744073709551616", "16", "offset"),
        ("-1", "16", "offset"),
        ("", "16", "offset"),
        ("0", "17", "length"),
        ("0", "15", "length"),
        ("0", "18446744073709551615", "length"),
        ("0", "ten", "length"),
    ] {
        place.refuse("data", offset, length, wrong);
    }
    place.refuse("missing", "0", "16", "io");
    place.refuse(".", "0", "16", "file");
}

#[test]
fn data_outside_of_the_folder_is_refused() {
    let place = Place::new();
    let absolute = place.inner.join("data");
    for location in [
        "../secret",
        "x/../../secret",
        "/etc/passwd",
        "..",
        "",
        "..\\secret",
        "C:\\secret",
        "C:secret",
        "data\0",
        absolute.to_str().expect("Unicode"),
    ] {
        place.refuse(location, "0", "16", "location");
    }
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    symlink("../secret", place.inner.join("link")).expect("linked");
    place.refuse("link", "0", "16", "location");
    symlink("data", place.inner.join("alias")).expect("linked");
    place.load(&tensor(FLOAT, &[4], external("alias", "0", "16"))).expect("it stays inside");
    // As caches keep them: links to files elsewhere, model and data side by side.
    let model = place.inner.join("model.onnx");
    fs::write(&model, tensor(FLOAT, &[4], external("data", "0", "16"))).expect("written");
    let cache = folder();
    for name in ["model.onnx", "data"] {
        symlink(place.inner.join(name), cache.path().join(name)).expect("linked");
    }
    onnx::load(cache.path().join("model.onnx")).expect("both are in one folder");
}

/// Many tensors over the same bytes would be more memory than there are bytes.
#[test]
fn tensors_that_share_bytes_are_refused() {
    let place = Place::new();
    let at = |name: &str, offset: &str| initializer(name, FLOAT, &[4], external("data", offset, "16"));
    place.load(&model(&[at("b", "16"), at("a", "0"), at("c", "32")])).expect("side by side, in any order");
    for offsets in [["0", "0"], ["0", "12"], ["12", "0"], ["32", "20"]] {
        let error = place.load(&model(&[at("a", offsets[0]), at("b", offsets[1])])).expect_err("they overlap");
        assert!(matches!(&error, OnnxError::Tensor { field: "offset", tensor, .. } if **tensor == *"b"), "{error}");
    }
}
