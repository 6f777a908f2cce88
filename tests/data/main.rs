//! Data sets: files, downloads, and files made to hurt.

mod download;
mod files;
mod hostile;
#[path = "../common/skip.rs"]
mod skip;
