//! Weights keep every bit, equal weights are equal bytes, and a wrong file is refused by name, never with a panic.

use foldgrad::ir::{DType, OrderedMap, TensorData, Weights};
use foldgrad::{Tensor, interchange::WeightsError, interchange::safetensors as weights};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use weights::Metadata;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    (folder, path)
}

/// Tensors of every element type and odd shapes and names, with the bits that a careless copy loses.
fn model() -> Weights {
    let f32s = [0x7fc0_0001, 0xffa0_0123, 0x8000_0000, 1, 0x7f80_0000, 0x3dcc_cccd].map(f32::from_bits);
    let f64s = [0x7ff8_0000_0000_0001, 0xfff4_0000_dead_beef, 1 << 63, 1, 0x7fefffffffffffff].map(f64::from_bits);
    OrderedMap::from([
        ("z/kernel".to_owned(), Tensor::new([2, 3], f32s.to_vec()).expect("six")),
        ("mask".to_owned(), Tensor::new([1, 3, 1], vec![true, false, true]).expect("three")),
        ("steps".to_owned(), Tensor::scalar(i32::MIN)),
        ("exact".to_owned(), Tensor::vector(f64s.to_vec())),
        ("empty".to_owned(), Tensor::new([0, 7], Vec::<f32>::new()).expect("none")),
        ("also empty".to_owned(), Tensor::new([3, 0], Vec::<f64>::new()).expect("none")),
        ("odd \"name\"\n\\ 🦀".to_owned(), Tensor::scalar(true)),
        ("".to_owned(), Tensor::scalar(0.1f32)),
    ])
}

fn remarks() -> Metadata {
    (0..20)
        .map(|index| (format!("key {index}"), format!("\"{index}\"\n\\")))
        .chain([("foldgrad".into(), "".into())])
        .collect()
}

/// Bits, so that NaN equals itself.
fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<u64>) {
    let bits = match tensor.data() {
        TensorData::F32(data) => data.iter().map(|v| u64::from(v.to_bits())).collect(),
        TensorData::F64(data) => data.iter().map(|v| v.to_bits()).collect(),
        TensorData::I32(data) => data.iter().map(|&v| v as u64).collect(),
        TensorData::Bool(data) => data.iter().map(|&v| u64::from(v)).collect(),
    };
    (tensor.dtype(), tensor.shape().to_vec(), bits)
}

fn all_bits(weights: &Weights) -> BTreeMap<&str, (DType, Vec<usize>, Vec<u64>)> {
    weights.iter().map(|(name, tensor)| (name.as_str(), bits(tensor))).collect()
}

/// The bytes of a file with this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[track_caller]
fn refuse(bytes: &[u8]) -> WeightsError {
    let (_folder, path) = folder();
    fs::write(&path, bytes).expect("written");
    let error = weights::load(&path).expect_err("the file is wrong");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    error
}

#[test]
fn every_bit_comes_back() {
    let (_folder, path) = folder();
    weights::save(&path, &model(), &remarks()).expect("saved");
    let (loaded, metadata) = weights::load(&path).expect("loaded");
    assert_eq!(all_bits(&loaded), all_bits(&model()));
    assert_eq!(metadata, remarks());
    weights::save(&path, &Weights::new(), &Metadata::new()).expect("saved over the old file");
    assert_eq!(weights::load(&path).expect("loaded"), Default::default());
}

#[test]
fn equal_models_are_equal_bytes() {
    let (folder, path) = folder();
    weights::save(&path, &model(), &remarks()).expect("saved");
    let first = fs::read(&path).expect("read");
    for round in 0..8 {
        let other = folder.path().join(format!("other {round}"));
        let reordered = model().into_iter().rev().collect();
        weights::save(&other, &reordered, &remarks()).expect("saved");
        assert_eq!(fs::read(&other).expect("read"), first);
    }
}

#[test]
fn other_tools_read_it() {
    let (_folder, path) = folder();
    weights::save(&path, &model(), &remarks()).expect("saved");
    let bytes = fs::read(&path).expect("read");
    let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    assert_eq!(theirs.len(), model().len());
    let kernel = theirs.tensor("z/kernel").expect("there");
    assert_eq!((kernel.dtype(), kernel.shape()), (safetensors::Dtype::F32, &[2, 3][..]));
    assert_eq!(kernel.data()[..4], 0x7fc0_0001u32.to_le_bytes());
}

#[test]
fn it_reads_files_of_other_tools() {
    // As PyTorch writes them: its own metadata, tensors at any alignment, in any order of the header.
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]},
                     "a":{"data_offsets":[0,1],"dtype":"BOOL","shape":[]}}   "#;
    let (_folder, path) = folder();
    fs::write(&path, file(header, &[&[1][..], &0.5f64.to_le_bytes()].concat())).expect("written");
    let (loaded, metadata) = weights::load(&path).expect("valid");
    assert_eq!(loaded.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(loaded["b"].as_slice::<f64>(), Some(&[0.5][..]));
    assert_eq!(metadata, BTreeMap::from([("format".to_owned(), "pt".to_owned())]));
}

