//! A check that cannot be made where it runs: never in silence, and in CI not at all.

// Each test target uses its own part of this module.
#![allow(dead_code)]

use std::fmt::Display;
use std::io::Write;
use std::panic::Location;

/// Says that the rest of a test is skipped for want of something that could be there: data, a program, a peer. Where `CI` is
/// set, everything must be, and this fails.
#[track_caller]
pub fn skip(why: impl Display) {
    match verdict(std::env::var("CI").ok().as_deref(), &why) {
        Ok(line) => say(&line),
        Err(failure) => panic!("{failure}"),
    }
}

/// Says that a part of a test is skipped because the machine is of another kind, which nobody can mend: it has no `/proc`.
#[track_caller]
pub fn skip_on_this_machine(why: impl Display) {
    say(&format!("SKIPPED on this machine: {why}"));
}

/// What is said of a check that is skipped, where `CI` has this value: a line, or a failure.
pub fn verdict(ci: Option<&str>, why: &dyn Display) -> Result<String, String> {
    match ci {
        None | Some("" | "0" | "false") => Ok(format!("SKIPPED: {why}")),
        Some(_) => Err(format!("skipped, which CI does not allow: {why}")),
    }
}

/// Past the test harness, which shows what a test prints only if it fails.
#[track_caller]
fn say(line: &str) {
    let written = writeln!(std::io::stderr(), "{line} ({})", Location::caller());
    drop(written);
}
