//! Files from outside: cut short, foreign, inconsistent, or made to exhaust the memory. Each message names the file and
//! the field.

use super::report_in;
use flate2::Compression;
use flate2::write::GzEncoder;
use foldgrad::data::fashion_mnist::{self, LoadOptions};
use foldgrad::data::idx;
use foldgrad::interchange::safetensors;
use insta::assert_snapshot;
use std::fs;
use std::io::Write;
use tempfile::TempDir;

/// An IDX file with this header and data.
fn idx_bytes(element: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, element, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

/// What is said of `bytes` as a file of images.
#[track_caller]
fn images(bytes: &[u8]) -> String {
    let folder = folder([("images.gz", bytes)]);
    report_in(folder.path(), idx::read_images(folder.path().join("images.gz")))
}

/// What is said of `bytes` as a file of labels.
#[track_caller]
fn labels(bytes: &[u8]) -> String {
    let folder = folder([("labels", bytes)]);
    report_in(folder.path(), idx::read_labels(folder.path().join("labels")))
}

/// What is said of a data set of two images with these labels.
#[track_caller]
fn set(side: u32, of_labels: &[u8]) -> String {
    let pixels = vec![7; 2 * (side * side) as usize];
    let (images, labels) =
        (idx_bytes(8, &[2, side, side], &pixels), idx_bytes(8, &[of_labels.len() as u32], of_labels));
    let folder = folder([("train-images-idx3-ubyte", &images[..]), ("train-labels-idx1-ubyte", &labels[..])]);
    let options = LoadOptions { directory: Some(folder.path().into()), ..LoadOptions::default() };
    report_in(folder.path(), fashion_mnist::load(&options))
}

/// What is said of `bytes` as a file of weights.
#[track_caller]
fn weights(bytes: &[u8]) -> String {
    let folder = folder([("model.safetensors", bytes)]);
    report_in(folder.path(), safetensors::load(folder.path().join("model.safetensors")))
}

/// A safetensors file with this header and data.
fn weights_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn folder<const N: usize>(files: [(&str, &[u8]); N]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

#[test]
fn images_that_are_not_there() {
    let folder = folder([]);
    assert_snapshot!(report_in(folder.path(), idx::read_images(folder.path().join("images"))), @"FOLDER/images: no such file, neither plain nor with .gz; name a directory that holds the four files of Fashion-MNIST, or name none and let foldgrad look in its cache and download them");
}

#[test]
fn directory_that_is_not_there() {
    let folder = folder([]);
    let options = LoadOptions { directory: Some(folder.path().join("missing")), ..LoadOptions::default() };
    assert_snapshot!(report_in(folder.path(), fashion_mnist::load(&options)), @"FOLDER/missing: expected a directory with the four files of Fashion-MNIST, found nothing; correct the name, or name none and let foldgrad look in its cache and download them");
}

#[test]
fn images_that_are_cut_short() {
    assert_snapshot!(images(&idx_bytes(8, &[10_000, 28, 28], &[0; 784])), @"truncated: the header of FOLDER/images.gz promises 10000 x 28 x 28 = 7840000 bytes, the file holds 784; delete the file and let foldgrad download it again, or copy it anew");
}

#[test]
fn images_cut_in_the_header() {
    assert_snapshot!(images(&idx_bytes(8, &[10_000, 28, 28], &[])[..9]), @"truncated: the header of FOLDER/images.gz promises a header of 4 x 4 = 16 bytes, the file holds 9; delete the file and let foldgrad download it again, or copy it anew");
}

#[test]
fn images_with_something_behind_them() {
    assert_snapshot!(images(&idx_bytes(8, &[1, 2, 2], &[0; 5])), @"FOLDER/images.gz: the header promises 1 x 2 x 2 = 4 bytes, the file holds more; its header or its end is damaged: delete the file and let foldgrad download it again, or copy it anew");
}

#[test]
fn page_in_the_place_of_images() {
    assert_snapshot!(images(b"<!DOCTYPE html><title>404</title>"), @"FOLDER/images.gz: the magic number in the IDX header: expected 0x00000803, found 0x3c21444f; this is another kind of file: check its name, or replace it");
}

#[test]
fn labels_in_the_place_of_images() {
    assert_snapshot!(images(&idx_bytes(8, &[10], &[3; 10])), @"FOLDER/images.gz: the rank in the IDX header: expected 3 (grey-scale images), found 1 (labels); this is another kind of file: check its name, or replace it");
}

#[test]
fn labels_of_wide_integers() {
    assert_snapshot!(labels(&idx_bytes(0x0c, &[2], &[0; 8])), @"FOLDER/labels: the element type in the IDX header: expected 8 (unsigned bytes), found 12 (32-bit integers); this is another kind of file: check its name, or replace it");
}

#[test]
fn labels_of_nothing() {
    assert_snapshot!(labels(&idx_bytes(8, &[0], &[])), @"FOLDER/labels: the number of labels is 0, expected at least 1; an empty set teaches nothing: name another");
}

#[test]
fn promise_of_terabytes() {
    assert_snapshot!(images(&idx_bytes(8, &[u32::MAX, 1 << 20, 1 << 20], &[0; 16])), @"FOLDER/images.gz: the header promises 4294967295 x 1048576 x 1048576 bytes, more than the 1073741824 that foldgrad reads from one file; the header is damaged, or the set has to be split");
}

#[test]
fn gzip_bomb() {
    let bomb = gzip(&idx_bytes(8, &[1, 28, 28], &vec![0; 64 << 20]));
    assert!(bomb.len() < 1 << 20);
    assert_snapshot!(images(&bomb), @"FOLDER/images.gz: the header promises 1 x 28 x 28 = 784 bytes, the file holds more; its header or its end is damaged: delete the file and let foldgrad download it again, or copy it anew");
}

#[test]
fn gzip_that_is_cut_short() {
    let whole = gzip(&idx_bytes(8, &[2, 28, 28], &[0; 2 * 784]));
    assert_snapshot!(images(&whole[..whole.len() - 12]), @"FOLDER/images.gz: the gzip stream ends or breaks after 1312 good bytes: incomplete deflate stream; the file is cut short or damaged: delete it and let foldgrad download it again, or copy it anew");
}

#[test]
fn labels_that_are_too_many() {
    assert_snapshot!(set(28, &[1, 2, 3]), @"FOLDER/train-images-idx3-ubyte.gz holds 2 images, FOLDER/train-labels-idx1-ubyte.gz holds 3 labels, expected as many; the two belong to different sets: take both from the same one");
}

#[test]
fn label_that_is_no_class() {
    assert_snapshot!(set(28, &[9, 10]), @"FOLDER/train-labels-idx1-ubyte.gz: label 1: expected 0 to 9, found 10; these are not the labels of this set: replace the file");
}

#[test]
fn images_of_another_size() {
    assert_snapshot!(set(32, &[1, 2]), @"FOLDER/train-images-idx3-ubyte.gz: the size of an image: expected 28 x 28 pixels, found 32 x 32; this is not Fashion-MNIST: name another directory, or scale the images");
}

#[test]
fn weights_that_are_not_there() {
    let folder = folder([]);
    assert_snapshot!(report_in(folder.path(), safetensors::load(folder.path().join("missing"))), @"cannot read `FOLDER/missing`: No such file or directory (os error 2); check the path");
}

#[test]
fn weights_that_are_cut_short() {
    let header = r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 12])), @"`FOLDER/model.safetensors` should have 81 bytes, but has 77; it was cut short: copy or save it again");
}

