//! Data sets from files: what is read, what is refused, and what the user is told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::skip::skip;
use flate2::Compression;
use flate2::write::GzEncoder;
use foldgrad::data::fashion_mnist::{self, LoadOptions};
use foldgrad::data::{DataError, DataSource, FASHION_CLASSES, ImageSet, idx, silhouettes};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn idx_bytes(element: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, element, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory with small sets under the official names, `train_n` and `test_n` images.
fn small_fashion(train_n: usize, test_n: usize) -> TempDir {
    let directory = TempDir::new().unwrap();
    let (train, test) = silhouettes::generate(5, train_n, test_n);
    for (name, set) in [("train", train), ("t10k", test)] {
        let count = set.len() as u32;
        let images = gzip(&idx_bytes(8, &[count, 28, 28], set.images()));
        let labels = gzip(&idx_bytes(8, &[count], set.labels()));
        fs::write(directory.path().join(format!("{name}-images-idx3-ubyte.gz")), images).unwrap();
        fs::write(directory.path().join(format!("{name}-labels-idx1-ubyte.gz")), labels).unwrap();
    }
    directory
}

fn named(directory: impl Into<PathBuf>) -> LoadOptions {
    LoadOptions { directory: Some(directory.into()), ..LoadOptions::default() }
}

/// Checks that reading `bytes` as images fails with a message that contains each of `parts`.
#[track_caller]
fn check_refused(bytes: &[u8], parts: &[&str]) {
    let message = idx::images_from(bytes, "dir/the-file").unwrap_err().to_string();
    for part in parts.iter().chain(&["dir/the-file"]) {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn images_and_labels_are_read_plain_and_packed() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let images = idx_bytes(8, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
    let labels = idx_bytes(8, &[2], &[7, 9]);
    fs::write(path("images"), &images).unwrap();
    fs::write(path("labels.gz"), gzip(&labels)).unwrap();
    // Packed in spite of its name, and in two gzip members.
    let (head, tail) = images.split_at(18);
    fs::write(path("misnamed"), [gzip(head), gzip(tail)].concat()).unwrap();

    let expected = idx::Images { pixels: vec![1, 2, 3, 4, 5, 6], count: 2, rows: 1, cols: 3 };
    // Under its own name, and under that of its twin.
    for name in ["images", "images.gz", "misnamed"] {
        assert_eq!(idx::read_images(path(name)).unwrap(), expected, "{name}");
    }
    for name in ["labels", "labels.gz"] {
        assert_eq!(idx::read_labels(path(name)).unwrap(), [7, 9], "{name}");
    }
}

#[test]
fn headers_of_other_files_are_refused() {
    let data = [0; 4];
    check_refused(b"<!DOCTYPE html>", &["magic number", "0x00000803", "0x3c21444f"]);
    check_refused(b"PK\x03\x04 zip", &["magic number"]);
    check_refused(&idx_bytes(0x0d, &[1, 1, 1], &data), &["element type", "13 (32-bit floats)", "8 (unsigned bytes)"]);
    check_refused(&idx_bytes(0x42, &[1, 1, 1], &data), &["element type", "no type of the format"]);
    check_refused(&idx_bytes(8, &[4], &data), &["rank", "3 (grey-scale images)", "1 (labels)"]);
    check_refused(&idx_bytes(8, &[1; 255], &data), &["rank", "255"]);
    let message = idx::labels_from(&idx_bytes(8, &[1, 2, 2], &data)[..], "x").unwrap_err().to_string();
    assert!(message.contains("rank") && message.contains("expected 1 (labels)"), "{message}");
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    check_refused(b"", &["a header of 4 x 4", "16 bytes", "holds 0", "delete"]);
    check_refused(b"\x1f", &["a header of 4 x 4", "holds 1"]);
    check_refused(&[0, 0, 8, 3, 0, 0], &["a header of 4 x 4", "holds 6"]);
    for (sizes, field) in [([0, 28, 28], "images"), ([2, 0, 28], "rows"), ([2, 28, 0], "columns")] {
        check_refused(&idx_bytes(8, &sizes, &[]), &["the number of", field, "is 0"]);
    }
    let short = idx_bytes(8, &[10_000, 28, 28], &[7; 12_345]);
    check_refused(&short, &["promises 10000 x 28 x 28 = 7840000 bytes", "holds 12345", "delete"]);
    check_refused(&gzip(&short), &["promises 10000 x 28 x 28 = 7840000 bytes", "holds 12345"]);
    let long = idx_bytes(8, &[2, 2, 2], &[7; 9]);
    check_refused(&long, &["promises 2 x 2 x 2 = 8 bytes", "holds more"]);
    check_refused(&gzip(&long), &["promises 2 x 2 x 2 = 8 bytes", "holds more"]);
    // Terabytes, and a product past 64 bits.
    check_refused(&idx_bytes(8, &[1 << 20, 1 << 10, 1 << 10], &[1; 9]), &["1048576 x 1024 x 1024", "more than"]);
    check_refused(&idx_bytes(8, &[u32::MAX; 3], &[1; 9]), &["4294967295 x 4294967295", "more than"]);
}

#[test]
fn broken_gzip_is_refused() {
    let whole = gzip(&idx_bytes(8, &[40, 28, 28], &[7; 40 * 784]));
    check_refused(&whole[..whole.len() - 9], &["gzip", "delete"]);
    check_refused(&whole[..whole.len() - 1], &["gzip", "after 31376 good bytes"]);
    check_refused(&whole[..2], &["gzip", "after 0 good bytes"]);
    let mut wrong_checksum = whole.clone();
    let at = wrong_checksum.len() - 8;
    wrong_checksum[at] ^= 1;
    check_refused(&wrong_checksum, &["gzip"]);
    check_refused(&[whole, b"rubbish".to_vec()].concat(), &["gzip"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("images");
    let missing = idx::read_images(&path).unwrap_err();
    assert!(matches!(&missing, DataError::Missing { path: named } if *named == path), "{missing}");
    fs::create_dir(&path).unwrap();
    let error = idx::read_images(&path).unwrap_err();
    assert!(matches!(error, DataError::NotAFile { found: "a directory", .. }), "{error}");
}

#[test]
fn a_set_is_consistent_or_refused() {
    #[track_caller]
    fn check(images: usize, labels: &[u8], rows: usize, cols: usize, classes: usize, expected: &str) {
        let error = ImageSet::new(vec![0; images], labels.to_vec(), rows, cols, classes).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    check(0, &[], 2, 2, 10, "the number of images is 0");
    check(4, &[1], 0, 4, 10, "the number of rows is 0");
    check(4, &[1], 4, 0, 10, "the number of columns is 0");
    check(4, &[], 2, 2, 10, "the number of labels is 0");
    check(4, &[1], 2, 2, 0, "the number of classes is 0");
    check(5, &[1], 2, 2, 10, "expected a multiple of 2 x 2 bytes, found 5 bytes");
    check(8, &[1], usize::MAX, 2, 10, "expected a multiple of");
    check(8, &[1], 2, 2, 10, "the images holds 2 images, the labels holds 1 labels");
    check(8, &[1, 10], 2, 2, 10, "label 1: expected 0 to 9, found 10");
    assert!(ImageSet::new(vec![0; 8], vec![255, 0], 2, 2, 256).is_ok());

    let set = ImageSet::new((0..12).collect(), vec![0, 1, 2], 2, 2, 3).unwrap();
    let tail = set.range(1..3).unwrap();
    assert_eq!((tail.images(), tail.labels(), tail.len()), (&set.images()[4..], &[1, 2][..], 2));
    assert_eq!((set.first(2).unwrap(), set.first(99).unwrap()), (set.range(0..2).unwrap(), set.clone()));
    assert_eq!((set.image(2), set.image(3)), (Some(&[8, 9, 10, 11][..]), None));
    for (start, end) in [(0, 4), (1, 1), (2, 1), (4, 5)] {
        assert!(matches!(set.range(start..end), Err(DataError::Range { len: 3, .. })), "{start}..{end}");
    }
    assert!(set.first(0).is_err());
}

#[test]
fn a_named_directory_is_read() {
    let directory = small_fashion(30, 20);
    // One of the files unpacked, as other tools leave it.
    let packed = directory.path().join("t10k-labels-idx1-ubyte.gz");
    let labels = idx::read_labels(&packed).unwrap();
    fs::remove_file(&packed).unwrap();
    fs::write(packed.with_extension(""), idx_bytes(8, &[20], &labels)).unwrap();

    let fashion = fashion_mnist::load(&named(directory.path())).unwrap();
    let (train, test) = silhouettes::generate(5, 30, 20);
    assert_eq!((&fashion.train, &fashion.test), (&train, &test));
    assert_eq!(fashion.source, DataSource::Directory(directory.path().to_owned()));
    assert_eq!(fashion.source.notice(), None);
}

#[test]
fn a_named_directory_that_is_broken_is_an_error_and_never_the_built_in_set() {
    #[track_caller]
    fn check(damage: impl Fn(&Path), parts: &[&str]) {
        let directory = small_fashion(30, 20);
        damage(directory.path());
        let message = fashion_mnist::load(&named(directory.path())).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    let put = |name: &'static str, bytes: Vec<u8>| {
        move |directory: &Path| {
            fs::write(directory.join(format!("{name}.gz")), gzip(&bytes)).unwrap();
        }
    };
    check(
        |directory| fs::remove_file(directory.join("t10k-images-idx3-ubyte.gz")).unwrap(),
        &["t10k-images-idx3-ubyte.gz: no such file"],
    );
    check(
        |directory| {
            fs::remove_dir_all(directory).unwrap();
        },
        &["expected a directory", "found nothing"],
    );
    check(put("train-images-idx3-ubyte", b"<html>not found</html>".to_vec()), &["train-images", "magic number"]);
    check(
        put("t10k-labels-idx1-ubyte", idx_bytes(8, &[19], &[1; 19])),
        &["t10k-images", "holds 20 images", "t10k-labels", "holds 19 labels"],
    );
    check(
        put("train-labels-idx1-ubyte", idx_bytes(8, &[30], &[[0; 29].as_slice(), &[10]].concat())),
        &["train-labels", "label 29: expected 0 to 9, found 10"],
    );
    check(
        put("train-images-idx3-ubyte", idx_bytes(8, &[30, 32, 32], &[0; 30 * 1024])),
        &["train-images", "expected 28 x 28 pixels, found 32 x 32"],
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = fashion_mnist::load(&named(file.path())).unwrap_err();
    assert!(matches!(error, DataError::NotADirectory { found: "a file", .. }), "{error}");
}

#[test]
fn without_files_and_network_the_built_in_set_steps_in_and_says_so() {
    let cache = TempDir::new().unwrap();
    let options = LoadOptions {
        cache: Some(cache.path().join("none")),
        offline: true,
        built_in: [20, 10],
        ..LoadOptions::default()
    };
    let fashion = fashion_mnist::load(&options).unwrap();
    assert_eq!((fashion.train, fashion.test), silhouettes::generate(silhouettes::SEED, 20, 10));
    let notice = fashion.source.notice().unwrap();
    for part in ["NOT FASHION-MNIST", "train-images-idx3-ubyte.gz is not in", "repeat", "NOT comparable", "--data DIR"]
    {
        let flat = notice.replace(['║', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part:?} is not in\n{notice}");
    }
    assert!(!cache.path().join("none").exists(), "offline leaves the disk alone");
}

#[test]
fn the_notice_stays_in_its_frame() {
    let reason = format!("a word {} too long for a line, äöü, and  two blanks", "ø".repeat(300));
    let notice = DataSource::BuiltIn { reason }.notice().unwrap();
    for line in notice.lines() {
        assert_eq!(line.chars().count(), 78, "{line}");
    }
    assert_eq!(notice.matches('ø').count(), 300, "nothing is lost ({notice})");
}

#[test]
fn the_environment_names_the_directory_and_the_cache() {
    #[track_caller]
    fn check(variables: &[(&str, &str)], directory: Option<&str>, cache: Option<&str>) {
        let options = LoadOptions::from_variables(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into())
        });
        assert_eq!(options.directory, directory.map(PathBuf::from));
        assert_eq!(options.cache, cache.map(PathBuf::from));
    }
    let home = ("HOME", "/home/ada");
    check(&[], None, None);
    check(&[home], None, Some("/home/ada/.cache/foldgrad/fashion-mnist"));
    check(&[home, ("XDG_CACHE_HOME", "")], None, Some("/home/ada/.cache/foldgrad/fashion-mnist"));
    check(&[home, ("XDG_CACHE_HOME", "relative")], None, Some("/home/ada/.cache/foldgrad/fashion-mnist"));
    check(&[("FASHION_MNIST_DIR", "data")], Some("data"), None);
    check(&[("FASHION_MNIST_DIR", "")], None, None);
    #[cfg(unix)]
    check(&[home, ("XDG_CACHE_HOME", "/var/c")], None, Some("/var/c/foldgrad/fashion-mnist"));
}

#[test]
fn silhouettes_repeat_to_the_last_bit() {
    let (train, test) = silhouettes::generate(silhouettes::SEED, 1000, 200);
    // Pinned: a change here changes every figure that was ever published for the built-in set.
    let bytes = [train.images(), train.labels(), test.images(), test.labels()].concat();
    assert_eq!(hex_sha256(&bytes), "84e53ad348b73fb91ac8b110b87067c3b9197d09f9d69b63f84efdd61aadd748");

    let (longer, other) = (silhouettes::generate(silhouettes::SEED, 1500, 0).0, silhouettes::generate(2, 1000, 0).0);
    assert_eq!(longer.first(1000).unwrap(), train);
    assert_ne!(other, train);
}

#[test]
fn silhouettes_are_balanced_distinct_and_of_the_right_shape() {
    let (train, test) = silhouettes::generate(3, 2000, 500);
    for (set, each) in [(&train, 200), (&test, 50)] {
        assert_eq!((set.rows(), set.cols(), set.images().len()), (28, 28, set.len() * 784));
        for class in 0..FASHION_CLASSES.len() {
            assert_eq!(set.labels().iter().filter(|&&label| usize::from(label) == class).count(), each);
        }
    }
    let mut images: Vec<&[u8]> = [&train, &test].iter().flat_map(|set| set.images().chunks_exact(784)).collect();
    for image in &images {
        let ink = image.iter().filter(|&&pixel| pixel > 20).count();
        assert!((20..650).contains(&ink), "{ink} pixels are drawn");
        assert!(image.iter().any(|&pixel| pixel > 40), "it can be seen");
        assert!(image[0] == 0 || image[27] == 0 || image[783] == 0, "the background is black");
    }
    images.sort_unstable();
    images.dedup();
    assert_eq!(images.len(), 2500, "no image twice");
    assert!(silhouettes::generate(3, 0, 0).0.is_empty());
}

/// The real files, where they are: in the directory that `FASHION_MNIST_DIR` names, or beside this project.
#[test]
fn the_real_fashion_mnist() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/fashion-mnist");
    let directory = std::env::var_os("FASHION_MNIST_DIR").map_or(beside, PathBuf::from);
    if !directory.is_dir() {
        return skip(format!("there is no {}; set FASHION_MNIST_DIR", directory.display()));
    }
    let fashion = fashion_mnist::load(&named(&directory)).unwrap();
    assert_eq!((fashion.train.len(), fashion.test.len()), (60_000, 10_000));
    assert_eq!(fashion.train.labels()[..5], [9, 0, 0, 3, 0]);
    assert_eq!(fashion.test.labels()[..5], [9, 2, 1, 1, 6]);
    for class in 0..10 {
        assert_eq!(fashion.train.labels().iter().filter(|&&label| label == class).count(), 6000);
    }
    // The published hashes are those of these files: as a cache they need no network.
    let packed = directory.join("train-images-idx3-ubyte.gz").is_file();
    if packed {
        let options = LoadOptions { cache: Some(directory.clone()), offline: true, ..LoadOptions::default() };
        assert_eq!(fashion_mnist::load(&options).unwrap().source, DataSource::Cache(directory));
    }
}
