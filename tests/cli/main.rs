//! The program `foldgrad`, as a person or a script meets it.

mod bench;
mod program;
#[path = "../common/skip.rs"]
mod skip;
