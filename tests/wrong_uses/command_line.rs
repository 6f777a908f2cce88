//! Wrong uses of the program: a code that is not 0, the message on standard error, nothing on standard output.

use foldgrad::data::silhouettes;
use foldgrad::interchange::safetensors;
use foldgrad::{DType, Tensor};
use insta::assert_snapshot;
use std::path::Path;
use std::process::Command;

/// What the program writes to standard error. `FOLDER` in an argument stands for `folder`, and so it does in the answer.
#[track_caller]
fn refused_in(folder: &Path, arguments: &str) -> String {
    let folder = folder.display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_foldgrad"))
        .args(arguments.split(' ').map(|argument| argument.replace("FOLDER", &folder)))
        .env_remove("FASHION_MNIST_DIR")
        .env("XDG_CACHE_HOME", &folder)
        .output()
        .expect("the program starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.code().is_some_and(|code| code != 0 && code != 101), "{}: {said}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "standard output is for results");
    said.replace(&folder, "FOLDER").trim_end().to_owned()
}

#[track_caller]
fn refused(arguments: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    refused_in(folder.path(), arguments)
}

/// [`refused`], with 65 images to train on in `FOLDER`.
#[track_caller]
fn refused_with_data(arguments: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (train, test) = silhouettes::generate(1, 65, 10);
    for (name, set) in [("train", train), ("t10k", test)] {
        let count = (set.len() as u32).to_be_bytes();
        let side = 28u32.to_be_bytes();
        let images = [&[0, 0, 8, 3][..], &count, &side, &side, set.images()].concat();
        let labels = [&[0, 0, 8, 1][..], &count, set.labels()].concat();
        std::fs::write(folder.path().join(format!("{name}-images-idx3-ubyte")), images).expect("written");
        std::fs::write(folder.path().join(format!("{name}-labels-idx1-ubyte")), labels).expect("written");
    }
    refused_in(folder.path(), arguments)
}

#[test]
fn data_that_is_not_there() {
    assert_snapshot!(refused("train --data FOLDER/missing"), @"error: FOLDER/missing: expected a directory with the four files of Fashion-MNIST, found nothing; correct the name, or name none and let foldgrad look in its cache and download them");
}

#[test]
fn data_that_is_incomplete() {
    assert_snapshot!(refused("train --data FOLDER"), @"error: FOLDER/train-labels-idx1-ubyte.gz: no such file, neither plain nor with .gz; name a directory that holds the four files of Fashion-MNIST, or name none and let foldgrad look in its cache and download them");
}

#[test]
fn learning_rate_below_zero() {
    assert_snapshot!(refused("train --learning-rate=-1"), @r"
    error: invalid value '-1' for '--learning-rate <LEARNING_RATE>': give a finite number, not negative

    For more information, try '--help'.
    ");
}

#[test]
fn training_on_nothing() {
    assert_snapshot!(refused("train --limit 0"), @r"
    error: invalid value '0' for '--limit <N>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    ");
}

#[test]
fn nothing_left_to_train_on() {
    assert_snapshot!(refused_with_data("train --data FOLDER --hold-out 65"), @r"
    data: Fashion-MNIST from FOLDER
    error: --hold-out 65 leaves none of the 65 training images; hold out fewer
    ");
}

#[test]
fn last_batch_of_one() {
    assert_snapshot!(refused_with_data("train --data FOLDER --batch 32"), @r"
    data: Fashion-MNIST from FOLDER
    error: --batch 32 makes a batch of one of the 65 training images, from which batch norm cannot learn; choose another --batch, or another number of images
    ");
}

#[test]
fn batches_of_nothing() {
    assert_snapshot!(refused("train --batch 0"), @r"
    error: invalid value '0' for '--batch <BATCH>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    ");
}

#[test]
fn save_where_nothing_is() {
    assert_snapshot!(refused("train --save FOLDER/missing/w.safetensors"), @"error: --save FOLDER/missing/w.safetensors: there is no directory FOLDER/missing; make it first");
}

#[test]
fn plan_for_no_examples() {
    assert_snapshot!(refused("graph --stage plan --batch 0"), @r"
    error: invalid value '0' for '--batch <BATCH>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    ");
}

#[test]
fn weights_that_are_not_there() {
    assert_snapshot!(refused("evaluate FOLDER/missing.safetensors"), @"error: cannot read `FOLDER/missing.safetensors`: No such file or directory (os error 2); check the path");
}

#[test]
fn weights_of_another_format() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("weights"), "PK\x03\x04 a zip").expect("written");
    assert_snapshot!(refused_in(folder.path(), "evaluate FOLDER/weights"), @"error: `FOLDER/weights` is no whole safetensors file: its header should end at byte 8800140462016121688, and the file has 10 bytes; it was cut short, or is of another format: copy or save it again, or name another");
}

#[test]
fn weights_of_an_unknown_network() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights = [("w".to_owned(), Tensor::zeros(DType::F32, [2, 2]))].into();
    safetensors::save(folder.path().join("weights"), &weights, &Default::default()).expect("saved");
    assert_snapshot!(refused_in(folder.path(), "evaluate FOLDER/weights"), @"error: FOLDER/weights does not say which network its weights belong to (metadata `bn` and `float`); give a file that `foldgrad train --save` wrote");
}

#[test]
fn weights_that_are_incomplete() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights = [("w".to_owned(), Tensor::zeros(DType::F32, [2, 2]))].into();
    let metadata = [("bn", "before"), ("float", "f32")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    safetensors::save(folder.path().join("weights"), &weights, &metadata).expect("saved");
    assert_snapshot!(refused_in(folder.path(), "evaluate FOLDER/weights"), @"error: `FOLDER/weights`, tensor `dense/kernel`, name: expected f32[784,300], as in the model, found no tensor of that name; it was saved from another model: load the weights of this one");
}

#[test]
fn command_that_does_not_exist() {
    assert_snapshot!(refused("trian"), @r"
    error: unrecognized subcommand 'trian'

      tip: a similar subcommand exists: 'train'

    Usage: foldgrad <COMMAND>

    For more information, try '--help'.
    ");
}