#[test]
fn what_is_no_weights_file_is_refused() {
    let (folder, path) = folder();
    let load = |path: &Path| weights::load(path).expect_err("no weights");
    let missing = load(&path);
    assert!(matches!(&missing, WeightsError::Io { action: "read", .. }), "{missing}");
    assert!(missing.to_string().ends_with("; check the path"), "{missing}");
    assert!(matches!(load(folder.path()), WeightsError::NotAFile { .. }));
    for foreign in [&b""[..], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04 zip", b"12345678", &[0xff; 100], b"short"]
    {
        let error = refuse(foreign);
        assert!(matches!(error, WeightsError::HeaderLength { .. }), "{error}");
    }
    assert!(matches!(refuse(&[0; 100]), WeightsError::Header { expected: "JSON", .. }));
    // Claims are checked before they are believed.
    let claim = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(matches!(refuse(&claim), WeightsError::HeaderLength { expected: u64::MAX, found: 10, .. }));
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused() {
    let error = weights::load("/dev/zero").expect_err("endless");
    assert!(matches!(error, WeightsError::NotAFile { .. }), "{error}");
}

#[test]
fn a_long_header_is_refused_before_it_is_read() {
    let (_folder, path) = folder();
    let long = 200_000_000u64;
    fs::write(&path, long.to_le_bytes()).expect("written");
    // A sparse file: its length is real, its blocks are not.
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(long + 8)).expect("resized");
    let error = weights::load(&path).expect_err("too long");
    assert!(matches!(error, WeightsError::HeaderTooLong { found: 200_000_000, .. }), "{error}");
}

#[test]
fn a_wrong_description_names_tensor_and_field() {
    let one = |description: &str| file(&format!(r#"{{"w":{description}}}"#), &[0; 8]);
    let cases = [
        (r#"{"dtype":"F16","shape":[4],"data_offsets":[0,8]}"#, "dtype", "`F16`"),
        (r#"{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}"#, "dtype", "`BF16`"),
        (r#"{"dtype":"I64","shape":[1],"data_offsets":[0,8]}"#, "dtype", "`I64`"),
        (r#"{"dtype":"no such","shape":[1],"data_offsets":[0,8]}"#, "dtype", "`no such`"),
        (r#"{"dtype":32,"shape":[1],"data_offsets":[0,8]}"#, "dtype", "32"),
        (r#"{"shape":[2],"data_offsets":[0,8]}"#, "dtype", "none"),
        (r#"{"dtype":"F32","data_offsets":[0,8]}"#, "shape", "none"),
        (r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#, "shape", "[-2]"),
        (r#"{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}"#, "shape", "[2.0]"),
        (r#"{"dtype":"F32","shape":2,"data_offsets":[0,8]}"#, "shape", "2"),
        (r#"{"dtype":"F32","shape":[2]}"#, "data_offsets", "none"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0]}"#, "data_offsets", "[0]"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#, "data_offsets", "8 to 0"),
        (r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#, "data_offsets", "0 to 8"),
        (r#"{"dtype":"F64","shape":[2],"data_offsets":[0,8]}"#, "data_offsets", "0 to 8"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#, "data_offsets", "4 to 12"),
        (
            r#"{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,8]}"#,
            "shape",
            "[1152921504606846976, 16]",
        ),
        (r#"{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}"#, "shape", "[4611686018427387905]"),
        (
            r#"{"dtype":"F32","shape":[18446744073709551615,18446744073709551615,0],"data_offsets":[0,0]}"#,
            "shape",
            "[18446744073709551615, 18446744073709551615, 0]",
        ),
        (r#"{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}"#, "shape", "[1e+20]"),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551612,18446744073709551615]}"#,
            "data_offsets",
            "18446744073709551612 to 18446744073709551615",
        ),
        (r#"{"dtype":"BOOL","shape":[2],"shape":[8],"data_offsets":[0,8]}"#, "description", "`shape` twice"),
        (r#"["F32",[2],[0,8]]"#, "description", r#"["F32",[2],[0,8]]"#),
        ("null", "description", "null"),
    ];
    for (description, expected_field, expected_found) in cases {
        match refuse(&one(description)) {
            WeightsError::Tensor { tensor, field, found, .. } => {
                assert_eq!((&*tensor, field, &*found), ("w", expected_field, expected_found));
            }
            other => panic!("{description}: {other}"),
        }
    }
    let error = refuse(&file(r#"{"w":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#, &[1, 2])).to_string();
    assert!(
        error.ends_with(
            "tensor `w`, data: expected 0 or 1 for each element, found the byte 2 for element 1; save the weights again"
        ),
        "{error}"
    );
}

#[test]
fn tensors_cover_the_data_once() {
    let two = |a: &str, b: &str, bytes: usize| {
        let tensor = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":[{offsets}]}}"#);
        file(&format!(r#"{{"a":{},"b":{}}}"#, tensor(a), tensor(b)), &vec![0; bytes])
    };
    let (_folder, path) = folder();
    fs::write(&path, two("8,16", "0,8", 16)).expect("written");
    weights::load(&path).expect("the control is valid");
    for (a, b, found) in [("0,8", "0,8", "0 to 8"), ("0,8", "4,12", "4 to 12"), ("0,8", "12,20", "12 to 20")] {
        match refuse(&two(a, b, 20)) {
            WeightsError::Tensor { tensor, field: "data_offsets", found: have, expected, .. } => {
                assert_eq!((&*tensor, &*have), ("b", found));
                assert_eq!(&*expected, "data that starts at 8, where that of `a` ends");
            }
            other => panic!("{other}"),
        }
    }
    for bytes in [15, 17, 0] {
        let error = refuse(&two("0,8", "8,16", bytes));
        assert!(matches!(error, WeightsError::DataLength { .. }), "{error}");
    }
    let empty = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let error = refuse(&file(&format!(r#"{{"a":{empty},"\u0061":{empty}}}"#), &[]));
    assert!(matches!(&error, WeightsError::Duplicate { tensor, .. } if &**tensor == "a"), "{error}");
}

#[test]
fn a_wrong_header_is_refused() {
    for (header, expected) in [
        ("[]", "a JSON object"),
        ("{", "JSON"),
        ("{} x", "JSON"),
        (r#"{"__metadata__":[]}"#, "metadata that maps names to strings"),
        (r#"{"__metadata__":{"a":1}}"#, "metadata that maps names to strings"),
        (r#"{"__metadata__":{"foldgrad":"{"}}"#, "metadata that maps names to strings"),
        (r#"{"__metadata__":{"foldgrad":"{\"a\":[]}"}}"#, "metadata that maps names to strings"),
    ] {
        let error = refuse(&file(header, &[]));
        assert!(
            matches!(&error, WeightsError::Header { expected: have, .. } if *have == expected),
            "{header}: {error}"
        );
    }
    let error = refuse(&[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat());
    assert!(matches!(&error, WeightsError::Header { expected: "UTF-8", .. }), "{error}");
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(refuse(&file(&deep, &[])), WeightsError::Header { expected: "JSON", .. }));
}

#[test]
fn a_refused_save_leaves_the_old_file() {
    let (folder, path) = folder();
    weights::save(&path, &model(), &remarks()).expect("saved");
    let before = fs::read(&path).expect("read");
    let reserved = OrderedMap::from([("__metadata__".to_owned(), Tensor::scalar(1.0f32))]);
    let error = weights::save(&path, &reserved, &Metadata::new()).expect_err("the format's own name");
    assert!(matches!(&error, WeightsError::Tensor { field: "name", .. }), "{error}");
    assert_eq!(fs::read(&path).expect("read"), before);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing new is beside it");
    let error = weights::save(folder.path(), &model(), &remarks()).expect_err("a folder");
    assert!(matches!(error, WeightsError::NotAFile { .. }), "{error}");
    let error = weights::save(folder.path().join("no/where"), &model(), &remarks()).expect_err("no folder");
    assert!(matches!(error, WeightsError::Io { action: "write", .. }), "{error}");
}

static SAVED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (_folder, path) = folder();
    weights::save(&path, &model(), &remarks()).expect("saved");
    fs::read(&path).expect("read")
});

#[test]
fn every_truncation_is_refused() {
    let (_folder, path) = folder();
    for len in 0..SAVED.len() {
        fs::write(&path, &SAVED[..len]).expect("written");
        weights::load(&path).expect_err("cut short");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage is refused or changes values; it never panics.
    #[test]
    fn damage_never_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = SAVED.clone();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let (_folder, path) = folder();
        fs::write(&path, bytes).expect("written");
        let _ = weights::load(&path);
    }

    #[test]
    fn noise_never_panics(header in "\\PC{0,60}", data: Vec<u8>) {
        let (_folder, path) = folder();
        fs::write(&path, &data).expect("written");
        weights::load(&path).expect_err("noise");
        fs::write(&path, file(&header, &data)).expect("written");
        let _ = weights::load(&path);
    }
}

proptest! {
    // Each save waits for the disk.
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tensor_comes_back(name: String, data: Vec<u32>) {
        prop_assume!(name != "__metadata__");
        let (_folder, path) = folder();
        let tensor = Tensor::vector(data.into_iter().map(f32::from_bits).collect());
        weights::save(&path, &OrderedMap::from([(name.clone(), tensor.clone())]), &Metadata::new()).expect("saved");
        let (loaded, _) = weights::load(&path).expect("loaded");
        prop_assert_eq!(bits(&loaded[&name]), bits(&tensor));
    }
}