#[test]
fn weights_of_another_format() {
    assert_snapshot!(weights(b"PK\x03\x04 this is what PyTorch writes: a zip"), @"`FOLDER/model.safetensors` is no whole safetensors file: its header should end at byte 7595448452415441752, and the file has 39 bytes; it was cut short, or is of another format: copy or save it again, or name another");
}

#[test]
fn weights_with_a_header_of_terabytes() {
    assert_snapshot!(weights(&(1u64 << 42).to_le_bytes()), @"`FOLDER/model.safetensors` is no whole safetensors file: its header should end at byte 4398046511112, and the file has 8 bytes; it was cut short, or is of another format: copy or save it again, or name another");
}

#[test]
fn weights_with_a_tensor_of_terabytes() {
    let header = r#"{"w":{"dtype":"F32","shape":[1048576,1048576],"data_offsets":[0,4398046511104]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 16])), @"`FOLDER/model.safetensors` should have 4398046511192 bytes, but has 104; it was cut short: copy or save it again");
}

#[test]
fn weights_of_a_shape_that_overflows() {
    let header = r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 16])), @"`FOLDER/model.safetensors`, tensor `w`, shape: expected a size that can be addressed, found [4294967296, 4294967296]; save the weights again");
}

#[test]
fn weights_of_half_precision() {
    let header = r#"{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 4])), @"`FOLDER/model.safetensors`, tensor `w`, dtype: expected F32, F64, I32 or BOOL, found `BF16`; convert the tensor to F32 before it is saved");
}

#[test]
fn weights_that_overlap() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                     "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 12])), @"`FOLDER/model.safetensors`, tensor `b`, data_offsets: expected data that starts at 8, where that of `a` ends, found 4 to 12; save the weights again");
}

#[test]
fn weights_of_a_shape_that_their_data_has_not() {
    let header = r#"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]}}"#;
    assert_snapshot!(weights(&weights_bytes(header, &[0; 16])), @"`FOLDER/model.safetensors`, tensor `w`, data_offsets: expected 24 bytes for f32[2, 3], found 0 to 16; save the weights again");
}

#[test]
fn weights_saved_into_a_folder() {
    let folder = folder([]);
    let saved = safetensors::save(folder.path(), &Default::default(), &Default::default());
    assert_snapshot!(report_in(folder.path(), saved), @"`FOLDER` is not a regular file; name the weights file itself");
}
